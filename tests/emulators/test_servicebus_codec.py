"""AMQP values and frames: what is written is read again, and bytes that are no AMQP are refused in words."""

from __future__ import annotations

import math
import string
import uuid
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtune.emulators.servicebus import frames
from qtune.emulators.servicebus.decoding import decode, end_of
from qtune.emulators.servicebus.encoding import encode
from qtune.emulators.servicebus.frames import Frame, FrameReader, frame_bytes
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


def whole(kind: type, bits: int, *, signed: bool) -> st.SearchStrategy[Any]:
    """Every number that the type can hold."""
    least = -(2 ** (bits - 1)) if signed else 0
    return st.integers(least, least + 2**bits - 1).map(kind)


SCALARS = (
    whole(UByte, 8, signed=False), whole(UShort, 16, signed=False),
    whole(UInt, 32, signed=False), whole(ULong, 64, signed=False),
    whole(Byte, 8, signed=True), whole(Short, 16, signed=True),
    whole(Int, 32, signed=True), whole(int, 64, signed=True), whole(Timestamp, 64, signed=True),
    st.booleans(), st.floats(allow_nan=False), st.floats(allow_nan=False, width=32).map(Float),
    st.characters(exclude_categories=["Cs"]).map(Char),
    st.binary(max_size=300), st.text(max_size=300), st.text(string.printable, max_size=300).map(Symbol), st.uuids(),
)  # fmt: skip
KEYS = st.one_of(SCALARS[8], SCALARS[14], SCALARS[15])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        *SCALARS,
        *(st.lists(kind, max_size=5).map(Array) for kind in SCALARS),
        st.sampled_from([(0x74, 4), (0x84, 8), (0x94, 16)]).flatmap(
            lambda shape: st.binary(min_size=shape[1], max_size=shape[1]).map(
                lambda data: Decimal(shape[0], data)
            )
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5),
        st.builds(Described, whole(ULong, 64, signed=False), inner),
    ),
    max_leaves=20,
)


def typed(value: object) -> object:
    """A value with the types of all that is in it, since UInt(1) equals Int(1)."""
    if isinstance(value, Described):
        return "described", typed(value.descriptor), typed(value.value)
    if isinstance(value, dict):
        return "map", [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return type(value), [typed(item) for item in value]
    return type(value), value


@given(VALUES)
def test_a_value_is_read_as_it_was_written(value: object) -> None:
    """Every AMQP value keeps its type and its value on the way out and in."""
    data = encode(value)
    found, end = decode(data)
    assert typed(found) == typed(value)
    assert end == len(data)
    assert end_of(data, 0) == len(data)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_value_are_refused_in_words(data: bytes) -> None:
    """Whatever the bytes are, they are a value or Malformed: nothing else is raised, and nothing runs on."""
    with suppress(Malformed):
        decode(data)


@given(VALUES, st.data())
def test_a_value_that_is_cut_off_is_refused(value: object, data: st.DataObject) -> None:
    """A value without its last bytes is never read as a shorter one."""
    whole_value = encode(value)
    cut = whole_value[: data.draw(st.integers(0, len(whole_value) - 1))]
    with pytest.raises(Malformed):
        decode(cut)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 60_000,  # a described value in a described value, and so on
        b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",  # 4 thousand million nulls in one byte
        b"\xd0\xff\xff\xff\xff\x00\x00\x00\x01\x40",
        b"\xc1\x02\x01\x40",  # a key without a value
        b"\xc1\x03\x02\x45\x40",  # a list as a key
        b"\xa1\x01\xff",  # not UTF-8
        b"\x73\x00\x11\x00\x00",  # beyond the last character
        b"\x3f",
        b"",
    ],
)
def test_values_that_would_cost_much_or_mean_nothing_are_refused(data: bytes) -> None:
    """Nesting without end, counts without bytes, and values that no type has are refused at once."""
    with pytest.raises(Malformed):
        decode(data)


def test_nan_is_kept() -> None:
    """A double that is no number comes back as one that is none."""
    assert math.isnan(decode(encode(math.nan))[0])


@pytest.mark.parametrize(
    ("value", "error"), [(UByte(256), OverflowError), (2**63, OverflowError), ({1}, TypeError)]
)
def test_what_no_type_can_hold_is_not_written(value: object, error: type[Exception]) -> None:
    """A number that does not fit and a value without a type are errors, not other bytes."""
    with pytest.raises(error):
        encode(value)


