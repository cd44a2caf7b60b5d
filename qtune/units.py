"""Quantities as people write them, turned at the edge into seconds, per second, bytes and fractions.

A number without a unit is refused, because ``timeout: 30`` has meant seconds, milliseconds and minutes to
different readers. Values are computed exactly and rounded once: ``parse_duration("0.1ms") == 0.0001``.

KB and kB are 1000 bytes, KiB is 1024 (IEC 80000-13). Providers often print "256 KB" and mean 262,144 bytes:
write that as 256KiB.

The ``format_`` functions are for people: three significant digits, the unit that makes the number short.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NoReturn

from qtune.errors import Problem, UnitError, did_you_mean, text_of

_SECONDS: Mapping[str, Fraction] = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),  # U+00B5, micro sign
    "μs": Fraction(1, 10**6),  # U+03BC, Greek mu: looks the same, is typed as often
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_BYTES: Mapping[str, Fraction] = {
    "B": Fraction(1),
    "kB": Fraction(10**3),
    "KB": Fraction(10**3),
    "MB": Fraction(10**6),
    "GB": Fraction(10**9),
    "TB": Fraction(10**12),
    "KiB": Fraction(2**10),
    "MiB": Fraction(2**20),
    "GiB": Fraction(2**30),
    "TiB": Fraction(2**40),
}
_COUNTED = ("", "msg", "msgs", "message", "messages")
_LONG_NAMES: Mapping[str, str] = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "msec": "ms", "millis": "ms", "milliseconds": "ms", "usec": "us", "microseconds": "us",
    "mins": "min", "minute": "min", "minutes": "min", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "day": "d", "days": "d", "b": "B", "byte": "B", "bytes": "B",
    "k": "KiB", "K": "KiB", "M": "MiB", "G": "GiB",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?|\.[0-9]+(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST_TEXT = 64

_DURATION_EXAMPLES = '"500ms", "30s", "5min", "2h" or "4d"'
_RATE_EXAMPLES = '"800/s" or "30/min"'
_SIZE_EXAMPLES = '"256B", "4KiB" or "1MB"'
_FRACTION_EXAMPLES = '"0.1%" or 0.001'


def parse_duration(text: object, *, where: str = "") -> float:
    """Seconds, from "500ms", "30s", "5min", "2h", "4d"; "m" is refused, as some read it as months.

    where: the place to name in the UnitError, which is raised unless this is a finite duration >= 0.
    """
    number, unit, given = _split(text, where, "duration", _DURATION_EXAMPLES)
    if unit == "m":
        _fail(given, where, '"m" is ambiguous: write "min" for minutes or "ms" for milliseconds')
    return _as_float(number * _factor(unit, _SECONDS, given, where, _DURATION_EXAMPLES), given, where)


def parse_rate(text: object, *, where: str = "") -> float:
    """Events per second, from "800/s", "30/min", "1000 msg/s".

    where: the place to name in the UnitError, which is raised unless this is a finite rate >= 0.
    """
    number, unit, given = _split(text, where, "rate", _RATE_EXAMPLES)
    counted, slash, per = (part.strip() for part in unit.partition("/"))
    if not slash:
        _fail(given, where, f"a rate says per what, as in {_RATE_EXAMPLES}")
    if counted not in _COUNTED:
        _fail(given, where, f'a rate counts messages ("msg"), not "{counted}": write it as {_RATE_EXAMPLES}')
    if per == "m":
        _fail(given, where, '"/m" is ambiguous: write "/min" for per minute')
    return _as_float(number / _factor(per, _SECONDS, given, where, _RATE_EXAMPLES), given, where)


def parse_size(text: object, *, where: str = "") -> int:
    """Whole bytes, from "256B", "4KiB" (1024), "1MB", "256KB" (1000).

    where: the place to name in the UnitError, which is raised also when the bytes are not a whole number.
    """
    number, unit, given = _split(text, where, "size", _SIZE_EXAMPLES)
    size = number * _factor(unit, _BYTES, given, where, _SIZE_EXAMPLES)
    if size.denominator != 1:
        _fail(given, where, f"a size is a whole number of bytes, and this is {float(size):.6g}")
    if size > 2**63 - 1:
        _fail(given, where, "too large: a size is at most 2^63 - 1 bytes")
    return int(size)


def parse_fraction(value: object, *, where: str = "") -> float:
    """A fraction between 0 and 1, from "0.1%", "0.001" or the number 0.001.

    where: the place to name in the UnitError, which is raised for anything outside [0, 1].
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= 1:
            _fail(text_of(value), where, f"a fraction lies between 0 and 1: write it as {_FRACTION_EXAMPLES}")
        return float(value)
    number, unit, given = _split(value, where, "fraction", _FRACTION_EXAMPLES, unit_optional=True)
    if unit not in ("", "%"):
        _fail(given, where, f'"{unit}" is no unit of a fraction: write it as {_FRACTION_EXAMPLES}')
    fraction = number / 100 if unit else number
    if fraction > 1:
        limits = "0% and 100%" if unit else "0 and 1"
        _fail(given, where, f"a fraction lies between {limits}: write it as {_FRACTION_EXAMPLES}")
    return _as_float(fraction, given, where)


