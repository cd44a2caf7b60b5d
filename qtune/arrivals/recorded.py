"""Arrivals that are given: a trace, counts per bucket, a backlog, or a fixed number of customers."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import ValidationInfo, field_validator

from qtune.arrivals.schedule import MOST_MESSAGES, Arrivals, Schedule, stepped
from qtune.errors import InputError, Problem, ScenarioError
from qtune.records import PositiveNumber, Text, base_folder, refuse, refuse_file, whole
from qtune.shapes import RandomTime
from qtune.traces import find_trace, read_buckets, read_trace

MOST_CUSTOMERS = 1_000_000


class TraceFile(Arrivals):
    """Recorded arrivals, replayed ``speed`` times as fast; columns ``arrival_s[,service_hint[,group]]``."""

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
            raise refuse_file(error) from None
        return found

    def schedule(self, horizon_s: float) -> Schedule:
        """The instants up to and including the horizon, with their hints."""
        trace = read_trace(self.file)
        due_s = trace.arrival_s / self.speed
        due_s = due_s[due_s <= horizon_s]
        left = len(trace.arrival_s) - len(due_s)
        notes = (
            (f"{left} of the trace's {len(trace.arrival_s)} messages are due after the horizon",)
            if left
            else ()
        )
        hint = None if trace.service_hint is None else trace.service_hint[: len(due_s)]
        return Schedule(
            horizon_s=horizon_s,
            mean_rate_per_s=len(due_s) / horizon_s,
            due_s=due_s,
            service_hint=hint,
            notes=notes,
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

    @property
    def has_groups(self) -> bool:
        """True if the trace has a group column."""
        return read_trace(self.file).group is not None


class Counts(Arrivals):
    """Poisson arrivals at the rates of a recorded count per bucket (columns ``t_s,count``), times ``scale``.

    missing: nothing is known of a bucket that the file lacks. "hold" gives it the rate of the bucket before,
        so that
    a gap in a recording does not look like a quiet time; "zero" takes it as quiet. The schedule's notes say
    how many there are.
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
            raise refuse_file(error) from None
        return found

    @property
    def most_rate_per_s(self) -> float | None:
        """The rate of the fullest bucket."""
        buckets = read_buckets(self.file)
        return float(buckets.count.max()) / buckets.width_s * self.scale

    def schedule(self, horizon_s: float) -> Schedule:
        """Exponential gaps through one segment a bucket; nothing is due after the last bucket."""
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
        starts.append(expected_s)
        rates.append(0.0)
        inside = [index for index, start_s in enumerate(starts) if start_s < horizon_s]
        how = "keep the rate of the bucket before" if self.missing == "hold" else "count as quiet"
        notes = (f"{buckets.missing} buckets are missing in the file; they {how}",) if buckets.missing else ()
        return stepped([starts[i] for i in inside], [rates[i] for i in inside], horizon_s, notes)

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
    messages: Annotated[int, whole(at_least=1, at_most=MOST_MESSAGES)]

    def schedule(self, horizon_s: float) -> Schedule:
        """As many zeros as messages."""
        rate = self.messages / horizon_s
        return Schedule(horizon_s=horizon_s, mean_rate_per_s=rate, due_s=np.zeros(self.messages))

    def scaled(self, factor: float) -> BurstAtOnce:
        """``factor`` times as many messages; an error if that is no whole number."""
        return BurstAtOnce(messages=_whole(self.messages * factor, "arrivals.messages"))


class ClosedLoop(Arrivals):
    """Customers who each send a message, wait for its completion, think, and send the next."""

    kind: Literal["closed_loop"] = "closed_loop"
    customers: Annotated[int, whole(at_least=1, at_most=MOST_CUSTOMERS)]
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
        return ClosedLoop(
            customers=_whole(self.customers * factor, "arrivals.customers"), think_time=self.think_time
        )


def _whole(number: float, where: str) -> int:
    if abs(number - round(number)) > 1e-9 * number or round(number) < 1:
        raise ScenarioError(
            Problem(where=where, value=f"{number:g}", message="not a whole number: choose another factor")
        )
    return round(number)
