"""Quantile tables: as exact as promised, in both tails, for every family and every supported parameter."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtune.distributions import (
    CELLS_LOG2,
    CONSTANT,
    OCTAVES,
    SMOOTH,
    STEPS,
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Gamma,
    Lognormal,
    Pareto,
    Uniform,
    Weibull,
    draw,
)
from qtune.exactmath import Array

CELLS = 1 << CELLS_LOG2
CVS = [0.01, 0.05, 0.2, 0.7, 1.0, 1.5, 2.0, 2.9, 4.0, 5.0, 7.0, 8.7, 10.0]
SMOOTH_ONES: list[Distribution] = [
    Exponential(0.02),
    Uniform(0.0, 3.0),
    Uniform(7.0, 7.5),
    *(family(0.02, cv) for family in (Gamma, Lognormal, Pareto, Weibull) for cv in CVS),
]
HARD_GAMMA_CV = 2.9
Z = st.integers(0, 2**64 - 1)


def probability(z: int) -> tuple[int, Fraction]:
    """The side of z, and exactly how far from the near end of [0, 1] its draw is, by bits alone."""
    bits = f"{z:064b}1"
    zeros = min(bits.index("1", 1) - 1, OCTAVES - 1)
    rest = bits[zeros + 2 :][: CELLS_LOG2 + 53]
    return int(bits[0]), (1 + Fraction(int(rest, 2), 2 ** len(rest))) / 2 ** (zeros + 2)


def exact(distribution: Distribution, side: int, v: Array) -> Array:
    """The quantiles of v (side 0) or of 1 - v (side 1), which 1 - v itself would round away."""
    scale = 1.0 if isinstance(distribution, Uniform) else distribution.mean
    return (distribution._upper if side else distribution._lower)(v.ravel()).reshape(v.shape) * scale


def allowed(distribution: Distribution, true: Array) -> Array:
    """The largest error that the manual permits where the quantile is ``true``."""
    hard = isinstance(distribution, Gamma) and distribution.cv > HARD_GAMMA_CV
    return 1e-6 * np.maximum(true, distribution.mean / 20 if hard else 0.0)


ODD_ONES = [0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1]
POWERS = [side + (1 << k) + low for side in (0, 2**63) for k in range(63) for low in (-1, 0, 1)]
RANDOM_ONES = np.random.default_rng(7).integers(0, 2**64, 1000, dtype=np.uint64).tolist()


@pytest.mark.parametrize("distribution", SMOOTH_ONES, ids=str)
def test_a_draw_is_the_quantile_to_1e_6_in_both_tails(distribution: Distribution) -> None:
    """At random bits and at the ends of all octaves a draw is the quantile of the probability they name."""
    table = distribution.table()
    assert table.kind == SMOOTH
    named = [(z, *probability(z)) for z in (*ODD_ONES, *POWERS, *RANDOM_ONES)]
    for side in (0, 1):
        zs, vs = zip(*((z, float(v)) for z, s, v in named if s == side and v < Fraction(1, 2)), strict=True)
        true = exact(distribution, side, np.array(vs))
        drawn = np.array([draw(table, z) for z in zs])
        assert np.all(np.abs(drawn - true) <= allowed(distribution, true))


@pytest.mark.parametrize("distribution", SMOOTH_ONES, ids=str)
def test_every_cell_of_a_table_is_the_quantile_to_1e_6(distribution: Distribution) -> None:
    """Each of the cubics is within the promised error on a grid that includes both of its ends."""
    f = np.linspace(0.0, 1.0, 9)
    octave = np.arange(OCTAVES)[:, None, None]
    v = np.ldexp(1 + (np.arange(CELLS)[:, None] + f) / CELLS, -(octave + 2))
    cells = distribution.table().values.reshape(2, OCTAVES, CELLS, 4, 1)
    for side in (0, 1):
        c = np.moveaxis(cells[side], -2, 0)
        drawn = ((c[3] * f + c[2]) * f + c[1]) * f + c[0]
        true = exact(distribution, side, v)
        assert np.all(np.abs(drawn - true) <= allowed(distribution, true))
        assert np.all(drawn >= 0.0)
        rise = np.diff(drawn, axis=-1) * (-1 if side else 1)
        assert np.all(rise >= -1e-15 * drawn[..., 1:])


@given(Z)
def test_the_bits_of_z_name_the_side_the_octave_and_the_cell(z: int) -> None:
    """For a uniform law on [0, 1] the draw is the probability itself, so z is read as the manual says."""
    side, v = probability(z)
    true = 1 - v if side else v
    assert draw(Uniform(0.0, 1.0).table(), z) == pytest.approx(float(true), rel=1e-15)


@given(Z, Z, st.sampled_from(SMOOTH_ONES))
def test_draws_order_as_their_probabilities_do(z1: int, z2: int, distribution: Distribution) -> None:
    """The same z is a small or a large draw in every distribution, so runs with common numbers are paired."""
    (side1, v1), (side2, v2) = probability(z1), probability(z2)
    p1, p2 = (1 - v if side else v for side, v in ((side1, v1), (side2, v2)))
    low, high = (draw(distribution.table(), z) for z in ((z1, z2) if p1 <= p2 else (z2, z1)))
    assert low <= high + allowed(distribution, np.array(high))


@pytest.mark.parametrize("distribution", SMOOTH_ONES, ids=str)
def test_the_mean_of_a_table_is_the_mean_that_was_asked_for(distribution: Distribution) -> None:
    """No load is trimmed: integrated over all cells, a table has its distribution's mean to 1e-8."""
    mean, square = distribution.table().moments()
    assert mean == pytest.approx(distribution.mean, rel=1e-8)
    true_square = distribution.mean**2 * (1 + distribution.scv)
    if isinstance(distribution, Pareto):
        exponent = 1 + math.sqrt(1 + 1 / distribution.cv**2)
        beyond = 2.0 ** (-53 * (1 - 2 / exponent))  # the share of the mean square beyond probability 2**-53
        assert (1 - beyond) * (1 - 1e-8) <= square / true_square <= 1 + 1e-8
    else:
        assert square == pytest.approx(true_square, rel=3e-5)


