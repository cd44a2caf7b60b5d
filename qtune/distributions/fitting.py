"""A distribution from what people know of a quantity: its mean, and its p95 or its cv."""

from __future__ import annotations

import math

from qtune.distributions.base import LARGEST, SMALLEST, Distribution, check
from qtune.distributions.discrete import Constant
from qtune.distributions.families import (
    LOWEST_CV,
    Exponential,
    Gamma,
    Lognormal,
    Pareto,
    Shaped,
    Uniform,
    Weibull,
)
from qtune.errors import InputError, Problem, did_you_mean
from qtune.exactmath import exp, log, number, root

_SHAPED: dict[str, type[Shaped]] = {f.family: f for f in (Gamma, Lognormal, Pareto, Weibull)}
_FIXED_CV = {"constant": 0.0, "exponential": 1.0}
FITTED_FAMILIES = tuple(sorted([*_SHAPED, *_FIXED_CV, "uniform"]))
_SQRT_3 = math.sqrt(3.0)
_TOLERANCE = 1e-9  # of a ratio that a family does not leave free


def fitted(family: str, *, mean: float, p95: float | None = None, cv: float | None = None) -> Distribution:
    """The distribution of a family with this mean, and this p95 or this cv: solved, to a few last bits.

    family: constant, exponential, gamma, lognormal, pareto, uniform or weibull. Constant and exponential need
    the mean only; they accept a p95 or a cv that agrees with it.
    p95: the value that 95 % of the draws do not exceed. In gamma, lognormal and weibull a second, far more
        variable solution exists, in which almost all values are tiny; the less variable one is returned.
    Raises InputError, with the feasible range, when the family cannot have this ratio or this cv.
    """
    if family not in FITTED_FAMILIES:
        known = ", ".join(FITTED_FAMILIES)
        hint = (
            "make it from its samples, with Empirical" if family == "empirical" else f"must be one of {known}"
        )
        raise _error("family", family, f"{hint}.{did_you_mean(family, FITTED_FAMILIES)}")
    (mean,) = check(family, mean=(mean, SMALLEST, LARGEST, ""))
    if p95 is not None and cv is not None:
        raise _error(
            f"{family}.p95",
            repr(p95),
            f"leave out this or cv={cv!r}: with the mean, either decides the shape",
        )
    if cv is not None:
        (cv,) = check(family, cv=(cv, 0.0, LARGEST, ""))
    if p95 is not None:
        (p95,) = check(family, p95=(p95, SMALLEST, LARGEST, ""))
    if family in _FIXED_CV:
        return _of_fixed_shape(family, mean, p95, cv)
    if family == "uniform":
        return _uniform(mean, p95, cv)
    shaped = _SHAPED[family]
    if cv is not None:
        return shaped(mean=mean, cv=cv)
    if p95 is not None:
        return shaped(mean=mean, cv=_cv_for(shaped, mean, p95))
    raise _open(family, mean)


def _of_fixed_shape(family: str, mean: float, p95: float | None, cv: float | None) -> Distribution:
    made = Constant(value=mean) if family == "constant" else Exponential(mean=mean)
    free = "lognormal, gamma and weibull leave it free"
    if cv is not None and abs(cv - _FIXED_CV[family]) > _TOLERANCE:
        raise _error(f"{family}.cv", repr(cv), f"is always {_FIXED_CV[family]:g} in this family; {free}")
    ratio = made.quantile(0.95) / mean
    if p95 is not None and abs(p95 / mean / ratio - 1.0) > _TOLERANCE:
        raise _error(
            f"{family}.p95", repr(p95), f"is always {ratio:.4g} times the mean in this family; {free}"
        )
    return made


def _uniform(mean: float, p95: float | None, cv: float | None) -> Distribution:
    if cv is not None:
        (cv,) = check("uniform", cv=(cv, SMALLEST, 1.0 / _SQRT_3, "lognormal and gamma reach further"))
        half_width = _SQRT_3 * cv * mean
    elif p95 is not None:
        if not 1.0 + _TOLERANCE <= p95 / mean <= 1.9 + _TOLERANCE:
            raise _no_such_ratio("uniform", p95, mean, 1.0, 1.9)
        half_width = (p95 - mean) / 0.9
    else:
        raise _open("uniform", mean)
    low = mean - half_width
    # The widest one begins at 0, which rounding may miss by a little to either side.
    return Uniform(low=low if low > 2.0 * _TOLERANCE * mean else 0.0, high=mean + half_width)


def _cv_for(family: type[Shaped], mean: float, p95: float) -> float:
    """The smallest cv at which p95 / mean is as asked."""

    def log_ratio(cv: float) -> float:
        return number(log, family(mean=1.0, cv=cv).quantile(0.95))

    asked, lightest, heaviest = number(log, p95 / mean), log_ratio(LOWEST_CV), log_ratio(family.heaviest_cv)
    if not lightest <= asked <= heaviest:
        raise _no_such_ratio(family.family, p95, mean, number(exp, lightest), number(exp, heaviest))
    return root(lambda cv: log_ratio(cv) - asked, LOWEST_CV, family.heaviest_cv)


def _no_such_ratio(family: str, p95: float, mean: float, low: float, high: float) -> InputError:
    if p95 < mean:
        advice = "below the mean it would take rare, huge values: give the cv, or use the measured samples"
    elif p95 / mean < low:
        advice = "a constant is less variable still"
    else:
        advice = _further_than(family, p95 / mean)
    message = (
        f"is {p95 / mean:.4g} times the mean of {mean!r}, and the p95 of this family is "
        f"{low:.4g} to {high:.4g} times its mean; {advice}"
    )
    return _error(f"{family}.p95", repr(p95), message)


def _further_than(family: str, ratio: float) -> str:
    """Which families reach a higher ratio of p95 to mean."""
    highest = {f.family: f(mean=1.0, cv=f.heaviest_cv).quantile(0.95) for f in _SHAPED.values()}
    able = [name for name, reach in highest.items() if reach >= ratio and name != family]
    if able:
        return f"{' or '.join(able)} can have it"
    return "no family can have it with this mean: check the two numbers, or use the measured samples"


def _open(family: str, mean: float) -> InputError:
    return _error(family, f"mean={mean!r}", "give p95 or cv too: the mean alone leaves the shape open")


def _error(where: str, value: str, message: str) -> InputError:
    return InputError(Problem(where=where, value=value, message=message))
