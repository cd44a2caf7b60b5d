"""Values as the bytes of AMQP 1.0 (OASIS AMQP 1.0, part 1: types)."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from qtune.emulators.servicebus.values import (
    Array,
    Byte,
    Char,
    Decimal,
    Described,
    Float,
    Int,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

_U8, _U16, _U32, _U64 = (struct.Struct(f">{code}") for code in "BHIQ")
_I8, _I16, _I32, _I64 = (struct.Struct(f">{code}") for code in "bhiq")
_F32, _F64 = struct.Struct(">f"), struct.Struct(">d")

Writer = Callable[[bytearray, Any], None]


def encode(value: object) -> bytes:
    """The bytes of a value, in the shortest form that is cheap to find.

    OverflowError: a number does not fit its type. TypeError: the value is of no type that AMQP has.
    """
    out = bytearray()
    try:
        write(out, value)
    except struct.error:
        raise OverflowError(f"{value!r} does not fit its AMQP type") from None
    return bytes(out)


def write(out: bytearray, value: object) -> None:
    """Append the bytes of a value."""
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise TypeError(f"AMQP has no type for {type(value).__name__}")
    writer(out, value)


def _packed(layout: struct.Struct) -> Writer:
    pack = layout.pack

    def write_number(out: bytearray, value: float) -> None:
        out += pack(value)

    return write_number


def _with_size(bytes_in: Callable[[Any], bytes]) -> Writer:
    def write_sized(out: bytearray, value: object) -> None:
        data = bytes_in(value)
        out += _U32.pack(len(data))
        out += data

    return write_sized


def _after(code: int, body: Writer) -> Writer:
    def write_value(out: bytearray, value: object) -> None:
        out.append(code)
        body(out, value)

    return write_value


def _short_number(zero: int, short: int, wide: Writer) -> Writer:
    def write_number(out: bytearray, value: int) -> None:
        if value == 0:
            out.append(zero)
        elif 0 < value < 256:
            out.append(short)
            out.append(value)
        else:
            wide(out, value)

    return write_number


def _short_bytes(short: int, long: int, bytes_in: Callable[[Any], bytes]) -> Writer:
    def write_bytes(out: bytearray, value: object) -> None:
        data = bytes_in(value)
        if len(data) < 256:
            out.append(short)
            out.append(len(data))
        else:
            out.append(long)
            out += _U32.pack(len(data))
        out += data

    return write_bytes


def _write_list(out: bytearray, values: list[Any]) -> None:
    _write_compound(out, 0xC0, 0xD0, values)


def _write_map(out: bytearray, values: dict[Any, Any]) -> None:
    _write_compound(out, 0xC1, 0xD1, [part for pair in values.items() for part in pair])


def _write_compound(out: bytearray, short: int, long: int, values: list[Any]) -> None:
    body = bytearray()
    for value in values:
        write(body, value)
    if len(body) < 255 and len(values) < 256:
        out += bytes((short, len(body) + 1, len(values)))
    else:
        out.append(long)
        out += _U32.pack(len(body) + 4) + _U32.pack(len(values))
    out += body


def _write_array(out: bytearray, values: Array) -> None:
    kinds = {type(value) for value in values} or {type(None)}
    kind = kinds.pop()
    if kinds or kind not in _WIDE:
        raise TypeError("an array holds numbers, texts, symbols, bytes or ids, all of one type")
    code, body_of = _WIDE[kind]
    body = bytearray()
    for value in values:
        body_of(body, value)
    out.append(0xF0)
    out += _U32.pack(len(body) + 5) + _U32.pack(len(values))
    out.append(code)
    out += body


def _write_described(out: bytearray, value: Described) -> None:
    out.append(0x00)
    write(out, value.descriptor)
    write(out, value.value)


def _write_decimal(out: bytearray, value: Decimal) -> None:
    out.append(value.code)
    out += value.data


def _utf8(value: str) -> bytes:
    return value.encode("utf-8")


def _ascii(value: Symbol) -> bytes:
    return value.encode("ascii")


# The form with one constructor for all values of a type, which an array needs.
_WIDE: dict[type, tuple[int, Writer]] = {
    type(None): (0x40, lambda out, value: None),
    bool: (0x56, lambda out, value: out.append(value)),
    UByte: (0x50, _packed(_U8)), UShort: (0x60, _packed(_U16)),
    UInt: (0x70, _packed(_U32)), ULong: (0x80, _packed(_U64)),
    Byte: (0x51, _packed(_I8)), Short: (0x61, _packed(_I16)), Int: (0x71, _packed(_I32)), int: (0x81, _packed(_I64)),
    Float: (0x72, _packed(_F32)), float: (0x82, _packed(_F64)), Timestamp: (0x83, _packed(_I64)),
    Char: (0x73, lambda out, value: out.extend(value.encode("utf-32-be"))),
    uuid.UUID: (0x98, lambda out, value: out.extend(value.bytes)),
    bytes: (0xB0, _with_size(bytes)), str: (0xB1, _with_size(_utf8)), Symbol: (0xB3, _with_size(_ascii)),
}  # fmt: skip

_WRITERS: dict[type, Writer] = {
    **{kind: _after(code, body) for kind, (code, body) in _WIDE.items()},
    bool: lambda out, value: out.append(0x41 if value else 0x42),
    UInt: _short_number(0x43, 0x52, _after(*_WIDE[UInt])),
    ULong: _short_number(0x44, 0x53, _after(*_WIDE[ULong])),
    bytes: _short_bytes(0xA0, 0xB0, bytes),
    str: _short_bytes(0xA1, 0xB1, _utf8),
    Symbol: _short_bytes(0xA3, 0xB3, _ascii),
    list: _write_list,
    dict: _write_map,
    Array: _write_array,
    Described: _write_described,
    Decimal: _write_decimal,
}
