"""The ways to write a random time: a family with its parameters, measured samples, or a trace's own hints."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from qtune.distributions import Constant, Distribution, Empirical, Exponential, Uniform, fitted
from qtune.errors import InputError
from qtune.records import (
    NumberOrZero,
    PositiveSeconds,
    Record,
    Seconds,
    Text,
    base_folder,
    one_of,
    refuse,
    refuse_file,
    wrong_at,
)
from qtune.traces import find_trace, read_column


class TimeShape(Record):
    """A random time in one of the forms below; ``distribution`` is what everything else computes with."""

    family: str

    @abstractmethod
    def distribution(self) -> Distribution:
        """The distribution of this time, in seconds."""

    def scaled(self, factor: float) -> TimeShape:
        """The same shape, each time ``factor`` times as long."""
        changed = {name: getattr(self, name) for name in self.model_fields_set}
        for name, value in changed.items():
            if isinstance(value, float) and name.endswith("_s"):
                changed[name] = value * factor
            elif isinstance(value, tuple):
                changed[name] = tuple(sample * factor for sample in value)
        return type(self)(**changed)


class ConstantTime(TimeShape):
    """Always the same time."""

    family: Literal["constant"] = "constant"
    mean_s: Seconds

    def distribution(self) -> Distribution:
        """The distribution of this time, in seconds."""
        return Constant(value=self.mean_s)


class UniformTime(TimeShape):
    """Any time between low and high, all equally likely."""

    family: Literal["uniform"] = "uniform"
    low_s: Seconds
    high_s: PositiveSeconds

    @model_validator(mode="after")
    def _ordered(self) -> UniformTime:
        if self.low_s >= self.high_s:
            raise refuse(f"low ({self.low_s:g}s) must be less than high ({self.high_s:g}s)")
        return self

    def distribution(self) -> Distribution:
        """The distribution of this time, in seconds."""
        return Uniform(low=self.low_s, high=self.high_s)


class ExponentialTime(TimeShape):
    """A memoryless time: its coefficient of variation is 1 and its p95 is 3.0 times its mean."""

    family: Literal["exponential"] = "exponential"
    mean_s: PositiveSeconds

    def distribution(self) -> Distribution:
        """The distribution of this time, in seconds."""
        return Exponential(mean=self.mean_s)


class FittedTime(TimeShape):
    """A family fixed by its mean and either its coefficient of variation ``cv`` or its 95th percentile."""

    family: Literal["lognormal", "gamma", "weibull", "pareto"]
    mean_s: PositiveSeconds
    cv: NumberOrZero | None = None
    p95_s: PositiveSeconds | None = None

    @model_validator(mode="after")
    def _fits(self) -> FittedTime:
        if (self.cv is None) == (self.p95_s is None):
            given = "neither" if self.cv is None else "both"
            raise refuse(f"{self.family} needs a mean and one of cv or p95; {given} of the two is given")
        try:
            self.distribution()
        except InputError as error:
            problem, name = error.problems[0], "cv" if self.p95_s is None else "p95_s"
            raise wrong_at((name,), getattr(self, name), problem.message, problem.source) from None
        return self

    def distribution(self) -> Distribution:
        """The distribution of this time, in seconds."""
        return _fitted(self.family, self.mean_s, self.cv, self.p95_s)


class EmpiricalTime(TimeShape):
    """Measured times, each as likely as the next: ``samples`` in place, or a ``column`` of seconds in a CSV
    file."""

    family: Literal["empirical"] = "empirical"
    samples_s: Annotated[tuple[Seconds, ...], Field(min_length=1)] | None = None
    file: Text | None = None
    column: Text | None = None

    @field_validator("file")
    @classmethod
    def _found(cls, file: str | None, info: ValidationInfo) -> str | None:
        return None if file is None else find_trace(file, base_folder(info))

    @model_validator(mode="after")
    def _one_source(self) -> EmpiricalTime:
        if (self.samples_s is None) == (self.file is None) or (self.file is None) != (self.column is None):
            raise refuse("empirical needs either samples, or a file and the column of it that holds seconds")
        try:
            self.distribution()
        except InputError as error:
            raise refuse_file(error) from None
        return self

    def distribution(self) -> Distribution:
        """The distribution of this time, in seconds."""
        if self.samples_s is not None:
            return Empirical(samples=self.samples_s)
        assert self.file is not None
        assert self.column is not None
        return Empirical(samples=read_column(self.file, self.column))


class HintsTime(Record):
    """Each message's own work, from the trace's service_hint column, scaled so that the trace's mean is
    ``mean``."""

    family: Literal["hints"] = "hints"
    mean_s: PositiveSeconds


@lru_cache(maxsize=256)
def _fitted(family: str, mean_s: float, cv: float | None, p95_s: float | None) -> Distribution:
    return fitted(family, mean=mean_s, cv=cv, p95=p95_s)


FORMS: dict[str, type[Record]] = {
    "constant": ConstantTime,
    "uniform": UniformTime,
    "exponential": ExponentialTime,
    "lognormal": FittedTime,
    "gamma": FittedTime,
    "weibull": FittedTime,
    "pareto": FittedTime,
    "empirical": EmpiricalTime,
}
"""The forms of a random time by the name of the family."""

RandomTime = Annotated[SerializeAsAny[TimeShape], one_of("family", FORMS)]
ServiceTime = Annotated[
    SerializeAsAny[TimeShape | HintsTime], one_of("family", {**FORMS, "hints": HintsTime})
]
