"""The keyed draws of :mod:`qtune.engine.streams` for the kernel, compiled when the rest of it is."""

from __future__ import annotations

import numpy as np

from qtune.distributions import CELLS_LOG2, OCTAVES
from qtune.engine import streams
from qtune.engine.kernel.compiled import COMPILED, USUAL, rare, step
from qtune.engine.plan import CONSTANT, STEPS

_TO_FRACTION = 2.0**-53

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    _A = np.uint64(streams.FIRST_FIELD)
    _B = np.uint64(streams.SECOND_FIELD)
    _MIX_1, _MIX_2 = np.uint64(streams.MIX_1), np.uint64(streams.MIX_2)
    _0, _1, _11, _27, _30, _31, _32, _63 = (np.uint64(n) for n in (0, 1, 11, 27, 30, 31, 32, 63))
    _CELL = np.uint64(CELLS_LOG2)
    _CELL_SHIFT = np.uint64(64 - CELLS_LOG2)
    _LAST_OCTAVE = np.uint64(OCTAVES - 1)
    _OCTAVES = np.uint64(OCTAVES)

    @intrinsic
    def _leading_zeros(typing_context, number):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

        return types.uint64(types.uint64), generate

    @step
    def bits(key, a, b):  # type: ignore[no-untyped-def]
        """The 64 random bits of (a, b) in the stream with this key."""
        z = np.uint64(key) + np.uint64(a) * _A + np.uint64(b) * _B
        z = (z ^ (z >> _30)) * _MIX_1
        z = (z ^ (z >> _27)) * _MIX_2
        return z ^ (z >> _31)

    @step
    def quantile(w, table, z):  # type: ignore[no-untyped-def]
        """The value of a distribution's quantile table at 64 random bits."""
        entry = w.tables[table]
        offset = entry.offset
        if entry.kind == CONSTANT:
            return w.values[offset]
        if entry.kind == STEPS:
            return w.values[offset + np.int64(((z >> _32) * np.uint64(entry.count)) >> _32)]
        y = (z << _1) | _1
        octave = min(_leading_zeros(y), _LAST_OCTAVE)  # type: ignore[call-arg]
        x = (y << octave) << _1
        f = np.float64(np.int64((x << _CELL) >> _11)) * _TO_FRACTION
        i = offset + (np.int64((((z >> _63) * _OCTAVES + octave) << _CELL) + (x >> _CELL_SHIFT)) << 2)
        return ((w.values[i + 3] * f + w.values[i + 2]) * f + w.values[i + 1]) * f + w.values[i]

    @step
    def happens(w, stream, a, b, steps):  # type: ignore[no-untyped-def]
        """Whether a chance of ``steps`` / 2^53 falls for (a, b)."""
        return np.int64(bits(w.keys[stream], a, b) >> _11) < steps

    @step
    def uniform(w, stream, a, b):  # type: ignore[no-untyped-def]
        """A number in [0, 1) for (a, b)."""
        return np.float64(np.int64(bits(w.keys[stream], a, b) >> _11)) * _TO_FRACTION

else:
    from qtune.engine.quantiles import quantile_function

    def bits(key, a, b):  # type: ignore[no-untyped-def]
        """The 64 random bits of (a, b) in the stream with this key."""
        return streams.bits(int(key), int(a), int(b))

    def quantile(w, table, z):  # type: ignore[no-untyped-def]
        """The value of a distribution's quantile table at 64 random bits."""
        entry = w.tables[table]
        return quantile_function(entry.kind, w.values[entry.offset : entry.offset + entry.count])(z)

    def uniform(w, stream, a, b):  # type: ignore[no-untyped-def]
        """A number in [0, 1) for (a, b)."""
        return (bits(w.keys[stream], a, b) >> 11) * _TO_FRACTION

    def happens(w, stream, a, b, steps):  # type: ignore[no-untyped-def]
        """Whether a chance of ``steps`` / 2^53 falls for (a, b)."""
        return (bits(w.keys[stream], a, b) >> 11) < steps


@step
def value(w, table, stream, a, b):  # type: ignore[no-untyped-def]
    """A value of distribution ``table`` for (a, b) in ``stream``."""
    return quantile(w, table, bits(w.keys[stream], a, b))


@step
def trip_s(w, table, stream, a, b, now_s):  # type: ignore[no-untyped-def]
    """How long a call that begins now is on its way there and back."""
    time_s = value(w, table, stream, a, b)
    return slowed_s(w, time_s, now_s) if w.plan.slows else time_s


@rare(0.0, level=USUAL)
def slowed_s(w, time_s, now_s):  # type: ignore[no-untyped-def]
    """The same when the broker is slow for a while."""
    for place in range(len(w.slow_factor)):
        if w.slow_start_s[place] <= now_s < w.slow_end_s[place]:
            time_s = time_s * w.slow_factor[place] + w.slow_extra_s[place]
    return time_s
