"""Values from quantile tables in plain Python: 64 random bits in, a value of the distribution out."""

from __future__ import annotations

from collections.abc import Callable

from qtune.distributions import CELLS_LOG2, OCTAVES
from qtune.engine.plan import CONSTANT, STEPS, Floats
from qtune.engine.streams import MASK64

_TO_FRACTION = 2.0**-53


def quantile_function(kind: int, values: Floats) -> Callable[[int], float]:
    """Map 64 random bits to a value of the distribution behind a quantile table."""
    table: list[float] = values.tolist()
    if kind == CONSTANT:
        only = table[0]
        return lambda z: only
    if kind == STEPS:
        count = len(table)
        return lambda z: table[((z >> 32) * count) >> 32]

    def smooth(z: int) -> float:
        y = ((z << 1) & MASK64) | 1
        octave = min(64 - y.bit_length(), OCTAVES - 1)
        w = ((y << octave) << 1) & MASK64
        f = (((w << CELLS_LOG2) & MASK64) >> 11) * _TO_FRACTION
        i = ((((z >> 63) * OCTAVES + octave) << CELLS_LOG2) + (w >> (64 - CELLS_LOG2))) << 2
        return ((table[i + 3] * f + table[i + 2]) * f + table[i + 1]) * f + table[i]

    return smooth
