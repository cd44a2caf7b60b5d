"""The receiver of a queue without sessions, and what both kinds of receivers do with deliveries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from qtune.adapters.base import Received, not_of_this_run
from qtune.adapters.servicebus.failures import is_lost, told
from qtune.adapters.servicebus.sending import NUMBER

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient, ServiceBusReceivedMessage
    from azure.servicebus import ServiceBusReceiver as SdkReceiver

LEAST_WAIT_S: Final = 0.2
"""The shortest wait of a receive. The SDK takes no wait of 0, and a message needs a round trip to come."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Handle:
    """What settles a delivery: the SDK's message, and the receiver that it came through."""

    receiver: SdkReceiver
    message: ServiceBusReceivedMessage


def number_of(message: ServiceBusReceivedMessage) -> int | None:
    """The number of a message in its run; None: it is not of this run."""
    properties = message.application_properties or {}
    number = properties.get(NUMBER.encode(), properties.get(NUMBER))
    return number if isinstance(number, int) else None


def received_of(receiver: SdkReceiver, message: ServiceBusReceivedMessage, queue: str) -> Received:
    """A delivery in the adapter's words. ProviderFailure: it is not of this run; it is given back."""
    number = number_of(message)
    if number is None:
        receiver.abandon_message(message)
        raise not_of_this_run(queue)
    end = message.locked_until_utc if receiver.session is None else receiver.session.locked_until_utc
    return delivery_of(message, number, end, Handle(receiver=receiver, message=message))


def delivery_of(
    message: ServiceBusReceivedMessage, number: int, lock_end: datetime | None, handle: object
) -> Received:
    """A delivery in the adapter's words."""
    return Received(
        number=number,
        delivery_no=None if message.delivery_count is None else message.delivery_count + 1,
        body=b"".join(message.body),
        group=message.session_id,
        lock_end_s=None if lock_end is None else lock_end.timestamp(),
        handle=handle,
    )


def handle_of(delivery: Received) -> Handle:
    """What an adapter of Service Bus put into a delivery."""
    if not isinstance(delivery.handle, Handle):
        raise TypeError("this delivery comes from another adapter")
    return delivery.handle


def settled(delivery: Received, call: str, settle: Callable[[Handle], None]) -> bool:
    """Settle one delivery; False when its lock was lost."""
    with told(call):
        try:
            settle(handle_of(delivery))
        except Exception as error:
            if not is_lost(error):
                raise
            return False
    return True


class ServiceBusReceiver:
    """One link with its connection, for one thread at a time.

    The link has credit for prefetch + 1 messages, or without a prefetch for as many as a receive asks for; the SDK
    grants it again when all is used up. From 7.15 on a settlement waits for the broker's answer; before, it is sent
    and nobody learns whether it came in time.
    """

    def __init__(self, client: ServiceBusClient, queue: str, prefetch: int) -> None:
        self._client, self._queue = client, queue
        with told("opening a receiver"):
            self._receiver = client.get_queue_receiver(queue, prefetch_count=prefetch)
            self._receiver.__enter__()

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Waits at least 0.2 s for the first message, and with fewer than ``most`` 0.2 s more for others, as the SDK
        does."""
        with told("receive"):
            found = self._receiver.receive_messages(
                max_message_count=most, max_wait_time=max(wait_s, LEAST_WAIT_S)
            )
            return [received_of(self._receiver, message, self._queue) for message in found]

    def complete(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """One after the other: AMQP has no settlement of several that says how each went."""
        return tuple(settled(each, "complete", complete) for each in deliveries)

    def abandon(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """One after the other."""
        return tuple(settled(each, "abandon", abandon) for each in deliveries)

    def dead_letter(self, deliveries: Sequence[Received], reason: str) -> tuple[bool, ...]:
        """One after the other."""
        return tuple(settled(each, "dead-letter", dead_letter(reason)) for each in deliveries)

    def renew(self, delivery: Received) -> float | None:
        """By a request over the same connection, whose first one opens a link for it."""
        ends: list[float] = []
        kept = settled(
            delivery,
            "renew",
            lambda handle: ends.append(handle.receiver.renew_message_lock(handle.message).timestamp()),
        )
        return ends[0] if kept else None

    def close(self) -> None:
        """From 7.15 on the SDK gives back what it holds and has not handed out; before, that stays locked."""
        with told("closing a receiver"):
            self._receiver.close()
            self._client.close()


def complete(handle: Handle) -> None:
    """Done."""
    handle.receiver.complete_message(handle.message)


def abandon(handle: Handle) -> None:
    """Given back, counted."""
    handle.receiver.abandon_message(handle.message)


def dead_letter(reason: str) -> Callable[[Handle], None]:
    """To the dead letters, with a reason."""
    return lambda handle: handle.receiver.dead_letter_message(handle.message, reason=reason)
