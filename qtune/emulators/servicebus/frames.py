"""The frames of AMQP 1.0 (OASIS AMQP 1.0, part 2: transport, and part 5: security).

Every field of a frame is written, with nulls for those that say nothing. The standard lets a sender leave trailing
nulls out, but azure-servicebus before 7.15 reads fields by their place and fails on a short frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from qtune.emulators.servicebus.decoding import decode
from qtune.emulators.servicebus.encoding import write
from qtune.emulators.servicebus.values import (
    Described,
    Malformed,
    Symbol,
    UByte,
    UInt,
    ULong,
    UShort,
)

SASL_HEADER = b"AMQP\x03\x01\x00\x00"
AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
LARGEST_FRAME_BYTES = 65_536
_AMQP, _SASL = 0, 1


class Open(NamedTuple):
    """The first frame of a connection."""

    container_id: str
    hostname: str | None = None
    max_frame_size: int | None = None
    channel_max: int | None = None
    idle_time_out: int | None = None
    outgoing_locales: Any = None
    incoming_locales: Any = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[Any, Any] | None = None


class Begin(NamedTuple):
    """The first frame of a session."""

    remote_channel: int | None
    next_outgoing_id: int
    incoming_window: int
    outgoing_window: int
    handle_max: int | None = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[Any, Any] | None = None


class Attach(NamedTuple):
    """The first frame of a link; ``role`` is True for the end that receives."""

    name: str
    handle: int
    role: bool
    snd_settle_mode: int | None = None
    rcv_settle_mode: int | None = None
    source: Described | None = None
    target: Described | None = None
    unsettled: dict[Any, Any] | None = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[Any, Any] | None = None


class Flow(NamedTuple):
    """The state of a session's windows, and of a link's credit if ``handle`` names one."""

    next_incoming_id: int | None
    incoming_window: int
    next_outgoing_id: int
    outgoing_window: int
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool | None = None
    echo: bool | None = None
    properties: dict[Any, Any] | None = None


class Transfer(NamedTuple):
    """A message, or a part of one when ``more`` follows."""

    handle: int
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: int | None = None
    state: Described | None = None
    resume: bool | None = None
    aborted: bool | None = None
    batchable: bool | None = None


class Disposition(NamedTuple):
    """What has become of the deliveries ``first`` to ``last``; ``role`` is True from the end that received them."""

    role: bool
    first: int
    last: int | None = None
    settled: bool | None = None
    state: Described | None = None
    batchable: bool | None = None


class Detach(NamedTuple):
    """The last frame of a link."""

    handle: int
    closed: bool | None = None
    error: Described | None = None


class End(NamedTuple):
    """The last frame of a session."""

    error: Described | None = None


class Close(NamedTuple):
    """The last frame of a connection."""

    error: Described | None = None


class SaslMechanisms(NamedTuple):
    """How a client may say who it is."""

    mechanisms: Any


class SaslInit(NamedTuple):
    """The way that the client has chosen."""

    mechanism: Symbol
    initial_response: bytes | None = None
    hostname: str | None = None


class SaslOutcome(NamedTuple):
    """Whether the client is let in: 0 is yes."""

    code: int
    additional_data: bytes | None = None


Performative = (
    Open
    | Begin
    | Attach
    | Flow
    | Transfer
    | Disposition
    | Detach
    | End
    | Close
    | SaslMechanisms
    | SaslInit
    | SaslOutcome
)

# The types of the fields in the standard's words; "!" marks those that must not be null.
_LAYOUT: dict[type[Performative], tuple[int, int, str]] = {
    Open: (_AMQP, 0x10, "string! string uint ushort uint * * * * map"),
    Begin: (_AMQP, 0x11, "ushort uint! uint! uint! uint * * map"),
    Attach: (
        _AMQP, 0x12,
        "string! uint! boolean! ubyte ubyte described described map boolean uint ulong * * map",
    ),
    Flow: (_AMQP, 0x13, "uint uint! uint! uint! uint uint uint uint boolean boolean map"),
    Transfer: (
        _AMQP, 0x14,
        "uint! uint binary uint boolean boolean ubyte described boolean boolean boolean",
    ),
    Disposition: (_AMQP, 0x15, "boolean! uint! uint boolean described boolean"),
    Detach: (_AMQP, 0x16, "uint! boolean described"),
    End: (_AMQP, 0x17, "described"),
    Close: (_AMQP, 0x18, "described"),
    SaslMechanisms: (_SASL, 0x40, "*!"),
    SaslInit: (_SASL, 0x41, "symbol! binary string"),
    SaslOutcome: (_SASL, 0x44, "ubyte! binary"),
}  # fmt: skip

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "symbol": (Symbol,), "binary": (bytes,), "boolean": (bool,), "map": (dict,), "*": (object,),
    "ubyte": (UByte,), "ushort": (UShort,), "uint": (UInt,), "ulong": (ULong,), "described": (Described,),
}  # fmt: skip
_NUMBERS: dict[str, Callable[[int], int]] = {"ubyte": UByte, "ushort": UShort, "uint": UInt, "ulong": ULong}


class _Field(NamedTuple):
    types: tuple[type, ...]
    number: Callable[[int], int] | None
    required: bool


def _fields(layout: str) -> tuple[_Field, ...]:
    words = [(word.removesuffix("!"), word.endswith("!")) for word in layout.split()]
    return tuple(_Field(_TYPES[word], _NUMBERS.get(word), required) for word, required in words)


_FIELDS = {kind: _fields(layout) for kind, (_, _, layout) in _LAYOUT.items()}
_BY_CODE: dict[tuple[int, int], Callable[..., Performative]] = {
    (family, code): kind for kind, (family, code, _) in _LAYOUT.items()
}


class Frame(NamedTuple):
    """One frame as it came: the header of a protocol, or a performative with what follows it.

    performative: None for a header, and for an empty frame, which only says that the other end is there.
    """

    channel: int
    performative: Performative | None
    payload: bytes = b""
    header: bytes | None = None


def frame_bytes(channel: int, performative: Performative, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    family, code, _ = _LAYOUT[type(performative)]
    fields: list[object] = [
        value if value is None or field.number is None else field.number(value)
        for value, field in zip(performative, _FIELDS[type(performative)], strict=True)
    ]
    out = bytearray(8)
    out += bytes((0x00, 0x53, code))
    write(out, fields)
    out += payload
    out[:8] = len(out).to_bytes(4, "big") + bytes((2, family)) + channel.to_bytes(2, "big")
    return bytes(out)


class FrameReader:
    """Puts frames together from bytes as they come."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is complete with these bytes.

        Malformed: the bytes are no frame; the connection cannot go on, since nobody knows where the next one begins.
        """
        self._bytes += data
        buffer, start = self._bytes, 0
        try:
            while len(buffer) - start >= 8:
                size = (
                    8
                    if buffer.startswith(b"AMQP", start)
                    else int.from_bytes(buffer[start : start + 4], "big")
                )
                if not 8 <= size <= LARGEST_FRAME_BYTES:
                    raise Malformed(f"a frame of {size} bytes; frames here have 8 to {LARGEST_FRAME_BYTES}")
                if len(buffer) - start < size:
                    break
                start += size
                yield _parsed(bytes(buffer[start - size : start]))
        finally:
            del buffer[:start]


def _parsed(data: bytes) -> Frame:
    if data.startswith(b"AMQP"):
        return Frame(0, None, header=data)
    start, family, channel = 4 * data[4], data[5], int.from_bytes(data[6:8], "big")
    if not 8 <= start <= len(data):
        raise Malformed(f"the body of a frame of {len(data)} bytes cannot begin at {start}")
    if start == len(data):
        return Frame(channel, None)
    described, end = decode(data, start)
    if not isinstance(described, Described) or not isinstance(described.descriptor, ULong):
        raise Malformed("a frame must begin with a performative")
    kind = _BY_CODE.get((family, described.descriptor))
    if kind is None:
        raise Malformed(f"a frame of type {family} has no performative 0x{described.descriptor:02x} here")
    return Frame(channel, kind(*_checked(kind, described.value)), data[end:])


def _checked(kind: Any, values: object) -> list[object]:
    """The fields of a performative, filled up with nulls, each of the type that the standard gives it."""
    layout = _FIELDS[kind]
    if not isinstance(values, list) or len(values) > len(layout):
        raise Malformed(f"{kind.__name__} is a list of at most {len(layout)} fields")
    for place, field in enumerate(layout):
        if place == len(values):
            values.append(None)
        value = values[place]
        if value is None:
            if field.required:
                raise Malformed(f"{kind.__name__} must say its {kind._fields[place]}")
        elif not isinstance(value, field.types):
            raise Malformed(f"{kind.__name__} has a {kind._fields[place]} of type {type(value).__name__}")
    return values
