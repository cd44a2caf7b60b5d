"""One connection of a client: bytes in and out, its open and its sessions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from qtune.emulators.servicebus import refusals
from qtune.emulators.servicebus.frames import (
    AMQP_HEADER,
    LARGEST_FRAME_BYTES,
    SASL_HEADER,
    Begin,
    Close,
    End,
    Frame,
    FrameReader,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    frame_bytes,
)
from qtune.emulators.servicebus.namespace import Namespace
from qtune.emulators.servicebus.session import Session
from qtune.emulators.servicebus.values import Array, Malformed, Symbol

_MECHANISMS = Array(Symbol(name) for name in ("MSSBCBS", "ANONYMOUS", "PLAIN", "EXTERNAL"))
_LAST_CHANNEL = 4_999
_SMALLEST_FRAME_BYTES = 512  # the standard's, which every peer takes


class Way:
    """One direction of a network: what goes in comes out later, in order, also when the delay changes meanwhile.

    late_s: how much later than it should the last thing came out, since timers are not exact.
    """

    def __init__(self) -> None:
        self.carries: deque[tuple[float, Callable[[], None]]] = deque()
        self.late_s = 0.0

    def carry(self, arrive: Callable[[], None], delay_s: float) -> None:
        """Let something arrive after a delay."""
        if delay_s > 0 or self.carries:
            loop = asyncio.get_running_loop()
            due_s = loop.time() + delay_s
            self.carries.append((due_s, arrive))
            loop.call_at(due_s, self._hand_on)
        else:
            arrive()

    def _hand_on(self) -> None:
        due_s, arrive = self.carries.popleft()
        self.late_s = asyncio.get_running_loop().time() - due_s
        arrive()


class Connection:
    """Our end of a connection.

    transport: where bytes are written to. frame_bytes_most: of a frame that the client takes.
    """

    def __init__(self, namespace: Namespace, transport: asyncio.Transport) -> None:
        self.namespace, self.transport = namespace, transport
        self.frame_bytes_most = _SMALLEST_FRAME_BYTES
        self._reader = FrameReader()
        self._sessions: dict[int, Session] = {}
        self._open = False
        self._out: list[bytes] = []
        self._inward, self._outward = Way(), Way()
        self._ending = False
        self._heartbeat: asyncio.TimerHandle | None = None
        self._carried = 0
        self._loop = asyncio.get_running_loop()
        namespace.traffic.connections += 1
        namespace.traffic.connections_open += 1

    # -- bytes

    def write(self, data: bytes) -> None:
        """Send bytes, together with all that is sent in this turn of the event loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        late_s, self._inward.late_s = self._inward.late_s, 0.0
        self._outward.carry(partial(self._write, data), max(0.0, self.namespace.faults.rtt_s / 2.0 - late_s))

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)
            if self._ending and not self._out and not self._outward.carries:
                self.transport.close()

    def received(self, data: bytes) -> None:
        """Bytes have come; they are looked at when half a round trip has passed."""
        self._inward.carry(partial(self._read, data), self.namespace.faults.rtt_s / 2.0)

    def _read(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                if self._ending:
                    break  # nobody listens to what comes after the end
                self._on_frame(frame)
        except Malformed as wrong:
            self.namespace.traffic.malformed += 1
            self._close(Close(refusals.refused(wrong).error))

    # -- frames

    def _on_frame(self, frame: Frame) -> None:
        if frame.header is not None:
            self._on_header(frame.header)
            return
        match frame.performative:
            case None:
                pass  # an empty frame says that the client is there
            case SaslInit():
                self.write(frame_bytes(0, SaslOutcome(0)))
            case Open():
                self._on_open(frame.performative)
            case Close():
                self._close(Close())
            case Begin() if (
                self._open and frame.channel <= _LAST_CHANNEL and frame.channel not in self._sessions
            ):
                self._sessions[frame.channel] = Session(self, frame.channel, frame.performative)
            case _:
                self._on_session_frame(frame, frame.performative)

    def _on_header(self, header: bytes) -> None:
        if header not in (SASL_HEADER, AMQP_HEADER):
            raise Malformed(f"the protocol {header!r} is not spoken here")
        self.write(header)
        if header == SASL_HEADER:
            self.write(frame_bytes(0, SaslMechanisms(_MECHANISMS)))

    def _on_open(self, asked: Open) -> None:
        self._open = True
        self.frame_bytes_most = min(asked.max_frame_size or LARGEST_FRAME_BYTES, LARGEST_FRAME_BYTES)
        if self.frame_bytes_most < _SMALLEST_FRAME_BYTES:
            raise Malformed(f"frames of {self.frame_bytes_most} bytes; the least is {_SMALLEST_FRAME_BYTES}")
        if asked.idle_time_out:
            self._beat(asked.idle_time_out / 2_000.0)
        self.write(
            frame_bytes(
                0,
                Open(
                    "qtune-emulator",
                    max_frame_size=LARGEST_FRAME_BYTES,
                    channel_max=_LAST_CHANNEL,
                    properties={},
                ),
            )
        )

    def _beat(self, every_s: float) -> None:
        """Say that this end is there, twice as often as the client asks for."""
        self.write(b"\x00\x00\x00\x08\x02\x00\x00\x00")
        self._heartbeat = self._loop.call_later(every_s, self._beat, every_s)

    def _on_session_frame(self, frame: Frame, performative: Performative) -> None:
        session = self._sessions.get(frame.channel)
        if session is None:
            raise Malformed(
                f"{type(performative).__name__} on channel {frame.channel}, where no session has begun"
            )
        if isinstance(performative, End):
            del self._sessions[frame.channel]
            session.gone()
            self.write(frame_bytes(frame.channel, End()))
        else:
            session.on_frame(performative, frame.payload)

    # -- the end

    def _close(self, close: Close) -> None:
        """Say that the connection ends, and end it when that has been written."""
        self._ending = True
        self._end_sessions()
        self.write(frame_bytes(0, close))

    def drop(self) -> None:
        """Cut the connection without a word."""
        self.namespace.traffic.dropped += 1
        self._ending = True
        self.transport.abort()

    def lost(self) -> None:
        """The connection has ended, for whatever reason; what the client had sent before is on its way still."""
        self._inward.carry(self._gone, self.namespace.faults.rtt_s / 2.0)

    def _gone(self) -> None:
        self.namespace.traffic.connections_open -= 1
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._end_sessions()

    def _end_sessions(self) -> None:
        while self._sessions:
            self._sessions.popitem()[1].gone()

    # -- faults

    def carried(self) -> None:
        """A message has gone through this connection, which may have been its last."""
        self._carried += 1
        if self.namespace.faults.drop_after and self._carried == self.namespace.faults.drop_after:
            self.drop()

    def may_be_busy(self) -> None:
        """Refuse a send whose turn it is to be refused."""
        if self.namespace.is_busy():
            raise refusals.busy()
