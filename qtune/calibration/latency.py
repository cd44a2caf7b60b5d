"""A distribution fitted to measured times: the family that explains them best, with intervals of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qtune.analysis.intervals import Estimate
from qtune.calibration.survival import quantile_of, quantiles_of
from qtune.errors import InputError, Problem
from qtune.shapes import ConstantTime, EmpiricalTime, ExponentialTime, FittedTime, TimeShape

Floats = NDArray[np.float64]

Family = Literal["lognormal", "gamma", "weibull", "pareto"]

FEWEST: Final = 30
"""Fewer times fix no shape."""

SAMPLES: Final = 400
"""Quantiles that stand for measured times where no family fits."""

OFF: Final = 0.05
"""A family fits when its p50, p90, p95 and p99 are within this share of the measured ones, beyond their error."""

LEVELS: Final = (0.5, 0.9, 0.95, 0.99)
RESAMPLES: Final = 499
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

    def unsure_by(self, part_s: Estimate) -> LatencyFit:
        """The same when what was taken off all times is itself only known to lie in an interval."""

        def wider(estimate: Estimate) -> Estimate:
            low = max(0.0, estimate.low - (part_s.high - part_s.value))
            return replace(estimate, low=low, high=estimate.high + (part_s.value - part_s.low))

        return replace(self, mean_s=wider(self.mean_s), p95_s=wider(self.p95_s))


def fit_latency(times_s: Floats, censored_s: Floats | None = None) -> LatencyFit:
    """The distribution of independent times, by maximum likelihood over lognormal, gamma and Weibull.

    times_s: of calls that were seen to end, of which less than nothing may be left when a fixed part was taken off.
    censored_s: how long calls had lasted that were not. The family with the highest likelihood is taken; when its
    quantiles are off by more than their error allows, the measured times themselves are.

    InputError with fewer than 30 times.
    """
    censored_s = np.empty(0) if censored_s is None else censored_s
    if times_s.size < FEWEST:
        message = (
            f"at least {FEWEST} calls are needed to fit how long they take: run longer, or at a higher rate"
        )
        raise InputError(Problem(where="calibration", value=f"{times_s.size} calls", message=message))
    # A time is a difference of two instants, less than what it is taken to hold only by their errors.
    least_s = 0.01 * float(np.median(times_s))
    times_s, censored_s = np.maximum(times_s, least_s), censored_s[censored_s > least_s]
    if np.ptp(times_s) <= 1e-9 * times_s.max() and not censored_s.size:
        return _constant(times_s)
    fits = [_Shape(family, times_s, censored_s) for family in ("lognormal", "gamma", "weibull")]
    best = max(fits, key=lambda fit: fit.log_likelihood)
    off = best.worst_error()
    if off > OFF:
        return _empirical(times_s, censored_s)
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

    def _frozen(self, parameters: Floats) -> Any:
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

    def worst_error(self) -> float:
        """How far the fitted quantiles are from the measured ones, beyond twice what chance explains, as a share.

        Of those quantiles that were reached.
        """
        law, worst = self._frozen(self.parameters), 0.0
        for level in LEVELS:
            measured_s, error = quantile_of(self._times_s, self._censored_s, level)
            if np.isnan(measured_s):
                break
            fitted_s = float(law.ppf(level))
            # The standard error of a quantile is that of the share below it, divided by the density.
            error_s = error / float(law.pdf(fitted_s))
            worst = max(worst, (abs(fitted_s - measured_s) - 2.0 * error_s) / measured_s)
        return worst

    def estimates(self) -> tuple[Estimate, Estimate]:
        """The mean and the 95th percentile, with intervals by the delta method on their logarithms."""
        covariance = np.linalg.pinv(_hessian(self._cost, self.parameters))

        def of(value_of: Callable[[Any], Any]) -> Estimate:
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


def _family_of(time: TimeShape) -> Family:
    """The family of two parameters to which a shape belongs, or that is nearest."""
    return time.family if isinstance(time, FittedTime) else "gamma"


def shortened(time: TimeShape, by_s: float) -> TimeShape:
    """The same spread around a shorter mean; of measured times each is shorter, and none less than nothing."""
    if isinstance(time, EmpiricalTime) and time.samples_s is not None:
        return EmpiricalTime(samples_s=tuple(max(0.0, sample_s - by_s) for sample_s in time.samples_s))
    if isinstance(time, ConstantTime):
        return ConstantTime(mean_s=time.mean_s - by_s)
    shape = time.distribution()
    mean_s = shape.mean - by_s
    family = _family_of(time)
    return FittedTime(family=family, mean_s=mean_s, cv=shape.scv**0.5 * shape.mean / mean_s)


def of_two_halves(fit: LatencyFit) -> LatencyFit:
    """The whole of which two halves, drawn apart and put together, have this distribution: the same mean, and twice the
    variance.

    The family is kept, which is exact for a normal and near for others as long as they vary little.
    """
    if isinstance(fit.time, ConstantTime):
        return fit
    shape = fit.time.distribution()
    time = FittedTime(family=_family_of(fit.time), mean_s=shape.mean, cv=(2.0 * shape.scv) ** 0.5)
    whole_s, wider = time.distribution().quantile(0.95), 2.0**0.5
    # What is not known of the spread is as much more in the whole as the spread is.
    p95_s = replace(
        fit.p95_s,
        value=whole_s,
        low=whole_s - wider * (fit.p95_s.value - fit.p95_s.low),
        high=whole_s + wider * (fit.p95_s.high - fit.p95_s.value),
    )
    return replace(fit, time=time, p95_s=p95_s)


def _hessian(cost: Callable[[Floats], float], at: Floats) -> Floats:
    """Second derivatives by central differences."""
    size, step = at.size, 1e-3
    found: Floats = np.empty((size, size))
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


def _constant(times_s: Floats) -> LatencyFit:
    value = float(times_s.mean())
    sure = Estimate(value=value, low=value, high=value, unit="s", method="all times are equal")
    return LatencyFit(
        time=ConstantTime(mean_s=value), mean_s=sure, p95_s=sure, count=times_s.size, censored=0, off=0.0
    )


def _empirical(times_s: Floats, censored_s: Floats) -> LatencyFit:
    """The measured times themselves, as evenly spaced quantiles; intervals by the bootstrap."""
    levels = (np.arange(SAMPLES) + 0.5) / SAMPLES
    samples: Floats = quantiles_of(times_s, censored_s, levels)
    if not censored_s.size:
        samples = samples * (
            times_s.mean() / samples.mean()
        )  # the mean is the figure that everything rests on
    rng = np.random.default_rng(1)
    drawn: Floats = np.empty((RESAMPLES, 2))
    for row in drawn:
        some = quantiles_of(
            times_s[rng.integers(0, times_s.size, times_s.size)],
            censored_s[rng.integers(0, censored_s.size, censored_s.size)] if censored_s.size else censored_s,
            levels,
        )
        row[:] = float(some.mean()), float(np.quantile(some, 0.95))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    mean_s, p95_s = (
        Estimate(value=float(value), low=float(a), high=float(b), unit="s", method="bootstrap")
        for value, a, b in zip((samples.mean(), np.quantile(samples, 0.95)), low, high, strict=True)
    )
    return LatencyFit(
        time=EmpiricalTime(samples_s=tuple(float(f"{s:.6g}") for s in samples)),
        mean_s=mean_s,
        p95_s=p95_s,
        count=times_s.size,
        censored=censored_s.size,
        off=0.0,
    )
