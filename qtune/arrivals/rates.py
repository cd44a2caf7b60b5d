"""Arrivals at given rates: steady, clumped, changing by steps, or bursting at random."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from qtune.arrivals.schedule import Arrivals, Schedule, steady, stepped
from qtune.distributions import Constant, Exponential, Gamma
from qtune.records import (
    NumberOrZero,
    PerSecond,
    PositivePerSecond,
    PositiveSeconds,
    Record,
    YesOrNo,
    refuse,
)

MOST_SEGMENTS = 1_000_000


class Poisson(Arrivals):
    """Independent arrivals at a constant rate: many users who know nothing of each other."""

    kind: Literal["poisson"] = "poisson"
    rate_per_s: PositivePerSecond

    @property
    def most_rate_per_s(self) -> float | None:
        """The rate, at its highest."""
        return self.rate_per_s

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps in one segment."""
        return steady(Exponential(mean=1.0), self.rate_per_s, horizon_s)

    def scaled(self, factor: float) -> Poisson:
        """The same process at ``factor`` times the rate."""
        return Poisson(rate_per_s=self.rate_per_s * factor)


class Renewal(Arrivals):
    """Gaps that are independent of each other: cv 0 is a metronome, cv 1 Poisson, above 1 comes in clumps."""

    kind: Literal["renewal"] = "renewal"
    rate_per_s: PositivePerSecond
    cv: NumberOrZero

    @property
    def most_rate_per_s(self) -> float | None:
        """The rate, at its highest."""
        return self.rate_per_s

    def schedule(self, horizon_s: float) -> Schedule:
        """Gamma gaps with the coefficient of variation ``cv``, or constant ones, in one segment."""
        return steady(
            Gamma(mean=1.0, cv=self.cv) if self.cv else Constant(value=1.0), self.rate_per_s, horizon_s
        )

    def scaled(self, factor: float) -> Renewal:
        """The same process at ``factor`` times the rate."""
        return Renewal(rate_per_s=self.rate_per_s * factor, cv=self.cv)


class Segment(Record):
    """A stretch of time with a constant rate."""

    for_s: PositiveSeconds
    rate_per_s: PerSecond


class Piecewise(Arrivals):
    """Poisson arrivals whose rate changes by steps: a daily curve, a ramp, a spike.

    repeat: True starts again after the last segment; False lets the last segment go on until the horizon.
    """

    kind: Literal["piecewise"] = "piecewise"
    segments: Annotated[tuple[Segment, ...], Field(min_length=1)]
    repeat: YesOrNo = False

    @field_validator("segments")
    @classmethod
    def _some_load(cls, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        if not any(segment.rate_per_s for segment in segments):
            raise refuse("every segment has the rate 0, so no message would ever fall due")
        return segments

    @property
    def most_rate_per_s(self) -> float | None:
        """The rate, at its highest."""
        return max(segment.rate_per_s for segment in self.segments)

    def too_much(self, horizon_s: float) -> str | None:
        """Also too much are more than a million segments."""
        rounds = horizon_s / math.fsum(segment.for_s for segment in self.segments)
        if self.repeat and rounds * len(self.segments) > MOST_SEGMENTS:
            return f"{rounds:.3g} repetitions until the horizon; a run has at most {MOST_SEGMENTS:,} segments"
        return super().too_much(horizon_s)

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps through the segments, unrolled up to the horizon."""
        starts, rates, at_s = [], [], 0.0
        for segment in itertools.cycle(self.segments) if self.repeat else self.segments:
            if at_s >= horizon_s:
                break
            starts.append(at_s)
            rates.append(segment.rate_per_s)
            at_s += segment.for_s
        return stepped(starts, rates, horizon_s)

    def scaled(self, factor: float) -> Piecewise:
        """The same steps, each at ``factor`` times the rate."""
        segments = tuple(Segment(for_s=s.for_s, rate_per_s=s.rate_per_s * factor) for s in self.segments)
        return Piecewise(segments=segments, repeat=self.repeat)


class Bursts(Arrivals):
    """Poisson arrivals that switch between two rates after exponential times (MMPP-2); they start off."""

    kind: Literal["bursts"] = "bursts"
    on_rate_per_s: PositivePerSecond
    off_rate_per_s: PerSecond
    on_mean_s: PositiveSeconds
    off_mean_s: PositiveSeconds

    @property
    def most_rate_per_s(self) -> float | None:
        """The rate, at its highest."""
        return max(self.on_rate_per_s, self.off_rate_per_s)

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps, modulated; the mean rate counts the start in the off phase exactly."""
        changes = horizon_s / self.on_mean_s + horizon_s / self.off_mean_s
        on_share = self.on_mean_s / (self.on_mean_s + self.off_mean_s)
        on_share *= 1.0 + math.expm1(-changes) / changes if changes else 0.0
        mean = self.off_rate_per_s + on_share * (self.on_rate_per_s - self.off_rate_per_s)
        modulation = (self.on_rate_per_s, self.off_rate_per_s, self.on_mean_s, self.off_mean_s)
        return Schedule(
            horizon_s=horizon_s, mean_rate_per_s=mean, gap=Exponential(mean=1.0), modulation=modulation
        )

    def scaled(self, factor: float) -> Bursts:
        """The same phases, both at ``factor`` times the rate."""
        return Bursts(
            on_rate_per_s=self.on_rate_per_s * factor,
            off_rate_per_s=self.off_rate_per_s * factor,
            on_mean_s=self.on_mean_s,
            off_mean_s=self.off_mean_s,
        )
