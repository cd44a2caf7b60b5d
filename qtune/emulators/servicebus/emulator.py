"""The emulator as an object: a namespace with its server, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from qtune.broker import HandsOutTo
from qtune.emulators.servicebus import refusals
from qtune.emulators.servicebus.faults import Faults
from qtune.emulators.servicebus.namespace import Namespace
from qtune.emulators.servicebus.server import LOOPBACK, Server, event_loop
from qtune.emulators.servicebus.settings import semantics_of
from qtune.errors import InputError, Problem

_T = TypeVar("_T")


class ServiceBusEmulator:
    """A namespace of Service Bus on this machine, for azure-servicebus and other AMQP clients of the service.

        with ServiceBusEmulator(queues={"orders": {"lock_duration": 30}}) as emulator:
            client = ServiceBusClient.from_connection_string(emulator.connection_string)

    It keeps queues with and without sessions, dead letters, deferred and scheduled messages in memory, with the rules
    that simulations obey. It has no topics, transactions, duplicate detection or forwarding. It takes every credential,
    so whoever reaches the port may do everything: it listens on the loopback interface unless told otherwise.

    queues: settings by name; what is left out has the default of a scenario's queue.
    settings: of a queue that is made when a client first names it; None: such a queue is not found.
    hands_out_to: who of those with credit gets the next message, which the service does not document.
    seed: of the draws of "any". faults: trouble to make, also to be changed while it runs. host, port: where to listen;
        port 0: a free one. Starting raises InputError when it cannot listen there.
    """

    def __init__(
        self,
        *,
        queues: Mapping[str, Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
        hands_out_to: HandsOutTo = "longest_waiting",
        seed: int = 0,
        faults: Faults | None = None,
        host: str = LOOPBACK,
        port: int = 0,
    ) -> None:
        self.faults = faults or Faults()
        namespace = Namespace(
            semantics=None if settings is None else semantics_of(settings),
            hands_out_to=hands_out_to,
            seed=seed,
            faults=self.faults,
        )
        try:
            for name, given in (queues or {}).items():
                namespace.create(name, semantics_of(given))
        except refusals.Refused as refusal:
            raise InputError(Problem(where="queues", value=name, message=refusal.description)) from None
        self._server = Server(namespace, host, port)
        self._loop = event_loop()
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def connection_string(self) -> str:
        """What the SDK takes; the key is no secret, since any is taken."""
        return (
            f"Endpoint=sb://{self._server.host}:{self.port};SharedAccessKeyName=any;SharedAccessKey=any;"
            "UseDevelopmentEmulator=true"
        )

    def start(self) -> Self:
        """Listen. InputError: the address is in use, or not one of this machine."""
        try:
            self._loop.run_until_complete(self._server.start())
        except OSError as wrong:
            self._loop.close()
            raise InputError(
                Problem(
                    where="host, port",
                    value=f"{self._server.host}:{self._server.port}",
                    message=f"cannot listen there ({wrong.strerror}): use another port, or 0 for a free one",
                )
            ) from None
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="servicebus-emulator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all connections and listen no more; what the queues hold is gone. May be called again."""
        if self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def create(self, name: str, **settings: Any) -> None:
        """Make a queue. InputError: there is one of that name, or a setting is wrong."""
        semantics = semantics_of(settings)
        try:
            self._on_its_thread(lambda: self._server.namespace.create(name, semantics))
        except refusals.Refused as refusal:
            raise InputError(Problem(where="name", value=name, message=refusal.description)) from None

    def counters(self) -> dict[str, Any]:
        """What has happened so far: ``queues`` by name, and ``namespace``."""
        return self._on_its_thread(self._server.namespace.counters)

    def drop_connections(self) -> int:
        """Cut all connections without a word; how many there were."""
        return self._on_its_thread(self._server.drop_connections)

    def _on_its_thread(self, call: Callable[[], _T]) -> _T:
        async def made() -> _T:
            return call()

        return asyncio.run_coroutine_threadsafe(made(), self._loop).result()
