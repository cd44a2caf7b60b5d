"""The schedule: an arrival process flattened to the numbers that an engine draws from."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qtune.distributions import Distribution, Exponential
from qtune.records import Record
from qtune.units import format_duration

MOST_MESSAGES = 200_000_000
Floats = NDArray[np.float64]


def _no_floats() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Schedule:
    """A process of due instants in numbers, up to and including horizon_s. Exactly one of three kinds:

    Open loop, random: ``gap`` is the unit-rate (mean 1) gap of a renewal process; the due instants are its
    points
        seen through the piecewise-constant intensity of the segments: segment k has segment_rate_per_s[k]
        from segment_start_s[k] (the first is 0) to the next start, the last until the horizon. With
        ``modulation`` = (on_rate_per_s, off_rate_per_s, on_mean_s, off_mean_s) the intensity alternates
        instead, starting off, with exponential phases that the engine draws; then there are no segments.
    Open loop, given: ``due_s`` are the instants themselves, ascending. service_hint: the relative work of
    each
        message, or None.
    Closed loop: ``customers`` > 0, each sends, waits for completion, and thinks for a ``think`` time.

    mean_rate_per_s: expected messages in [0, horizon_s] divided by it; None for a closed loop, whose rate is
        an outcome. notes: what a reader of the results must know about the input, such as missing buckets.
    """

    horizon_s: float
    mean_rate_per_s: float | None
    gap: Distribution | None = None
    segment_start_s: Floats = field(default_factory=_no_floats)
    segment_rate_per_s: Floats = field(default_factory=_no_floats)
    modulation: tuple[float, float, float, float] | None = None
    due_s: Floats | None = None
    service_hint: Floats | None = None
    customers: int = 0
    think: Distribution | None = None
    notes: tuple[str, ...] = ()


class Arrivals(Record):
    """The base of all arrival processes."""

    kind: str

    @abstractmethod
    def schedule(self, horizon_s: float) -> Schedule:
        """The process up to and including the horizon, in numbers."""

    @abstractmethod
    def scaled(self, factor: float) -> Arrivals:
        """The same process ``factor`` times as fast."""

    @property
    def most_rate_per_s(self) -> float | None:
        """The highest rate at any time, or None if the instants are given or an outcome."""
        return None

    def too_much(self, horizon_s: float) -> str | None:
        """Why this is more than one run can hold until the horizon, or None if it is not."""
        rate_per_s = self.most_rate_per_s
        if rate_per_s is not None and rate_per_s * horizon_s > MOST_MESSAGES:
            messages = f"{rate_per_s * horizon_s:.3g} messages in {format_duration(horizon_s)}"
            return f"up to {messages}; a run holds {MOST_MESSAGES:,}: use a lower rate or a shorter horizon"
        return None

    @property
    def length_s(self) -> float | None:
        """How long the process lasts by itself, or None if it has no end."""
        return None

    @property
    def has_groups(self) -> bool:
        """True if the process says of each message to which group it belongs."""
        return False

    @property
    def has_hints(self) -> bool:
        """True if every message brings its own relative work."""
        return False


def steady(gap: Distribution, rate_per_s: float, horizon_s: float) -> Schedule:
    """A renewal process at one rate."""
    return Schedule(
        horizon_s=horizon_s,
        mean_rate_per_s=rate_per_s,
        gap=gap,
        segment_start_s=np.zeros(1),
        segment_rate_per_s=np.array([rate_per_s]),
    )


def stepped(
    starts: list[float], rates: list[float], horizon_s: float, notes: tuple[str, ...] = ()
) -> Schedule:
    """A Poisson process whose rate changes at the given instants, of which the first is 0."""
    ends = [*starts[1:], horizon_s]
    messages = math.fsum(rate * (end - start) for start, end, rate in zip(starts, ends, rates, strict=True))
    return Schedule(
        horizon_s=horizon_s,
        mean_rate_per_s=messages / horizon_s,
        gap=Exponential(mean=1.0),
        segment_start_s=np.array(starts),
        segment_rate_per_s=np.array(rates),
        notes=notes,
    )
