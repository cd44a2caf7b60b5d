"""Quantities with units: read exactly, refused helpfully, shown briefly."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtune.errors import UnitError, text_of
from qtune.units import (
    format_count,
    format_duration,
    format_fraction,
    format_rate,
    format_size,
    format_usd,
    parse_duration,
    parse_fraction,
    parse_rate,
    parse_size,
)

PARSERS: list[Callable[..., float]] = [parse_duration, parse_rate, parse_size, parse_fraction]
NEED_A_UNIT = PARSERS[:3]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("4d", 345600.0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250μs", 0.00025),
        ("3ns", 3e-9),
        (" 1.5 s ", 1.5),
        (".5s", 0.5),
        ("1e3ms", 1.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    """A duration is a number and one of ns, us, ms, s, min, h, d; inside it is in seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("800/s", 800.0),
        ("30/min", 0.5),
        ("1000 msg/s", 1000.0),
        ("36 messages / h", 0.01),
        ("2/ms", 2000.0),
        ("1message/d", 1 / 86400),
    ],
)
def test_a_rate_is_read_per_second(text: str, per_s: float) -> None:
    """A rate is a number per unit of time; the word for message may stand before the slash."""
    assert parse_rate(text) == per_s


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("256B", 256), ("4KiB", 4096), ("1MB", 10**6), ("256KB", 256_000), ("256kB", 256_000), ("1.5KiB", 1536)],
)
def test_a_size_is_read_in_whole_bytes(text: str, size_bytes: int) -> None:
    """KB is 1000 bytes and KiB is 1024, so 256KB is not 256KiB; the result is an int."""
    size = parse_size(text)
    assert (size, type(size)) == (size_bytes, int)


@pytest.mark.parametrize(
    ("value", "fraction"),
    [("0.1%", 0.001), ("0.001", 0.001), (0.001, 0.001), (1, 1.0), ("100%", 1.0), (0, 0.0), ("7 %", 0.07)],
)
def test_a_fraction_is_read_from_a_percentage_or_a_number(value: object, fraction: float) -> None:
    """A fraction needs no unit; with a percent sign it is divided by 100."""
    assert parse_fraction(value) == fraction


@given(st.integers(0, 10**15), st.integers(0, 12))
def test_a_quantity_is_rounded_once(digits: int, decimals: int) -> None:
    """A quantity is computed exactly and rounded once: 0.1ms is the float nearest to 0.0001."""
    text = f"{digits / 1:.0f}" if decimals == 0 else f"{digits}e-{decimals}"
    assert parse_duration(f"{text}ms") == float(f"{digits}e-{decimals + 3}")
    assert parse_rate(f"{text}/ms") == float(f"{digits}e{3 - decimals}")


@pytest.mark.parametrize("parse", NEED_A_UNIT)
@pytest.mark.parametrize("bare", ["30", "30.5", 30, 30.5, 0, "0"])
def test_a_number_without_a_unit_is_refused_with_an_example(
    parse: Callable[..., float], bare: object
) -> None:
    """A bare number is refused, even 0, and the error shows how to write it."""
    with pytest.raises(UnitError, match='needs a unit: write it as "') as caught:
        parse(bare, where="consumers.lock")
    assert caught.value.problems[0].where == "consumers.lock"


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "nonsense",
    [
        math.nan,
        math.inf,
        -math.inf,
        10**400,
        -(10**5000),
        -1,
        -0.5,
        "-5s",
        "−5s",
        "nan",
        "inf",
        "inf s",
        "",
        " ",
        "s",
        "/s",
        "%",
        None,
        True,
        False,
        [],
        "1e400s",
        "9" * 400 + "s",
        "9" * 5000 + "s",
        "0x10s",
        "1e5e5s",
        "5 fortnights",
        "５s",
    ],
    ids=text_of,
)
def test_what_is_no_quantity_is_refused(parse: Callable[..., float], nonsense: object) -> None:
    """NaN, infinities, negative and absurdly large numbers, words and other types are all UnitErrors."""
    with pytest.raises(UnitError):
        parse(nonsense)


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (parse_duration, "1m", '"min" for minutes or "ms" for milliseconds'),
        (parse_duration, "30 sec", 'unknown unit "sec".*Did you mean "s"'),
        (parse_duration, "30 S", 'Did you mean "s"'),
        (parse_duration, "1,000s", "without grouping"),
        (parse_duration, "1_000s", "without grouping"),
        (parse_duration, "1 000s", "without grouping"),
        (parse_duration, "1e400s", "too large"),
        (parse_duration, "1e-400s", "too small"),
        (parse_duration, "-5s", "not negative"),
        (parse_duration, 10**400, "needs a unit"),
        (parse_rate, "800s", "per what"),
        (parse_rate, "800/m", '"/min"'),
        (parse_rate, "800 widgets/s", "counts messages"),
        (parse_rate, "800/sec", 'Did you mean "s"'),
        (parse_rate, "800/", "unknown unit"),
        (parse_size, "4K", 'Did you mean "KiB"'),
        (parse_size, "1.0001KiB", "whole number of bytes"),
        (parse_size, "1e10TiB", "at most 2\\^63"),
        (parse_fraction, "101%", "between 0% and 100%"),
        (parse_fraction, 1.5, "between 0 and 1"),
        (parse_fraction, "50", "between 0 and 1"),
        (parse_fraction, "5s", "no unit of a fraction"),
    ],
)
def test_the_error_says_what_to_write(parse: Callable[..., float], text: object, says: str) -> None:
    """An error about a quantity names what is wrong with it and the spelling that works."""
    with pytest.raises(UnitError, match=says) as caught:
        parse(text, where="here")
    (problem,) = caught.value.problems
    assert problem.where == "here"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0s"),
        (1e-9, "1ns"),
        (0.000_25, "250us"),
        (0.008_25, "8.25ms"),
        (0.999_6, "1s"),
        (1.0, "1s"),
        (90.0, "90s"),
        (119.96, "2min"),
        (5400.0, "90min"),
        (9000.0, "2.5h"),
        (1e6, "11.6d"),
        (1e9, "11600d"),
        (-0.5, "-500ms"),
        (math.nan, "n/a"),
        (math.inf, "infs"),
        (-math.inf, "-infs"),
    ],
)
def test_a_duration_is_shown_in_its_handiest_unit(duration_s: float, text: str) -> None:
    """Three significant digits, no exponent, and never 1000ms or 120s."""
    assert format_duration(duration_s) == text


