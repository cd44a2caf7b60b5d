"""Quantile tables: a distribution as numbers, so that a draw needs no log, exp or division.

A draw is a pure function of one 64-bit integer z, the same bits in every language and on every platform. A
table of a smooth distribution has 2 sides (below and above the median), each cut into octaves (the distance v
to the nearer end of [0, 1] in [1/4, 1/2), [1/8, 1/4), ...), each octave into equal cells, and in each cell
the quantile is a cubic in the fraction f of the cell. Octaves make both tails as exact as the middle: v goes
down to 2**-53.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qtune.exactmath import Array

CONSTANT = 0
SMOOTH = 1
STEPS = 2

OCTAVES = 52
CELLS_LOG2 = 5
CELLS = 1 << CELLS_LOG2

_M64 = (1 << 64) - 1
_SHARES = (1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 7)  # the integrals of f**0 .. f**6 over a cell


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantileTable:
    """One distribution, ready to draw from.

    kind: CONSTANT, SMOOTH or STEPS.
    values: float64, one-dimensional, read-only, because tables are shared between all who ask for them.
        CONSTANT: the one value. STEPS: the sorted samples. SMOOTH: the cubics, flattened from the shape
        (2 sides, OCTAVES, CELLS, 4 coefficients); coefficient i belongs to f**i.
    """

    kind: int
    values: Array

    def __post_init__(self) -> None:
        self.values.setflags(write=False)

    @cached_property
    def numbers(self) -> list[float]:
        """The values as Python floats, which plain Python reads several times faster than numpy's."""
        numbers: list[float] = self.values.tolist()
        return numbers

    def moments(self) -> tuple[float, float]:
        """The mean and the mean square of what is drawn from this table, integrated exactly cell by cell.

        The mean square of a heavy tail is less than the distribution's own, because no draw comes from beyond
        a probability of 2**-53.
        """
        if self.kind != SMOOTH:
            count = len(self.values)
            return math.fsum(self.numbers) / count, math.fsum(x * x for x in self.numbers) / count
        cells = self.values.reshape(2, OCTAVES, CELLS, 4)
        octave = np.arange(OCTAVES, dtype=np.int32)
        # Half of the draws of a side fall in octave 0, a quarter in octave 1, ...; the last takes the rest.
        share = np.ldexp(1.0, -np.minimum(octave + 1, OCTAVES - 1)) / (2 * CELLS)
        mean = sum(cells[..., i] * _SHARES[i] for i in range(4))
        square = sum(cells[..., i] * cells[..., j] * _SHARES[i + j] for i in range(4) for j in range(4))
        weight = share[None, :, None]
        return math.fsum((mean * weight).ravel().tolist()), math.fsum((square * weight).ravel().tolist())

    def scaled(self, factor: float) -> QuantileTable:
        """The table of factor times this distribution."""
        return QuantileTable(kind=self.kind, values=self.values * factor)


def draw(table: QuantileTable, z: int) -> float:
    """The draw that belongs to z, an integer of 64 random bits; compiled engines do the very same.

    SMOOTH: the top bit of z chooses the side; the leading zeros of the other 63 choose the octave; the bits
    after the first 1 choose the cell and the place in it. A 1 is appended, so that there is always a first 1.
    """
    values = table.numbers
    if table.kind == CONSTANT:
        return values[0]
    if table.kind == STEPS:
        return values[((z >> 32) * len(values)) >> 32]
    side = z >> 63
    y = ((z << 1) & _M64) | 1
    octave = min(64 - y.bit_length(), OCTAVES - 1)
    w = ((y << octave) << 1) & _M64  # without its leading 1
    cell = w >> (64 - CELLS_LOG2)
    f = (((w << CELLS_LOG2) & _M64) >> 11) * 2.0**-53
    i = (((side * OCTAVES + octave) << CELLS_LOG2) + cell) << 2
    return ((values[i + 3] * f + values[i + 2]) * f + values[i + 1]) * f + values[i]


def smooth_table(lower: Callable[[Array], Array], upper: Callable[[Array], Array]) -> QuantileTable:
    """The table of a distribution with a smooth quantile function.

    lower(v) is the quantile of v and upper(v) that of 1 - v, for arrays of v in (0, 1/2]; two functions,
    because 1 - v has forgotten most digits of a small v. Each cell is the cubic through four Chebyshev
    points. In the steepest cell there is, of gamma with a cv of 10, the quantile grows 22-fold, and the cubic
    still rises with it and stays positive; a family that is steeper needs another way.
    """
    far = math.sqrt(2.0 + math.sqrt(2.0)) / 4.0  # cos(pi/8) / 2
    near = math.sqrt(2.0 - math.sqrt(2.0)) / 4.0  # cos(3 pi/8) / 2
    nodes = (0.5 - far, 0.5 - near, 0.5 + near, 0.5 + far)
    start = np.ldexp(1.0, -(np.arange(OCTAVES, dtype=np.int32) + 2))[:, None]
    width = start / CELLS
    start = start + width * np.arange(CELLS)
    cells = np.empty((2, OCTAVES, CELLS, 4))
    for side, quantile in enumerate((lower, upper)):
        at = quantile(np.stack([start + width * node for node in nodes]).ravel()).reshape(4, OCTAVES, CELLS)
        cells[side] = _through(nodes, at)
    return QuantileTable(kind=SMOOTH, values=cells.ravel())


def _through(nodes: tuple[float, float, float, float], at: Array) -> Array:
    """The coefficients of the cubics through four points, by Newton's divided differences."""
    x0, x1, x2, x3 = nodes
    d01, d12, d23 = (at[1] - at[0]) / (x1 - x0), (at[2] - at[1]) / (x2 - x1), (at[3] - at[2]) / (x3 - x2)
    d012, d123 = (d12 - d01) / (x2 - x0), (d23 - d12) / (x3 - x1)
    cubic = (d123 - d012) / (x3 - x0)
    # Newton's form a + (f - x0) (b + (f - x1) (c + (f - x2) d)), multiplied out from the inside.
    c2, c1 = cubic, d012 - cubic * x2
    c2, c1, c0 = c2, c1 - c2 * x1, d01 - c1 * x1
    return np.stack([at[0] - c0 * x0, c0 - c1 * x0, c1 - c2 * x0, c2], axis=-1)
