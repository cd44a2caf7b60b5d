"""Targets: what a setting must achieve, written as ``p95=500ms,throughput=1000/s`` or by the name of a
profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from qtune.errors import InputError, Problem, UnitError, did_you_mean, text_of
from qtune.units import (
    format_duration,
    format_fraction,
    format_rate,
    format_usd,
    parse_duration,
    parse_fraction,
    parse_rate,
)

Sense = Literal["at most", "at least"]
Unit = Literal["s", "per_s", "fraction", "usd_per_month", "per_day"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """Something a target can bound. not_evaluated: why no run can tell, or None if it can."""

    name: str
    meaning: str
    sense: Sense
    unit: Unit
    example: str
    not_evaluated: str | None = None


_ROWS: tuple[tuple[str, Sense, Unit, str, str], ...] = (
    ("p50", "at most", "s", "100ms", "median end-to-end latency"),
    ("p95", "at most", "s", "500ms", "95th percentile of end-to-end latency"),
    ("p99", "at most", "s", "1s", "99th percentile of end-to-end latency"),
    ("throughput", "at least", "per_s", "1000/s", "completed messages"),
    ("error_rate", "at most", "fraction", "0.1%", "share of handled deliveries that fail"),
    ("duplicates", "at most", "fraction", "1%", "deliveries beyond one for each message, by messages"),
    ("dead_letters", "at most", "fraction", "0", "share of messages that are dead-lettered"),
    ("utilization", "at most", "fraction", "80%", "busy share of the workers' time"),
    ("cpu", "at most", "fraction", "70%", "share of the cores' time that the client's own work takes"),
    ("cost", "at most", "usd_per_month", "500USD/month", "provider and consumer instances"),
    ("api_call", "at most", "s", "50ms", "mean time of a call to the broker, without waiting for messages"),
    ("batch_efficiency", "at least", "fraction", "90%", "messages in a batch call, of the most it can hold"),
    ("memory", "at most", "fraction", "80%", "used share of the memory"),
    ("sustained", "at least", "s", "1h", "how long the throughput holds"),
    ("availability", "at least", "fraction", "99.9%", "share of time in service"),
    ("circuit_breaker", "at most", "per_day", "1/d", "openings of a circuit breaker"),
    ("connection_pool", "at least", "fraction", "95%", "connections that a pool hands out again"),
)
_NOT_EVALUATED: Mapping[str, str] = {
    "memory": "there is no model of memory but for messages in hand, which consumers.memory_limit bounds",
    "sustained": "it is the length of the run: simulate with at least this horizon",
    "availability": "it depends on the real system around the queue, which is not simulated",
    "circuit_breaker": "it depends on the faults of a day: breaker_openings of a summary are those of a run",
    "connection_pool": "the simulated client has no connection pool",
}
METRICS: Mapping[str, Metric] = {
    name: Metric(
        name=name,
        meaning=meaning,
        sense=sense,
        unit=unit,
        example=example,
        not_evaluated=_NOT_EVALUATED.get(name),
    )
    for name, sense, unit, example, meaning in _ROWS
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A bound on one metric, at most or at least; what equals the bound meets it."""

    metric: str
    bound: float

    @property
    def sense(self) -> Sense:
        """Whether the bound is the most or the least."""
        return METRICS[self.metric].sense

    @property
    def unit(self) -> Unit:
        """The unit of the bound."""
        return METRICS[self.metric].unit

    @property
    def not_evaluated(self) -> str | None:
        """Why no run can tell whether this is met, or None if it can."""
        return METRICS[self.metric].not_evaluated

    def is_met(self, value: float) -> bool | None:
        """Whether a measured value meets the bound; None if it is NaN, so not known."""
        if math.isnan(value):
            return None
        return value <= self.bound if self.sense == "at most" else value >= self.bound

    def shown(self, value: float) -> str:
        """A value of the metric as text, in the unit of the bound."""
        return _FORMATS[self.unit](value)

    def __str__(self) -> str:
        sign = "<=" if self.sense == "at most" else ">="
        return f"{self.metric} {sign} {self.shown(self.bound)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """Several targets that must all be met, one for each metric, in the order they were given."""

    items: tuple[Target, ...]
    profile: str | None = None

    @classmethod
    def parse(cls, texts: str | Iterable[str]) -> Targets:
        """The targets in "p95=500ms,throughput=1000/s", in several such texts, or in the name of a profile.

        What is given beside a profile replaces the profile's bound. InputError lists everything that is
        wrong.
        """
        parts = [
            part.strip()
            for text in ([texts] if isinstance(texts, str) else texts)
            for part in text.split(",")
        ]
        bounds: dict[str, Target] = {}
        profiles = [part for part in parts if part in PROFILES]
        problems = []
        if len(profiles) > 1:
            problems.append(Problem(where="targets", value=", ".join(profiles), message="give one profile"))
        for profile in profiles[:1]:
            bounds.update({name: _target(name, bound) for name, bound in PROFILES[profile].items()})
        named: set[str] = set()
        for part in parts:
            if part in PROFILES:
                continue
            target = _parse(part, named)
            if isinstance(target, Target):
                named.add(target.metric)
                bounds[target.metric] = target
            else:
                problems.append(target)
        if problems:
            raise InputError(problems)
        return cls(items=tuple(bounds.values()), profile=profiles[0] if profiles else None)

    def __iter__(self) -> Iterator[Target]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def get(self, metric: str) -> Target | None:
        """The target for a metric, or None if there is none."""
        return next((target for target in self.items if target.metric == metric), None)

    def evaluated(self) -> tuple[Target, ...]:
        """The targets that a run can be judged by."""
        return tuple(target for target in self.items if target.not_evaluated is None)

    def not_evaluated(self) -> tuple[Target, ...]:
        """The targets that no run can tell anything about; each says why. A report lists them all."""
        return tuple(target for target in self.items if target.not_evaluated is not None)

    def __str__(self) -> str:
        return ", ".join(map(str, self.items))


PROFILES: Mapping[str, Mapping[str, str]] = {
    "production": {
        "throughput": "1000/s",
        "batch_efficiency": "90%",
        "sustained": "1h",
        "p50": "100ms",
        "p95": "500ms",
        "p99": "1000ms",
        "api_call": "50ms",
        "error_rate": "0.1%",
        "availability": "99.9%",
        "circuit_breaker": "1/d",
        "cpu": "70%",
        "memory": "80%",
        "connection_pool": "95%",
    },
    "development": {
        "throughput": "100/s",
        "batch_efficiency": "80%",
        "p95": "1000ms",
        "api_call": "200ms",
        "error_rate": "1%",
        "availability": "95%",
    },
}
"""The targets of the performance page of the queue-runtime crate, 0.2.0, for its two environments."""


def _parse_usd(text: object, *, where: str = "") -> float:
    """US dollars a month, from "500", "500USD" or "500USD/month"."""
    number = str(text).strip().removesuffix("/month").strip().removesuffix("USD").strip().removeprefix("$")
    try:
        amount_usd = float(number) if number.isascii() and "_" not in number else math.nan
    except ValueError:
        amount_usd = math.nan
    if not (math.isfinite(amount_usd) and amount_usd >= 0.0):
        message = 'this is no amount of US dollars a month: write it as "500" or "500USD/month"'
        raise UnitError(Problem(where=where, value=text_of(text), message=message))
    return amount_usd


def _parse_per_day(text: object, *, where: str = "") -> float:
    return parse_rate(text, where=where) * 86_400.0


_PARSERS: Mapping[Unit, Callable[..., float]] = {
    "s": parse_duration,
    "per_s": parse_rate,
    "fraction": parse_fraction,
    "usd_per_month": _parse_usd,
    "per_day": _parse_per_day,
}
_FORMATS: Mapping[Unit, Callable[[float], str]] = {
    "s": format_duration,
    "per_s": format_rate,
    "fraction": format_fraction,
    "usd_per_month": lambda bound: f"{format_usd(bound)}/month",
    "per_day": lambda bound: f"{bound:g}/d",
}


def _target(name: str, text: str) -> Target:
    return Target(metric=name, bound=_PARSERS[METRICS[name].unit](text, where=f"targets: {name}"))


def _parse(part: str, named: set[str]) -> Target | Problem:
    name, equals, text = (piece.strip() for piece in part.partition("="))
    if not equals:
        message = (
            f"write a target as metric=bound, such as p95=500ms, or name a profile: {', '.join(PROFILES)}."
        )
        return Problem(
            where="targets", value=part, message=message + did_you_mean(part, [*METRICS, *PROFILES])
        )
    if name not in METRICS:
        message = f"unknown metric; there are {', '.join(METRICS)}.{did_you_mean(name, METRICS)}"
        return Problem(where="targets", value=name, message=message)
    if name in named:
        return Problem(where="targets", value=part, message=f"{name} is given twice: keep one of the two")
    try:
        return _target(name, text)
    except UnitError as error:
        example = f"{error.problems[0].message} (here: {name}={METRICS[name].example})"
        return Problem(where=f"targets: {name}", value=text, message=example)
