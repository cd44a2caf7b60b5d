"""A broker driven by hand: a clock that goes when it is told to, and receivers that remember what they got."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from qtune.broker import Broker, Delivery, Message
from qtune.providers.base import DeliverySemantics


class HandClock:
    """A clock that stands until :meth:`go_to` moves it, and then lets a broker do what is due on the way."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def go_to(self, then_s: float, broker: Broker) -> None:
        """As a door does that wakes at every deadline."""
        while (due_s := broker.next_due_s()) <= then_s:
            self.now_s = max(self.now_s, due_s)
            broker.advance()
        self.now_s = then_s


@dataclass(eq=False)
class Hands:
    """A receiver, of messages or of sessions, that keeps all it is told."""

    name: str = ""
    credit: int = 0
    got: list[Delivery] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    session_ends_s: float = math.nan
    lost: int = 0

    def deliver(self, delivery: Delivery) -> None:
        """A message."""
        self.got.append(delivery)

    def session_accepted(self, name: str, lock_end_s: float) -> None:
        """A session."""
        self.sessions.append(name)
        self.session_ends_s = lock_end_s

    def session_lost(self) -> None:
        """And its end."""
        self.lost += 1

    @property
    def numbers(self) -> list[int]:
        """The numbers of the messages that came, in order."""
        return [delivery.message.number for delivery in self.got]


def semantics(**fields: Any) -> DeliverySemantics:
    """A queue with a lock of 10 s and nothing else, but for what is given."""
    plain: dict[str, Any] = {
        "lock_s": 10.0,
        "max_deliveries": 0,
        "retention_s": math.inf,
        "capacity_messages": 0,
        "rejects_when_full": False,
        "redelivers_first": False,
    }
    return DeliverySemantics(**{**plain, **fields})


def queue_of(clock: HandClock, *groups: str | None, **fields: Any) -> Broker:
    """A broker that holds a message for each of the groups."""
    broker = Broker(semantics(**fields), clock=clock, name="orders")
    for group in groups:
        broker.send(Message(body=b"", group=group))
    return broker


def poll(broker: Broker, most: int = 1) -> list[Delivery]:
    """What a receive that does not wait gets."""
    hands = Hands(credit=most)
    broker.poll(hands, waits=False)
    return hands.got


def polled(broker: Broker, most: int = 1) -> list[int]:
    """The numbers of the messages that a receive which does not wait gets."""
    return [delivery.message.number for delivery in poll(broker, most)]
