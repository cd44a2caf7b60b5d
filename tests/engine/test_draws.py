"""Keyed draws: no two things share a number, every number is uniform, and settings do not change messages."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from engine_plans import poisson, queue_plan, run, tables
from numpy.typing import NDArray
from scipy import stats

from qtune.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Gamma,
    Lognormal,
    Pareto,
    Uniform,
    Weibull,
)
from qtune.engine import streams
from qtune.engine.plan import Plan
from qtune.engine.quantiles import quantile_function

UNLIKELY = 1e-6
FAMILIES = (
    Constant(value=0.25),
    Uniform(low=0.1, high=0.4),
    Exponential(mean=0.25),
    Lognormal(mean=0.25, cv=1.5),
    Gamma(mean=0.25, cv=0.5),
    Weibull(mean=0.25, cv=2.0),
    Pareto(mean=0.25, cv=1.2),
    Empirical(samples=(0.1, 0.2, 0.7)),
)


def bits(key: int, a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The bits of many pairs at a time, with the arithmetic of :func:`qtune.engine.streams.bits`."""
    z: NDArray[np.uint64] = (
        np.uint64(key) + a * np.uint64(streams.FIRST_FIELD) + b * np.uint64(streams.SECOND_FIELD)
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(streams.MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(streams.MIX_2)
    return np.asarray(z ^ (z >> np.uint64(31)))


def grid(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Every pair of two ranges."""
    a, b = np.meshgrid(first.astype(np.uint64), second.astype(np.uint64), indexing="ij")
    return a.ravel(), b.ravel()


def test_bits_of_many_are_the_bits_of_each() -> None:
    """The vectorised arithmetic of these tests is that of the engines."""
    key = streams.stream_key(7, streams.SERVICE)
    a, b = grid(np.arange(50) * 977, np.arange(40) * 65_536)
    assert bits(key, a, b).tolist() == [streams.bits(key, int(x), int(y)) for x, y in zip(a, b, strict=True)]


def test_no_two_attempts_share_a_number() -> None:
    """A million deliveries of a message, or a hundred attempts in each of a thousand, repeat no other's number.

    This is so for any two of a billion messages. Scrambling is one to one, so two pairs (a, b) share their bits only
    if their keys are equal, and for each distance in b there is one distance in a at which they are.
    """
    inverse = np.uint64(pow(streams.FIRST_FIELD, -1, 1 << 64))
    for deliveries, attempts in ((1_000_000, 1), (1_000, 100)):
        delivery, attempt = np.arange(deliveries), np.arange(1 - attempts, attempts)
        apart_b = (delivery[:, None] * streams.ATTEMPTS_MOST + attempt).ravel()
        apart_b = apart_b[apart_b > 0].astype(np.uint64)
        apart_a = (apart_b * np.uint64(streams.SECOND_FIELD) * inverse).view(np.int64)
        assert np.abs(apart_a).min() > 1_000_000_000


def test_streams_and_seeds_have_different_keys() -> None:
    """Every stream of every seed has a key of its own."""
    keys = {
        streams.stream_key(seed, stream) for seed, stream in product(range(2_000), range(streams.STREAMS))
    }
    assert len(keys) == 2_000 * streams.STREAMS


@pytest.mark.parametrize("varied", ["message", "delivery", "attempt", "seed", "stream"])
def test_numbers_are_uniform_whatever_is_counted(varied: str) -> None:
    """Along messages, deliveries, attempts, seeds or streams, the numbers are uniform and not correlated."""
    count = 100_000 if varied != "stream" else streams.STREAMS * 2_000
    ones, run_of = np.ones(count, np.uint64), np.arange(count, dtype=np.uint64)
    key = streams.stream_key(3, streams.SERVICE)
    if varied in {"seed", "stream"}:
        each = streams.STREAMS if varied == "stream" else 1
        keys = [streams.stream_key(int(number) // each, int(number) % each) for number in run_of]
        drawn = np.array([streams.bits(one, 1, streams.ATTEMPTS_MOST) for one in keys], np.uint64)
    elif varied == "message":
        drawn = bits(key, run_of, streams.ATTEMPTS_MOST * ones)
    else:
        drawn = bits(key, ones, run_of * np.uint64(streams.ATTEMPTS_MOST if varied == "delivery" else 1))
    uniform = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
    assert stats.kstest(uniform, "uniform").pvalue > UNLIKELY
    for lag in (1, 2, 17):
        product_of_neighbours = (uniform[lag:] - 0.5) * (uniform[:-lag] - 0.5)
        assert abs(product_of_neighbours.mean()) * 12.0 * np.sqrt(count) < stats.norm.isf(UNLIKELY)
    for bit in range(64):
        ones_share = float(((drawn >> np.uint64(bit)) & np.uint64(1)).mean())
        assert abs(ones_share - 0.5) * 2.0 * np.sqrt(count) < stats.norm.isf(UNLIKELY / 64)


def test_streams_are_not_correlated() -> None:
    """The numbers of a message in any two streams are independent: a long service says nothing of a failure."""
    count = 50_000
    a, b = np.arange(count, dtype=np.uint64), np.full(count, streams.ATTEMPTS_MOST, np.uint64)
    uniform = np.array(
        [bits(streams.stream_key(5, stream), a, b) >> np.uint64(11) for stream in range(streams.STREAMS)]
    ).astype(np.float64)
    correlation: NDArray[np.float64] = np.asarray(np.corrcoef(uniform))
    off = correlation[~np.eye(streams.STREAMS, dtype=bool)]
    assert np.abs(off).max() * np.sqrt(count) < stats.norm.isf(UNLIKELY / off.size)


@pytest.mark.parametrize("chance", [0.0, 1e-12, 0.001, 0.3, 1.0])
def test_a_chance_is_compared_exactly(chance: float) -> None:
    """A chance is a whole number of 2^-53: none of the numbers is below 0, and all are below 1."""
    steps = streams.chance_steps(chance)
    assert steps / streams.UNIFORM_STEPS == pytest.approx(chance, abs=2.0**-53)
    count = 20_000
    happened = sum(streams.happens(11, number, 1, steps) for number in range(count))
    if chance in {0.0, 1.0}:
        assert happened == count * chance
    else:
        assert stats.binomtest(happened, count, chance).pvalue > UNLIKELY


def with_service(service: Distribution, **fields: Any) -> Plan:
    """A queue without waiting, so that what a handler takes is the time that was drawn."""
    return queue_plan(
        workers=200, horizon_s=20.0, tables=tables(service=service), **{**poisson(200.0), **fields}
    )


@pytest.mark.parametrize("service", FAMILIES, ids=lambda service: service.family)
def test_a_table_gives_the_engines_the_same_value_as_python(engine: str, service: Distribution) -> None:
    """A service time is the value of its quantile table at the keyed bits: bit for bit, in each engine."""
    rows = run(engine, with_service(service, seed=9))
    draw = quantile_function(service.table().kind, service.table().values)
    key = streams.stream_key(9, streams.SERVICE)
    handled = rows.deliveries[~np.isnan(rows.deliveries["finished_s"])]
    assert len(handled) > 3_000
    expected = [
        started_s + draw(streams.bits(key, int(message), streams.ATTEMPTS_MOST))
        for started_s, message in zip(handled["started_s"].tolist(), handled["message"], strict=True)
    ]
    assert handled["finished_s"].tolist() == expected


def test_other_settings_see_the_same_messages(engine: str) -> None:
    """Workers, prefetch and locks change when a message is handled, not when it is due nor how long it takes."""
    base = with_service(Lognormal(mean=0.25, cv=1.0), seed=4)
    one = run(engine, base)
    # A difference of two instants is rounded, so times are compared to within an ulp of the clock.
    took_s = _service_by_message(one.deliveries, len(one.messages))
    for other in (
        replace(base, workers=60),
        replace(base, workers=10, consumers=8),
        replace(base, in_hand_limit=1000, credit_at_settle=False),
        replace(base, lock_s=0.5),
    ):
        rows = run(engine, other)
        assert rows.messages["due_s"].tolist() == one.messages["due_s"].tolist()
        theirs_s = _service_by_message(rows.deliveries, len(rows.messages))
        both = ~np.isnan(took_s) & ~np.isnan(theirs_s)
        assert np.count_nonzero(both) > 1_500
        assert np.abs(took_s - theirs_s)[both].max() <= 2.0 * np.spacing(20.0)


def _service_by_message(deliveries: Any, messages: int) -> NDArray[np.float64]:
    """How long the first delivery of each message was handled; NaN where it was not."""
    took_s = np.full(messages, np.nan)
    first = deliveries[deliveries["delivery_no"] == 1]
    took_s[first["message"]] = first["finished_s"] - first["started_s"]
    return took_s


def test_a_seed_is_the_only_chance(engine: str) -> None:
    """The same plan gives the same rows again, and another seed gives others."""
    plan = with_service(Exponential(mean=0.25), seed=4)
    first, again, other = (run(engine, replace(plan, seed=seed)) for seed in (4, 4, 5))
    assert [table.tobytes() for table in first] == [table.tobytes() for table in again]
    assert first.messages["due_s"][:10].tolist() != other.messages["due_s"][:10].tolist()