@pytest.mark.parametrize("distribution", [Exponential(3.0), Lognormal(3.0, 0.4), Weibull(3.0, 2.0)], ids=str)
def test_the_moments_of_a_table_are_those_of_its_draws(distribution: Distribution) -> None:
    """The average of many draws is the table's mean, and that of their squares its mean square."""
    n = 1 << 14
    step = 2**64 // n
    table = distribution.table()
    draws = np.array([draw(table, i * step + step // 2) for i in range(n)])
    mean, square = table.moments()
    # Midpoints of equal probability leave out only what the last interval of each tail varies.
    tail = distribution.quantile(1 - 0.5 / n)
    assert abs(draws.mean() - mean) < 2 * tail / n
    assert abs((draws * draws).mean() - square) < 4 * tail * tail / n


@given(Z, st.floats(0.0, 1e9))
def test_a_constant_draws_its_value(z: int, value: float) -> None:
    """A constant is the same value whatever the bits."""
    table = Constant(value).table()
    assert (table.kind, draw(table, z)) == (CONSTANT, value)
    assert table.moments() == (value, value * value)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_an_empirical_table_draws_each_sample_equally_often(count: int) -> None:
    """Each sample's share of all z is within 2**-32 of 1 / n, and the table's mean is that of the samples."""
    samples = [float((17 * i) % count) for i in range(count)]
    table = Empirical(samples).table()
    assert table.kind == STEPS
    assert table.moments()[0] == Empirical(samples).mean == (count - 1) / 2
    for k in range(count):
        first = -(-(k << 32) // count)  # the first of the 2**32 upper halves that gives sample k
        assert draw(table, first << 32) == k
        assert draw(table, (first << 32) + 2**32 - 1) == k
        if k:
            assert draw(table, (first << 32) - 1) == k - 1
    assert draw(table, 2**64 - 1) == count - 1


@given(Z, st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_an_empirical_draw_is_one_of_the_samples(z: int, samples: list[float]) -> None:
    """Resampling invents nothing: every draw is a measured value, to the bit."""
    assert draw(Empirical(samples).table(), z) in samples


@pytest.mark.parametrize("distribution", [Lognormal(0.3, 1.0), Constant(1.0), Empirical([1.0, 2.0])], ids=str)
def test_equal_distributions_share_one_table_that_nobody_can_change(distribution: Distribution) -> None:
    """Ten thousand consumers with one service time cost one table, read-only because it is shared."""
    twin = distribution.scaled(2.0).scaled(0.5)
    assert twin.table() is distribution.table()
    values = distribution.table().values
    assert (values.dtype, values.ndim, values.flags.writeable) == (np.float64, 1, False)
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0.0


def test_a_smooth_table_has_the_size_that_engines_index() -> None:
    """The array of a smooth table is 2 sides of 52 octaves of cells of 4 coefficients."""
    assert len(Exponential(1.0).table().values) == 2 * 52 * CELLS * 4
    assert OCTAVES == 52


def test_the_largest_and_smallest_means_lose_nothing() -> None:
    """A mean of 1e-100 or 1e100 gives the same shape as a mean of 1."""
    for mean in (1e-100, 1e100):
        for z in (1, 2**62, 2**63 - 1, 2**64 - 1, 2**63 + 1):
            same = draw(Lognormal(1.0, 10.0).table(), z) * mean
            assert draw(Lognormal(mean, 10.0).table(), z) == pytest.approx(same, rel=1e-14)
