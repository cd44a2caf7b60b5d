"""The client of a session: it asks for one, is told of it, and closes it when it has had nothing for a while."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import add_call
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import rare, step
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.flows import flow, tell
from qtune.engine.kernel.limits import ask
from qtune.engine.kernel.sessions import (
    ASKING,
    GRANTED,
    HOLDING,
    LOST,
    NOTHING,
    RESTING,
    renew_session,
    send_down,
    stop_asking,
)
from qtune.engine.plan import ACCEPT, CLOSE
from qtune.result import CALL_EMPTY, CALL_LOCK_LOST, CALL_OK, OP_RECEIVE, OP_RENEW


@step
def ask_for_session(w, receiver, after_s, now_s):  # type: ignore[no-untyped-def]
    """Ask for the next session so much later, when the one before is closed."""
    row = w.receivers[receiver]
    row.state = ASKING
    row.start_s = now_s + after_s
    row.half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.RECEIVE, receiver, row.flow_count, now_s)
    row.flow_count += 1
    tell(w, receiver, ACCEPT, row.start_s + row.half_s)


@rare()
def close_session(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Give the session up, and ask for the next one when that is answered."""
    row = w.receivers[receiver]
    set_slot(w, w.slots.timers + receiver, inf)
    set_slot(w, w.slots.renewers + receiver, inf)
    half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.RECEIVE, receiver, row.flow_count, now_s)
    row.flow_count += 1
    tell(w, receiver, CLOSE, now_s + half_s)
    ask_for_session(w, receiver, 2.0 * half_s, now_s)


@rare()
def session_timer_is_due(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A session has had no message for too long, or there has been no session for too long."""
    row = w.receivers[receiver]
    set_slot(w, w.slots.timers + receiver, inf)
    if row.state == HOLDING:
        close_session(w, receiver, now_s)
        return
    stop_asking(w, receiver)
    send_down(w, receiver, NOTHING, now_s + row.half_s)


@rare(False)
def session_lands(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A session, or that there is none, or a message that comes too late; False when it is a message to handle."""
    p, row = w.plan, w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    what = w.buffer[receiver, row.landed & mask]
    if what >= 0 and row.state == HOLDING:
        row.in_hand += 1
        set_slot(w, w.slots.timers + receiver, inf)
        return False
    if what == LOST:
        take_out(w, receiver)
    else:
        row.landed += 1
        row.head = row.landed
    next_s = w.land_s[receiver, row.landed & mask] if row.landed < row.tail else inf
    set_slot(w, w.slots.landings + receiver, next_s)
    if what == GRANTED:
        row.state = HOLDING
        row.lost = 0
        row.in_hand = 0
        row.freed = 0
        flow(w, receiver, row.pushed + p.in_hand_limit, now_s)
        set_slot(w, w.slots.timers + receiver, now_s + p.session_idle_s)
        row.last_renewal_s = now_s + p.renew_max_s
        renew_later(w, receiver, now_s)
    elif what == NOTHING:
        add_call(w, row.start_s, now_s, row.consumer, OP_RECEIVE, 0, CALL_EMPTY)
        ask_for_session(w, receiver, 0.0, now_s)
    elif what == LOST:
        learn_lost(w, receiver, now_s)
    return True


@step
def take_out(w, receiver):  # type: ignore[no-untyped-def]
    """What lands is no message, and not kept among those that are here and wait for a worker."""
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    row.tail -= 1
    for place in range(row.landed, row.tail):
        w.buffer[receiver, place & mask] = w.buffer[receiver, (place + 1) & mask]
        w.land_s[receiver, place & mask] = w.land_s[receiver, (place + 1) & mask]


@rare()
def learn_lost(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """The lock of a session is lost, and nothing of it may be in hand any more."""
    row = w.receivers[receiver]
    row.lost = 1
    if row.in_hand == 0 and row.state == HOLDING:
        close_session(w, receiver, now_s)


@rare()
def session_look(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """One more message may come for each that is settled; with none in hand the session is held for a while."""
    row = w.receivers[receiver]
    if row.closed == 1:
        return
    if row.state == RESTING:
        ask_for_session(w, receiver, 0.0, now_s)
    if row.freed == 0:
        return
    freed = row.freed
    row.freed = 0
    row.in_hand -= freed
    if row.in_hand == 0 and row.lost == 1:
        close_session(w, receiver, now_s)
        return
    flow(w, receiver, row.limit + freed, now_s)
    if row.in_hand == 0:
        set_slot(w, w.slots.timers + receiver, now_s + w.plan.session_idle_s)


@step
def renew_later(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Renew the session's lock when it is time, if that is not too late."""
    row = w.receivers[receiver]
    row.renewing = 0
    due_s = now_s + w.plan.renew_after_s
    if w.plan.renews_sessions and due_s <= row.last_renewal_s:
        set_slot(w, w.slots.renewers + receiver, due_s)


@rare()
def session_renewal_is_due(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A renewal is called; or it takes effect, is refused, or says that the lock is lost."""
    p, row = w.plan, w.receivers[receiver]
    slot = w.slots.renewers + receiver
    if row.renewing == 0:
        row.renewing = 1
        row.renewal_s = now_s
        round_trip_s = trip_s(w, streams.RENEW, streams.RENEW, receiver, row.renewals, now_s)
        row.renewals += 1
        set_slot(w, slot, now_s + round_trip_s)
        return
    set_slot(w, slot, inf)
    outcome = ask(w, OP_RENEW, 1, now_s, now_s) if p.refuses else CALL_OK
    count = 1 if outcome == CALL_OK else 0
    if count == 1 and row.session == 0:
        outcome = CALL_LOCK_LOST
    add_call(w, row.renewal_s, now_s, row.consumer, OP_RENEW, count, outcome)
    if outcome == CALL_LOCK_LOST:
        learn_lost(w, receiver, now_s)
        return
    if count == 1:
        renew_session(w, row.session - 1, now_s)
    renew_later(w, receiver, now_s)
