"""Our ends of links: those that bring messages to a client, and those that a client sends on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qtune.broker import Delivery, Message
from qtune.emulators.servicebus import refusals, settlement
from qtune.emulators.servicebus.frames import Attach, Flow, Transfer
from qtune.emulators.servicebus.namespace import Queue
from qtune.emulators.servicebus.sections import message_of, messages_of, stamped
from qtune.emulators.servicebus.values import Described, Malformed, Symbol

if TYPE_CHECKING:
    from qtune.emulators.servicebus.session import Session

LARGEST_MESSAGE_BYTES = 1024 * 1024
_CREDIT = 1_000
_SETTLED = 1
_COUNTS = 2**32  # delivery counts and ids are serial numbers of 32 bits (RFC 1982)
_SESSION_FILTER = Symbol("com.microsoft:session-filter")
_SESSION_WAIT = "com.microsoft:timeout"
_SESSION_WAIT_MS = 60_000
_LOCKED_UNTIL = Symbol("com.microsoft:locked-until-utc")
_TICKS_PER_S = 10_000_000
_TICKS_TO_1970 = 621_355_968_000_000_000


def address_of(terminus: Described | None) -> str:
    """The path that a link names: "queue" of "amqps://host:port/queue", which is how azure-servicebus says it."""
    fields = terminus.value if terminus is not None else None
    address = fields[0] if isinstance(fields, list) and fields else None
    if not isinstance(address, str):
        raise Malformed("a link must have the address of a queue or of a node")
    return address.partition("://")[2].partition("/")[2] if "://" in address else address


class Link:
    """What both directions share."""

    def __init__(self, session: Session, attach: Attach, address: str) -> None:
        self.session, self.asked, self.address = session, attach, address
        self.handle = attach.handle

    def accept(self, properties: dict[Any, Any] | None = None, source: Described | None = None) -> None:
        """Answer the attach: the link is there."""
        asked = self.asked
        self.session.send(
            Attach(
                name=asked.name,
                handle=self.handle,
                role=not asked.role,
                snd_settle_mode=asked.snd_settle_mode or 0,
                rcv_settle_mode=asked.rcv_settle_mode or 0,
                source=source or asked.source,
                target=asked.target,
                initial_delivery_count=0 if asked.role else None,
                max_message_size=LARGEST_MESSAGE_BYTES,
                properties=properties or {},
            )
        )

    def on_flow(self, flow: Flow) -> None:
        """The client has said something about the link's credit."""

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """The client has sent something."""
        raise Malformed("a transfer on a link that only brings messages")

    def end(self, refusal: refusals.Refused) -> None:
        """End the link with the reason."""
        self.session.detach(self, refusal)

    def gone(self) -> None:
        """The link has ended, for whatever reason."""


class Outgoing(Link):
    """A link that brings messages to the client: answers of a node as it is, and those of a queue below."""

    def __init__(self, session: Session, attach: Attach, address: str) -> None:
        super().__init__(session, attach, address)
        self.delivery_count = 0

    def transfer(self, payload: bytes, tag: bytes, *, settled: bool) -> int:
        """Send a message; its delivery id."""
        self.delivery_count = (self.delivery_count + 1) % _COUNTS
        return self.session.transfer(self.handle, payload, tag, settled=settled)