def format_duration(duration_s: float) -> str:
    """A duration in its handiest unit, such as 8.25ms, 90s, 2.5h; "n/a" for NaN."""
    scales = (("ns", 1e-9, 1000.0), ("us", 1e-6, 1000.0), ("ms", 1e-3, 1000.0), ("s", 1.0, 120.0),
              ("min", 60.0, 120.0), ("h", 3600.0, 48.0), ("d", 86400.0, math.inf))  # fmt: skip
    if special := _special(duration_s, "s"):
        return special
    for unit, unit_s, below in scales:
        digits = _three_digits(duration_s / unit_s)
        if abs(float(digits)) < below:
            return f"{digits}{unit}"
    raise AssertionError("the last scale has no upper end")


def format_rate(rate_per_s: float) -> str:
    """A rate per second, or per minute, hour or day if that makes it at least 1; "n/a" for NaN."""
    if special := _special(rate_per_s, "/s"):
        return special
    for unit, unit_s in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        digits = _three_digits(rate_per_s * unit_s)
        if abs(float(digits)) >= 1:
            return f"{digits}/{unit}"
    return f"{_three_digits(rate_per_s * 86400.0)}/d"


def format_size(size_bytes: float) -> str:
    """A size in bytes, KiB, MiB, GiB or TiB; below 1 KiB exact; "n/a" for NaN."""
    if special := _special(size_bytes, "B"):
        return special
    if size_bytes == int(size_bytes) and abs(size_bytes) < 1024:
        return f"{int(size_bytes)}B"
    for unit, unit_bytes in (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30)):
        digits = _three_digits(size_bytes / unit_bytes)
        if abs(float(digits)) < 1000:  # three digits cannot tell 1000 from 1023
            return f"{digits}{unit}"
    return f"{_three_digits(size_bytes / 2.0**40)}TiB"


def format_fraction(fraction: float) -> str:
    """A fraction in percent; what is short of 1 is never shown as 100%: 0.99999 is 99.999%. "n/a" for NaN."""
    if math.isnan(fraction):
        return "n/a"
    if math.isinf(fraction):
        return "inf" if fraction > 0 else "-inf"
    digits = _three_digits(100.0 * fraction)
    if digits == "100" and fraction < 1:
        missing = Decimal(f"{100.0 * (1.0 - fraction):.0e}")
        digits = f"{100 - missing:f}"
    return f"{digits}%"


def format_usd(amount_usd: float) -> str:
    """An amount of US dollars: whole ones from $100, cents from $1, three significant digits below."""
    if math.isnan(amount_usd):
        return "n/a"
    sign, amount_usd = ("-" if amount_usd < 0 else ""), abs(amount_usd)
    if math.isinf(amount_usd):
        return f"{sign}$inf"
    if round(amount_usd, 2) >= 100:
        return f"{sign}${int(_three_digits(amount_usd)):,}"
    digits = _three_digits(amount_usd)
    return f"{sign}${amount_usd:.2f}" if float(digits) >= 1 else f"{sign}${digits}"


def format_count(number: int, noun: str) -> str:
    """So many of a thing, such as 1 core or 1,000 cores; of a noun that takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _split(
    value: object, where: str, kind: str, examples: str, *, unit_optional: bool = False
) -> tuple[Fraction, str, str]:
    """The number, the unit and the text of a quantity; the number is exact and not negative."""
    if not isinstance(value, str):
        hint = f"a {kind} needs a unit" if isinstance(value, int | float) else f"this is no {kind}"
        _fail(text_of(value), where, f"{hint}: write it as {examples}")
    given = value.strip()
    if given.startswith(("-", "−")):
        _fail(value, where, f"a {kind} is not negative: write it as {examples}")
    found = _NUMBER.match(given)
    if found is None or len(given) > _LONGEST_TEXT:
        _fail(value, where, f"this is no {kind}: write it as {examples}")
    unit = given[found.end() :].strip()
    if unit[:1] in (",", "_", "'") or unit[:1].isdigit():
        _fail(value, where, f'write digits without grouping, and the decimal sign as ".": {examples}')
    if not unit and not unit_optional:
        _fail(value, where, f"a {kind} needs a unit: write it as {examples}")
    return Fraction(found.group()), unit, value


def _factor(unit: str, factors: Mapping[str, Fraction], given: str, where: str, examples: str) -> Fraction:
    if unit not in factors:
        suggestion = _LONG_NAMES.get(unit)
        hint = f' Did you mean "{suggestion}"?' if suggestion in factors else did_you_mean(unit, factors)
        _fail(given, where, f'unknown unit "{unit}": write it as {examples}.{hint}')
    return factors[unit]


def _as_float(exact: Fraction, given: str, where: str) -> float:
    try:
        number = float(exact)
    except OverflowError:
        _fail(given, where, "too large: numbers end at about 1.8e308")
    if number == 0.0 and exact != 0:
        _fail(given, where, "too small to tell from 0: write 0 with its unit if that is meant")
    return number


def _fail(given: str, where: str, message: str) -> NoReturn:
    raise UnitError(Problem(where=where, value=given, message=message))


def _special(value: float, unit: str) -> str:
    """The text of 0, NaN and the infinities, "" for all other numbers."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}inf{unit}"
    return f"0{unit}" if value == 0 else ""


def _three_digits(value: float) -> str:
    """Three significant digits without an exponent and without trailing zeros: 12345 is 12300."""
    text = f"{Decimal(f'{value:.2e}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
