"""What figures show, as numbers: each function turns results into plain arrays, and draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.analysis import Summary
from qtune.analysis.summary import lateness_of
from qtune.errors import InputError, Problem
from qtune.recommendation import Recommendation
from qtune.result import Result

Floats = NDArray[np.float64]

POINTS: Final = 200
"""Points of a curve: as many as a figure of common width can show."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatencyCurve:
    """How many messages are slower than so long.

    latency_s: ascending, evenly spaced on a logarithmic scale. slower: the share of messages that took longer, those
    that were not completed among them. p50_s, p95_s, p99_s: infinite when so many were not completed.
    """

    latency_s: Floats
    slower: Floats
    p50_s: float
    p95_s: float
    p99_s: float


def latency_curve(results: Result | Sequence[Result], *, warm_up_s: float = 0.0) -> LatencyCurve:
    """The end-to-end latency of all messages that fell due from ``warm_up_s`` on, over all replications.

    InputError when no message fell due then, or none was completed.
    """
    runs = [results] if isinstance(results, Result) else list(results)
    latency_s = np.sort(
        np.concatenate([lateness_of(run, warm_up_s).latency_s for run in runs] or [np.empty(0)])
    )
    done_s = latency_s[np.isfinite(latency_s)]
    if not done_s.size:
        message = "no message that fell due after the warm-up was completed: run longer"
        raise InputError(Problem(where="results", value=f"{latency_s.size} messages", message=message))
    low_s = max(float(done_s[0]), 1e-6)
    at_s = np.geomspace(low_s, max(float(done_s[-1]), 1.001 * low_s), POINTS)
    slower = 1.0 - np.searchsorted(latency_s, at_s, side="right") / latency_s.size
    p50_s, p95_s, p99_s = (
        float(latency_s[min(int(p * latency_s.size), latency_s.size - 1)]) for p in (0.5, 0.95, 0.99)
    )
    return LatencyCurve(latency_s=at_s, slower=slower, p50_s=p50_s, p95_s=p95_s, p99_s=p99_s)


@dataclass(frozen=True, kw_only=True, eq=False)
class BacklogCourse:
    """The queue over time: messages that wait, that are locked, and the consumers that run, at even steps."""

    time_s: Floats
    waiting: Floats
    in_flight: Floats
    consumers: Floats


def backlog_course(result: Result) -> BacklogCourse:
    """The state of one run as it was sampled."""
    states = result.states
    return BacklogCourse(
        time_s=states["time_s"],
        waiting=states["backlog"].astype(np.float64),
        in_flight=states["in_flight"].astype(np.float64),
        consumers=states["consumers"].astype(np.float64),
    )


@dataclass(frozen=True, kw_only=True)
class StageBars:
    """Mean seconds by stage, of all completed messages and of the slowest 5 %; each adds up to its mean latency."""

    stages: tuple[str, ...]
    mean_s: tuple[float, ...]
    slowest_mean_s: tuple[float, ...]


def stage_bars(summary: Summary) -> StageBars:
    """The four stages of the latency; settling comes after it and is left out. NaN: no run shows the stage."""
    stages = [stage for stage in summary.stages if stage.name != "settle"]
    return StageBars(
        stages=tuple(stage.name for stage in stages),
        mean_s=tuple(stage.mean_s.value for stage in stages),
        slowest_mean_s=tuple(stage.slowest_mean_s.value for stage in stages),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LockLeft:
    """How much of its lock a message had left when its handler began.

    left_s: edges of even bins, one more than ``share``, which adds up to 1; below 0 the lock was over already.
    lock_s: the whole lock. lost: the share of the handlers that began without a lock.
    """

    left_s: Floats
    share: Floats
    lock_s: float
    lost: float


def lock_left(result: Result, *, bins: int = 40) -> LockLeft:
    """Of every delivery that a handler has begun, without what renewals added before.

    InputError when no handler began, and for a queue whose messages are not locked.
    """
    lock_s = result.scenario.semantics().lock_s
    started = result.deliveries[~np.isnan(result.deliveries["started_s"])]
    locked_s = np.where(np.isnan(started["locked_s"]), started["received_s"], started["locked_s"])
    left_s = lock_s - (started["started_s"] - locked_s)
    if not left_s.size or not np.isfinite(lock_s):
        message = "no handler began with a message that is locked for a time"
        raise InputError(Problem(where="result", value=f"{left_s.size} handlers", message=message))
    low_s = min(0.0, float(left_s.min()))
    counts, edges_s = np.histogram(left_s, bins=np.linspace(low_s, lock_s, bins + 1))
    return LockLeft(
        left_s=edges_s, share=counts / left_s.size, lock_s=lock_s, lost=float((left_s <= 0.0).mean())
    )


@dataclass(frozen=True, kw_only=True)
class CostPoints:
    """Settings that were looked at: what a month costs against a percentile, whether they meet the targets, and which.

    bound_s: of the target for that percentile; NaN: there is none. chosen: the place of the answer.
    """

    percentile: str
    month_usd: tuple[float, ...]
    latency_s: tuple[float, ...]
    meets: tuple[bool, ...]
    labels: tuple[str, ...]
    chosen: int
    bound_s: float


def cost_points(found: Recommendation, percentile: str = "p95") -> CostPoints:
    """The answer first, then every candidate that was simulated and has both figures.

    percentile: p50, p95 or p99; candidates have it when it is one of the targets, or else only the answer has.
    """
    own = found.summary.numbers[f"latency_s_{percentile}"].value
    check = found.check(percentile)
    points = [(found.month_usd.value, own, True, _label(found.settings))]
    for candidate in (*found.runners_up, *found.failed):
        its = next((one for one in candidate.checks if one.target.metric == percentile), None)
        if its is not None and its.estimate.known and candidate.month_usd.known:
            label = _label(candidate.settings)
            points.append((candidate.month_usd.value, its.estimate.value, candidate.fate == "meets", label))
    month_usd, latency_s, meets, labels = zip(*points, strict=True)
    return CostPoints(
        percentile=percentile,
        month_usd=month_usd,
        latency_s=latency_s,
        meets=meets,
        labels=labels,
        chosen=0,
        bound_s=float("nan") if check is None else check.target.bound,
    )


def _label(settings: object) -> str:
    assert isinstance(settings, dict)
    return ", ".join(f"{path.split('.')[-1]}={value}" for path, value in settings.items())
