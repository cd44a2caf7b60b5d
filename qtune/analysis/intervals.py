"""Estimates with their intervals: from independent replications, or from within one run, and always labelled.

One run is not a sample: its messages queue behind each other, so they are no independent observations. With
two or more replications the interval is Student's t over the replications. With one it comes from batch
means: the run is cut into consecutive batches, long against the memory of the queue, whose means are nearly
independent (Law, "Simulation Modeling and Analysis", 5th ed., 9.5). How it was made is written in
`Estimate.method`.

Student's t knows nothing of what it measures, so a few replications that differ much give a latency "from -7 s to
14 s". No latency is below 0 s and no share above 1: the interval is what it has in common with the values that are
possible. The true value is one of these, so it is held just as often as before. An interval of logarithms, which
keeps above 0 too, has no answer where a replication counted 0, and most replications count 0 lost messages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.errors import InputError, Problem

Floats = NDArray[np.float64]
NOT_REACHED: Final = "not reached"
BATCHES: Final = 20
FEWEST_BATCHES: Final = 5
FEWEST_IN_BATCH: Final = 10

Possible = tuple[float, float]
"""The least and the most that a number can be."""

ANY: Final[Possible] = (-math.inf, math.inf)
AT_LEAST_0: Final[Possible] = (0.0, math.inf)
SHARE: Final[Possible] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One number about a scenario, and how sure it is.

    value: NaN when there is none; ``reason`` then says why, and a comparison with it is false.
    low, high: the ends of the confidence interval; NaN where it is open or not known.
    unit: "s", "1/s", "USD", or "1" for a number without a unit.
    method: how the interval was made; "" without one. replications: how many runs the value rests on.
    reason: why the value or an end of the interval is missing; "" when nothing is.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    unit: str = "1"
    method: str = ""
    replications: int = 1
    reason: str = ""

    def __float__(self) -> float:
        return self.value

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    @property
    def half_width(self) -> float:
        """Half of the interval's width; NaN without an interval."""
        return 0.5 * (self.high - self.low)

    @property
    def relative_half_width(self) -> float:
        """Half of the interval's width as a share of the value; NaN without an interval or at the value 0."""
        return self.half_width / abs(self.value) if self.value else math.nan

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON, in which NaN does not exist: null instead."""
        return {
            "value": json_number(self.value),
            "low": json_number(self.low),
            "high": json_number(self.high),
            "unit": self.unit,
            "method": self.method,
            "replications": self.replications,
            "reason": self.reason,
        }


def json_number(value: float) -> float | None:
    """The number, or None for NaN and the infinities, which JSON does not have."""
    return value if math.isfinite(value) else None


def missing(reason: str, unit: str = "1", replications: int = 1) -> Estimate:
    """An estimate without a value, and why."""
    return Estimate(value=math.nan, unit=unit, replications=replications, reason=reason)


def check_confidence(confidence: float) -> None:
    """InputError unless the confidence lies between 0.5 and 1."""
    if not 0.5 <= confidence < 1.0:
        message = "a confidence lies from 0.5 to below 1: write 0.95 for 95 %"
        raise InputError(Problem(where="confidence", value=repr(confidence), message=message))


@lru_cache(maxsize=256)
def student_quantile(p: float, freedom: int) -> float:
    """The ``p`` quantile of Student's t with ``freedom`` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))


def student_interval(values: Floats | Sequence[float], confidence: float) -> tuple[float, float, float]:
    """Mean, low and high of independent values by Student's t; the ends are NaN for fewer than two values."""
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean()) if array.size else math.nan
    if array.size < 2:
        return mean, math.nan, math.nan
    error = float(array.std(ddof=1)) / math.sqrt(array.size)
    half = student_quantile(0.5 + 0.5 * confidence, array.size - 1) * error
    return mean, mean - half, mean + half


def across_replications(
    values: Floats | Sequence[float],
    *,
    possible: Possible,
    unit: str = "1",
    confidence: float = 0.95,
    reason: str = "",
) -> Estimate:
    """The mean over replications with its interval; without a value when any replication has none.

    possible: the least and the most that such a number can be, which the interval does not leave.
    reason: why a replication can lack its value. A mean over the others would be a statistic of survivors.
    """
    array = np.asarray(values, dtype=np.float64)
    without = int(np.count_nonzero(~np.isfinite(array)))
    if without:
        share = f" in {without} of {array.size} replications" if array.size > 1 else ""
        return missing(f"{reason or 'no value'}{share}", unit, array.size)
    mean, low, high = student_interval(array, confidence)
    if array.size < 2:
        why = "one replication has no interval for this number: run more"
        return Estimate(value=mean, unit=unit, replications=array.size, reason=why)
    low, high, cut = inside(low, high, possible)
    method = f"Student t over {array.size} replications{cut}"
    return Estimate(value=mean, low=low, high=high, unit=unit, method=method, replications=array.size)


def inside(low: float, high: float, possible: Possible) -> tuple[float, float, str]:
    """The part of an interval that is possible, and what to add to its method."""
    least, most = possible
    cut = [f"{end:g}" for end, is_cut in ((least, low < least), (most, high > most)) if is_cut]
    return max(low, least), min(high, most), f", ended at {' and '.join(cut)}" if cut else ""


def batches_of(count: int) -> int:
    """Into how many batches ``count`` consecutive values of one run are cut; 0 when they are too few."""
    batches = min(BATCHES, count // FEWEST_IN_BATCH)
    return batches if batches >= FEWEST_BATCHES else 0


def batch_means(values: Floats) -> Floats:
    """The means of consecutive batches of equal size; the first values, which may be left over, go unused."""
    batches = batches_of(values.size)
    if not batches:
        return np.empty(0)
    size = values.size // batches
    means: Floats = values[values.size - batches * size :].reshape(batches, size).mean(axis=1)
    return means


def within_one_run(values: Floats, *, possible: Possible, unit: str, confidence: float) -> Estimate:
    """The mean of consecutive values of one run, with an interval from batch means if they are enough."""
    if not values.size:
        return missing("no observation", unit)
    value = float(values.mean())
    means = batch_means(values)
    if not means.size:
        why = f"{values.size} values are too few for batch means: run longer or more replications"
        return Estimate(value=value, unit=unit, reason=why)
    _, low, high = student_interval(means, confidence)
    low, high, cut = inside(low, high, possible)
    method = f"batch means ({means.size} batches of one run){cut}"
    return Estimate(value=value, low=low, high=high, unit=unit, method=method)
