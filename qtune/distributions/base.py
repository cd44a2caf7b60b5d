"""What every distribution of a duration, a size or a gap can do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import lru_cache
from numbers import Real
from typing import ClassVar

from qtune.distributions.tables import QuantileTable
from qtune.errors import InputError, Problem, text_of

LARGEST = 1e100  # far beyond any quantity of a queue, and far from where a square overflows
SMALLEST = 1e-100


class Distribution(ABC):
    """The law of a random quantity that is never negative: its mean, its variability and its quantiles.

    family: the name under which a scenario asks for it.
    mean: in the unit of the quantity (seconds, bytes, ...), which a distribution neither knows nor changes.
    scv: the squared coefficient of variation, variance / mean**2, which is what queueing formulas ask for.
    Two distributions are equal when they are of one family and have equal parameters.
    """

    family: ClassVar[str]
    mean: float
    scv: float

    def quantile(self, p: float) -> float:
        """The value that a share p of all draws does not exceed, for 0 < p < 1; InputError outside."""
        if not 0.0 < p < 1.0:
            message = "a quantile is asked for at a probability between 0 and 1, both excluded"
            raise InputError(Problem(where=f"{self.family}.quantile", value=repr(p), message=message))
        return self._quantile(float(p))

    def table(self) -> QuantileTable:
        """The numbers that engines draw from; equal distributions share one table, made on the first call."""
        return _table(self)

    @abstractmethod
    def scaled(self, factor: float) -> Distribution:
        """The distribution of factor times this quantity: the same shape, another mean."""

    @abstractmethod
    def _quantile(self, p: float) -> float:
        """``quantile`` for a probability that is known to be between 0 and 1."""

    @abstractmethod
    def _make_table(self) -> QuantileTable:
        """``table`` without the cache."""


def check(family: str, **parameters: tuple[object, float, float, str]) -> tuple[float, ...]:
    """The parameters as floats, or one InputError that names all of them that are out of their range.

    Each is (value, lowest, highest, hint); the hint says what to write instead, and may be "".
    """
    problems = []
    checked = []
    for name, (value, low, high, hint) in parameters.items():
        number = _as_float(value) + 0.0  # which turns -0.0 into 0.0
        checked.append(number)
        if not low <= number <= high:
            message = f"must be a number from {low:g} to {high:g}{'; ' if hint else ''}{hint}"
            problems.append(Problem(where=f"{family}.{name}", value=text_of(value), message=message))
    if problems:
        raise InputError(problems)
    return tuple(checked)


def scale_factor(factor: float) -> float:
    """The factor of ``scaled``, or an InputError: scaling keeps a quantity finite and not negative."""
    return check("scaled", factor=(factor, SMALLEST, LARGEST, ""))[0]


def complete(record: Distribution, **fields: object) -> None:
    """Complete a frozen record while it is being made."""
    for name, value in fields.items():
        object.__setattr__(record, name, value)


def _as_float(value: object) -> float:
    """The number as a float; NaN, which is in no range, for what is none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf  # too large for a float, of either sign, is out of every range


@lru_cache(maxsize=128)
def _table(distribution: Distribution) -> QuantileTable:
    return distribution._make_table()
