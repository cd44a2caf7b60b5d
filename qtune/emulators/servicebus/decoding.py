"""The bytes of AMQP 1.0 as values (OASIS AMQP 1.0, part 1: types)."""

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
    Malformed,
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

Reader = Callable[[bytes, int], tuple[Any, int]]


def decode(data: bytes, start: int = 0) -> tuple[Any, int]:
    """The value that begins at ``start``, and where the next one begins.

    Malformed: the bytes end too early, or say what no AMQP value says.
    """
    try:
        return _read(data, start)
    except (IndexError, struct.error):
        raise Malformed("a value is cut off") from None
    except RecursionError:
        raise Malformed("values are nested too deep") from None
    except (ValueError, TypeError) as wrong:  # text that is not UTF-8, a map whose key is a list
        raise Malformed(str(wrong)) from None


def _read(data: bytes, start: int) -> tuple[Any, int]:
    reader = _READERS.get(data[start])
    if reader is None:
        raise Malformed(f"no type has the constructor 0x{data[start]:02x}")
    return reader(data, start + 1)


def _constant(value: object) -> Reader:
    return lambda data, start: (value, start)


def _number(layout: struct.Struct, kind: type) -> Reader:
    size, unpack = layout.size, layout.unpack_from
    if kind in (int, float):
        return lambda data, start: (unpack(data, start)[0], start + size)
    return lambda data, start: (kind(unpack(data, start)[0]), start + size)


def _bytes_of(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise Malformed("a value is cut off")
    return data[start:end]


def _sized(layout: struct.Struct, made_of: Callable[[bytes], Any]) -> Reader:
    width, unpack = layout.size, layout.unpack_from

    def read(data: bytes, start: int) -> tuple[Any, int]:
        begin = start + width
        end = begin + unpack(data, start)[0]
        return made_of(_bytes_of(data, begin, end)), end

    return read


def _fixed(size: int, made_of: Callable[[bytes], Any]) -> Reader:
    return lambda data, start: (made_of(_bytes_of(data, start, start + size)), start + size)


def _described(data: bytes, start: int) -> tuple[Described, int]:
    descriptor, start = _read(data, start)
    value, start = _read(data, start)
    return Described(descriptor, value), start


def _extent(layout: struct.Struct, data: bytes, start: int) -> tuple[int, int, int]:
    """Of a compound value: how many values it holds, where the first begins, and where the last must end."""
    size, count = layout.unpack_from(data, start)[0], layout.unpack_from(data, start + layout.size)[0]
    end = start + layout.size + size
    if end > len(data):
        raise Malformed("a compound value is cut off")
    if (
        count > size
    ):  # also of arrays whose values take no bytes, or one could ask for 4 thousand million of them
        raise Malformed(f"a compound value of {size} bytes says that it holds {count} values")
    return count, start + 2 * layout.size, end


def _list(layout: struct.Struct) -> Reader:
    def read(data: bytes, start: int) -> tuple[list[Any], int]:
        count, at, end = _extent(layout, data, start)
        found = []
        for _ in range(count):
            value, at = _read(data, at)
            found.append(value)
        return found, _ended(at, end)

    return read


def _map(layout: struct.Struct) -> Reader:
    def read(data: bytes, start: int) -> tuple[dict[Any, Any], int]:
        count, at, end = _extent(layout, data, start)
        if count % 2:
            raise Malformed("a map holds a key without a value")
        found = {}
        for _ in range(count // 2):
            key, at = _read(data, at)
            found[key], at = _read(data, at)
        return found, _ended(at, end)

    return read


def _array(layout: struct.Struct) -> Reader:
    def read(data: bytes, start: int) -> tuple[Array, int]:
        count, at, end = _extent(layout, data, start)
        descriptor, is_described = None, data[at] == 0
        if is_described:
            descriptor, at = _read(data, at + 1)
        reader = _READERS.get(data[at])
        if reader is None or data[at] == 0:
            raise Malformed(f"no array is of the constructor 0x{data[at]:02x}")
        at += 1
        found = Array()
        for _ in range(count):
            value, at = reader(data, at)
            found.append(Described(descriptor, value) if is_described else value)
        return found, _ended(at, end)

    return read


def _ended(at: int, end: int) -> int:
    if at != end:
        raise Malformed("a compound value is not as long as it says")
    return end


def _text(data: bytes) -> str:
    return data.decode("utf-8")


def _symbol(data: bytes) -> Symbol:
    return Symbol(data.decode("ascii"))


def _char(data: bytes) -> Char:
    return Char(data.decode("utf-32-be"))


def _uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=data)


def _decimal(code: int) -> Callable[[bytes], Decimal]:
    return lambda data: Decimal(code, data)


_READERS: dict[int, Reader] = {
    0x00: _described,
    0x40: _constant(None), 0x41: _constant(True), 0x42: _constant(False), 0x56: _fixed(1, lambda data: data != b"\0"),
    0x43: _constant(UInt(0)), 0x52: _number(_U8, UInt), 0x70: _number(_U32, UInt),
    0x44: _constant(ULong(0)), 0x53: _number(_U8, ULong), 0x80: _number(_U64, ULong),
    0x50: _number(_U8, UByte), 0x60: _number(_U16, UShort),
    0x51: _number(_I8, Byte), 0x61: _number(_I16, Short),
    0x54: _number(_I8, Int), 0x71: _number(_I32, Int),
    0x55: _number(_I8, int), 0x81: _number(_I64, int),
    0x72: _number(_F32, Float), 0x82: _number(_F64, float), 0x83: _number(_I64, Timestamp),
    0x73: _fixed(4, _char), 0x98: _fixed(16, _uuid),
    0x74: _fixed(4, _decimal(0x74)), 0x84: _fixed(8, _decimal(0x84)), 0x94: _fixed(16, _decimal(0x94)),
    0xA0: _sized(_U8, bytes), 0xB0: _sized(_U32, bytes),
    0xA1: _sized(_U8, _text), 0xB1: _sized(_U32, _text),
    0xA3: _sized(_U8, _symbol), 0xB3: _sized(_U32, _symbol),
    0x45: lambda data, start: ([], start), 0xC0: _list(_U8), 0xD0: _list(_U32),
    0xC1: _map(_U8), 0xD1: _map(_U32), 0xE0: _array(_U8), 0xF0: _array(_U32),
}  # fmt: skip

# By the first half of a constructor: how many bytes a value of a fixed width takes (part 1, 1.2: type encodings).
_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}


def end_of(data: bytes, start: int) -> int:
    """Where the value that begins at ``start`` ends, without decoding what is in it.

    Malformed: it does not end within the bytes.
    """
    try:
        while data[start] == 0:  # a described value: its descriptor, then the value
            start = end_of(data, start + 1)
        width, start = data[start] >> 4, start + 1
        if width in _WIDTHS:
            end = start + _WIDTHS[width]
        elif width in (0xA, 0xC, 0xE):
            end = start + 1 + data[start]
        else:
            end = start + 4 + _U32.unpack_from(data, start)[0]
    except (IndexError, struct.error, RecursionError):
        raise Malformed("a value is cut off") from None
    if end > len(data):
        raise Malformed("a value is cut off")
    return int(end)
