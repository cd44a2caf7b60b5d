"""How many calls a broker serves at once, and for how long each: what only shows when calls get in each other's way.

A single call tells the sum of its way and its service. Under load the two part: service makes others wait, the way does
not. So the runs that were measured are simulated again, message for message, with candidates of the two, and the best
candidate is the one under which the calls take as long as they did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qtune.analysis.intervals import Estimate, missing
from qtune.calibration.waiting import HALF_CHI_SQUARE_95
from qtune.result import CALL_OK, OP_RECEIVE, OP_SEND, OP_SETTLE, Result

Floats = NDArray[np.float64]

AT_ONCE: Final = (1, 2, 4, 8, 16)
PARTS: Final = 20
STATISTICS: Final = 7
LEAST_ERROR: Final = 0.02
"""A statistic is never trusted to better than this share: the model is one, and the machine another."""


@dataclass(frozen=True, kw_only=True)
class BrokerFit:
    """What a broker can serve: ``calls_served_at_once`` (0: any number), and the mean service of a call."""

    calls_served_at_once: int
    service_s: Estimate
    misfit: float
    misfit_unlimited: float

    @property
    def known(self) -> bool:
        """Whether runs could tell it at all."""
        return not math.isnan(self.misfit)


def statistics(result: Result) -> Floats:
    """What a run under load is told by: completed messages a second, and mean and 90th percentile of each kind of
    call, as logarithms."""
    return np.log([max(value, 1e-9) for value in _values(result, 0.0, result.horizon_s)])


def covariance(result: Result) -> Floats:
    """How much the statistics of this run, and of another like it, differ by chance: from parts of the run."""
    edges_s = np.linspace(0.0, result.horizon_s, PARTS + 1)
    parts = np.log([[max(v, 1e-9) for v in _values(result, a, b)] for a, b in pairwise(edges_s.tolist())])
    both = 2.0 * np.cov(parts, rowvar=False) / PARTS
    return np.asarray(both + LEAST_ERROR**2 * np.eye(parts.shape[1]))


def _values(result: Result, from_s: float, to_s: float) -> list[float]:
    done_s = result.messages["completed_s"]
    found = [float(((done_s >= from_s) & (done_s < to_s)).sum()) / (to_s - from_s)]
    calls = result.calls
    within = (calls["end_s"] >= from_s) & (calls["end_s"] < to_s) & (calls["outcome"] == CALL_OK)
    for op in (OP_SEND, OP_RECEIVE, OP_SETTLE):
        took_s = (calls["end_s"] - calls["start_s"])[within & (calls["op"] == op)]
        if not took_s.size:
            found += [1e-9, 1e-9]
        else:
            found += [float(took_s.mean()), float(np.quantile(took_s, 0.9))]
    return found


def fit_broker(
    loaded: Sequence[Result], simulated: Callable[[Result, int, float], Result], most_service_s: float
) -> BrokerFit:
    """The number of calls served at once and the service of each, by maximum synthetic likelihood.

    loaded: measured runs in which calls got in each other's way. simulated: such a run again, with so many calls served
    at once (0: any number) and so long each. most_service_s: no service is longer than a whole call that was alone.
    """
    targets = [(result, statistics(result), np.linalg.inv(covariance(result))) for result in loaded]

    def misfit(at_once: int, service_s: float) -> float:
        total = 0.0
        for result, seen, precision in targets:
            off = statistics(simulated(result, at_once, service_s)) - seen
            total += 0.5 * float(off @ precision @ off)
        return total

    unlimited = misfit(0, 0.0)
    if unlimited <= 0.5 * float(stats.chi2.ppf(0.95, STATISTICS * len(targets))):
        return _no_limit(unlimited, unlimited)
    best: tuple[float, int, float] | None = None
    bounds = (math.log(0.02 * most_service_s), math.log(most_service_s))
    for at_once in AT_ONCE:
        top = optimize.minimize_scalar(
            lambda log_s, n=at_once: misfit(n, math.exp(log_s)),
            bounds=bounds,
            method="bounded",
            options={"maxiter": 25},
        )
        if best is None or float(top.fun) < best[0]:
            best = float(top.fun), at_once, math.exp(float(top.x))
        elif float(top.fun) > 2.0 * best[0] + 10.0:
            break
    assert best is not None
    if unlimited <= best[0] + HALF_CHI_SQUARE_95:
        return _no_limit(unlimited, unlimited)
    cost, at_once, service_s = best
    low_s, high_s = _interval(lambda s: misfit(at_once, s), service_s, cost, most_service_s)
    estimate = Estimate(
        value=service_s,
        low=low_s,
        high=high_s,
        unit="s",
        method="synthetic likelihood of runs simulated again",
    )
    return BrokerFit(
        calls_served_at_once=at_once, service_s=estimate, misfit=cost, misfit_unlimited=unlimited
    )


def _no_limit(misfit: float, unlimited: float) -> BrokerFit:
    reason = "the runs show no limit: a run with more calls at once could"
    return BrokerFit(
        calls_served_at_once=0, service_s=missing(reason, "s"), misfit=misfit, misfit_unlimited=unlimited
    )


def _interval(
    misfit: Callable[[float], float], top_s: float, cost: float, most_s: float
) -> tuple[float, float]:
    """Where the misfit has grown by what a 95 % interval allows, on a grid of 2 % steps."""
    ends = []
    for step in (1.0 / 1.02, 1.02):
        at_s = top_s
        while misfit(at_s * step) - cost < HALF_CHI_SQUARE_95 and 0.3 * top_s < at_s < 3.0 * top_s:
            at_s *= step
        ends.append(min(at_s * step, most_s))
    return min(ends), max(ends)
