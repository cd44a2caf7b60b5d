"""The calendar: a tournament tree with one leaf for each slot; the smaller slot wins among equal times.

An event notes new times for the few slots it concerns; the tree is replayed once for each of them when the event is
over. A slot that is set twice in one event costs one replay.

The tree holds times as the integers with the same bits. They are in the same order, because no time is negative, and
then a match of two neighbours with its tie is one comparison without a branch: which of them wins is a coin toss that
a processor cannot foresee, and a wrong guess costs more than all the rest of the match.
"""

from __future__ import annotations

import numpy as np

from qtune.engine.kernel.compiled import step


@step
def set_slot(w, slot, time_s):  # type: ignore[no-untyped-def]
    """Let a slot be due at this time, instead of any other; infinity: not at all."""
    b = w.broker
    w.slot_s[slot] = time_s
    w.changed[b.changed] = slot
    b.changed += 1


@step
def replay(w):  # type: ignore[no-untyped-def]
    """Bring the tree up to date with the slots that were set."""
    b = w.broker
    for place in range(b.changed):
        slot = w.changed[place]
        if w.times[slot + (len(w.times) >> 1)] != np.float64(w.slot_s[slot]).view(np.int64):
            play(w, slot, w.slot_s[slot])
    b.changed = 0


@step
def play(w, slot, time_s):  # type: ignore[no-untyped-def]
    """Bring the tree up to date with the new time of one slot."""
    times, winners = w.times, w.winners
    time = np.float64(time_s).view(np.int64)
    winner = np.int64(slot)
    node = slot + (len(times) >> 1)
    times[node] = time
    while node > 1:
        other, its = times[node ^ 1], np.int64(winners[node ^ 1])
        wins = other < time + (node & 1)  # a left neighbour, whose slot is the smaller one, wins a tie
        time = other if wins else time
        winner = its if wins else winner
        node >>= 1
        times[node] = time
        winners[node] = winner


@step
def earliest(free_s, count, now_s, need_s):  # type: ignore[no-untyped-def]
    """When a task of ``need_s`` ends on the server that is free first; ``free_s`` is updated."""
    server = 0
    for other in range(1, count):
        if free_s[other] < free_s[server]:
            server = other
    start_s = free_s[server] if free_s[server] > now_s else now_s
    free_s[server] = start_s + need_s
    return free_s[server]


@step
def compute(w, consumer, need_s, now_s):  # type: ignore[no-untyped-def]
    """When a piece of the client's own work is done: it holds one of the consumer's cores."""
    if need_s <= 0.0:
        return now_s
    w.broker.core_busy_s += need_s
    return earliest(w.core_free_s[consumer], w.plan.cores, now_s, need_s)
