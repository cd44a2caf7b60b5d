"""The adapter: one queue of a namespace, as a record that holds no connection and no credential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, ClassVar

from qtune.adapters.base import Depth, QueueAdapter, Receiver
from qtune.adapters.servicebus.emptying import delete_all
from qtune.adapters.servicebus.overlapping import OverlappingReceiver
from qtune.adapters.servicebus.place import Place
from qtune.adapters.servicebus.receiving import ServiceBusReceiver
from qtune.adapters.servicebus.sending import ServiceBusSender
from qtune.adapters.servicebus.sessions import SessionReceiver
from qtune.providers.base import ReceiveBehaviour
from qtune.providers.servicebus import ServiceBusQueue


def _settings() -> ServiceBusQueue:
    return ServiceBusQueue(tier="premium")


@dataclass(frozen=True, kw_only=True)
class ServiceBusAdapter(QueueAdapter):
    """A queue of Azure Service Bus, or of an emulator of it.

    emulator, namespace: where it is; see :class:`qtune.adapters.servicebus.place.Place`. Making a queue needs the right
        to manage the namespace; for one that exists those to send, to listen and, for its depth, to manage.
    retry_mode, max_attempts: of the SDK's own retries: "exponential" or "fixed", and so many attempts, the first one
        included.

    It uses the synchronous client, and the one for asyncio only where settlements overlap (``settle: concurrent``),
    which the synchronous one cannot do. A receiver of the SDK is used by one thread at a time (README of
    azure-servicebus, Thread safety), so each worker needs a receiver of its own, which is one connection.
    """

    provider: ClassVar[str] = "servicebus"

    queue: ServiceBusQueue = field(default_factory=_settings)
    emulator: str | None = None
    namespace: str | None = None

    @property
    def place(self) -> Place:
        """The namespace."""
        return Place(emulator=self.emulator, namespace=self.namespace)

    def _make(self) -> None:
        self.place.make(self.name, self.queue)

    def _unmake(self) -> None:
        self.place.unmake(self.name)

    def _delete_all_messages(self) -> None:
        client = self.place.client({"retry_total": 0})
        delete_all(client, self.used_name, has_sessions=self.queue.requires_session)

    def depth(self) -> Depth:
        """As the namespace counts; only an emulator tells ready messages from locked ones."""
        return self.place.depth(self.used_name)

    def versions(self) -> Mapping[str, str]:
        """The SDK's, and whether the server is an emulator."""
        server = {} if self.place.emulator_address() is None else {"server": "emulator"}
        return {"azure-servicebus": metadata.version("azure-servicebus"), **server}

    def sender(self) -> ServiceBusSender:
        """One connection, opened now."""
        return ServiceBusSender(self.place.client(self._retries), self.used_name)

    def receiver(self, behaviour: ReceiveBehaviour | None = None) -> Receiver:
        """One connection, opened now; on a queue with sessions, one for each session, opened when that is asked for.

        On a queue with sessions the SDK repeats no call, because it would repeat the wait for a session too.
        """
        prefetch = 0 if behaviour is None else behaviour.prefetch
        if behaviour is not None and behaviour.settle == "concurrent" and not self.queue.requires_session:
            return OverlappingReceiver(self.place, self._retries, self.used_name, prefetch)
        if not self.queue.requires_session:
            return ServiceBusReceiver(self.place.client(self._retries), self.used_name, prefetch)
        idle_s = 0.0 if behaviour is None else behaviour.session_idle_s
        return SessionReceiver(self.place.client({"retry_total": 0}), self.used_name, prefetch, idle_s)

    @property
    def _retries(self) -> Mapping[str, Any]:
        """What was said about retries, in the SDK's words; the rest is its own."""
        said = {} if self.retry_mode is None else {"retry_mode": self.retry_mode}
        return said if self.max_attempts is None else {**said, "retry_total": self.max_attempts - 1}
