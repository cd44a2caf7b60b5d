"""The smooth families of distributions: what each is for, its parameters, and its quantiles.

All are described by their mean and, where the shape is free, by their coefficient of variation cv, which is
the standard deviation over the mean: the two numbers that decide most of what a queue does.

How exact a table is: a draw is within 1e-6 relative of the quantile, in both tails, out to probabilities of
2**-53, for all families but one. A gamma with a cv above 2.9 spreads its small values over hundreds of powers
of ten; its draws are within 1e-6 of the larger of the quantile and a twentieth of the mean. The mean of
a table is within 1e-8 of the mean asked for, relative, and its mean square within 3e-5, save for Pareto.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar, Self

from qtune.distributions.base import LARGEST, SMALLEST, Distribution, check, complete, scale_factor
from qtune.distributions.incomplete_gamma import gamma, gamma_log_quantile
from qtune.distributions.tables import QuantileTable, smooth_table
from qtune.errors import InputError, Problem
from qtune.exactmath import Array, exp, log, log1p, normal_quantile, number, root

LOWEST_CV = 0.01
HIGHEST_CV = 10.0


class _Smooth(Distribution):
    """A distribution whose quantile function is smooth, given from both ends."""

    @abstractmethod
    def _lower(self, v: Array) -> Array:
        """The quantile of v, for v in (0, 1/2]."""

    @abstractmethod
    def _upper(self, v: Array) -> Array:
        """The quantile of 1 - v, for v in (0, 1/2]."""

    def _quantile(self, p: float) -> float:
        return number(self._lower, p) if p <= 0.5 else number(self._upper, 1.0 - p)

    def _make_table(self) -> QuantileTable:
        return smooth_table(self._lower, self._upper)


@dataclass(frozen=True)
class Uniform(_Smooth):
    """Anything between two limits, equally likely; low may be 0."""

    family: ClassVar[str] = "uniform"
    low: float
    high: float
    mean: float = field(init=False, repr=False, compare=False)
    scv: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = check(
            self.family, low=(self.low, 0.0, LARGEST, ""), high=(self.high, SMALLEST, LARGEST, "")
        )
        if not low < high:
            message = f"must be above low, which is {low!r}; write a constant for a single value"
            raise InputError(Problem(where="uniform.high", value=repr(high), message=message))
        width_over_mean = (high - low) / (0.5 * (low + high))
        complete(
            self, low=low, high=high, mean=0.5 * (low + high), scv=width_over_mean * width_over_mean / 12.0
        )

    def scaled(self, factor: float) -> Uniform:
        factor = scale_factor(factor)
        return Uniform(low=self.low * factor, high=self.high * factor)

    def _lower(self, v: Array) -> Array:
        return self.low + (self.high - self.low) * v

    def _upper(self, v: Array) -> Array:
        return self.high - (self.high - self.low) * v


@dataclass(frozen=True)
class _Scaled(_Smooth):
    """One shape, stretched to the mean; ``_lower`` and ``_upper`` are those of the shape with mean 1."""

    mean: float
    scv: float = field(init=False, repr=False, compare=False)

    def scaled(self, factor: float) -> Self:
        return replace(self, mean=self.mean * scale_factor(factor))

    def _quantile(self, p: float) -> float:
        return self.mean * super()._quantile(p)

    def _make_table(self) -> QuantileTable:
        if self.mean == 1.0:
            return super()._make_table()
        return replace(self, mean=1.0).table().scaled(self.mean)


@dataclass(frozen=True)
class Exponential(_Scaled):
    """The memoryless law of the textbooks: the gaps of Poisson arrivals; cv 1."""

    family: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        (mean,) = check(self.family, mean=(self.mean, SMALLEST, LARGEST, ""))
        complete(self, mean=mean, scv=1.0)

    def _lower(self, v: Array) -> Array:
        return -log1p(-v)

    def _upper(self, v: Array) -> Array:
        return -log(v)


@dataclass(frozen=True)
class Shaped(_Scaled):
    """A family with a free shape, which the coefficient of variation fixes.

    heaviest_cv: where p95 / mean is greatest. Beyond it more variability moves the p95 down, because ever
    fewer and ever larger values carry the mean.
    """

    heaviest_cv: ClassVar[float]
    cv: float

    def __post_init__(self) -> None:
        less = "write a constant for no variability at all"
        mean, cv = check(
            self.family, mean=(self.mean, SMALLEST, LARGEST, ""), cv=(self.cv, LOWEST_CV, HIGHEST_CV, less)
        )
        complete(self, mean=mean, cv=cv, scv=cv * cv)


@dataclass(frozen=True)
class Lognormal(Shaped):
    """The usual shape of service times and network delays: a product of many small influences."""

    family: ClassVar[str] = "lognormal"
    heaviest_cv: ClassVar[float] = 3.7366366

    def _lower(self, v: Array) -> Array:
        return self._at(normal_quantile(v))

    def _upper(self, v: Array) -> Array:
        return self._at(-normal_quantile(v))

    def _at(self, z: Array) -> Array:
        variance = number(log1p, self.cv * self.cv)
        return exp(math.sqrt(variance) * z - 0.5 * variance)


@dataclass(frozen=True)
class Gamma(Shaped):
    """A sum of independent steps when cv < 1 (Erlang's law if 1 / cv**2 is whole), bursts when cv > 1."""

    family: ClassVar[str] = "gamma"
    heaviest_cv: ClassVar[float] = 3.3768712

    def _lower(self, v: Array) -> Array:
        return exp(gamma_log_quantile(1.0 / (self.cv * self.cv), v, upper=False))

    def _upper(self, v: Array) -> Array:
        return exp(gamma_log_quantile(1.0 / (self.cv * self.cv), v, upper=True))


@dataclass(frozen=True)
class Weibull(Shaped):
    """A stretched exponential: a power of an exponential quantity; heavier than exponential when cv > 1."""

    family: ClassVar[str] = "weibull"
    heaviest_cv: ClassVar[float] = 3.1034881

    def _lower(self, v: Array) -> Array:
        return self._at(-log1p(-v))

    def _upper(self, v: Array) -> Array:
        return self._at(-log(v))

    def _at(self, exponential: Array) -> Array:
        power = _weibull_power(self.cv)
        return exp(power * log(exponential)) / number(gamma, 1.0 + power)


@dataclass(frozen=True)
class Pareto(Shaped):
    """A least value and above it a power law (Pareto's law of the first kind), with finite variance.

    The exponent is 1 + sqrt(1 + 1 / cv**2), always above 2. Most of the variance of a large cv lies in draws
    that no run is long enough to meet: with cv 1 a share of 2e-3 of the mean square comes from beyond the
    table's last probability, 2**-53; with cv 3 it is 0.4, and with cv 10 0.9. Ask ``table().moments()`` for
    what can be drawn.
    """

    family: ClassVar[str] = "pareto"
    heaviest_cv: ClassVar[float] = HIGHEST_CV

    def _lower(self, v: Array) -> Array:
        return self._at(log1p(-v))

    def _upper(self, v: Array) -> Array:
        return self._at(log(v))

    def _at(self, log_exceedance: Array) -> Array:
        exponent = 1.0 + math.sqrt(1.0 + 1.0 / (self.cv * self.cv))
        return exp(log_exceedance / -exponent) * ((exponent - 1.0) / exponent)


@lru_cache(maxsize=256)
def _weibull_power(cv: float) -> float:
    """1 / (Weibull's shape): the power of an exponential variable that has this coefficient of variation."""
    target = number(log1p, cv * cv)

    def excess(power: float) -> float:
        first, second = number(gamma, 1.0 + power), number(gamma, 1.0 + 2.0 * power)
        return number(log, second / (first * first)) - target

    return root(excess, 0.5 * LOWEST_CV, 0.5 * HIGHEST_CV)
