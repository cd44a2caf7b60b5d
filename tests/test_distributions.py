"""Distributions: moments and quantiles as the textbooks have them, exact fits, and helpful refusals."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    fitted,
)
from qtune.distributions.families import Shaped
from qtune.errors import InputError

SHAPED: list[type[Shaped]] = [Gamma, Lognormal, Pareto, Weibull]
CVS = [0.01, 0.05, 0.3, 0.999, 1.0, 1.7, 3.0, 10.0]
PROBABILITIES = [1e-12, 1e-9, 1e-4, 0.05, 0.3, 0.5, 0.500001, 0.75, 0.95, 0.999, 1 - 1e-9, 1 - 2**-40]

ONE_OF_EACH: list[Distribution] = [
    Constant(0.2),
    Empirical([0.1, 0.4, 0.2]),
    Exponential(0.2),
    Gamma(0.2, 0.5),
    Lognormal(0.2, 0.5),
    Pareto(0.2, 0.5),
    Uniform(0.1, 0.3),
    Weibull(0.2, 0.5),
]


def textbook(distribution: Distribution) -> stats.rv_continuous:
    """The same distribution as scipy knows it; for Weibull with the shape that the quartiles give."""
    match distribution:
        case Exponential(mean=mean):
            return stats.expon(scale=mean)
        case Uniform(low=low, high=high):
            return stats.uniform(low, high - low)
        case Gamma(mean=mean, cv=cv):
            return stats.gamma(1 / cv**2, scale=mean * cv**2)
        case Lognormal(mean=mean, cv=cv):
            variance = math.log1p(cv**2)
            return stats.lognorm(math.sqrt(variance), scale=mean * math.exp(-variance / 2))
        case Pareto(mean=mean, cv=cv):
            exponent = 1 + math.sqrt(1 + 1 / cv**2)
            return stats.pareto(exponent, scale=mean * (exponent - 1) / exponent)
        case Weibull():
            ratio = math.log(distribution.quantile(0.75) / distribution.quantile(0.25))
            shape = math.log(math.log(0.25) / math.log(0.75)) / ratio
            return stats.weibull_min(shape, scale=distribution.quantile(1 - math.exp(-1)))
    raise AssertionError(distribution)


@pytest.mark.parametrize(
    "distribution",
    [Exponential(0.3), Uniform(0.0, 0.4), Uniform(5.0, 5.001), *(f(0.3, cv) for f in SHAPED for cv in CVS)],
    ids=str,
)
def test_moments_and_quantiles_are_those_of_the_textbook(distribution: Distribution) -> None:
    """Mean, squared coefficient of variation and quantiles are those of the named family, in both tails."""
    true = textbook(distribution)
    assert distribution.mean == pytest.approx(true.mean(), rel=1e-9)
    assert distribution.scv == pytest.approx(true.var() / true.mean() ** 2, rel=1e-6)
    for p in PROBABILITIES:
        exact = true.isf(1 - p) if p > 0.5 else true.ppf(p)
        assert distribution.quantile(p) == pytest.approx(exact, rel=1e-10, abs=1e-290), p


@pytest.mark.parametrize("distribution", ONE_OF_EACH, ids=str)
def test_quantiles_rise_with_the_probability(distribution: Distribution) -> None:
    """A quantile function never falls, and is never negative."""
    values = [distribution.quantile(p) for p in (1e-300, *PROBABILITIES)]
    assert values == sorted(values)
    assert values[0] >= 0


@pytest.mark.parametrize("distribution", ONE_OF_EACH, ids=str)
@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1.5, math.nan, 95])
def test_a_probability_out_of_range_is_refused(distribution: Distribution, p: float) -> None:
    """A quantile is asked for between 0 and 1, both excluded: 95 is not 95 %."""
    with pytest.raises(InputError, match="between 0 and 1") as caught:
        distribution.quantile(p)
    assert caught.value.problems[0].where == f"{distribution.family}.quantile"


@pytest.mark.parametrize("distribution", ONE_OF_EACH, ids=str)
def test_scaling_changes_the_unit_and_not_the_shape(distribution: Distribution) -> None:
    """In milliseconds everything is a thousand times as large, and the variability is the same."""
    scaled = distribution.scaled(1000.0)
    assert type(scaled) is type(distribution)
    assert scaled.mean == pytest.approx(1000.0 * distribution.mean, rel=1e-14)
    assert scaled.scv == pytest.approx(distribution.scv, rel=1e-12)
    for p in (0.01, 0.5, 0.99):
        assert scaled.quantile(p) == pytest.approx(1000.0 * distribution.quantile(p), rel=1e-13)
    for factor in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="factor"):
            distribution.scaled(factor)


@pytest.mark.parametrize("distribution", ONE_OF_EACH, ids=str)
def test_a_distribution_is_a_frozen_value(distribution: Distribution) -> None:
    """Equal parameters make equal distributions, which can be keys and cannot be changed."""
    parameters = {name: getattr(distribution, name) for name in distribution.__match_args__}
    twin = type(distribution)(**parameters)
    assert twin == distribution
    assert hash(twin) == hash(distribution)
    assert len({*ONE_OF_EACH, twin}) == len(ONE_OF_EACH)
    with pytest.raises(FrozenInstanceError):
        distribution.mean = 1.0


def test_an_empirical_distribution_is_its_samples() -> None:
    """Mean and variance are exactly those of the samples, whatever their order and kind of number."""
    samples = [0.3, 0.1, 0.2, 0, np.float64(0.9)]
    distribution = Empirical(samples)
    assert distribution.mean == 0.3
    assert distribution.scv == pytest.approx(np.var(samples) / 0.09, rel=1e-14)
    assert distribution == Empirical(np.array(sorted(samples)))
    assert repr(distribution) == "Empirical(5 samples from 0.0 to 0.9)"
    assert Empirical([0.0, 0.0]).scv == 0.0


@pytest.mark.parametrize("count", [1, 3, 20, 100, 1000])
def test_an_empirical_quantile_is_the_sample_that_a_share_does_not_exceed(count: int) -> None:
    """quantile(k / n) of n samples is the k-th, although most decimal fractions are no exact floats."""
    distribution = Empirical([float(i) for i in range(1, count + 1)])
    for k in range(1, 100):
        assert distribution.quantile(k / 100) == math.ceil(k * count / 100 - 1e-9)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "1 to 1,000,000"),
        ("0.5", "list of numbers"),
        (3.0, "list of numbers"),
        ([0.1, -0.2], r"samples\[1\]: -0.2"),
        ([0.1, math.nan], r"samples\[1\]: nan"),
        ([0.1, math.inf], r"samples\[1\]: inf"),
        ([0.1, "0.2"], r"samples\[1\]: '0.2'"),
        ([0.1, True], r"samples\[1\]: True"),
        (range(1_000_001), "1,000,001 samples"),
    ],
    ids=[
        "none",
        "text",
        "number",
        "negative",
        "NaN",
        "infinite",
        "a text in it",
        "a boolean in it",
        "too many",
    ],
)
def test_samples_that_are_no_measurements_are_refused(samples: object, says: str) -> None:
    """A sample that is no finite number >= 0 is named by its position."""
    with pytest.raises(InputError, match=says):
        Empirical(samples)


def test_many_bad_samples_are_counted_not_all_listed() -> None:
    """A file full of NaN gives twenty problems and the number of the others."""
    with pytest.raises(InputError, match="480 more samples") as caught:
        Empirical([math.nan] * 500)
    assert len(caught.value.problems) == 21


@pytest.mark.parametrize(
    ("make", "wheres"),
    [
        (lambda: Constant(-1.0), ["constant.value"]),
        (lambda: Constant(math.nan), ["constant.value"]),
        (lambda: Exponential(0.0), ["exponential.mean"]),
        (lambda: Exponential(10**400), ["exponential.mean"]),
        (lambda: Exponential("fast"), ["exponential.mean"]),
        (lambda: Lognormal(-1.0, 11.0), ["lognormal.mean", "lognormal.cv"]),
        (lambda: Gamma(1.0, 0.0099), ["gamma.cv"]),
        (lambda: Weibull(1.0, math.inf), ["weibull.cv"]),
        (lambda: Pareto(True, 10.001), ["pareto.mean", "pareto.cv"]),
        (lambda: Uniform(-1.0, math.inf), ["uniform.low", "uniform.high"]),
        (lambda: Uniform(1.0, 1.0), ["uniform.high"]),
    ],
)
def test_parameters_out_of_range_are_refused_together(make: type[Distribution], wheres: list[str]) -> None:
    """Every parameter that is out of its range is named, with the range and what to write instead."""
    with pytest.raises(InputError) as caught:
        make()
    assert [problem.where for problem in caught.value.problems] == wheres


@given(st.floats(0.02, 0.99), st.floats(1e-6, 1e6), st.sampled_from(SHAPED))
def test_a_fit_to_mean_and_p95_is_exact(place: float, mean: float, family: type[Shaped]) -> None:
    """The fitted distribution has exactly the mean and the p95 that were asked for."""
    lightest, heaviest = family(1.0, 0.01).quantile(0.95), family(1.0, family.heaviest_cv).quantile(0.95)
    p95 = mean * (lightest + place * (heaviest - lightest))
    distribution = fitted(family.family, mean=mean, p95=p95)
    assert type(distribution) is family
    assert distribution.mean == mean
    assert distribution.quantile(0.95) == pytest.approx(p95, rel=1e-12)
    assert distribution.scv <= family.heaviest_cv**2


@pytest.mark.parametrize("family", SHAPED)
def test_no_cv_has_a_higher_p95_than_the_one_called_heaviest(family: type[Shaped]) -> None:
    """p95 / mean rises with the cv up to the heaviest one and never exceeds its value there."""
    highest = family(1.0, family.heaviest_cv).quantile(0.95)
    cvs = np.geomspace(0.01, 9.99, 60)
    ratios = [family(1.0, cv).quantile(0.95) for cv in cvs]
    assert max(ratios) <= highest
    rising = [ratio for cv, ratio in zip(cvs, ratios, strict=True) if cv <= family.heaviest_cv]
    assert rising == sorted(rising)


@pytest.mark.parametrize("family", SHAPED)
def test_the_feasible_range_of_a_fit_is_feasible_to_its_ends(family: type[Shaped]) -> None:
    """A ratio of p95 to mean just inside a family's range is fitted, and one just outside is refused."""
    low, high = family(1.0, 0.01).quantile(0.95), family(1.0, family.heaviest_cv).quantile(0.95)
    for ratio in (low * (1 + 1e-12), high * (1 - 1e-12)):
        assert fitted(family.family, mean=0.3, p95=0.3 * ratio).quantile(0.95) == pytest.approx(
            0.3 * ratio, rel=1e-12
        )
    for ratio in (low * (1 - 1e-9), high * (1 + 1e-9)):
        with pytest.raises(InputError, match="times its mean"):
            fitted(family.family, mean=0.3, p95=0.3 * ratio)


