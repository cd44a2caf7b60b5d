"""Distributions of durations, sizes and gaps: their moments, quantiles, and the tables engines draw from.

>>> round(fitted("lognormal", mean=0.1, p95=0.3).quantile(0.95), 12)
0.3

See ``families`` for what each family is for, ``tables`` for what a draw is.
"""

from qtune.distributions.base import Distribution
from qtune.distributions.discrete import Constant, Empirical
from qtune.distributions.families import (
    Exponential,
    Gamma,
    Lognormal,
    Pareto,
    Uniform,
    Weibull,
)
from qtune.distributions.fitting import FITTED_FAMILIES, fitted
from qtune.distributions.tables import (
    CELLS_LOG2,
    CONSTANT,
    OCTAVES,
    SMOOTH,
    STEPS,
    QuantileTable,
    draw,
)

__all__ = [
    "CELLS_LOG2",
    "CONSTANT",
    "FITTED_FAMILIES",
    "OCTAVES",
    "SMOOTH",
    "STEPS",
    "Constant",
    "Distribution",
    "Empirical",
    "Exponential",
    "Gamma",
    "Lognormal",
    "Pareto",
    "QuantileTable",
    "Uniform",
    "Weibull",
    "draw",
    "fitted",
]
