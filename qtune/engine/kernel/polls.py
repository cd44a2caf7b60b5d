"""What few polls need: a window in which several of them fill one batch, and servers of which only some are asked."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.compiled import USUAL, rare
from qtune.engine.kernel.draws import happens


@rare(False)
def gathers(w, receiver):  # type: ignore[no-untyped-def]
    """Whether the window of a receiver is open."""
    return w.gathers_until_s[receiver] > 0.0


@rare()
def window_begins(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A window begins with the first poll, and with each that comes after its end and still has nothing."""
    if w.receivers[receiver].in_hand == 0 and now_s >= w.gathers_until_s[receiver]:
        w.gathers_until_s[receiver] = now_s + w.plan.gather_s


@rare()
def window_ends(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A poll is through: if there is no more room, or the window is over, what there is goes to the workers."""
    p, q, row = w.plan, w.pending, w.receivers[receiver]
    full = row.in_hand >= p.in_hand_limit
    if gathers(w, receiver) and (full or (row.in_hand > 0 and now_s >= w.gathers_until_s[receiver])):
        w.gathers_until_s[receiver] = 0.0
        q.feed_from, q.feed_to = receiver, receiver + 1


@rare(0.0)
def wait_ends_s(w, receiver, due_s, now_s):  # type: ignore[no-untyped-def]
    """When a poll ends that would wait until then: no later than the window of its receiver."""
    if gathers(w, receiver):
        return min(due_s, max(now_s, w.gathers_until_s[receiver]))
    return due_s


@rare(0, level=USUAL)
def seen(w, receiver):  # type: ignore[no-untyped-def]
    """How many of the ready messages a poll sees that asks only some of the servers, up to what it asks for."""
    row = w.receivers[receiver]
    key = row.call + row.refused * streams.NEXT_TRY
    found = 0
    for place in range(w.broker.backlog):
        a = receiver + place * streams.NEXT_SEEN
        if happens(w, streams.SHORT_POLL, a, key, w.plan.short_poll_steps):
            found += 1
            if found == row.asked:
                break
    return found