@given(st.floats(1e-6, 1e6))
def test_the_widest_uniform_begins_at_0(mean: float) -> None:
    """A p95 of 1.9 times the mean, or a cv of 1 / sqrt(3), is uniform from 0, whatever the rounding."""
    for widest in (fitted("uniform", mean=mean, p95=1.9 * mean), fitted("uniform", mean=mean, cv=3**-0.5)):
        assert isinstance(widest, Uniform)
        assert widest.low == 0.0
        assert widest.mean == pytest.approx(mean, rel=1e-14)
    narrow = fitted("uniform", mean=mean, p95=1.01 * mean)
    assert narrow.quantile(0.95) == pytest.approx(1.01 * mean, rel=1e-14)
    assert narrow.mean == pytest.approx(mean, rel=1e-14)


@pytest.mark.parametrize(
    ("family", "cv"), [*((f.family, 1.3) for f in SHAPED), ("uniform", 0.3), ("exponential", 1.0)]
)
def test_a_fit_to_mean_and_cv_has_both(family: str, cv: float) -> None:
    """With a mean and a cv nothing needs solving, and both are what was asked for."""
    distribution = fitted(family, mean=2.5, cv=cv)
    assert distribution.family == family
    assert distribution.mean == pytest.approx(2.5, rel=1e-14)
    assert distribution.scv == pytest.approx(cv * cv, rel=1e-14)


