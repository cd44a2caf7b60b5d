"""What goes wrong on purpose, and when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import SerializeAsAny, field_validator

from qtune.records import (
    Complaint,
    Count,
    PositivePerSecond,
    PositiveSeconds,
    Record,
    Seconds,
    number,
    one_of,
    refuse,
)


class Event(Record):
    """What every fault has: it begins, or happens, at an instant."""

    kind: str
    at_s: Seconds

    def with_start(self, at_s: float) -> Self:
        """The same fault at another instant."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, "at_s": at_s})


class Disturbance(Event):
    """A fault that lasts from ``at`` for so long."""

    for_s: PositiveSeconds

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s


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


class Network(Disturbance):
    """The round trips of calls that begin in [at, at + for) take ``delay`` longer: a detour, a network that is full.

    Messages that are pushed down a link in that time are half of it later.
    """

    kind: Literal["network"] = "network"
    delay_s: PositiveSeconds


class DropConnections(Event):
    """All connections break at once: a load balancer that goes away, an address translation that forgets, a failover.

    A call that is under way has failed when its answer should be there, and the client makes it again as it does after
    any failure. Whatever the broker has handed out to a receive that failed so stays locked until its lock runs out,
    and counts as a delivery. Connections that wait in a pool have broken too.
    """

    kind: Literal["drop_connections"] = "drop_connections"


class Burst(Disturbance):
    """``rate`` more messages a second fall due in [at, at + for), on top of those of the arrivals.

    rate_per_s: of the burst alone. Where arrivals are a rate, the sum of both is the rate; where they are given
        instants, the messages of the burst come evenly spaced between them.
    """

    kind: Literal["burst"] = "burst"
    rate_per_s: PositivePerSecond


class KillConsumers(Event):
    """``count`` consumer instances end at once: a crash, an eviction, a kill for want of memory.

    What they had in hand is lost with them, settlements on their way included: the broker learns nothing,
    and each message is free again when its lock runs out. A poll that waits at the broker, and a link's
    credit, end at once. The instances that run and have the lowest numbers are taken.

    restart_after_s: so long after its end an instance is ready again, and is paid for meanwhile; None: it never
        comes back.
    """

    kind: Literal["kill_consumers"] = "kill_consumers"
    count: Count = 1
    restart_after_s: PositiveSeconds | None = None


class DrainConsumers(Event):
    """``count`` consumer instances are told to stop: a deployment, a node that is emptied, maintenance.

    Each receives no more, finishes what it has in hand, and then ends. A consumer that polls has all in hand that it
    has received. A client of Service Bus closes its links: messages that it has prefetched, and no handler has begun
    with, it gives back or leaves to their locks, as the client does. The instances that run and have the lowest
    numbers are taken.

    grace_s: an instance that has not ended by then is killed (Kubernetes: 30 s by default); None: it is waited for.
    restart_after_s: so long after its end an instance is ready again, and is paid for meanwhile; None: it never
        comes back.
    """

    kind: Literal["drain_consumers"] = "drain_consumers"
    count: Count = 1
    grace_s: PositiveSeconds | None = None
    restart_after_s: PositiveSeconds | None = None


FAULTS: dict[str, type[Record]] = {
    "pause_handlers": PauseHandlers,
    "throttling": Throttling,
    "outage": Outage,
    "slow_broker": SlowBroker,
    "network": Network,
    "drop_connections": DropConnections,
    "burst": Burst,
    "kill_consumers": KillConsumers,
    "drain_consumers": DrainConsumers,
}

Fault = Annotated[SerializeAsAny[Event], one_of("kind", FAULTS)]


def kills(faults: Sequence[Event]) -> list[KillConsumers | DrainConsumers]:
    """The faults that end consumers, in the order of time."""
    found = [fault for fault in faults if isinstance(fault, KillConsumers | DrainConsumers)]
    return sorted(found, key=lambda fault: fault.at_s)


def short_of_victims(
    faults: Sequence[Event], instances: int
) -> tuple[KillConsumers | DrainConsumers, int] | None:
    """The first fault that ends more instances than can run then, and how many can; None when there is none.

    An instance that drains is taken to end at once, so that as many can run as ever may.
    """
    before: list[KillConsumers | DrainConsumers] = []
    for fault in kills(faults):
        away = sum(
            each.count for each in before if fault.at_s < each.at_s + (each.restart_after_s or math.inf)
        )
        if fault.count > instances - away:
            return fault, instances - away
        before.append(fault)
    return None


def bursts_can_be_added(scenario: Any) -> Iterator[Complaint]:
    """The rule that the messages of a burst have all that a message needs."""
    given = {
        "arrivals.kind": (
            "closed_loop",
            "nothing sends but its customers",
        ),
        "service_time.family": ("hints", "the trace has no service time for them"),
        "groups.kind": ("trace", "the trace has no group for them"),
    }
    for index, fault in enumerate(scenario.faults):
        for path, (value, why) in given.items() if fault.kind == "burst" else ():
            section, name = path.split(".")
            if getattr(getattr(scenario, section), name, None) == value:
                message = (
                    f"a burst brings messages of its own, but {path} is {value}: {why}; leave the burst out"
                )
                yield Complaint(path=f"faults.{index}.kind", message=message)
