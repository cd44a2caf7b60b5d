"""When messages fall due: each record describes a process, and ``schedule`` flattens it to what an engine draws from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator

from qtune.distributions import Constant, Distribution, Exponential, Gamma
from qtune.errors import InputError, Problem, ScenarioError
from qtune.records import (
    Count,
    NumberOrZero,
    PerSecond,
    PositiveNumber,
    PositivePerSecond,
    PositiveSeconds,
    Record,
    Text,
    YesOrNo,
    base_folder,
    one_of,
    refuse,
    refuse_again,
)
from qtune.shapes import RandomTime
from qtune.traces import find_trace, read_buckets, read_trace

MOST_SEGMENTS = 1_000_000
Floats = NDArray[np.float64]


def _no_floats() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Schedule:
    """A process of due instants in numbers, up to and including horizon_s. Exactly one of three kinds:

    Open loop, random: ``gap`` is the unit-rate (mean 1) gap of a renewal process; the due instants are its points
        seen through the piecewise-constant intensity of the segments: segment k has segment_rate_per_s[k] from
        segment_start_s[k] (the first is 0) to the next start, the last until the horizon. With ``modulation`` =
        (on_rate_per_s, off_rate_per_s, on_mean_s, off_mean_s) the intensity alternates instead, starting off, with
        exponential phases that the engine draws; then there are no segments.
    Open loop, given: ``due_s`` are the instants themselves, ascending. service_hint: the relative work of each
        message, or None.
    Closed loop: ``customers`` > 0, each sends, waits for completion, and thinks for a ``think`` time.

    mean_rate_per_s: expected messages in [0, horizon_s] divided by it; None for a closed loop, whose rate is an
        outcome. notes: what a reader of the results must know about the input, such as missing buckets.
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

    def schedule(self, horizon_s: float) -> Schedule:
        """The process up to the horizon, in numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no schedule")

    def scaled(self, factor: float) -> Arrivals:
        """The same process with all rates times ``factor``."""
        raise NotImplementedError(f"{type(self).__name__} cannot be scaled")

    @property
    def length_s(self) -> float | None:
        """How long the process lasts by itself, or None if it has no end."""
        return None

    @property
    def has_hints(self) -> bool:
        """True if every message brings its own relative work."""
        return False


class Poisson(Arrivals):
    """Independent arrivals at a constant rate: many users who know nothing of each other."""

    kind: Literal["poisson"] = "poisson"
    rate_per_s: PositivePerSecond

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps in one segment."""
        return _steady(Exponential(mean=1.0), self.rate_per_s, horizon_s)

    def scaled(self, factor: float) -> Poisson:
        """The same process at ``factor`` times the rate."""
        return Poisson(rate_per_s=self.rate_per_s * factor)


class Renewal(Arrivals):
    """Gaps that are independent of each other: cv 0 is a metronome, cv 1 Poisson, above 1 comes in clumps."""

    kind: Literal["renewal"] = "renewal"
    rate_per_s: PositivePerSecond
    cv: NumberOrZero

    def schedule(self, horizon_s: float) -> Schedule:
        """Gamma gaps with the coefficient of variation ``cv``, or constant ones, in one segment."""
        return _steady(Gamma(mean=1.0, cv=self.cv) if self.cv else Constant(value=1.0), self.rate_per_s, horizon_s)

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

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps through the segments, unrolled up to the horizon."""
        starts, rates, at_s = [], [], 0.0
        for index in range(MOST_SEGMENTS + 1):
            if at_s >= horizon_s or (index >= len(self.segments) and not self.repeat):
                break
            segment = self.segments[index % len(self.segments)]
            starts.append(at_s)
            rates.append(segment.rate_per_s)
            at_s += segment.for_s
        else:
            raise ScenarioError(
                Problem(
                    where="arrivals.segments",
                    value=f"{MOST_SEGMENTS} segments before the horizon",
                    message="repeat more slowly, or use a shorter horizon",
                )
            )
        return _stepped(starts, rates, horizon_s)

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

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps, modulated; the mean rate counts the start in the off phase exactly."""
        rate_sum = 1.0 / self.on_mean_s + 1.0 / self.off_mean_s
        on_share = self.on_mean_s / (self.on_mean_s + self.off_mean_s)
        on_share *= 1.0 + math.expm1(-rate_sum * horizon_s) / (rate_sum * horizon_s)
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


class TraceFile(Arrivals):
    """Recorded arrivals, replayed ``speed`` times as fast; columns ``arrival_s[,service_hint[,group]]``.

    The group column is read and not used: standard queues know no groups.
    """

    kind: Literal["trace"] = "trace"
    file: Text
    speed: PositiveNumber = 1.0

    @field_validator("file")
    @classmethod
    def _readable(cls, file: str, info: ValidationInfo) -> str:
        found = find_trace(file, base_folder(info))
        try:
            if read_trace(found).arrival_s[-1] <= 0.0:
                raise refuse("all arrivals are at 0: write arrivals of the kind burst_at_once instead")
        except InputError as error:
            raise refuse_again(error) from None
        return found

    def schedule(self, horizon_s: float) -> Schedule:
        """The instants up to and including the horizon, with their hints."""
        trace = read_trace(self.file)
        due_s = trace.arrival_s / self.speed
        due_s = due_s[due_s <= horizon_s]
        left = len(trace.arrival_s) - len(due_s)
        notes = (f"{left} of the trace's {len(trace.arrival_s)} messages are due after the horizon",) if left else ()
        hint = None if trace.service_hint is None else trace.service_hint[: len(due_s)]
        return Schedule(
            horizon_s=horizon_s, mean_rate_per_s=len(due_s) / horizon_s, due_s=due_s, service_hint=hint, notes=notes
        )

    def scaled(self, factor: float) -> TraceFile:
        """The same trace, replayed ``factor`` times as fast."""
        return TraceFile(file=self.file, speed=self.speed * factor)

    @property
    def length_s(self) -> float | None:
        """The instant of the last arrival."""
        return float(read_trace(self.file).arrival_s[-1] / self.speed)

    @property
    def has_hints(self) -> bool:
        """True if the trace has a service_hint column."""
        return read_trace(self.file).service_hint is not None


