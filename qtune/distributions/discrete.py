"""Distributions that take a finite number of values: one, or those that were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

import numpy as np

from qtune.distributions.base import LARGEST, Distribution, check, complete, scale_factor
from qtune.distributions.tables import CONSTANT, STEPS, QuantileTable
from qtune.errors import InputError, Problem, text_of

MOST_SAMPLES = 1_000_000
_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Constant(Distribution):
    """Always the same value, 0 included."""

    family: ClassVar[str] = "constant"
    value: float
    mean: float = field(init=False, repr=False, compare=False)
    scv: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        (value,) = check(self.family, value=(self.value, 0.0, LARGEST, ""))
        complete(self, value=value, mean=value, scv=0.0)

    def scaled(self, factor: float) -> Constant:
        return Constant(value=self.value * scale_factor(factor))

    def _quantile(self, p: float) -> float:
        return self.value

    def _make_table(self) -> QuantileTable:
        return QuantileTable(kind=CONSTANT, values=np.array([self.value]))


@dataclass(frozen=True, repr=False)
class Empirical(Distribution):
    """What was measured: each sample is as likely as any other, and nothing else ever occurs.

    samples: one to a million numbers >= 0, in any order; they are kept sorted, so equal sets are equal.
    quantile(p) is the smallest sample that a share p of the samples does not exceed; p counts as the decimal
    number it is written as, so that quantile(0.07) of 100 samples is the 7th.
    A draw gives each sample a probability within 2**-32 of 1 / len(samples).
    """

    family: ClassVar[str] = "empirical"
    samples: Sequence[float]
    mean: float = field(init=False, compare=False)
    scv: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        samples = _checked_samples(self.samples)
        mean = math.fsum(samples) / len(samples)
        scv = 0.0
        if mean > 0.0:  # by ratios to the mean, as the squares of very small samples underflow
            ratios = (x / mean - 1.0 for x in samples)
            scv = math.fsum(ratio * ratio for ratio in ratios) / len(samples)
        complete(self, samples=samples, mean=mean, scv=scv)

    def __repr__(self) -> str:
        return f"Empirical({len(self.samples):,} samples from {self.samples[0]!r} to {self.samples[-1]!r})"

    def scaled(self, factor: float) -> Empirical:
        factor = scale_factor(factor)
        return Empirical(samples=tuple(x * factor for x in self.samples))

    def _quantile(self, p: float) -> float:
        return self.samples[math.ceil(Fraction(repr(p)) * len(self.samples)) - 1]

    def _make_table(self) -> QuantileTable:
        return QuantileTable(kind=STEPS, values=np.array(self.samples))


def _checked_samples(samples: object) -> tuple[float, ...]:
    where = "empirical.samples"
    if isinstance(samples, str) or not isinstance(samples, Sequence | np.ndarray):
        message = "must be a list of numbers, the measured values"
        raise InputError(Problem(where=where, value=text_of(samples), message=message))
    if not 1 <= len(samples) <= MOST_SAMPLES:
        message = (
            f"must be 1 to {MOST_SAMPLES:,} numbers; take every n-th of the sorted values if there are more"
        )
        raise InputError(Problem(where=where, value=f"{len(samples):,} samples", message=message))
    if all(type(sample) is float and 0.0 < sample <= LARGEST for sample in samples):
        return tuple(sorted(samples))  # the usual case, and a million of them: not worth a call each
    checked: list[float] = []
    problems: list[Problem] = []
    for i, sample in enumerate(samples):
        try:
            checked += check("empirical", **{f"samples[{i}]": (sample, 0.0, LARGEST, "leave it out")})
        except InputError as error:
            problems += error.problems
    if len(problems) > _MOST_PROBLEMS:
        rest = f"{len(problems) - _MOST_PROBLEMS:,} more samples"
        problems[_MOST_PROBLEMS:] = [Problem(where=where, value=rest, message="are wrong in the same way")]
    if problems:
        raise InputError(problems)
    return tuple(sorted(checked))
