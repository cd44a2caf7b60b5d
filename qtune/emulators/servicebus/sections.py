"""Messages as AMQP sections: what a sender wrote, and what a broker stamps on it (OASIS AMQP 1.0, part 3: messaging).

The names of the annotations are those of azure-servicebus 7.15.0 (``_common/constants.py``), and of the documentation
"AMQP 1.0 in Azure Service Bus protocol guide".
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from qtune.broker import TOO_MANY_DELIVERIES, Message
from qtune.emulators.servicebus.decoding import decode, end_of
from qtune.emulators.servicebus.encoding import encode, write
from qtune.emulators.servicebus.values import Malformed, Symbol, Timestamp, UInt

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION, DATA, _SEQUENCE, VALUE, FOOTER = range(
    0x70, 0x79
)
BATCH_FORMAT = 0x80013700
"""The message format of a batch: each of its data sections is a whole message."""

_SCHEDULED = Symbol("x-opt-scheduled-enqueue-time")
_PLACE_OF_SESSION = 10  # group-id, the eleventh of the properties
_STATES = {"deferred": 1, "scheduled": 2}
_MOST_DELIVERIES = "Message could not be consumed after {} delivery attempts."


class Content(NamedTuple):
    """What a sender wrote.

    annotations: the sender's. bare: properties, application properties and body, as they came; a broker does not
    change them. ttl_s: time to live; 0: none.
    """

    durable: bool | None
    priority: int | None
    ttl_s: float
    annotations: dict[Any, Any]
    bare: bytes
    session_id: str | None


def sections_of(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each section: its code, and where it, its value and the next one begin.

    Malformed: something else stands where a section should begin.
    """
    start = 0
    while start < len(data):
        if not data.startswith(b"\x00", start):
            raise Malformed("a message is made of sections")
        code, value = decode(data, start + 1)
        if not isinstance(code, int) or not HEADER <= code <= FOOTER:
            raise Malformed(f"no section of a message is called {code!r}")
        end = end_of(data, value)
        yield int(code), start, value, end
        start = end


def _of_type(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise Malformed(f"{what} of a message cannot be of type {type(value).__name__}")
    return value


def content_of(data: bytes) -> Content:
    """What a message says to the broker; its body is not looked at, but must be well-formed."""
    header: list[Any] = []
    annotations: dict[Any, Any] = {}
    properties: list[Any] = []
    bare = len(data)
    for code, start, value, _ in sections_of(data):
        if code >= PROPERTIES:
            bare = min(bare, start)
        if code == HEADER:
            header = _of_type(decode(data, value)[0], list, "the header")
        elif code == ANNOTATIONS:
            annotations = _of_type(decode(data, value)[0], dict, "the annotations")
        elif code == PROPERTIES:
            properties = _of_type(decode(data, value)[0], list, "the properties")
    durable, priority, ttl = (*header, None, None, None)[:3]
    session = properties[_PLACE_OF_SESSION] if len(properties) > _PLACE_OF_SESSION else None
    return Content(
        durable=durable,
        priority=priority,
        ttl_s=0.0 if ttl is None else _of_type(ttl, UInt, "the time to live") / 1000.0,
        annotations=annotations,
        bare=data[bare:],
        session_id=None if session is None else _of_type(session, str, "the session id"),
    )


def messages_of(data: bytes, message_format: int | None) -> list[bytes]:
    """The messages of one transfer: itself, or those of a batch."""
    if message_format != BATCH_FORMAT:
        return [data]
    return [
        _of_type(decode(data, value)[0], bytes, "a part")
        for code, _, value, _ in sections_of(data)
        if code == DATA
    ]


def message_of(data: bytes, now_s: float) -> Message:
    """A message for the broker; its body is all that the sender wrote."""
    content = content_of(data)
    scheduled_ms = content.annotations.get(_SCHEDULED)
    return Message(
        body=data,
        group=content.session_id,
        properties=content,
        visible_s=-math.inf
        if scheduled_ms is None
        else _of_type(scheduled_ms, Timestamp, "the enqueue time") / 1000.0,
        expires_s=now_s + content.ttl_s if content.ttl_s else math.inf,
    )


def stamped(message: Message, *, deliveries: int, locked_until_s: float | None, source: str) -> bytes:
    """A message as its receiver gets it.

    deliveries: those that count, this one not included. source: the queue that a dead letter comes from.
    """
    content = message.properties
    if not isinstance(content, Content):  # read back from a store, which keeps the body only
        content = content_of(message.body)
    notes: dict[Any, Any] = {
        **content.annotations,
        Symbol("x-opt-sequence-number"): message.number,
        Symbol("x-opt-enqueued-time"): milliseconds(message.enqueued_s),
        Symbol("x-opt-message-state"): _STATES.get(message.state, 0),
    }
    if locked_until_s is not None:
        notes[Symbol("x-opt-locked-until")] = milliseconds(locked_until_s)
    bare = content.bare
    letter = message.dead_letter
    if letter is not None:
        notes[Symbol("x-opt-deadletter-source")] = source
        reason, description = letter.reason, letter.description
        if reason == TOO_MANY_DELIVERIES:
            reason, description = "MaxDeliveryCountExceeded", _MOST_DELIVERIES.format(message.deliveries)
        said = {"DeadLetterReason": reason, "DeadLetterErrorDescription": description}
        bare = _with_application_properties(bare, {name: text for name, text in said.items() if text})
    ttl = UInt(round(1000.0 * content.ttl_s)) if content.ttl_s else None
    out = bytearray(b"\x00\x53\x70")
    write(out, [content.durable, content.priority, ttl, None, UInt(deliveries)])
    out += b"\x00\x53\x72"
    write(out, notes)
    out += bare
    return bytes(out)


def milliseconds(instant_s: float) -> Timestamp:
    """An instant as AMQP counts it."""
    return Timestamp(round(instant_s * 1000.0))


def _with_application_properties(bare: bytes, more: Mapping[str, str]) -> bytes:
    """The same message with more application properties, before its body."""
    given: dict[Any, Any] = {}
    before, after = bytearray(), bytearray()
    for code, start, value, end in sections_of(bare):
        if code == APPLICATION:
            given = _of_type(decode(bare, value)[0], dict, "the application properties")
        elif code < APPLICATION:
            before += bare[start:end]
        else:
            after += bare[start:end]
    return bytes(before) + b"\x00\x53\x74" + encode({**given, **more}) + bytes(after)


class Request(NamedTuple):
    """A request to a node that answers, such as $management: its id, what it asks for and with what."""

    message_id: object
    application: dict[Any, Any]
    body: Any


def request_of(data: bytes) -> Request:
    """What a client asks a node for."""
    found: dict[int, Any] = {}
    for code, _, value, _ in sections_of(data):
        if code in (PROPERTIES, APPLICATION, VALUE):
            found[code] = decode(data, value)[0]
    properties = _of_type(found.get(PROPERTIES, []), list, "the properties")
    application = _of_type(found.get(APPLICATION, {}), dict, "the application properties")
    return Request(properties[0] if properties else None, application, found.get(VALUE))


def response(request: Request, application: dict[str, object], body: object) -> bytes:
    """The answer to a request; its correlation id is the request's message id."""
    properties = [uuid.uuid4(), None, None, None, None, request.message_id]
    return b"".join(
        (
            b"\x00\x53\x73",
            encode(properties),
            b"\x00\x53\x74",
            encode(application),
            b"\x00\x53\x77",
            encode(body),
        )
    )
