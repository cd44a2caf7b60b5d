"""The receivers' steps: polls, and links with credit.

A receiver's buffer is a ring: ``head`` to ``landed`` is in the client, ``landed`` to ``tail`` on its way. Of a burst
link's part in the client, ``head`` to ``read`` has been read, and the first ``batch_left`` belong to the call's answer.
"""

from __future__ import annotations

from math import floor, inf

from qtune.engine import streams
from qtune.engine.kernel.adaptive import fitting_batch
from qtune.engine.kernel.broker import (
    WAITING,
    add_call,
    hand_out,
    next_in_line,
    next_message,
    served_at,
    try_of,
    wait_in_line,
)
from qtune.engine.kernel.calendar import compute, set_slot
from qtune.engine.kernel.clients import (
    GIVES_UP,
    broke_since,
    connected_s,
    hang_up,
    next_after_s,
    price_of,
)
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.flows import flow
from qtune.engine.kernel.groups import finds_some, gather
from qtune.engine.kernel.limits import charge_received, is_held_up
from qtune.engine.kernel.losses import lose_answer
from qtune.engine.kernel.pacing import note_answer
from qtune.engine.kernel.polls import (
    ANSWERED,
    AWAY,
    LOOKING,
    REFUSED,
    away_s,
    gathers,
    next_look_s,
    poll_is_refused,
    seen,
    wait_ends_s,
    window_begins,
    window_ends,
)
from qtune.engine.kernel.session_links import session_lands, session_look
from qtune.engine.kernel.sessions import flow_arrives, match_sessions
from qtune.engine.plan import BY_AGE, BY_SESSION, LINK_BURST, LINK_SLIDING, POLL
from qtune.result import CALL_EMPTY, CALL_FAILED, CALL_OK, CALL_OVER_LIMIT, OP_RECEIVE

RESTING = 0
REQUESTED = 1
PAUSING = 4
SERVICED = 5
TRYING_AGAIN = 7

NO_BOUND = 1 << 62

# Phases of a worker that its link sets (the others are in workers.py).
FREE = 0
CLOSING = 7


@step
def begin_poll(w, receiver, room, now_s):  # type: ignore[no-untyped-def]
    """Ask for as many messages as there is room for."""
    row = w.receivers[receiver]
    row.state = REQUESTED
    row.asked = room
    row.start_s = now_s
    key = try_of(row)
    row.half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.RECEIVE, receiver, key, now_s)
    leaves_s = compute(w, row.consumer, w.plan.call_cost_s, now_s)
    leaves_s = connected_s(w, row.consumer, OP_RECEIVE, receiver, key, leaves_s, now_s)
    set_slot(w, w.slots.requests + receiver, leaves_s + row.half_s)


