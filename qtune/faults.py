"""What goes wrong on purpose, and when."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import SerializeAsAny, field_validator

from qtune.records import PositivePerSecond, PositiveSeconds, Record, Seconds, number, one_of, refuse


class Disturbance(Record):
    """What every fault has: it lasts from ``at`` for so long."""

    kind: str
    at_s: Seconds
    for_s: PositiveSeconds

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s

    def with_start(self, at_s: float) -> Self:
        """The same fault at another instant."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, "at_s": at_s})


class PauseHandlers(Disturbance):
    """No handler starts in [at, at + for): a long garbage collection, a deadlock, a dependency that hangs.

    Handlers that run go on; receiving, prefetching and lock renewal go on, so locks age in the buffer.
    """

    kind: Literal["pause_handlers"] = "pause_handlers"


class Throttling(Disturbance):
    """The broker refuses calls above ``rate`` in [at, at + for): a noisy neighbour, a lowered quota.

    rate_per_s: calls that it answers in each second, all kinds together; a whole number. A message that is pushed down
    a link counts as a call.
    calls: the kinds of calls that are counted; a completion and an abandonment are both a settle.
    """

    kind: Literal["throttling"] = "throttling"
    rate_per_s: PositivePerSecond
    calls: tuple[Literal["send", "receive", "settle", "renew"], ...] = (
        *("send", "receive", "settle", "renew"),
    )

    @field_validator("calls")
    @classmethod
    def _some(cls, calls: tuple[Any, ...]) -> tuple[Any, ...]:
        if not calls:
            raise refuse("this counts no calls, and so throttles none: name some, or leave it out for all")
        return calls

    @field_validator("rate_per_s")
    @classmethod
    def _whole(cls, rate_per_s: float) -> float:
        if rate_per_s != int(rate_per_s):
            raise refuse("calls are counted second by second, so this is a whole number: use 1/s or more")
        return rate_per_s


class Outage(Disturbance):
    """The broker answers every call in [at, at + for) with an error, and hands nothing out.

    What it has stays where it is; locks run on. A call fails where it would take effect, so one that began shortly
    before fails too. Messages of a scenario without producers are there all the same.
    """

    kind: Literal["outage"] = "outage"


class SlowBroker(Disturbance):
    """The round trips of calls that begin in [at, at + for) take ``factor`` times as long: a slow broker, or network.

    Messages that are pushed down a link in that time are as slow.
    """

    kind: Literal["slow_broker"] = "slow_broker"
    factor: Annotated[float, number(above=0.0)]


FAULTS: dict[str, type[Record]] = {
    "pause_handlers": PauseHandlers,
    "throttling": Throttling,
    "outage": Outage,
    "slow_broker": SlowBroker,
}

Fault = Annotated[SerializeAsAny[Disturbance], one_of("kind", FAULTS)]