class Counts(Arrivals):
    """Poisson arrivals at the rates of a recorded count per bucket (columns ``t_s,count``), times ``scale``.

    missing: nothing is known of a bucket that the file lacks. "hold" gives it the rate of the bucket before, so that
    a gap in a recording does not look like a quiet time; "zero" takes it as quiet. The schedule's notes say how
    many there are.
    """

    kind: Literal["counts"] = "counts"
    file: Text
    scale: PositiveNumber = 1.0
    missing: Literal["hold", "zero"] = "hold"

    @field_validator("file")
    @classmethod
    def _readable(cls, file: str, info: ValidationInfo) -> str:
        found = find_trace(file, base_folder(info))
        try:
            if not read_buckets(found).count.any():
                raise refuse("every count is 0, so no message would ever fall due")
        except InputError as error:
            raise refuse_again(error) from None
        return found

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps through one segment a bucket."""
        buckets = read_buckets(self.file)
        starts: list[float] = []
        rates: list[float] = []
        expected_s = 0.0
        for start_s, count in zip(buckets.start_s.tolist(), buckets.count.tolist(), strict=True):
            if self.missing == "zero" and start_s - expected_s > 0.5 * buckets.width_s:
                starts.append(expected_s)
                rates.append(0.0)
            starts.append(start_s)
            rates.append(count / buckets.width_s * self.scale)
            expected_s = start_s + buckets.width_s
        inside = [index for index, start_s in enumerate(starts) if start_s < horizon_s]
        how = "keep the rate of the bucket before" if self.missing == "hold" else "count as quiet"
        notes = (f"{buckets.missing} buckets are missing in the file; they {how}",) if buckets.missing else ()
        return _stepped([starts[i] for i in inside], [rates[i] for i in inside], horizon_s, notes)

    def scaled(self, factor: float) -> Counts:
        """The same curve at ``factor`` times the rate."""
        return Counts(file=self.file, scale=self.scale * factor, missing=self.missing)

    @property
    def length_s(self) -> float | None:
        """The end of the last bucket."""
        buckets = read_buckets(self.file)
        return float(buckets.start_s[-1]) + buckets.width_s


class BurstAtOnce(Arrivals):
    """A backlog: all messages are due at time 0, and none after."""

    kind: Literal["burst_at_once"] = "burst_at_once"
    messages: Count

    def schedule(self, horizon_s: float) -> Schedule:
        """As many zeros as messages."""
        rate = self.messages / horizon_s
        return Schedule(horizon_s=horizon_s, mean_rate_per_s=rate, due_s=np.zeros(self.messages))

    def scaled(self, factor: float) -> BurstAtOnce:
        """``factor`` times as many messages; an error if that is no whole number."""
        return BurstAtOnce(messages=_whole(self.messages * factor, "arrivals.messages"))


class ClosedLoop(Arrivals):
    """A fixed number of customers: each sends a message, waits for its completion, thinks, and sends the next."""

    kind: Literal["closed_loop"] = "closed_loop"
    customers: Count
    think_time: RandomTime

    def schedule(self, horizon_s: float) -> Schedule:
        """The customers and their think time."""
        return Schedule(
            horizon_s=horizon_s,
            mean_rate_per_s=None,
            customers=self.customers,
            think=self.think_time.distribution(),
        )

    def scaled(self, factor: float) -> ClosedLoop:
        """``factor`` times as many customers; an error if that is no whole number."""
        return ClosedLoop(customers=_whole(self.customers * factor, "arrivals.customers"), think_time=self.think_time)


KINDS: dict[str, type[Record]] = {
    "poisson": Poisson,
    "renewal": Renewal,
    "piecewise": Piecewise,
    "bursts": Bursts,
    "trace": TraceFile,
    "counts": Counts,
    "burst_at_once": BurstAtOnce,
    "closed_loop": ClosedLoop,
}

AnyArrivals = Annotated[Arrivals, one_of("kind", KINDS)]


def _whole(number: float, where: str) -> int:
    if abs(number - round(number)) > 1e-9 * number or round(number) < 1:
        raise ScenarioError(
            Problem(where=where, value=f"{number:g}", message="not a whole number: choose another factor")
        )
    return round(number)


def _steady(gap: Distribution, rate_per_s: float, horizon_s: float) -> Schedule:
    return Schedule(
        horizon_s=horizon_s,
        mean_rate_per_s=rate_per_s,
        gap=gap,
        segment_start_s=np.zeros(1),
        segment_rate_per_s=np.array([rate_per_s]),
    )


def _stepped(starts: list[float], rates: list[float], horizon_s: float, notes: tuple[str, ...] = ()) -> Schedule:
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
