"""Sessions at the broker: groups of which one receiver holds all messages, those that are there and those that come.

In a group's and a receiver's row a number of the other is one more than it is, so that 0 is none; a session whose
holder was killed has the holder -1 until its lock runs out. What is in flight of a session is a list through ``after``
and ``before``.
"""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import enter, give_back, hand_over, leave, queue_lock
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import rare, step
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.groups import first_open_group, open_group, take_head
from qtune.engine.kernel.limits import charge_received, is_held_up
from qtune.engine.kernel.senders import open_door
from qtune.engine.plan import ACCEPT, CLOSE
from qtune.result import (
    DELIVERY_RELEASED,
    MESSAGE_READY,
)

GRANTED = -1
NOTHING = -2
LOST = -3

# States of a receiver; a dead one has another.
RESTING = 0
ASKING = 1
HOLDING = 2


@step
def may_hand_out(w, now_s):  # type: ignore[no-untyped-def]
    """Whether nothing holds up what is ready."""
    return w.broker.held == 0 and not (w.plan.holds_up and is_held_up(w, now_s))


@rare()
def match_sessions(w, now_s):  # type: ignore[no-untyped-def]
    """Sessions go to those who ask for one, and messages to those who hold theirs."""
    b = w.broker
    mask = len(w.to_serve) - 1
    while b.asking_head < b.asking_tail and b.open_groups > 0 and may_hand_out(w, now_s):
        receiver = w.asking[b.asking_head & (len(w.asking) - 1)]
        b.asking_head += 1
        grant(w, first_open_group(w), receiver, now_s)
    while b.serve_head < b.serve_tail:
        receiver = w.to_serve[b.serve_head & mask]
        row = w.receivers[receiver]
        while row.session > 0 and row.pushed < row.known_limit:
            group = w.groups[(row.session - 1) & (len(w.groups) - 1)]
            if group.head == 0:
                break
            if not may_hand_out(w, now_s):
                return
            push_next(w, receiver, group, now_s)
        row.queued = 0
        b.serve_head += 1


@step
def grant(w, group, receiver, now_s):  # type: ignore[no-untyped-def]
    """Lock a session for a receiver."""
    row = w.receivers[receiver]
    w.groups[group & (len(w.groups) - 1)].holder = receiver + 1
    row.session = group + 1
    lock_session(w, group, now_s)
    set_slot(w, w.slots.timers + receiver, inf)
    send_down(w, receiver, GRANTED, now_s + row.half_s)


@step
def push_next(w, receiver, group, now_s):  # type: ignore[no-untyped-def]
    """The broker sends the first ready message of a session down its holder's link."""
    row = w.receivers[receiver]
    message = take_head(w, group)
    mask = len(w.after) - 1
    w.after[message & mask] = 0
    w.before[message & mask] = group.last
    if group.last > 0:
        w.after[(group.last - 1) & mask] = message + 1
    else:
        group.first = message + 1
    group.last = message + 1
    delivery = hand_over(w, message, row.consumer, now_s)
    w.deliveries[delivery & (len(w.deliveries) - 1)].lock_end_s = group.lock_end_s
    if w.plan.holds_up:
        charge_received(w, 1, now_s)
    half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.PUSH, receiver, row.pushed, now_s)
    row.pushed += 1
    send_down(w, receiver, delivery, now_s + half_s)


@step
def send_down(w, receiver, what, at_s):  # type: ignore[no-untyped-def]
    """Something goes down a link; nothing there overtakes."""
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    row.last_push_s = max(row.last_push_s, at_s)
    w.buffer[receiver, row.tail & mask] = what
    w.land_s[receiver, row.tail & mask] = row.last_push_s
    if row.landed == row.tail:
        set_slot(w, w.slots.landings + receiver, row.last_push_s)
    row.tail += 1


@step
def lock_session(w, group, now_s):  # type: ignore[no-untyped-def]
    """Lock a session from now on, for the first time or again."""
    row = w.groups[group & (len(w.groups) - 1)]
    row.lock_end_s = now_s + w.plan.lock_s
    queue_lock(w, row.lock_end_s, -1 - group)


@rare(False)
def session_lock_is_live(w, what, end_s):  # type: ignore[no-untyped-def]
    """Whether the lock of a session stands and has not been renewed."""
    row = w.groups[(-1 - what) & (len(w.groups) - 1)]
    return row.holder != 0 and row.lock_end_s == end_s


@rare()
def session_lost(w, group, now_s):  # type: ignore[no-untyped-def]
    """The lock of a session has run out: what is in flight of it comes back, counted, and its holder is told so."""
    receiver = w.groups[group & (len(w.groups) - 1)].holder - 1
    free_session(w, group, True, now_s)
    if receiver >= 0 and w.receivers[receiver].closed == 0:
        send_down(w, receiver, LOST, now_s + w.receivers[receiver].half_s)


