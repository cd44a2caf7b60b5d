"""The receiver of a queue with sessions: it takes one session after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from qtune.adapters.base import Received
from qtune.adapters.servicebus.failures import told
from qtune.adapters.servicebus.receiving import (
    LEAST_WAIT_S,
    Handle,
    abandon,
    complete,
    dead_letter,
    handle_of,
    received_of,
    settled,
)

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient
    from azure.servicebus import ServiceBusReceiver as SdkReceiver

_LONGEST_WAIT_S: Final = 30.0
"""For one try to get a session, which is less than the SDK gives a connection to answer."""


class SessionReceiver:
    """Holds at most one session at a time, over a connection of its own, for one thread at a time.

    It gives a session up when it has had nothing of it in hand for ``idle_s``, and then takes the next that has
    messages. Opening and closing a session is opening and closing a connection, which takes the SDK about a second.

    client: must not repeat calls, because the SDK would also repeat the wait for a session, with its pauses.
    """

    def __init__(self, client: ServiceBusClient, queue: str, prefetch: int, idle_s: float) -> None:
        self._client, self._queue, self._prefetch, self._idle_s = client, queue, prefetch, idle_s
        self._held: SdkReceiver | None = None
        self._in_hand: set[Handle] = set()
        self._busy_until_s = time.monotonic()

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Up to so many messages of one session, for the first of which it waits so long, at least 0.2 s."""
        end_s = time.monotonic() + max(wait_s, LEAST_WAIT_S)
        while True:
            if self._held is None:
                self._held = self._next_session(end_s - time.monotonic())
            if self._held is not None:  # a session that took all the time to accept is looked at nevertheless
                found = self._receive_from(self._held, most, end_s - time.monotonic())
                if found:
                    return found
            if time.monotonic() >= end_s:
                return []

    def _next_session(self, wait_s: float) -> SdkReceiver | None:
        """The next session that is free and has messages; None: there is none in that time."""
        from azure.servicebus import NEXT_AVAILABLE_SESSION
        from azure.servicebus.exceptions import OperationTimeoutError

        receiver = self._client.get_queue_receiver(
            self._queue,
            session_id=NEXT_AVAILABLE_SESSION,
            max_wait_time=min(max(wait_s, LEAST_WAIT_S), _LONGEST_WAIT_S),
            prefetch_count=self._prefetch,
        )
        with told("accepting a session"):
            try:
                receiver.__enter__()
            except OperationTimeoutError:
                receiver.close()
                return None
        self._busy_until_s = time.monotonic()
        return receiver

    def _receive_from(self, held: SdkReceiver, most: int, left_s: float) -> list[Received]:
        """Messages of the session that is held; none: nothing came, or the session is gone now."""
        from azure.servicebus.exceptions import SessionLockLostError

        idle_left_s = self._busy_until_s + self._idle_s - time.monotonic()
        wait_s = max(LEAST_WAIT_S, left_s if self._in_hand else min(left_s, idle_left_s))
        try:
            with told("receive"):
                try:
                    messages = held.receive_messages(max_message_count=most, max_wait_time=wait_s)
                    found = [received_of(held, message, self._queue) for message in messages]
                except SessionLockLostError:
                    self._give_up(held)
                    return []
        except Exception:
            self._give_up(held)
            raise
        self._in_hand.update(handle_of(each) for each in found)
        if found:
            self._busy_until_s = time.monotonic()
        elif not self._in_hand and time.monotonic() - self._busy_until_s >= self._idle_s:
            self._give_up(held)
        return found

    def _give_up(self, held: SdkReceiver) -> None:
        self._held = None
        self._in_hand.clear()
        with told("closing a session"):
            held.close()

    def _settled(self, delivery: Received, call: str, settle: Callable[[Handle], None]) -> bool:
        """False also for a delivery of a session that is not held any more."""
        handle = handle_of(delivery)
        if handle not in self._in_hand:
            return False
        self._in_hand.discard(handle)
        self._busy_until_s = time.monotonic()
        return settled(delivery, call, settle)

    def complete(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """One after the other."""
        return tuple(self._settled(each, "complete", complete) for each in deliveries)

    def abandon(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """One after the other."""
        return tuple(self._settled(each, "abandon", abandon) for each in deliveries)

    def dead_letter(self, deliveries: Sequence[Received], reason: str) -> tuple[bool, ...]:
        """One after the other."""
        return tuple(self._settled(each, "dead-letter", dead_letter(reason)) for each in deliveries)

    def renew(self, delivery: Received) -> float | None:
        """The lock is the session's, with all that is in hand of it."""
        held = self._held
        if held is None or handle_of(delivery) not in self._in_hand:
            return None
        ends: list[float] = []
        kept = settled(delivery, "renew", lambda handle: ends.append(held.session.renew_lock().timestamp()))
        return ends[0] if kept else None

    def close(self) -> None:
        """Give the session up, with what is in hand of it, which comes back uncounted."""
        if self._held is not None:
            self._give_up(self._held)
        with told("closing the connection"):
            self._client.close()
