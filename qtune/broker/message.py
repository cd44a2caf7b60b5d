"""What the broker keeps and hands out: messages, deliveries, and what a receiver must offer to get them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol

MessageState = Literal["new", "scheduled", "ready", "locked", "deferred", "gone"]

Outcome = Literal["completed", "abandoned", "released", "deferred", "dead_lettered"]
"""How a delivery ends, as far as its receiver decides it.

completed: the message leaves. abandoned: it comes back, and the delivery counts. released: it comes back, and the
delivery does not count. deferred: it is set aside until somebody asks for it by its number. dead_lettered: it goes to
the dead letters.
"""

TOO_MANY_DELIVERIES: Final = "too many deliveries"
"""The reason of a dead letter that nobody asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """Why a message is among the dead letters: the receiver's reason, or TOO_MANY_DELIVERIES."""

    reason: str
    description: str = ""


@dataclass(kw_only=True, slots=True, eq=False)
class Message:
    """One message, which the broker writes on from the send until it leaves; others only read it.

    body: the payload. group: its message group or session; None: none. properties: whatever the door wants back with
        it, which the broker does not look at.
    visible_s: given by the sender: not handed out before that instant; -inf: at once.
    expires_s: given by the sender: deleted at that instant unless it has left or is locked; inf: the queue's retention
        decides. The broker lowers it to the end of the retention.
    number: from 1, in the order of the sends. enqueued_s: when the broker got it, or when it became visible.
    deliveries: how many count so far, the current one included.
    dead_letter: why it is a dead letter; None for others.
    """

    body: bytes
    group: str | None = None
    properties: object = None
    visible_s: float = -math.inf
    expires_s: float = math.inf
    number: int = 0
    enqueued_s: float = math.nan
    deliveries: int = 0
    state: MessageState = "new"
    dead_letter: DeadLetter | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One hand-out of a message.

    token: 16 random bytes, which settle and renew it. lock_end_s: when the lock ends unless it is renewed, by the
    broker's clock; that of the session on a queue with sessions. delivery_no: from 1.
    """

    token: bytes
    message: Message
    lock_end_s: float
    delivery_no: int


class Receiver(Protocol):
    """Whoever gets messages. The broker lowers ``credit`` by one for each delivery, and only the broker writes it."""

    credit: int

    def deliver(self, delivery: Delivery) -> None:
        """A message is locked for this receiver; may call the broker, as a receiver that completes at once does."""


class SessionReceiver(Receiver, Protocol):
    """Whoever gets the messages of one session at a time."""

    def session_accepted(self, name: str, lock_end_s: float) -> None:
        """The session that was asked for is locked for this receiver from now on."""

    def session_lost(self) -> None:
        """The lock of the session that this receiver held has run out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many messages the queue holds now, by what can be done with them."""

    ready: int
    locked: int
    scheduled: int
    deferred: int
    dead_lettered: int


@dataclass(kw_only=True, slots=True)
class Counters:
    """What has happened since the broker was made, in messages.

    abandoned, released: came back because a receiver said so. expired: came back because a lock ran out.
    outlived: deleted at the end of their retention. renewed: locks, of messages or sessions. lock_lost: settlements
    and renewals that came too late. rejected: sends refused because the queue was full.
    """

    sent: int = 0
    delivered: int = 0
    completed: int = 0
    abandoned: int = 0
    released: int = 0
    deferred: int = 0
    expired: int = 0
    outlived: int = 0
    renewed: int = 0
    lock_lost: int = 0
    dead_lettered: int = 0
    rejected: int = 0
