"""Quantiles of the latency when some messages are still on their way: nothing guessed, nobody left out.

A message that has not been completed has no latency yet, only an age. Leaving it out would show the fast
ones; taking its age would mix up short waits and short looks. So a quantile x is read from those messages
that fell due at least x before the end: whoever of them is not completed has certainly taken longer than x,
and counts as infinitely late. That needs no assumption about how lateness and being cut off go together
(Kaplan-Meier's needs independence, which a queue violates: neighbours are late together). It costs the last
x seconds of the run.

A message that was dead-lettered, rejected or has expired is never completed, and stays infinitely late.
When no such x exists, or less than half of the messages fell due early enough, the quantile is "not reached".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qtune.analysis.intervals import (
    AT_LEAST_0,
    NOT_REACHED,
    Estimate,
    Floats,
    across_replications,
    batch_means,
    missing,
    student_quantile,
)

_LEAST_SHARE: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Lateness:
    """The messages of one run in the order in which they fell due.

    due_s: ascending. latency_s: infinite for those not completed by ``horizon_s``.
    """

    due_s: Floats
    latency_s: Floats
    horizon_s: float

    def due_before_end(self, time_s: float) -> int:
        """How many messages fell due at least ``time_s`` before the end."""
        return int(np.searchsorted(self.due_s, self.horizon_s - time_s, side="right"))


def quantile_s(lateness: Lateness, p: float) -> tuple[float, int]:
    """The latency that a share ``p`` of the messages does not exceed, and of how many messages it was read.

    Of n messages it is the smallest latency that at least p n of them do not exceed; they are the first n
    that fell due. It is NaN, of 0 messages, when it is not reached.
    """
    completed = lateness.latency_s[np.isfinite(lateness.latency_s)]
    if not completed.size:
        return math.nan, 0
    # The quantile of the completed ones errs to the fast side, so the search goes up from there.
    count = lateness.due_before_end(order_statistic(completed, p))
    while count and count >= _LEAST_SHARE * lateness.due_s.size:
        value_s = order_statistic(lateness.latency_s[:count], p)
        if math.isinf(value_s):
            break  # too many of those old enough are still open, or lost
        if value_s <= lateness.horizon_s - lateness.due_s[count - 1]:
            return value_s, count
        count = min(count - 1, lateness.due_before_end(value_s))
    return math.nan, 0


def order_statistic(values: Floats, p: float) -> float:
    """The smallest of the values that at least a share ``p`` of them does not exceed."""
    # The tiny shift keeps p n from becoming the next integer by rounding, as 0.07 * 100 = 7.000000000000001
    # would.
    rank = max(math.ceil(p * values.size - 1e-9), 1) - 1
    return float(np.partition(values, rank)[rank])


def estimate_quantile(runs: Sequence[Lateness], p: float, confidence: float) -> Estimate:
    """A quantile of the latency over one or more replications, with its interval."""
    found = [quantile_s(run, p) for run in runs]
    if len(runs) > 1:
        values = [value_s for value_s, _ in found]
        return across_replications(
            values, possible=AT_LEAST_0, unit="s", confidence=confidence, reason=NOT_REACHED
        )
    value_s, count = found[0]
    if not count:
        return missing(_why_not(runs[0], p), "s")
    return _within_one_run(runs[0].latency_s[:count], p, value_s, confidence)


def _why_not(lateness: Lateness, p: float) -> str:
    total = lateness.due_s.size
    if not total:
        return "no message fell due"
    late = total - int(np.count_nonzero(np.isfinite(lateness.latency_s)))
    return (
        f"{NOT_REACHED}: {late} of {total} messages were not completed, so the p{100.0 * p:g} is among them"
    )


def _within_one_run(known: Floats, p: float, value_s: float, confidence: float) -> Estimate:
    """The interval of one run: how sure is the share below the quantile, read back as latencies.

    The share's error comes from batch means of "not above the quantile", which is known of every message
    counted, and is never taken as smaller than for independent messages.
    """
    below = (known <= value_s).astype(np.float64)
    error = math.sqrt(p * (1.0 - p) / known.size)
    method = f"order statistics ({known.size} messages, taken as independent)"
    freedom = known.size - 1
    means = batch_means(below)
    if means.size:
        error = max(error, float(means.std(ddof=1)) / math.sqrt(means.size))
        method, freedom = f"batch means ({means.size} batches of one run)", means.size - 1
    if freedom < 1:
        return Estimate(value=value_s, unit="s", reason="one message has no interval: run longer")
    half = student_quantile(0.5 + 0.5 * confidence, freedom) * error
    low_s = order_statistic(known, p - half) if p > half else float(known.min())
    high_s = order_statistic(known, p + half) if p + half < 1.0 else math.inf
    if math.isinf(high_s):
        why = "the upper end is not reached: run longer or more replications"
        return Estimate(value=value_s, low=low_s, unit="s", method=method, reason=why)
    return Estimate(value=value_s, low=low_s, high=high_s, unit="s", method=method)
