"""What few polls need: a window in which several fill one batch, servers of which some are asked, other queues."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.broker import try_of
from qtune.engine.kernel.clients import answered
from qtune.engine.kernel.compiled import USUAL, rare
from qtune.engine.kernel.draws import happens, value
from qtune.engine.kernel.limits import ask
from qtune.result import CALL_OK, CALL_OVER_LIMIT, OP_RECEIVE

ANSWERED = 3
REFUSED = 6
LOOKING = 8
AWAY = 9
"""States of a receiver that polls (the others are in receivers.py)."""


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


@rare(0.0)
def away_s(w, receiver):  # type: ignore[no-untyped-def]
    """How long a poller is with its other queues, before the next call here."""
    time_s = 0.0
    for queue in range(w.plan.other_queues):
        a = receiver + queue * streams.NEXT_QUEUE
        time_s = time_s + value(w, streams.TURN_TABLE, streams.TURN, a, w.receivers[receiver].call)
    return time_s


@rare(False, level=USUAL)
def poll_is_refused(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Whether a limit refuses a poll that has come to the broker."""
    p, row = w.plan, w.receivers[receiver]
    row.outcome = ask(w, OP_RECEIVE, 0, row.start_s, now_s)
    if row.outcome != CALL_OK:
        return True
    answered(w, row.consumer, row.spent)
    full = 0 < p.in_flight_most <= w.broker.in_flight
    if p.over_limit_fails and p.wait_s <= 0.0 and full:
        row.outcome = CALL_OVER_LIMIT
        return True
    return False


@rare(0.0)
def next_look_s(w, receiver, ends_s, now_s):  # type: ignore[no-untyped-def]
    """When the broker looks again for a poll that waits, or answers it in vain; nobody stands in line meanwhile."""
    p, b, row = w.plan, w.broker, w.receivers[receiver]
    b.waiting -= 1
    b.demand_head = b.demand_tail
    if row.looked != try_of(row) + 1:
        row.looked = try_of(row) + 1
        row.deadline_s = ends_s
    if now_s >= row.deadline_s:
        row.state = ANSWERED
        return now_s + row.half_s
    row.state = LOOKING
    return min(now_s + p.look_every_s, row.deadline_s)
