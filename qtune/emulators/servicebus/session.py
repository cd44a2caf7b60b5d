"""One AMQP session of a connection: its windows, its links, and the frames that concern them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from qtune.emulators.servicebus import refusals, settlement
from qtune.emulators.servicebus.frames import (
    Attach,
    Begin,
    Detach,
    Disposition,
    Flow,
    Performative,
    Transfer,
    frame_bytes,
)
from qtune.emulators.servicebus.links import Link, Outgoing, QueueReceiver, QueueSender, address_of
from qtune.emulators.servicebus.nodes import CBS, MANAGEMENT, Cbs, Management
from qtune.emulators.servicebus.refusals import Refused
from qtune.emulators.servicebus.values import Described, Malformed

if TYPE_CHECKING:
    from qtune.emulators.servicebus.connection import Connection

WINDOW = 5_000
_NUMBERS = 2**32
_ROOM_FOR_HEAD = 128
_LAST_HANDLE = 255


class Session:
    """Our end of a session.

    unsettled: by delivery id, whose delivery it is and its token.
    """

    def __init__(self, connection: Connection, channel: int, begin: Begin) -> None:
        self.connection, self.channel = connection, channel
        self.links: dict[int, Link] = {}
        self.unsettled: dict[int, tuple[QueueReceiver, bytes]] = {}
        self._next_out, self._out_window = 0, begin.incoming_window
        self._next_in, self._in_window = begin.next_outgoing_id, WINDOW
        self._held_back: deque[bytes] = deque()
        self._next_delivery = 0
        self.send(Begin(channel, 0, WINDOW, WINDOW, handle_max=_LAST_HANDLE, properties={}))

    # -- out

    def send(self, performative: Performative, payload: bytes = b"") -> None:
        """Send a frame on this session's channel."""
        self.connection.write(frame_bytes(self.channel, performative, payload))

    def transfer(self, handle: int, payload: bytes, tag: bytes, *, settled: bool) -> int:
        """Send a message in as many frames as it takes, when the client's window lets them through; its delivery id."""
        number = self._next_delivery
        self._next_delivery = (number + 1) % _NUMBERS
        room = self.connection.frame_bytes_most - _ROOM_FOR_HEAD
        for start in range(0, len(payload) or 1, room):
            more = start + room < len(payload)
            head = Transfer(handle, number, tag, 0, settled, more)
            self._held_back.append(frame_bytes(self.channel, head, payload[start : start + room]))
        self._let_through()
        self.connection.carried()
        return number

    def _let_through(self) -> None:
        while self._held_back and self._out_window > 0:
            self._out_window -= 1
            self._next_out = (self._next_out + 1) % _NUMBERS
            self.connection.write(self._held_back.popleft())

    def flow(
        self,
        handle: int | None = None,
        delivery_count: int | None = None,
        credit: int | None = None,
        *,
        drain: bool = False,
    ) -> None:
        """Tell the state of the windows, and of a link."""
        self.send(
            Flow(
                next_incoming_id=self._next_in,
                incoming_window=self._in_window,
                next_outgoing_id=self._next_out,
                outgoing_window=self._out_window,
                handle=handle,
                delivery_count=delivery_count,
                link_credit=credit,
                drain=drain,
                echo=False,
            )
        )

    def answer(self, number: int, state: Described | None, *, role: bool) -> None:
        """Settle a delivery: one that the client has sent (role True), or one that it has received."""
        settled = Disposition(role, number, number, settled=True, state=state, batchable=False)
        late_s = self.connection.namespace.faults.late_disposition_s
        if late_s > 0 and not role:
            asyncio.get_running_loop().call_later(late_s, self.send, settled)
        else:
            self.send(settled)

    def detach(self, link: Link, refusal: Refused) -> None:
        """End a link with the reason."""
        if self.links.pop(link.handle, None) is not None:
            self._forget(link)
            self.send(Detach(link.handle, closed=True, error=refusal.error))

    def refuse(self, link: Link, refusal: Refused) -> None:
        """Answer an attach with no: an end without a terminus, and then the reason."""
        if self.links.pop(link.handle, None) is None:
            return
        asked = link.asked
        self.send(
            Attach(
                name=asked.name,
                handle=link.handle,
                role=not asked.role,
                snd_settle_mode=asked.snd_settle_mode or 0,
                rcv_settle_mode=asked.rcv_settle_mode or 0,
                source=None if asked.role else asked.source,
                initial_delivery_count=0 if asked.role else None,
                properties={},
            )
        )
        self.send(Detach(link.handle, closed=True, error=refusal.error))

    # -- in

    def on_frame(self, performative: Performative, payload: bytes) -> None:
        """Do what a frame of the client says."""
        match performative:
            case Transfer():
                self._on_transfer(performative, payload)
            case Disposition():
                self._on_disposition(performative)
            case Flow():
                self._on_flow(performative)
            case Attach():
                self._on_attach(performative)
            case Detach(handle=handle, closed=closed):
                link = self.links.pop(handle, None)
                if link is not None:
                    self._forget(link)
                    self.send(Detach(handle, closed=bool(closed)))
            case _:
                raise Malformed(f"{type(performative).__name__} is no frame of a session")

    def _on_attach(self, attach: Attach) -> None:
        if attach.handle in self.links or attach.handle > _LAST_HANDLE:
            raise Malformed(f"handle {attach.handle} is in use, or above {_LAST_HANDLE}")
        link: Link = Link(self, attach, "")
        self.links[attach.handle] = link
        try:
            link = self.links[attach.handle] = self._link_for(attach)
            if isinstance(link, QueueReceiver):
                link.begin()
            else:
                link.accept()
        except Exception as wrong:  # the client is told, whatever it is
            self.refuse(link, refusals.refused(wrong))

    def _link_for(self, attach: Attach) -> Link:
        """The end that fits the address: of a node that answers, or of a queue."""
        address = address_of(attach.source if attach.role else attach.target)
        find = self.connection.namespace.find
        if address == CBS or address.lower().endswith(MANAGEMENT):
            if attach.role:
                return Outgoing(self, attach, address)
            return (
                Cbs(self, attach, address)
                if address == CBS
                else Management(self, attach, address, find(address[: -len(MANAGEMENT)]))
            )
        if attach.role:
            return QueueReceiver(self, attach, address, find(address))
        return QueueSender(self, attach, address, find(address))

    def _on_flow(self, flow: Flow) -> None:
        seen = flow.next_incoming_id if flow.next_incoming_id is not None else 0
        self._out_window = (seen + flow.incoming_window - self._next_out) % _NUMBERS
        self._let_through()
        link = None if flow.handle is None else self.links.get(flow.handle)
        if link is not None:
            link.on_flow(flow)
        elif flow.echo:
            self.flow()

    def _on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._next_in = (self._next_in + 1) % _NUMBERS
        self._in_window -= 1
        if self._in_window < WINDOW // 2:
            self._in_window = WINDOW
            self.flow()
        link = self.links.get(transfer.handle)
        if link is not None:  # else the link has been refused or detached, and the client does not know yet
            link.on_transfer(transfer, payload)
            if not transfer.more:
                self.connection.carried()

    def _on_disposition(self, disposition: Disposition) -> None:
        if not disposition.role:
            return  # of what the client has sent, which was settled when it was answered
        first = disposition.first
        last = first if disposition.last is None else disposition.last
        if last - first <= len(self.unsettled):
            numbers = [number for number in range(first, last + 1) if number in self.unsettled]
        else:
            numbers = sorted(number for number in self.unsettled if first <= number <= last)
        for number in numbers:
            receiver, token = self.unsettled.pop(number)
            state = self._settled(receiver, token, disposition.state)
            if not disposition.settled:
                self.answer(number, state, role=False)

    @staticmethod
    def _settled(receiver: QueueReceiver, token: bytes, state: Described | None) -> Described | None:
        """Settle a delivery; the state to answer with."""
        try:
            settlement.in_state(state).apply(receiver.queue.broker, token)
        except Exception as wrong:  # the client is told, whatever it is
            return settlement.rejected(refusals.refused(wrong))
        finally:
            receiver.queue.arm()
        return settlement.confirmed(state)

    def answers_of(self, address: str) -> Outgoing | None:
        """The link on which a client waits for the answers of a node."""
        found = (
            link for link in self.links.values() if isinstance(link, Outgoing) and link.address == address
        )
        return next(found, None)

    def _forget(self, link: Link) -> None:
        for number in [number for number, (owner, _) in self.unsettled.items() if owner is link]:
            del self.unsettled[number]
        link.gone()

    def gone(self) -> None:
        """The session has ended, and all its links."""
        while self.links:
            self._forget(self.links.popitem()[1])