@step
def free_session(w, group, counted, now_s):  # type: ignore[no-untyped-def]
    """Nobody holds a session any more."""
    row = w.groups[group & (len(w.groups) - 1)]
    if row.holder > 0:
        w.receivers[row.holder - 1].session = 0
    row.holder = -1
    while row.first > 0:
        message = row.first - 1
        w.broker.in_flight -= 1
        state = give_back(w, message, counted, now_s)
        if state != MESSAGE_READY:
            leave(w, message, state, now_s)
    row.holder = 0
    open_group(w, group)


@rare()
def close_at_broker(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """The holder gives its session up: what is in flight of it comes back uncounted."""
    row = w.receivers[receiver]
    row.known_limit = row.pushed
    if row.session == 0:
        return
    group = row.session - 1
    message = w.groups[group & (len(w.groups) - 1)].first
    while message > 0:
        its = w.messages[(message - 1) & (len(w.messages) - 1)]
        its.deliveries -= 1
        delivery = w.deliveries[its.delivery & (len(w.deliveries) - 1)]
        delivery.lock_end_s = now_s
        delivery.outcome = DELIVERY_RELEASED
        message = w.after[(message - 1) & (len(w.after) - 1)]
    free_session(w, group, False, now_s)


@rare()
def close_sessions(w, consumer, now_s):  # type: ignore[no-untyped-def]
    """A consumer has drained: it closes its sessions, which others may have; what leaves by that makes room."""
    p, b = w.plan, w.broker
    for receiver in range(consumer * p.receivers, (consumer + 1) * p.receivers):
        close_at_broker(w, receiver, now_s)
    if p.senders > 0:
        open_door(w, now_s)
    elif b.entered < b.created:
        enter(w, now_s)
    if b.backlog > 0 and b.held == 0:
        match_sessions(w, now_s)


@rare()
def flow_arrives(w, receiver, limit, now_s):  # type: ignore[no-untyped-def]
    """Credit for messages of the session, its end, or the wish for one, which is not kept for ever."""
    b = w.broker
    if limit == CLOSE:
        close_at_broker(w, receiver, now_s)
    elif limit == ACCEPT:
        w.asking[b.asking_tail & (len(w.asking) - 1)] = receiver
        b.asking_tail += 1
        set_slot(w, w.slots.timers + receiver, now_s + w.plan.accept_wait_s)
    else:
        row = w.receivers[receiver]
        row.known_limit = limit
        if row.queued == 0:
            row.queued = 1
            w.to_serve[b.serve_tail & (len(w.to_serve) - 1)] = receiver
            b.serve_tail += 1


@step
def stop_asking(w, receiver):  # type: ignore[no-untyped-def]
    """A receiver does not wait for a session any more."""
    b = w.broker
    mask = len(w.asking) - 1
    kept = b.asking_head
    for place in range(b.asking_head, b.asking_tail):
        if w.asking[place & mask] != receiver:
            w.asking[kept & mask] = w.asking[place & mask]
            kept += 1
    b.asking_tail = kept


@rare()
def forget_session(w, receiver):  # type: ignore[no-untyped-def]
    """A receiver is killed: the session that it holds stays locked until the lock runs out."""
    row = w.receivers[receiver]
    leave_sessions(w, receiver)
    set_slot(w, w.slots.renewers + receiver, inf)
    if row.session > 0:
        w.groups[(row.session - 1) & (len(w.groups) - 1)].holder = -1
        row.session = 0


@rare()
def leave_sessions(w, receiver):  # type: ignore[no-untyped-def]
    """A receiver asks for nothing any more, but keeps the session that it holds."""
    b, row = w.broker, w.receivers[receiver]
    stop_asking(w, receiver)
    mask = len(w.to_serve) - 1
    kept = b.serve_head
    for place in range(b.serve_head, b.serve_tail):
        if w.to_serve[place & mask] != receiver:
            w.to_serve[kept & mask] = w.to_serve[place & mask]
            kept += 1
    b.serve_tail = kept
    row.queued = 0
    if row.state == HOLDING:
        row.state = ASKING
    set_slot(w, w.slots.timers + receiver, inf)


@step
def renew_session(w, group, now_s):  # type: ignore[no-untyped-def]
    """Start the lock of a session that is held afresh, and with it that of all in flight of it."""
    lock_session(w, group, now_s)
    row = w.groups[group & (len(w.groups) - 1)]
    message = row.first
    while message > 0:
        delivery = w.messages[(message - 1) & (len(w.messages) - 1)].delivery
        its = w.deliveries[delivery & (len(w.deliveries) - 1)]
        its.lock_end_s = row.lock_end_s
        its.renewals += 1
        message = w.after[(message - 1) & (len(w.after) - 1)]