@step
def poll_is_due(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A poll reaches the broker, has been served, has waited in vain, or its answer lands."""
    p, q = w.plan, w.pending
    row = w.receivers[receiver]
    due_s = inf
    if row.state == ANSWERED and not (p.breaks and lose_answer(w, receiver, now_s)):
        due_s = answer_lands(w, receiver, now_s)
    elif row.state == REQUESTED and p.calls_served_at_once > 0:
        row.state = SERVICED
        key = try_of(row)
        due_s = served_at(w, streams.BROKER_RECEIVE, receiver, key, now_s)
    elif row.state == PAUSING or row.state == AWAY:
        row.state = RESTING
        q.feed_from, q.feed_to = receiver, receiver + 1
    elif row.state == WAITING:
        row.state = ANSWERED
        w.broker.waiting -= 1
        due_s = now_s + row.half_s
    elif row.state == LOOKING:
        row.state = WAITING
        wait_in_line(w, receiver)
        q.polled = receiver
    elif row.state >= REFUSED or ((p.refuses or p.over_limit_fails) and poll_is_refused(w, receiver, now_s)):
        refused_poll_goes_on(w, receiver, now_s)
        return
    else:
        row.state = WAITING
        wait_in_line(w, receiver)
        q.polled = receiver
    set_slot(w, w.slots.requests + receiver, due_s)


@rare(level=USUAL)
def refused_poll_goes_on(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A refusal leaves the broker or reaches the client, or the client tries again."""
    p, q, row = w.plan, w.pending, w.receivers[receiver]
    slot = w.slots.requests + receiver
    if row.state == TRYING_AGAIN:
        begin_poll(w, receiver, row.asked, now_s)
    elif row.state != REFUSED:
        row.state = REFUSED
        set_slot(w, slot, now_s + row.half_s)
    else:
        hang_up(w, row.consumer, row.start_s, now_s)
        if p.breaks and broke_since(w, row.start_s, now_s):
            row.outcome = CALL_FAILED
        if p.paces_calls:
            note_answer(w, row.consumer, row.outcome, now_s)
        add_call(w, row.start_s, now_s, row.consumer, OP_RECEIVE, 0, row.outcome)
        wait_s = GIVES_UP
        if row.outcome != CALL_OVER_LIMIT and row.closed == 0:
            wait_s = next_after_s(w, row.consumer, row.outcome, OP_RECEIVE, receiver, row.call, row.refused)
            row.spent = price_of(w, row.outcome)
        row.refused += 1
        row.state = TRYING_AGAIN
        if wait_s == GIVES_UP:
            row.call += 1
            row.refused = 0
            row.spent = 0
            row.state = PAUSING
            wait_s = p.idle_pause_s
            if wait_s <= 0.0 or row.closed == 1:
                row.state = RESTING
                q.feed_from, q.feed_to = receiver, receiver + 1
                wait_s = inf
            if p.gather_s > 0.0:
                window_ends(w, receiver, now_s)
        set_slot(w, slot, now_s + wait_s)


@step
def poll_waits(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Nothing was ready for a poll that has just come: it waits, or is answered at once when it is a short poll."""
    row = w.receivers[receiver]
    if row.state != WAITING:
        return
    due_s = now_s + w.plan.wait_s
    if w.plan.wait_s <= 0.0:
        row.state = ANSWERED
        w.broker.waiting -= 1
        due_s = now_s + row.half_s
    else:
        if w.plan.gather_s > 0.0:
            due_s = wait_ends_s(w, receiver, due_s, now_s)
        if w.plan.look_every_s > 0.0:
            due_s = next_look_s(w, receiver, due_s, now_s)
    set_slot(w, w.slots.requests + receiver, due_s)


@step
def answer_lands(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A poll's answer is in the client; when its receiver is due again, if by itself."""
    p, q = w.plan, w.pending
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    hang_up(w, row.consumer, row.start_s, now_s)
    if p.paces_calls:
        note_answer(w, row.consumer, CALL_OK, now_s)
    count = row.tail - row.landed
    for place in range(row.landed, row.tail):
        w.deliveries[w.buffer[receiver, place & mask] & (len(w.deliveries) - 1)].received_s = now_s
    row.landed = row.tail
    row.in_hand += count
    row.call += 1
    row.refused = 0
    row.spent = 0
    w.broker.buffered += count
    if p.adaptive_least > 0:
        w.brought[receiver] = count
    q.call = 1
    q.call_start_s = row.start_s
    q.call_consumer = row.consumer
    q.call_op = OP_RECEIVE
    q.call_count = count
    q.call_outcome = CALL_OK if count > 0 else CALL_EMPTY
    if p.gather_s > 0.0:
        window_ends(w, receiver, now_s)
    if count == 0 and p.idle_pause_s > 0.0:
        row.state = PAUSING
        return now_s + p.idle_pause_s
    row.state = RESTING
    q.feed_from, q.feed_to = receiver, receiver + 1
    return inf


@step
def credit_arrives(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Credit reaches the broker, and its link waits in line for messages."""
    row = w.receivers[receiver]
    mask = w.flow_s.shape[1] - 1
    limit = w.flow_limit[receiver, row.flow_head & mask]
    row.flow_head += 1
    next_s = w.flow_s[receiver, row.flow_head & mask] if row.flow_head < row.flow_tail else inf
    set_slot(w, w.slots.requests + receiver, next_s)
    if w.plan.hands_out == BY_SESSION:
        flow_arrives(w, receiver, limit, now_s)
        return
    waited = row.pushed < row.known_limit
    row.known_limit = limit
    if row.pushed < limit and not waited:
        wait_in_line(w, receiver)


@step
def match(w, now_s):  # type: ignore[no-untyped-def]
    """Give what is ready to those who wait, longest waiting first.

    A poll is answered with all that is ready, up to what it asked for; a link is pushed one message, and waits in line
    again as long as it has credit.
    """
    p, b = w.plan, w.broker
    if p.hands_out == BY_SESSION:
        match_sessions(w, now_s)
        return
    polls = p.discipline == POLL
    most = p.in_flight_most if p.in_flight_most > 0 else NO_BOUND
    mask = w.buffer.shape[1] - 1
    grouped = p.hands_out != BY_AGE
    while b.backlog > 0 and b.waiting > 0 and b.in_flight < most:
        if grouped and not finds_some(w):
            return
        if p.holds_up and is_held_up(w, now_s):
            return
        receiver = next_in_line(w)
        row = w.receivers[receiver]
        count = min(row.asked, b.backlog, most - b.in_flight) if polls else 1
        if p.short_poll_steps > 0 and polls and p.wait_s <= 0.0:
            count = min(count, seen(w, receiver))
        if grouped:
            count = gather(w, count, now_s)
        for place in range(count):
            message = w.chosen[place] if grouped else next_message(w)
            w.buffer[receiver, row.tail & mask] = hand_out(w, message, row.consumer, now_s)
            row.tail += 1
        if p.holds_up:
            charge_received(w, count, now_s)
        if polls:
            row.state = ANSWERED
            set_slot(w, w.slots.requests + receiver, now_s + row.half_s)
            continue
        half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.PUSH, receiver, row.pushed, now_s)
        row.pushed += 1
        row.last_push_s = max(row.last_push_s, now_s + half_s)
        w.land_s[receiver, (row.tail - 1) & mask] = row.last_push_s
        if row.landed == row.tail - 1:
            set_slot(w, w.slots.landings + receiver, row.last_push_s)
        if row.pushed < row.known_limit:
            wait_in_line(w, receiver)


@step
def push_lands(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """One message of a link is in the client: for a worker, or read by the call, or left lying."""
    p, q = w.plan, w.pending
    if p.hands_out == BY_SESSION and session_lands(w, receiver, now_s):
        return
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    w.deliveries[w.buffer[receiver, row.landed & mask] & (len(w.deliveries) - 1)].received_s = now_s
    row.landed += 1
    w.broker.buffered += 1
    next_s = w.land_s[receiver, row.landed & mask] if row.landed < row.tail else inf
    set_slot(w, w.slots.landings + receiver, next_s)
    if p.discipline == LINK_SLIDING:
        q.feed_from, q.feed_to = receiver, receiver + 1
        return
    timer = w.slots.timers + receiver
    if row.in_call == 0 and p.prefetch == 0:
        if row.landed - row.read == 1:
            set_slot(w, timer, (floor(now_s / p.keepalive_s) + 1) * p.keepalive_s)
        return
    row.received += 1
    row.read += 1
    if row.in_call == 1:
        linger(w, receiver, now_s)
        if is_over(w, receiver, now_s):
            call_ends(w, receiver)
        else:
            refill(w, receiver, now_s)
            set_slot(w, timer, row.deadline_s)


@step
def linger(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """After the first message that is read in a call, wait only a little for more."""
    row = w.receivers[receiver]
    if row.lingers == 0:
        row.lingers = 1
        row.deadline_s = min(row.deadline_s, now_s + w.plan.linger_s)


@step
def is_over(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Whether a call returns: a full batch has been read since it began, or its time is up."""
    row = w.receivers[receiver]
    return row.read - row.head - row.batch_left >= w.plan.batch or now_s >= row.deadline_s


@step
def refill(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Credit comes back all at once, when none is left."""
    row = w.receivers[receiver]
    if row.limit <= row.received:
        flow(w, receiver, row.received + w.plan.prefetch + 1, now_s)


@step
def open_call(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Give credit as this client does, and read what lies there."""
    p = w.plan
    row = w.receivers[receiver]
    row.in_call = 1
    row.lingers = 0
    row.deadline_s = row.start_s + p.wait_s
    if p.prefetch == 0:
        flow(w, receiver, row.received + p.batch - row.batch_left, now_s)
    if row.read < row.landed:
        row.received += row.landed - row.read
        row.read = row.landed
        linger(w, receiver, now_s)
    if not is_over(w, receiver, now_s):
        refill(w, receiver, now_s)
        set_slot(w, w.slots.timers + receiver, row.deadline_s)


@step
def call_ends(w, receiver):  # type: ignore[no-untyped-def]
    """Let the worker whose call this is go on."""
    w.workers[receiver].phase = CLOSING
    w.pending.feed_from, w.pending.feed_to = receiver, receiver + 1


@step
def close_call(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A receive call returns with what has been read."""
    row = w.receivers[receiver]
    if row.in_call == 1:
        row.in_call = 0
        set_slot(w, w.slots.timers + receiver, inf)
        row.batch_left = min(w.plan.batch, row.read - row.head)
    outcome = CALL_OK if row.batch_left > 0 else CALL_EMPTY
    add_call(w, row.start_s, now_s, row.consumer, OP_RECEIVE, row.batch_left, outcome)


@step
def look(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Workers come first; after them the receiver looks whether to ask for more."""
    p = w.plan
    row = w.receivers[receiver]
    if p.discipline == POLL:
        if row.state == RESTING:
            row.in_hand -= row.freed
            row.freed = 0
            room = p.in_hand_limit - row.in_hand
            opens = p.gather_s > 0.0 and gathers(w, receiver)
            if room >= p.refill_at and not opens and p.other_queues > 0 and row.visited < row.call:
                row.visited = row.call
                row.state = AWAY
                set_slot(w, w.slots.requests + receiver, now_s + away_s(w, receiver))
            elif room >= p.refill_at or opens:
                room = min(room, p.batch)
                if p.gather_s > 0.0:
                    window_begins(w, receiver, now_s)
                if p.adaptive_least > 0:
                    room = min(room, fitting_batch(w, receiver, now_s))
                begin_poll(w, receiver, room, now_s)
    elif p.hands_out == BY_SESSION:
        session_look(w, receiver, now_s)
    elif p.discipline != LINK_BURST and row.freed > 0:
        freed = row.freed
        row.freed = 0
        flow(w, receiver, row.limit + freed, now_s)
