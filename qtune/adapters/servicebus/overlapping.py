"""The receiver whose settlements overlap: over the SDK's client for asyncio, on an event loop of its own.

From azure-servicebus 7.15 on a settlement is a round trip. The synchronous client makes them one after the other; the
one for asyncio has any number of them on their way over one link.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from qtune.adapters.base import Received, not_of_this_run
from qtune.adapters.servicebus.failures import is_lost, told
from qtune.adapters.servicebus.place import Place
from qtune.adapters.servicebus.receiving import LEAST_WAIT_S, delivery_of, number_of

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusClient
    from azure.servicebus.aio import ServiceBusReceiver as SdkReceiver

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Handle:
    message: ServiceBusReceivedMessage


class OverlappingReceiver:
    """One link with its connection and a thread for its event loop; its calls may come from several threads.

    A settlement that is made while a receive waits takes longer, because the SDK lets one of them use the socket at a
    time.
    """

    def __init__(self, place: Place, retries: Mapping[str, Any], queue: str, prefetch: int) -> None:
        self._queue = queue
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"receiver of {queue}", daemon=True
        )
        self._thread.start()
        self._closed = False
        try:
            with told("opening a receiver"):
                self._client, self._receiver = self._wait_for(self._open(place, retries, prefetch))
        except BaseException:
            self._end_loop()
            raise

    async def _open(
        self, place: Place, retries: Mapping[str, Any], prefetch: int
    ) -> tuple[ServiceBusClient, SdkReceiver]:
        client = place.aio_client(retries)
        receiver = client.get_queue_receiver(self._queue, prefetch_count=prefetch)
        try:
            await receiver.__aenter__()
        except BaseException:
            await client.close()
            raise
        return client, receiver

    def _wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """As the synchronous receiver."""
        with told("receive"):
            return self._wait_for(self._receive(most, max(wait_s, LEAST_WAIT_S)))

    async def _receive(self, most: int, wait_s: float) -> list[Received]:
        found = []
        for message in await self._receiver.receive_messages(max_message_count=most, max_wait_time=wait_s):
            number = number_of(message)
            if number is None:
                await self._receiver.abandon_message(message)
                raise not_of_this_run(self._queue)
            found.append(delivery_of(message, number, message.locked_until_utc, _Handle(message=message)))
        return found

    def _settle(
        self, deliveries: Sequence[Received], call: str, settle: Callable[[Any], Awaitable[object]]
    ) -> tuple[bool, ...]:
        """All at the same time."""

        async def settled(delivery: Received) -> bool:
            assert isinstance(delivery.handle, _Handle), "a delivery of another adapter"
            try:
                await settle(delivery.handle.message)
            except Exception as error:
                if not is_lost(error):
                    raise
                return False
            return True

        async def all_settled() -> list[bool]:
            return await asyncio.gather(*(settled(delivery) for delivery in deliveries))

        with told(call):
            return tuple(self._wait_for(all_settled()))

    def complete(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """In one round trip, from 7.15 on."""
        return self._settle(deliveries, "complete", self._receiver.complete_message)

    def abandon(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """In one round trip, from 7.15 on."""
        return self._settle(deliveries, "abandon", self._receiver.abandon_message)

    def dead_letter(self, deliveries: Sequence[Received], reason: str) -> tuple[bool, ...]:
        """In one round trip, from 7.15 on."""
        return self._settle(
            deliveries,
            "dead-letter",
            lambda message: self._receiver.dead_letter_message(message, reason=reason),
        )

    def renew(self, delivery: Received) -> float | None:
        """By a request over the same connection."""
        ends: list[float] = []

        async def renew(message: ServiceBusReceivedMessage) -> None:
            ends.append((await self._receiver.renew_message_lock(message)).timestamp())

        (kept,) = self._settle([delivery], "renew", renew)
        return ends[0] if kept else None

    def close(self) -> None:
        """From 7.15 on the SDK gives back what it holds and has not handed out; before, that stays locked."""
        if self._closed:
            return
        self._closed = True
        try:
            with told("closing a receiver"):
                self._wait_for(self._close())
        finally:
            self._end_loop()

    async def _close(self) -> None:
        await self._receiver.close()
        await self._client.close()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
