"""Keyed random streams: every draw is a pure function of the seed, the stream and what it belongs to.

A draw is keyed by (seed, stream, a, b), where (a, b) is a message and its delivery, or a receiver and its call: never
by the order in which an engine happens to process simultaneous work. Two configurations simulated with one seed
therefore see the same messages (common random numbers), and two engines see the same numbers.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014). Both fields enter with an odd multiplier of their own, so that no field has a width that it
could outgrow.
"""

from __future__ import annotations

from typing import Final

MASK64: Final = 0xFFFFFFFFFFFFFFFF
FIRST_FIELD: Final = 0x9E3779B97F4A7C15
SECOND_FIELD: Final = 0xD1B54A32D192ED03
MIX_1: Final = 0xBF58476D1CE4E5B9
MIX_2: Final = 0x94D049BB133111EB

# One number a stream. The first group draws from a quantile table, one table a stream; the second is keyed only, or
# draws from a table that its user names.
GAP: Final = 0
SERVICE: Final = 1
SEND: Final = 2
RECEIVE: Final = 3
SETTLE: Final = 4
RENEW: Final = 5
BROKER: Final = 6
THINK: Final = 7

PUSH: Final = 8
FAIL: Final = 9
POISON: Final = 10
RELEASE: Final = 11
BROKER_SEND: Final = 12
BROKER_RECEIVE: Final = 13
BROKER_SETTLE: Final = 14
BROKER_RENEW: Final = 15
PHASE: Final = 16
RETRY: Final = 17
"""The wait before a call is tried again: six streams, one for each kind of call in the order of its code."""
SHORT_POLL: Final = 23
GROUP: Final = 24
SEND_BATCH: Final = 25
ENTRY: Final = 26
HAND_OUT: Final = 27
BACKOFF: Final = 28
CONNECT: Final = 29
"""The handshake of a connection that a call opens: six streams, one for each kind of call in the order of its code."""
TURN: Final = 35
SETTLE_ENTRY: Final = 36
STREAMS: Final = 37

CONNECT_TABLE: Final = 8
TURN_TABLE: Final = 9
TABLES: Final = 10
"""A table for each stream of the first group, and those for handshakes and for turns with other queues."""

NEXT_QUEUE: Final = 1 << 32
"""The other queues that one poller visits are told apart by the first field's high bits."""

NEXT_SEEN: Final = 1 << 32
"""The messages that one poll may see are told apart by the first field's high bits."""

ATTEMPTS_MOST: Final = 1 << 16
"""Attempts inside one delivery are told apart by the low 16 bits of the second field."""

NEXT_ROUND: Final = 1 << 20
"""Calls that settle what failed of a batch are told apart from the first by bits above those of any delivery number."""

NEXT_TRY: Final = 1 << 40
"""Attempts of one call are told apart by the second field's high bits."""

UNIFORM_STEPS: Final = 1 << 53
"""A chance is compared as an integer: a 53-bit uniform is below ``int(chance * UNIFORM_STEPS)``."""


def mix(z: int) -> int:
    """Scramble 64 bits into 64 bits, one to one."""
    z &= MASK64
    z = ((z ^ (z >> 30)) * MIX_1) & MASK64
    z = ((z ^ (z >> 27)) * MIX_2) & MASK64
    return z ^ (z >> 31)


def stream_key(seed: int, stream: int) -> int:
    """The 64-bit key of one stream under one seed."""
    return mix(mix(seed) + stream * FIRST_FIELD)


def bits(key: int, a: int, b: int) -> int:
    """The 64 random bits that belong to (a, b) in the stream with this key."""
    return mix(key + a * FIRST_FIELD + b * SECOND_FIELD)


def uniform(key: int, a: int, b: int) -> float:
    """A number in [0, 1) for (a, b), all multiples of 2^-53 equally likely."""
    return (bits(key, a, b) >> 11) / UNIFORM_STEPS


def chance_steps(chance: float) -> int:
    """A probability in [0, 1] as a whole number of 2^-53 steps."""
    return int(chance * UNIFORM_STEPS)


def happens(key: int, a: int, b: int, steps: int) -> bool:
    """Whether an event with a chance of ``steps`` / 2^53 happens for (a, b)."""
    return (bits(key, a, b) >> 11) < steps