class QueueReceiver(Outgoing):
    """A client that receives from a queue: a receiver of the broker, whose credit is the link's."""

    def __init__(self, session: Session, attach: Attach, address: str, queue: Queue) -> None:
        super().__init__(session, attach, address)
        self.queue, self.credit = queue, 0
        queue.links.add(self)
        self.session_id: str | None = None
        self._deletes = attach.snd_settle_mode == _SETTLED  # receive-and-delete
        self._waits_for_session: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Take part in the queue, or wait for a session of it."""
        asked, name = self._asks_for_session()
        if asked:
            self._ask_for_session(name)
        elif self.queue.has_sessions:
            raise refusals.not_allowed(
                "It is not possible for an entity that requires sessions to create a non-sessionful message receiver."
            )
        else:
            self.queue.broker.add(self)
            self.accept()

    def _asks_for_session(self) -> tuple[bool, str | None]:
        """Whether the link asks for a session, and for which: None is the next that is free."""
        source = self.asked.source
        filters = source.value[7] if source is not None and len(source.value) > 7 else None
        if not isinstance(filters, dict) or _SESSION_FILTER not in filters:
            return False, None
        wanted = filters[_SESSION_FILTER]
        name = wanted.value if isinstance(wanted, Described) else wanted
        if not isinstance(name, str | None):
            raise Malformed("a session has a name of text")
        return True, name

    def _ask_for_session(self, name: str | None) -> None:
        if not self.queue.has_sessions:
            raise refusals.not_allowed("A session was asked for, and the queue has none.")
        properties = self.asked.properties or {}
        wait_ms = properties.get(
            _SESSION_WAIT, _SESSION_WAIT_MS
        )  # a symbol equals a text of the same letters
        if name is None and isinstance(wait_ms, int):
            loop = asyncio.get_running_loop()
            self._waits_for_session = loop.call_later(wait_ms / 1000.0, self._waited_in_vain)
        try:
            self.queue.broker.accept_session(self, name)
        except Exception:
            self._stop_waiting()
            raise

    def _stop_waiting(self) -> None:
        if self._waits_for_session is not None:
            self._waits_for_session.cancel()
            self._waits_for_session = None

    def _waited_in_vain(self) -> None:
        self.queue.broker.cancel_session(self)
        self.session.refuse(self, refusals.no_session())

    def session_accepted(self, name: str, lock_end_s: float) -> None:
        """The broker has found a session: the link is there, with the session's name in its filter."""
        self._stop_waiting()
        self.session_id = name
        asked = self.asked.source
        assert asked is not None
        fields = [*asked.value]
        fields[7] = {_SESSION_FILTER: name}
        ticks = _TICKS_TO_1970 + round(lock_end_s * _TICKS_PER_S)
        self.accept({_LOCKED_UNTIL: ticks}, Described(asked.descriptor, fields))

    def session_lost(self) -> None:
        """The lock of the session has run out: the link ends."""
        self.session_id = None
        self.session.detach(self, refusals.session_lost())

    def deliver(self, delivery: Delivery) -> None:
        """Send a message of the broker to the client."""
        message = delivery.message
        payload = stamped(
            message,
            deliveries=delivery.delivery_no - 1,
            locked_until_s=None if self._deletes else delivery.lock_end_s,
            source=self.queue.source,
        )
        number = self.transfer(payload, delivery.token, settled=self._deletes)
        if self._deletes:
            self.queue.broker.settle(delivery.token, "completed")
        else:
            self.session.unsettled[number] = (self, delivery.token)

    def on_flow(self, flow: Flow) -> None:
        """The client grants credit, as the count of deliveries up to which it may be sent something."""
        seen = self.delivery_count if flow.delivery_count is None else flow.delivery_count
        ahead = (seen - self.delivery_count + _COUNTS // 2) % _COUNTS - _COUNTS // 2
        self.queue.broker.grant(self, max(0, ahead + (flow.link_credit or 0)))
        if flow.drain and self.credit:
            self.delivery_count = (self.delivery_count + self.credit) % _COUNTS
            self.queue.broker.grant(self, 0)
        if flow.drain or flow.echo:
            self.session.flow(self.handle, self.delivery_count, self.credit, drain=bool(flow.drain))
        self.queue.arm()

    def gone(self) -> None:
        """A session is given back with what is in flight of it; locks of messages run on without the link."""
        self.queue.links.discard(self)
        self._stop_waiting()
        broker = self.queue.broker
        if self.session_id is not None:
            broker.close_session(self)
        elif self.queue.has_sessions:
            broker.cancel_session(self)
        else:
            broker.remove(self)
        self.queue.arm()


class Incoming(Link):
    """A link that a client sends on; this end always grants credit again before it is used up."""

    def __init__(self, session: Session, attach: Attach, address: str) -> None:
        super().__init__(session, attach, address)
        self._credit, self._delivery_count = _CREDIT, attach.initial_delivery_count or 0
        self._first: Transfer | None = None
        self._parts = bytearray()

    def accept(self, properties: dict[Any, Any] | None = None, source: Described | None = None) -> None:
        """Answer the attach, and grant credit."""
        super().accept(properties, source)
        self._grant()

    def _grant(self) -> None:
        self._credit = _CREDIT
        self.session.flow(self.handle, self._delivery_count, self._credit)

    def on_flow(self, flow: Flow) -> None:
        """A client that asks for the link's state gets it."""
        if flow.echo:
            self.session.flow(self.handle, self._delivery_count, self._credit)

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Put the parts of a message together; a whole one is taken in and answered."""
        first = self._first or transfer
        self._first, self._parts = first, self._parts + payload
        if transfer.more and not transfer.aborted and len(self._parts) <= LARGEST_MESSAGE_BYTES:
            return
        whole, self._first, self._parts = bytes(self._parts), None, bytearray()
        self._delivery_count = (self._delivery_count + 1) % _COUNTS
        self._credit -= 1
        if self._credit < _CREDIT // 2:
            self._grant()
        if transfer.aborted:
            return
        try:
            if len(whole) > LARGEST_MESSAGE_BYTES:
                raise refusals.Refused(
                    "amqp:link:message-size-exceeded",
                    f"A message has at most {LARGEST_MESSAGE_BYTES} bytes.", 400,
                )  # fmt: skip
            self.on_message(whole, first)
            state = settlement.accepted()
        except Exception as wrong:  # the client is told, whatever it is
            state = settlement.rejected(refusals.refused(wrong))
        if not first.settled and first.delivery_id is not None:
            self.session.answer(first.delivery_id, state, role=True)

    def on_message(self, payload: bytes, first: Transfer) -> None:
        """Take in a message; an exception is its rejection."""
        raise Malformed(f"nobody reads what is sent to {self.address!r}")


class QueueSender(Incoming):
    """A client that sends to a queue."""

    def __init__(self, session: Session, attach: Attach, address: str, queue: Queue) -> None:
        super().__init__(session, attach, address)
        self.queue = queue
        queue.links.add(self)

    def gone(self) -> None:
        """The queue need not know of the link any more."""
        self.queue.links.discard(self)

    def on_message(self, payload: bytes, first: Transfer) -> None:
        """A message, or a batch of them, none of which is taken in unless all can be read."""
        self.session.connection.may_be_busy()
        broker = self.queue.broker
        now_s = broker.clock()
        messages = [message_of(data, now_s) for data in messages_of(payload, first.message_format)]
        self._check(messages)
        try:
            with broker.one_call():
                for message in messages:
                    broker.send(message)
        finally:
            self.queue.arm()

    def _check(self, messages: list[Message]) -> None:
        if self.queue.has_sessions and any(message.group is None for message in messages):
            raise refusals.not_allowed(
                "The SessionId was not set on a message, and it cannot be sent to the entity."
            )
