"""How compiled code sees a world: one pointer, whose attributes are the arrays of the world's directory.

Handing every array to every step would make the compiler work on hundreds of arguments for each call, and take a
minute instead of seconds. The directory does not change while the loop runs, which is said to the compiler
(``invariant.load``), so an array's address is read once and not again after every store.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np import numpy_support
from numba.np.arrayobj import make_array, populate_array

from qtune.engine.kernel.compiled import PLAIN, USUAL, WHOLE
from qtune.engine.kernel.layout import LAYOUT, MAY_BE_EMPTY
from qtune.engine.kernel.world import World


class WorldType(types.Type):
    """The type of a world in compiled code; it needs no step of a level above its own."""

    def __init__(self, level: int) -> None:
        super().__init__(name=f"World{level}")
        self.level = level


WORLD = {level: WorldType(level) for level in (PLAIN, USUAL, WHOLE)}
_WORD = ir.IntType(64)
PLACES = {name: place for place, name in enumerate(LAYOUT)}


def field_type(name):  # type: ignore[no-untyped-def]
    """What an attribute of a world is in compiled code: a record, or an array."""
    dtype, dimensions = LAYOUT[name]
    element = numpy_support.from_dtype(dtype)
    return element if dimensions == 0 else types.Array(element, dimensions, "C")


@typeof_impl.register(World)
def _typeof_world(value, context):  # type: ignore[no-untyped-def]
    return WORLD[value.level]


@register_model(WorldType)
class WorldModel(models.OpaqueModel):
    """A world is an opaque pointer."""


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
        return field_type(name) if name in PLACES else None


@lower_getattr_generic(WorldType)
def _get_array(context, builder, kind, world, name):  # type: ignore[no-untyped-def]
    result = field_type(name)
    words = builder.bitcast(world, _WORD.as_pointer())
    constant = builder.module.add_metadata([])
    # A length that is known to be above 0 makes ``n & (length - 1)`` known not to be negative, which saves the
    # check for an index that counts from the end.
    least = 0 if name in MAY_BE_EMPTY else 1
    positive = builder.module.add_metadata([ir.Constant(_WORD, least), ir.Constant(_WORD, 1 << 48)])

    def word(offset):  # type: ignore[no-untyped-def]
        place = builder.gep(words, [ir.Constant(_WORD, 3 * PLACES[name] + offset)])
        value = builder.load(place)
        value.set_metadata("invariant.load", constant)
        if offset > 0:
            value.set_metadata("range", positive)
        return value

    if isinstance(result, types.Record):
        return builder.inttoptr(word(0), context.get_value_type(result))
    array = make_array(result)(context, builder)
    item_bytes = context.get_constant(types.intp, LAYOUT[name][0].itemsize)
    shape = [word(1 + dimension) for dimension in range(result.ndim)]
    strides = [builder.mul(item_bytes, shape[1]), item_bytes] if result.ndim == 2 else [item_bytes]
    populate_array(
        array,
        data=builder.inttoptr(word(0), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=item_bytes,
        meminfo=None,
    )
    return array._getvalue()
