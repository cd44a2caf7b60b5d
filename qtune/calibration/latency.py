"""A distribution fitted to measured times: the family that explains them best, with intervals of its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qtune.analysis.intervals import Estimate
from qtune.errors import InputError, Problem
from qtune.shapes import ConstantTime, EmpiricalTime, ExponentialTime, FittedTime, TimeShape

Floats = NDArray[np.float64]

FEWEST: Final = 30
"""Fewer times fix no shape."""

SAMPLES: Final = 400
"""Quantiles that stand for measured times where no family fits."""

OFF: Final = 0.05
"""A family fits when its p50, p90, p95 and p99 are within this share of the measured ones, beyond their error."""

LEVELS: Final = (0.5, 0.9, 0.95, 0.99)
CONFIDENCE: Final = 0.95
NORMAL_95: Final = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class LatencyFit:
    """One fitted distribution.

    time: as a provider model has it. mean_s, p95_s: with their intervals. count, censored: times that were seen to the
    end, and those of which only a lower bound is known. off: the worst error of the fitted quantiles, as a share.
    """

    time: TimeShape
    mean_s: Estimate
    p95_s: Estimate
    count: int
    censored: int
    off: float


def fit_latency(times_s: Floats, censored_s: Floats | None = None) -> LatencyFit:
    """The distribution of independent times, by maximum likelihood over lognormal, gamma and Weibull.

    times_s: of calls that were seen to end, all above 0. censored_s: how long calls had lasted that were not. The
    family with the highest likelihood is taken; when its quantiles are off by more than their error allows, the
    measured times themselves are.

    InputError with fewer than 30 times.
    """
    censored_s = np.empty(0) if censored_s is None else censored_s
    if times_s.size < FEWEST:
        message = (
            f"at least {FEWEST} calls are needed to fit how long they take: run longer, or at a higher rate"
        )
        raise InputError(Problem(where="calibration", value=f"{times_s.size} calls", message=message))
    if np.ptp(times_s) <= 1e-9 * times_s.max() and not censored_s.size:
        return _constant(times_s)
    fits = [_Shape(family, times_s, censored_s) for family in ("lognormal", "gamma", "weibull")]
    best = max(fits, key=lambda fit: fit.log_likelihood)
    off = best.worst_error(times_s) if not censored_s.size else 0.0
    if off > OFF:
        return _empirical(times_s)
    mean_s, p95_s = best.estimates()
    cv = best.cv
    time: TimeShape = FittedTime(family=best.family, mean_s=float(mean_s), cv=cv)
    if best.family == "gamma" and abs(cv - 1.0) < 1e-6:
        time = ExponentialTime(mean_s=float(mean_s))
    return LatencyFit(
        time=time, mean_s=mean_s, p95_s=p95_s, count=times_s.size, censored=censored_s.size, off=off
    )


class _Shape:
    """One family at its maximum likelihood; its two parameters are on a scale on which errors are nearly normal."""

    def __init__(self, family: str, times_s: Floats, censored_s: Floats) -> None:
        self.family = family
        self._times_s, self._censored_s = times_s, censored_s
        logs = np.log(times_s)
        start = np.array([logs.mean(), np.log(max(logs.std(), 1e-3))])
        if family != "lognormal":  # scale and shape from the spread of logarithms, as a Weibull has it
            start = np.array([np.log(times_s.mean()), -start[1]])
        found = optimize.minimize(
            self._cost, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-7}
        )
        self.parameters: Floats = found.x
        self.log_likelihood = -float(found.fun)

    def _frozen(self, parameters: Floats):  # type: ignore[no-untyped-def]
        first, second = np.exp(np.clip(parameters, -60.0, 60.0))
        if self.family == "lognormal":
            return stats.lognorm(second, scale=first)
        if self.family == "gamma":
            return stats.gamma(second, scale=first / second)
        return stats.weibull_min(second, scale=first)

    def _cost(self, parameters: Floats) -> float:
        law = self._frozen(parameters)
        cost = -float(law.logpdf(self._times_s).sum())
        if self._censored_s.size:
            cost -= float(law.logsf(self._censored_s).sum())
        return cost if np.isfinite(cost) else 1e300

    @property
    def cv(self) -> float:
        """The coefficient of variation, within what a provider model can hold."""
        law = self._frozen(self.parameters)
        return float(np.clip(law.std() / law.mean(), 0.01, 10.0))

    def worst_error(self, times_s: Floats) -> float:
        """How far the fitted quantiles are from the measured ones, beyond twice what chance explains, as a share."""
        law, worst = self._frozen(self.parameters), 0.0
        for level in LEVELS:
            measured_s, fitted_s = float(np.quantile(times_s, level)), float(law.ppf(level))
            # The standard error of a sample quantile is sqrt(p (1 - p) / n) / density.
            error_s = (level * (1.0 - level) / times_s.size) ** 0.5 / float(law.pdf(fitted_s))
            worst = max(worst, (abs(fitted_s - measured_s) - 2.0 * error_s) / measured_s)
        return worst

    def estimates(self) -> tuple[Estimate, Estimate]:
        """The mean and the 95th percentile, with intervals by the delta method on their logarithms."""
        covariance = _inverse(_hessian(self._cost, self.parameters))

        def of(value_of):  # type: ignore[no-untyped-def]
            value = float(value_of(self._frozen(self.parameters)))
            slope = np.empty(2)
            for axis in range(2):
                step = np.zeros(2)
                step[axis] = 1e-5
                up, down = (float(value_of(self._frozen(self.parameters + s))) for s in (step, -step))
                slope[axis] = (np.log(up) - np.log(down)) / 2e-5
            spread = NORMAL_95 * float(slope @ covariance @ slope) ** 0.5
            low, high = value * np.exp(-spread), value * np.exp(spread)
            return Estimate(
                value=value, low=low, high=high, unit="s", method="maximum likelihood, delta method"
            )

        return of(lambda law: law.mean()), of(lambda law: law.ppf(0.95))


def _hessian(cost, at: Floats) -> Floats:  # type: ignore[no-untyped-def]
    """Second derivatives by central differences."""
    size, step = at.size, 1e-3
    found = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            total = 0.0
            for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                moved = at.copy()
                moved[i] += a * step
                moved[j] += b * step
                total += a * b * cost(moved)
            found[i, j] = total / (4.0 * step * step)
    return found


def _inverse(matrix: Floats) -> Floats:
    inverse: Floats = np.linalg.pinv(matrix)
    return inverse


def _constant(times_s: Floats) -> LatencyFit:
    value = float(times_s.mean())
    sure = Estimate(value=value, low=value, high=value, unit="s", method="all times are equal")
    return LatencyFit(
        time=ConstantTime(mean_s=value), mean_s=sure, p95_s=sure, count=times_s.size, censored=0, off=0.0
    )


def _empirical(times_s: Floats) -> LatencyFit:
    """The measured times themselves, as evenly spaced quantiles; intervals by the bootstrap."""
    levels = (np.arange(SAMPLES) + 0.5) / SAMPLES
    samples = np.quantile(times_s, levels)
    samples *= times_s.mean() / samples.mean()
    return LatencyFit(
        time=EmpiricalTime(samples_s=tuple(float(f"{s:.6g}") for s in samples)),
        mean_s=_bootstrapped(times_s, np.mean),
        p95_s=_bootstrapped(times_s, lambda sample, axis: np.quantile(sample, 0.95, axis=axis)),
        count=times_s.size,
        censored=0,
        off=0.0,
    )


def _bootstrapped(times_s: Floats, of) -> Estimate:  # type: ignore[no-untyped-def]
    found = stats.bootstrap(
        (times_s,),
        of,
        confidence_level=CONFIDENCE,
        n_resamples=999,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    return Estimate(
        value=float(of(times_s, axis=0)),
        low=float(found.low),
        high=float(found.high),
        unit="s",
        method="bootstrap",
    )
