"""The protocol that a measured run speaks: a queue to make and remove, senders that send, receivers that settle.

Every adapter keeps the same promises, which ``tests/adapters`` holds all of them to. Nothing here measures anything:
who measures times the calls. An SDK repeats calls that the broker refused as the scenario's client says, and no more.

What a call raises: :class:`qtune.errors.Throttled` when the broker refuses it for now and the SDK has given up,
:class:`qtune.errors.BrokerDown` when the broker cannot be reached, :class:`qtune.errors.QueueFull` when it took none of
the messages for want of room, and :class:`qtune.errors.ProviderFailure` for anything else that a broker or an SDK says.
A message of an error names the provider, the call and the next step, and never a credential.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from qtune.errors import InputError, Problem, ProviderFailure
from qtune.providers.base import DeliverySemantics, ReceiveBehaviour
from qtune.providers.queue import QueueSettings
from qtune.providers.registry import get_provider


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """One message to send: its number in the run, which comes back with it, its payload, and its group or session."""

    number: int
    body: bytes
    group: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One delivery.

    number: as it was sent. delivery_no: from 1, as the broker counts; None where it does not say. lock_end_s: by the
    broker's clock, in seconds since 1970; None where it does not say. handle: what the adapter settles it by.
    """

    number: int
    delivery_no: int | None
    body: bytes
    group: str | None
    lock_end_s: float | None
    handle: object = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """How many messages the queue holds, as the provider says; None for what it cannot say, and often approximate."""

    ready: int | None
    in_flight: int | None
    dead_lettered: int | None


class Sender(Protocol):
    """One connection that sends; used by one thread at a time."""

    def send(self, messages: Sequence[Outgoing]) -> tuple[bool, ...]:
        """Send messages in one call, at most as many as the provider takes; which of them the broker has now."""

    def close(self) -> None:
        """Close the connection; a second time does nothing."""


class Receiver(Protocol):
    """One connection that receives. Settlements and renewals may be called from other threads where the SDK allows it.

    Those that settle say for each delivery whether the broker took it: False when its lock was lost.
    """

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Up to so many messages; waits so long for the first when there is none, and then brings none.

        ProviderFailure when one comes that this run did not send.
        """

    def complete(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """These are done, and leave the queue."""

    def abandon(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """These come back at once, and have been delivered."""

    def dead_letter(self, deliveries: Sequence[Received], reason: str) -> tuple[bool, ...]:
        """These go to the dead letters."""

    def renew(self, delivery: Received) -> float | None:
        """Start the lock afresh; its new end, by this machine's clock where the broker says none; None: it was lost."""

    def close(self) -> None:
        """Close the connection; a second time does nothing. What it holds stays locked unless its SDK gives it back."""


def not_of_this_run(queue: str) -> ProviderFailure:
    """The error for a message without the number that every message of a run has."""
    text = f"the queue {queue!r} has a message that this run did not send, and has left it there"
    return ProviderFailure(f"{text}: end what else sends to it, or use a queue of the run's own")


def unique_name() -> str:
    """A name that no other queue has, and from which one sees who made it."""
    return f"qtune-{secrets.token_hex(6)}"


@dataclass(frozen=True, kw_only=True)
class QueueAdapter(ABC):
    """Where one queue is and how it is set; holds no connection, so it can be sent to another process.

    queue: the scenario's settings. name: of the queue that :meth:`create` makes; unique by default.
    existing: the name of a queue that is there, to use instead; it is neither made nor removed, and its own settings
        count. takes_over: use it even when it holds messages, all of which are deleted.
    retry_mode, max_attempts: how the SDK repeats refused calls, as in the scenario's consumers; None: its default.
    """

    provider: ClassVar[str]
    in_process: ClassVar[bool] = False
    """Whether the queue lives in the process that made it, and consumers must too."""

    queue: QueueSettings
    name: str = field(default_factory=unique_name)
    existing: str | None = None
    takes_over: bool = False
    retry_mode: str | None = None
    max_attempts: int | None = None

    @property
    def used_name(self) -> str:
        """The name of the queue that is used."""
        return self.name if self.existing is None else self.existing

    @property
    def semantics(self) -> DeliverySemantics:
        """What the queue does with messages, by its settings."""
        return get_provider(self.queue.provider).semantics(self.queue)

    def create(self) -> None:
        """Make the queue, or make sure that an existing one is there and empty.

        InputError when it holds messages and ``takes_over`` does not allow to delete them.
        """
        if self.existing is None:
            self._make()
            return
        depth = self.depth()
        held = (depth.ready or 0) + (depth.in_flight or 0)
        if held and not self.takes_over:
            message = (
                f"it holds {held} messages that this run has not sent, which the run would take: name another queue, "
                "or none, or allow to delete them (takes_over)"
            )
            raise InputError(Problem(where="queue", value=self.existing, message=message))
        if held:
            self._delete_all_messages()

    def remove(self) -> None:
        """Remove what :meth:`create` made; of an existing queue the messages that this run has left, and nothing else.

        It may be called again, also when there is nothing to remove.
        """
        if self.existing is None:
            self._unmake()
        else:
            with suppress(ProviderFailure):  # a message that is not of this run: what follows it stays too
                self._take_own_messages()

    def _take_own_messages(self) -> None:
        receiver = self.receiver()
        try:
            while received := receiver.receive(10, 1.0):
                receiver.complete(received)
        finally:
            receiver.close()

    @abstractmethod
    def _make(self) -> None:
        """Make a queue of this name with its dead-letter queue."""

    @abstractmethod
    def _unmake(self) -> None:
        """Remove both, if they are there."""

    @abstractmethod
    def _delete_all_messages(self) -> None:
        """Empty the queue, and leave its dead letters alone."""

    @abstractmethod
    def depth(self) -> Depth:
        """How many messages it holds now."""

    @abstractmethod
    def versions(self) -> Mapping[str, str]:
        """The version of the SDK, and of the server where it says so, by name."""

    @abstractmethod
    def sender(self) -> Sender:
        """Open a connection of this process that sends."""

    @abstractmethod
    def receiver(self, behaviour: ReceiveBehaviour | None = None) -> Receiver:
        """Open a connection of this process that receives, as the scenario's client does; None: plain receives."""