def test_families_of_fixed_shape_need_the_mean_only() -> None:
    """A constant and an exponential are their mean; a p95 or cv that agrees with it is accepted."""
    assert fitted("constant", mean=2) == fitted("constant", mean=2.0, p95=2.0) == Constant(2.0)
    assert fitted("constant", mean=2, cv=0) == Constant(2.0)
    assert (
        fitted("exponential", mean=2)
        == fitted("exponential", mean=2, p95=2 * math.log(20))
        == Exponential(2.0)
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"family": "lognormal", "p95": 4.0},
            r"4 times the mean.*1\.017 to 3\.868 times.*gamma or weibull can",
        ),
        ({"family": "gamma", "p95": 6.0}, r"1\.017 to 5\.827 times.*no family can"),
        ({"family": "weibull", "p95": 5.0}, r"1\.013 to 4\.674 times.*gamma can"),
        ({"family": "pareto", "p95": 3.0}, r"1\.02 to 2\.233 times.*gamma or lognormal or weibull can"),
        ({"family": "uniform", "p95": 2.0}, r"1 to 1\.9 times"),
        ({"family": "gamma", "p95": 1.001}, "a constant is less variable still"),
        ({"family": "gamma", "p95": 0.9}, r"1\.017 to 5\.827 times.*rare, huge values"),
        (
            {"family": "exponential", "p95": 2.0},
            r"always 2\.996 times the mean.*lognormal, gamma and weibull",
        ),
        ({"family": "exponential", "cv": 2.0}, "always 1 in this family"),
        ({"family": "constant", "p95": 1.1}, "always 1 times the mean"),
        ({"family": "uniform", "cv": 0.6}, r"to 0\.57735; lognormal"),
        ({"family": "gamma", "cv": 11}, "from 0.01 to 10"),
        ({"family": "gamma", "cv": -1}, "gamma.cv: -1"),
        ({"family": "gamma", "p95": math.nan}, "gamma.p95: nan"),
        ({"family": "gamma", "mean": 0, "cv": 1}, "gamma.mean: 0"),
        ({"family": "gamma"}, "give p95 or cv"),
        ({"family": "uniform"}, "give p95 or cv"),
        ({"family": "gamma", "p95": 2.0, "cv": 1.0}, "leave out this or cv"),
        ({"family": "log-normal", "cv": 1.0}, 'Did you mean "lognormal"'),
        ({"family": "empirical"}, "from its samples"),
    ],
)
def test_a_fit_that_cannot_be_says_what_can(arguments: dict[str, object], says: str) -> None:
    """A request that a family cannot meet is answered with its feasible range and a family that can."""
    with pytest.raises(InputError) as caught:
        fitted(**{"mean": 1.0, **arguments})
    assert len(caught.value.problems) == 1
    text = str(caught.value).replace("\n", " ")
    assert re.search(says, text), text


def test_importing_distributions_loads_numpy_and_no_scipy() -> None:
    """The engines import this at every start, so it stays as light as numpy."""
    code = "import sys, qtune.distributions; print({'scipy', 'pandas', 'numba', 'yaml'} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "set()"
