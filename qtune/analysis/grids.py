"""Distributions as a few equally likely values: from below for bounds, from the middle for approximations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from qtune.analysis.intervals import Floats
from qtune.distributions import Distribution

_VALUES = 128
_SMALLEST = 1e-12


@lru_cache(maxsize=1024)
def low_grid(distribution: Distribution, largest_of: int = 1) -> Floats:
    """128 equally likely values from below, of a distribution or of the largest of several draws from it.

    Each is the quantile at the lower end of its share, so what is computed from them errs to the low side.
    """
    shares = (np.arange(_VALUES) / _VALUES) ** (1.0 / largest_of)
    values = np.array([distribution.quantile(max(float(share), _SMALLEST)) for share in shares])
    values.flags.writeable = False
    return values


@lru_cache(maxsize=1024)
def middle_grid(distribution: Distribution) -> Floats:
    """128 equally likely values, each the quantile in the middle of its share; read-only."""
    values = np.array([distribution.quantile((i + 0.5) / _VALUES) for i in range(_VALUES)])
    values.flags.writeable = False
    return values


@lru_cache(maxsize=1024)
def low_grid_of_parts(*parts: Distribution) -> Floats:
    """A low grid of the sum of one value of each distribution."""
    total = low_sum([low_grid(part) for part in parts])
    total.flags.writeable = False
    return total


@lru_cache(maxsize=1024)
def low_grid_of_sum(distribution: Distribution, count: int) -> Floats:
    """A low grid of the sum of ``count`` independent values, at least one."""
    if count == 1:
        return low_grid(distribution)
    half = low_grid_of_sum(distribution, count // 2)
    total = low_sum([half, half, *([low_grid(distribution)] if count % 2 else [])])
    total.flags.writeable = False
    return total


def low_sum(parts: Sequence[Floats]) -> Floats:
    """A low grid of a sum of independent parts, each given as one."""
    total = parts[0]
    for part in parts[1:]:
        spread = np.sort(np.add.outer(total, part), axis=None)
        total = spread[:: spread.size // _VALUES]  # the lowest of each share again
    return total.copy()


def low_sum_quantile(parts: Sequence[Floats], p: float) -> float:
    """A lower bound of the ``p`` quantile of a sum of independent parts, each given as a low grid."""
    total = low_sum(parts)
    return float(total[max(math.ceil(p * total.size) - 1, 0)])