@pytest.mark.parametrize(
    ("rate_per_s", "text"),
    [
        (0.0, "0/s"),
        (800.4, "800/s"),
        (12345.0, "12300/s"),
        (0.9996, "1/s"),
        (0.5, "30/min"),
        (0.001, "3.6/h"),
        (1e-5, "0.864/d"),
        (math.nan, "n/a"),
        (math.inf, "inf/s"),
    ],
)
def test_a_rate_is_shown_per_second_or_per_longer_time(rate_per_s: float, text: str) -> None:
    """A rate below one per second is shown per minute, hour or day."""
    assert format_rate(rate_per_s) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1500, "1.46KiB"),
        (2**20 - 1, "1MiB"),
        (2**30, "1GiB"),
        (3e15, "2730TiB"),
        (0.5, "0.5B"),
        (1023.9, "1KiB"),
        (math.nan, "n/a"),
        (math.inf, "infB"),
    ],
)
def test_a_size_is_shown_in_powers_of_1024(size_bytes: float, text: str) -> None:
    """Bytes are exact below 1 KiB; above, three significant digits."""
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.0, "0%"),
        (0.001, "0.1%"),
        (0.5, "50%"),
        (1.0, "100%"),
        (1.5, "150%"),
        (0.9996, "99.96%"),
        (0.99999, "99.999%"),
        (1e-9, "0.0000001%"),
        (math.nan, "n/a"),
        (math.inf, "inf"),
    ],
)
def test_a_fraction_is_shown_in_percent(fraction: float, text: str) -> None:
    """What falls short of all of it is never shown as 100%."""
    assert format_fraction(fraction) == text


@pytest.mark.parametrize(
    ("amount_usd", "text"),
    [
        (0.0, "$0"),
        (4e-7, "$0.0000004"),
        (0.0123, "$0.0123"),
        (1.236, "$1.24"),
        (0.9999, "$1.00"),
        (99.996, "$100"),
        (1234567.0, "$1,230,000"),
        (-5.0, "-$5.00"),
        (math.nan, "n/a"),
        (math.inf, "$inf"),
    ],
)
def test_an_amount_is_shown_in_dollars(amount_usd: float, text: str) -> None:
    """Cents from one dollar up, three significant digits elsewhere."""
    assert format_usd(amount_usd) == text


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1))
def test_what_is_shown_can_be_read_again(value: float, fraction: float) -> None:
    """A shown duration, rate or fraction is a valid input, within half a unit of the third digit."""
    assert parse_duration(format_duration(value)) == pytest.approx(value, rel=0.005)
    assert parse_rate(format_rate(value)) == pytest.approx(value, rel=0.005)
    assert parse_fraction(format_fraction(fraction)) == pytest.approx(fraction, rel=0.005)


@given(st.floats(0, 1, exclude_max=True))
def test_a_share_short_of_all_is_never_shown_as_all(fraction: float) -> None:
    """Only 1 itself is 100%: the last lost message in a billion stays visible."""
    assert format_fraction(fraction) != "100%"


def test_a_count_agrees_with_its_noun() -> None:
    """One core, two cores: a count is shown with its thousands apart and its noun in the right number."""
    assert [format_count(number, "core") for number in (0, 1, 2, 12_000)] == [
        "0 cores",
        "1 core",
        "2 cores",
        "12,000 cores",
    ]
