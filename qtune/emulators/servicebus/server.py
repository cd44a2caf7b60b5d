"""The socket of an emulated namespace: AMQP for clients, and HTTP on the same port for counters and queues."""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
from collections.abc import Sequence

from qtune.emulators.servicebus.connection import Connection
from qtune.emulators.servicebus.http import HttpConnection
from qtune.emulators.servicebus.namespace import Namespace

LOOPBACK = "127.0.0.1"
_BACKLOG = 512


class _Door(asyncio.Protocol):
    """Looks at the first bytes of a connection, and lets AMQP or HTTP have it."""

    def __init__(self, namespace: Namespace, doors: set[_Door]) -> None:
        self._namespace, self._doors = namespace, doors
        self._transport: asyncio.Transport | None = None
        self._first = b""
        self.behind: Connection | HttpConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._doors.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self.behind is None:
            self._first += data
            if len(self._first) < 4 and b"AMQP".startswith(self._first):
                return
            assert self._transport is not None
            kind = Connection if self._first.startswith(b"AMQP") else HttpConnection
            self.behind = kind(self._namespace, self._transport)
            data = self._first
        self.behind.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._doors.discard(self)
        if isinstance(self.behind, Connection):
            self.behind.lost()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()


class Server:
    """Serves a namespace in a running event loop.

    host, port: where to listen; port 0: one that is free, which ``port`` then tells.
    """

    def __init__(self, namespace: Namespace, host: str, port: int) -> None:
        self.namespace, self.host, self.port = namespace, host, port
        self._doors: set[_Door] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. OSError: the address cannot be used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Door(self.namespace, self._doors), self.host, self.port, backlog=_BACKLOG
        )
        sockets: Sequence[socket.socket] = self._server.sockets
        self.port = sockets[0].getsockname()[1]

    def drop_connections(self) -> int:
        """Cut all clients' connections without a word; how many there were."""
        connections = [door.behind for door in self._doors if isinstance(door.behind, Connection)]
        for connection in connections:
            connection.drop()
        return len(connections)

    async def stop(self) -> None:
        """Listen no more, and end all connections."""
        assert self._server is not None
        self._server.close()
        for door in list(self._doors):
            door.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)  # lets the transports tell that they are closed
        self.namespace.close()


class _PreciseSelector(selectors.DefaultSelector):
    """Waits as long as it is told. epoll counts whole milliseconds, which would add up to one to every delay."""

    def select(self, wait_s: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, after at most so many seconds."""
        if wait_s is not None and wait_s > 0 and isinstance(self, selectors.EpollSelector):
            select.select([self.fileno()], [], [], wait_s)
            wait_s = 0.0
        return super().select(wait_s)


def event_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are as exact as the system's."""
    return asyncio.SelectorEventLoop(_PreciseSelector())