def test_the_bytes_are_those_of_the_standard() -> None:
    """The encodings of part 1 of the standard, written out by hand."""
    assert encode(UInt(0)) == b"\x43"
    assert encode(UInt(255)) == b"\x52\xff"
    assert encode(ULong(256)) == b"\x80\x00\x00\x00\x00\x00\x00\x01\x00"
    assert encode(["a", None, True]) == b"\xc0\x06\x03\xa1\x01a\x40\x41"
    assert encode({Symbol("k"): b"v"}) == b"\xc1\x07\x02\xa3\x01k\xa0\x01v"
    assert encode(Array([Symbol("x")])) == b"\xf0\x00\x00\x00\x0a\x00\x00\x00\x01\xb3\x00\x00\x00\x01x"
    assert encode(uuid.UUID(int=1)) == b"\x98" + bytes(15) + b"\x01"
    assert encode(Described(ULong(0x24), [])) == b"\x00\x53\x24\xc0\x01\x00"
    assert decode(b"\x00\x53\x24\x45")[0] == Described(ULong(0x24), [])


NUMBER = st.integers(0, 2**32 - 1)
OPTIONAL = st.none() | NUMBER
FAILED = Described(ULong(0x1D), [Symbol("amqp:internal-error"), "x", None])
FRAMES = st.one_of(
    st.tuples(st.none(), NUMBER, NUMBER, NUMBER, OPTIONAL, OPTIONAL).map(lambda fields: frames.Flow(*fields)),
    st.tuples(NUMBER, OPTIONAL, st.binary(max_size=16)).map(lambda fields: frames.Transfer(*fields)),
    st.tuples(st.booleans(), NUMBER, OPTIONAL).map(lambda fields: frames.Disposition(*fields)),
    st.text(max_size=10).map(frames.Open),
    st.sampled_from([None, FAILED]).map(frames.Close),
    st.binary(max_size=4).map(lambda answer: frames.SaslInit(Symbol("ANONYMOUS"), answer)),
)


@given(st.lists(st.tuples(st.integers(0, 65_535), FRAMES, st.binary(max_size=50)), max_size=5), st.data())
def test_frames_are_put_together_however_they_are_cut(
    sent: list[tuple[int, frames.Performative, bytes]], data: st.DataObject
) -> None:
    """A reader finds the same frames whether their bytes come at once, one by one or across each other."""
    stream = frames.AMQP_HEADER + b"".join(frame_bytes(*one) for one in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader, found = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += list(reader.feed(stream[start:end]))
    assert found == [Frame(0, None, header=frames.AMQP_HEADER), *(Frame(*one) for one in sent)]


@given(FRAMES, st.data())
def test_frames_that_were_damaged_are_refused_in_words(one: frames.Performative, data: st.DataObject) -> None:
    """A frame with wrong bytes is read as some frame, is waited for, or is Malformed: nothing else happens."""
    damaged = bytearray(frame_bytes(3, one))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        list(FrameReader().feed(bytes(damaged)))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (Described(ULong(0x14), [None]), "Transfer must say its handle"),
        (Described(ULong(0x14), ["a"]), "Transfer has a handle of type str"),
        (Described(ULong(0x17), [None] * 2), "at most 1 fields"),
        (Described(ULong(0x17), "x"), "at most 1 fields"),
        (Described(ULong(0x77), []), "no performative 0x77"),
        ([], "must begin with a performative"),
    ],
)
def test_a_frame_says_what_is_wrong_with_it(body: object, word: str) -> None:
    """Each field must have its type, and none that the standard demands may be missing."""
    data = encode(body)
    with pytest.raises(Malformed, match=word):
        list(FrameReader().feed((8 + len(data)).to_bytes(4, "big") + b"\x02\x00\x00\x00" + data))


@pytest.mark.parametrize(
    "head", [b"\x00\x00\x00\x07\x02\x00\x00\x00", b"GET / HT", b"\x00\x00\x00\x08\x09\x00\x00\x00"]
)
def test_what_is_no_frame_is_refused(head: bytes) -> None:
    """A frame that is too short or too long, or whose body begins outside it, ends the reading."""
    with pytest.raises(Malformed):
        list(FrameReader().feed(head))


def test_short_frames_are_filled_up_and_written_out_whole() -> None:
    """Fields that a sender left out are None; all are written, since old clients read them by place."""
    detach = encode(Described(ULong(0x16), [UInt(1)]))
    frame = next(FrameReader().feed((8 + len(detach)).to_bytes(4, "big") + b"\x02\x00\x00\x05" + detach))
    assert frame == Frame(5, frames.Detach(1))
    assert decode(frame_bytes(5, frames.Detach(1)), 8)[0] == Described(ULong(0x16), [1, None, None])
