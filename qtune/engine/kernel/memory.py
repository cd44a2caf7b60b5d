"""How compiled code sees a world: pointers, and loads and stores that say what they touch.

Handing every array to every step would make the compiler work on hundreds of arguments for each call, and take a
minute instead of seconds. So a world is one pointer to its directory, an array of it is a pointer to the array's entry
there, and a record is a pointer to its first byte. Three things are said to the compiler that it could not know:

- The directory, the plan and what else :data:`.layout.STANDS` names do not change while the loop runs
  (``invariant.load``), so they are not read again after every store.
- Each field of each array is memory of its own (``tbaa``): a store to one leaves what was read of all others as it is.
- An index counts from the front, which saves the look whether it is below 0; no step counts from the end.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global, signature
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    lower_setattr_generic,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np import numpy_support

from qtune.engine.kernel.compiled import PLAIN, USUAL, WHOLE
from qtune.engine.kernel.layout import LAYOUT, MAY_BE_EMPTY, STANDS
from qtune.engine.kernel.levels import off_at
from qtune.engine.kernel.world import World

_WORD = ir.IntType(64)
_ENTRY_BYTES = 24
PLACES = {name: place for place, name in enumerate(LAYOUT)}


class WorldType(types.Type):
    """The type of a world in compiled code; it needs no step of a level above its own."""

    def __init__(self, level: int) -> None:
        super().__init__(name=f"World_{level}")
        self.level = level


class ArrayType(types.Type):
    """The type of an array of the world, or of one ``line`` of an array with two dimensions."""

    def __init__(self, array: str, line: bool = False) -> None:
        super().__init__(name=f"{'Line' if line else 'Array'}_{array}")
        self.array = array
        self.line = line
        self.dimensions = 1 if line else LAYOUT[array][1]


class RecordType(types.Type):
    """The type of a record of the world; of the fields in ``known`` the value is known beforehand."""

    def __init__(self, array: str, level: int = WHOLE) -> None:
        self.known: dict[str, Any] = off_at(level) if array == "plan" else {}
        super().__init__(name=f"Record_{array}_{level if self.known else WHOLE}")
        self.array = array
        self.dtype = LAYOUT[array][0]


WORLD = {level: WorldType(level) for level in (PLAIN, USUAL, WHOLE)}


@typeof_impl.register(World)
def _typeof_world(value, context):  # type: ignore[no-untyped-def]
    return WORLD[value.level]


@register_model(WorldType)
@register_model(ArrayType)
@register_model(RecordType)
class PointerModel(models.OpaqueModel):
    """All of them are opaque pointers."""


@unbox(WorldType)
def _unbox_world(kind, world, context):  # type: ignore[no-untyped-def]
    address = context.pyapi.object_getattr_string(world, "address")
    number = context.pyapi.long_as_longlong(address)
    context.pyapi.decref(address)
    return NativeValue(context.builder.inttoptr(number, cgutils.voidptr_t))


@infer_getattr
class WorldAttributes(AttributeTemplate):
    """The attributes of a world."""

    key = WorldType

    def generic_resolve(self, world, name):  # type: ignore[no-untyped-def, override]
        """The type of an attribute, or None when there is no such array."""
        if name not in PLACES:
            return None
        return RecordType(name, world.level) if LAYOUT[name][1] == 0 else ArrayType(name)


@lower_getattr_generic(WorldType)
def _get_array(context, builder, kind, world, name):  # type: ignore[no-untyped-def]
    entry = cgutils.pointer_add(builder, world, _ENTRY_BYTES * PLACES[name])
    return entry if LAYOUT[name][1] > 0 else _start(builder, entry)


def _word(builder, entry, number):  # type: ignore[no-untyped-def]
    """One of the words of a directory's entry: the array's address, and its lengths."""
    value = builder.load(cgutils.pointer_add(builder, entry, 8 * number, _WORD.as_pointer()))
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


def _start(builder, entry):  # type: ignore[no-untyped-def]
    return builder.inttoptr(_word(builder, entry, 0), cgutils.voidptr_t)


def _length(builder, entry, name, dimension):  # type: ignore[no-untyped-def]
    value = _word(builder, entry, 1 + dimension)
    least = 0 if name in MAY_BE_EMPTY else 1
    most = builder.module.add_metadata([ir.Constant(_WORD, least), ir.Constant(_WORD, 1 << 48)])
    value.set_metadata("range", most)
    return value


@infer_global(len)
class Length(AbstractTemplate):
    """The length of an array."""

    def generic(self, args, kws):  # type: ignore[no-untyped-def]
        """Only of a whole array with one dimension."""
        (array,) = args
        if isinstance(array, ArrayType) and not array.line and array.dimensions == 1:
            return signature(types.intp, array)
        return None


@lower_builtin(len, ArrayType)
def _len(context, builder, call, args):  # type: ignore[no-untyped-def]
    return _length(builder, args[0], call.args[0].array, 0)


@infer_getattr
class ArrayAttributes(AttributeTemplate):
    """The attributes of an array."""

    key = ArrayType

    def resolve_shape(self, array):  # type: ignore[no-untyped-def]
        """The lengths of a whole array."""
        return None if array.line else types.UniTuple(types.intp, array.dimensions)


@lower_getattr_generic(ArrayType)
def _get_shape(context, builder, kind, entry, name):  # type: ignore[no-untyped-def]
    lengths = [_length(builder, entry, kind.array, dimension) for dimension in range(kind.dimensions)]
    return context.make_tuple(builder, types.UniTuple(types.intp, kind.dimensions), lengths)


def _element(array, index):  # type: ignore[no-untyped-def]
    """What an index of an array gives; None where there is no such thing."""
    if not isinstance(array, ArrayType):
        return None
    if isinstance(index, types.Integer):
        if array.dimensions == 2:
            return ArrayType(array.array, line=True)
    elif not (array.dimensions == 2 and isinstance(index, types.UniTuple) and index.count == 2):
        return None
    dtype = LAYOUT[array.array][0]
    return RecordType(array.array) if dtype.names else numpy_support.from_dtype(dtype)


@infer_global(operator.getitem)
class GetElement(AbstractTemplate):
    """An element of an array, or a line of it."""

    def generic(self, args, kws):  # type: ignore[no-untyped-def]
        """By a number, or by one for each dimension."""
        element = _element(*args)
        if element is None:
            return None
        index = types.intp if isinstance(args[1], types.Integer) else types.UniTuple(types.intp, 2)
        return signature(element, args[0], index)


@infer_global(operator.setitem)
class SetElement(AbstractTemplate):
    """A new value of an element of an array."""

    def generic(self, args, kws):  # type: ignore[no-untyped-def]
        """By a number, or by one for each dimension."""
        array, index, _ = args
        element = _element(array, index)
        if element is None or isinstance(element, ArrayType):
            return None
        index = types.intp if isinstance(index, types.Integer) else types.UniTuple(types.intp, 2)
        return signature(types.none, array, index, element)


def _place(context, builder, array, pointer, index):  # type: ignore[no-untyped-def]
    """Where an element of an array or of a line lies, or the line itself."""
    item_bytes = ir.Constant(_WORD, LAYOUT[array.array][0].itemsize)
    if array.line:
        return cgutils.pointer_add(builder, pointer, builder.mul(index, item_bytes))
    if array.dimensions == 2:
        line, column = (index, None) if index.type == _WORD else cgutils.unpack_tuple(builder, index, 2)
        index = builder.mul(line, _length(builder, pointer, array.array, 1))
        index = index if column is None else builder.add(index, column)
    return cgutils.pointer_add(builder, _start(builder, pointer), builder.mul(index, item_bytes))


def _touch(builder, access, array, field=""):  # type: ignore[no-untyped-def]
    """Say of a load or a store that it touches nothing but this field of this array."""
    add = builder.module.add_metadata
    node = add([f"{array}.{field}", add(["world"]), ir.Constant(_WORD, 0)])
    access.set_metadata("tbaa", add([node, node, ir.Constant(_WORD, 0)]))
    if array in STANDS:
        access.set_metadata("invariant.load", add([]))


@lower_builtin(operator.getitem, ArrayType, types.Any)
def _get_element(context, builder, call, args):  # type: ignore[no-untyped-def]
    array = call.args[0]
    place = _place(context, builder, array, *args)
    if not isinstance(call.return_type, types.Number):
        return place
    kind = context.get_value_type(call.return_type)
    value = builder.load(builder.bitcast(place, kind.as_pointer()))
    _touch(builder, value, array.array)
    return value


@lower_builtin(operator.setitem, ArrayType, types.Any, types.Any)
def _set_element(context, builder, call, args):  # type: ignore[no-untyped-def]
    array = call.args[0]
    pointer, index, value = args
    place = _place(context, builder, array, pointer, index)
    if isinstance(call.args[2], RecordType):
        cgutils.raw_memmove(builder, place, value, ir.Constant(_WORD, 1), LAYOUT[array.array][0].itemsize)
        return context.get_dummy_value()
    stored = builder.store(value, builder.bitcast(place, value.type.as_pointer()))
    _touch(builder, stored, array.array)
    return context.get_dummy_value()


@infer_getattr
class RecordAttributes(AttributeTemplate):
    """The fields of a record."""

    key = RecordType

    def generic_resolve(self, record, name):  # type: ignore[no-untyped-def, override]
        """The type of a field, or None when there is no such field."""
        return numpy_support.from_dtype(record.dtype[name]) if name in record.dtype.names else None


def _field(context, builder, record, pointer, name):  # type: ignore[no-untyped-def]
    kind = context.get_value_type(numpy_support.from_dtype(record.dtype[name]))
    return cgutils.pointer_add(builder, pointer, record.dtype.fields[name][1], kind.as_pointer())


@lower_getattr_generic(RecordType)
def _get_field(context, builder, record, pointer, name):  # type: ignore[no-untyped-def]
    if name in record.known:
        number = record.dtype[name].type(record.known[name]).item()
        return context.get_constant(numpy_support.from_dtype(record.dtype[name]), number)
    value = builder.load(_field(context, builder, record, pointer, name))
    _touch(builder, value, record.array, name)
    return value


@lower_setattr_generic(RecordType)
def _set_field(context, builder, call, args, name):  # type: ignore[no-untyped-def]
    record = call.args[0]
    pointer, value = args
    stored = builder.store(value, _field(context, builder, record, pointer, name))
    _touch(builder, stored, record.array, name)
