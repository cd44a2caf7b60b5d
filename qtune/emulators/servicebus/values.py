"""The types of AMQP 1.0 that Python has no type of its own for (OASIS AMQP 1.0, part 1: types).

A value is a plain Python value wherever Python has one type for it: ``None``, ``bool``, ``int`` (long), ``float``
(double), ``bytes`` (binary), ``str`` (string), ``uuid.UUID``, ``list``, ``dict`` (map). Where AMQP makes finer
differences, these small subclasses keep them, so that what was decoded is encoded to the same value again.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Malformed(ValueError):  # noqa: N818 - it says what the bytes are
    """The bytes are no AMQP; the connection that they came from is closed with the reason."""


class Symbol(str):
    """A name from a limited set, in ASCII."""

    __slots__ = ()


class UByte(int):
    """8 bits, unsigned."""

    __slots__ = ()


class UShort(int):
    """16 bits, unsigned."""

    __slots__ = ()


class UInt(int):
    """32 bits, unsigned."""

    __slots__ = ()


class ULong(int):
    """64 bits, unsigned."""

    __slots__ = ()


class Byte(int):
    """8 bits, signed."""

    __slots__ = ()


class Short(int):
    """16 bits, signed."""

    __slots__ = ()


class Int(int):
    """32 bits, signed; a plain int is a long, of 64."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970 in UTC."""

    __slots__ = ()


class Float(float):
    """Single precision; a plain float is a double."""

    __slots__ = ()


class Char(str):
    """One character."""

    __slots__ = ()


class Array(list[Any]):
    """Values of one type; encoded with the type of the first."""

    __slots__ = ()


class Decimal(NamedTuple):
    """A decimal number, which nothing here computes with: its constructor and its bytes."""

    code: int
    data: bytes


class Described(NamedTuple):
    """A value and what it stands for: the number or the symbol of a type that is made of another."""

    descriptor: object
    value: Any
