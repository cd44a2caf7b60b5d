"""How many calls a broker serves at once, and for how long each: what only shows when calls get in each other's way.

A single call tells the sum of its way and its service. Under load the two part: service makes others wait, the way does
not. So the runs that were measured are simulated again, message for message, with candidates of the two, and the best
candidate is the one under which the calls take as long as they did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qtune.analysis.intervals import Estimate, missing
from qtune.calibration.waiting import HALF_CHI_SQUARE_95
from qtune.result import CALL_OK, OP_RECEIVE, OP_SEND, OP_SETTLE, Result

Floats = NDArray[np.float64]
Again = Callable[[Result, int, float], Result]
"""A run again, with so many calls served at once (0: any number) and so long each."""

AT_ONCE: Final = (1, 2, 3, 4, 6, 8, 12, 16)
PARTS: Final = 20
STATISTICS: Final = 7
LEAST_ERROR: Final = 0.02
"""A statistic is never trusted to better than this share: the model is one, and the machine another."""

NO_LIMIT: Final = "the runs show no limit: a run with more calls at once could"
NOT_ALONE: Final = (
    "the runs do not tell {low} calls at once from {high} that take as many times longer: how many calls a second the "
    "broker serves is what they tell"
)
METHOD: Final = "synthetic likelihood of runs simulated again"


@dataclass(frozen=True, kw_only=True)
class BrokerFit:
    """What a broker can serve.

    at_once: calls at a time; 0: any number. service_s: of each call; rate_per_s: the ratio of the two, which runs tell
    much better than either. All without a value when runs could not tell.
    """

    at_once: Estimate
    service_s: Estimate
    rate_per_s: Estimate

    @property
    def known(self) -> bool:
        """Whether the runs could tell."""
        return self.at_once.known

    @property
    def limited(self) -> bool:
        """Whether calls wait for each other."""
        return self.at_once.value > 0.0


def untold(reason: str) -> BrokerFit:
    """The runs could not tell, and why."""
    return BrokerFit(
        at_once=missing(reason), service_s=missing(reason, "s"), rate_per_s=missing(reason, "1/s")
    )


class _Misfit:
    """Minus the synthetic log-likelihood of runs (Wood, Nature 466, 2010) as a function of the two parameters."""

    def __init__(self, loaded: Sequence[Result], again: Again) -> None:
        self._again = again
        self._targets = [(run, statistics(run), np.linalg.inv(covariance(run))) for run in loaded]

    def __call__(self, at_once: int, service_s: float) -> float:
        total = 0.0
        for run, seen, precision in self._targets:
            off = statistics(self._again(run, at_once, service_s)) - seen
            total += 0.5 * float(off @ precision @ off)
        return total

    @property
    def freedom(self) -> int:
        """Of twice the misfit at its least, when the model is right."""
        return STATISTICS * len(self._targets)

    def best_service(self, at_once: int, least_s: float, most_s: float) -> tuple[float, float]:
        """The least misfit with so many calls served at once, and the service between these at which it is."""
        found = optimize.minimize_scalar(
            lambda log_s: self(at_once, math.exp(log_s)),
            bounds=(math.log(least_s), math.log(most_s)),
            method="bounded",
            options={"maxiter": 16, "xatol": 0.005},
        )
        return float(found.fun), math.exp(float(found.x))

    def ends(self, at_once: int, top_s: float, allowed: float, most_s: float) -> tuple[float, float]:
        """Where the misfit has grown to what is allowed, in steps that grow from 1 % of the service."""

        def end(direction: int) -> float:
            step, at_s = 0.01, top_s
            while 0.3 * top_s < at_s < min(3.0 * top_s, most_s) or at_s == top_s:
                at_s = top_s * (1.0 + direction * step)
                if self(at_once, at_s) > allowed:
                    break
                step *= 1.5
            return min(at_s, most_s)

        return end(-1), end(1)


def fit_broker(loaded: Sequence[Result], again: Again, most_service_s: float) -> BrokerFit:
    """The number of calls served at once and the service of each, by maximum synthetic likelihood.

    loaded: runs in which calls got in each other's way. most_service_s: no service is longer than a whole call alone.

    Where even the best candidate leaves more than chance explains, the model is not the machine: the intervals grow by
    the ratio of the two, as Birge's ratio has it.
    """
    misfit = _Misfit(loaded, again)
    unlimited = misfit(0, 0.0)
    no_limit = replace(untold(NO_LIMIT), at_once=Estimate(value=0.0, method=METHOD, reason=NO_LIMIT))
    if unlimited <= 0.5 * float(stats.chi2.ppf(0.95, misfit.freedom)):
        return no_limit
    tried: dict[int, tuple[float, float]] = {}
    least_s, most_s = 0.02 * most_service_s, most_service_s
    for at_once in AT_ONCE:
        if least_s >= most_service_s:
            break
        tried[at_once] = misfit.best_service(at_once, least_s, min(most_s, most_service_s))
        if tried[at_once][0] > 2.0 * min(tried.values())[0] + 10.0:
            break
        # What runs tell is how many calls a second are served, so the service grows with their number.
        each_s = min((cost, found_s / number) for number, (cost, found_s) in tried.items())[1]
        following = AT_ONCE[min(len(tried), len(AT_ONCE) - 1)]
        least_s, most_s = 0.6 * following * each_s, 1.6 * following * each_s
    best, (least, service_s) = min(tried.items(), key=lambda item: item[1][0])
    allowed = least + HALF_CHI_SQUARE_95 * max(1.0, 2.0 * least / misfit.freedom)
    if unlimited <= allowed:
        return no_limit
    likely = {at_once: found_s for at_once, (cost, found_s) in tried.items() if cost <= allowed}
    low_s, high_s = misfit.ends(best, service_s, allowed, most_service_s)
    shortest_s, longest_s = min(low_s, *likely.values()), max(high_s, *likely.values())
    reason = "" if len(likely) == 1 else NOT_ALONE.format(low=min(likely), high=max(likely))
    return BrokerFit(
        at_once=Estimate(
            value=float(best), low=float(min(likely)), high=float(max(likely)), method=METHOD, reason=reason
        ),
        service_s=Estimate(
            value=service_s, low=shortest_s, high=longest_s, unit="s", method=METHOD, reason=reason
        ),
        rate_per_s=Estimate(
            value=best / service_s, low=best / high_s, high=best / low_s, unit="1/s", method=METHOD
        ),
    )


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
