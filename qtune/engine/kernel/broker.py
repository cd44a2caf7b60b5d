"""The broker's steps: what is ready, who asks, which locks run, and when a message leaves for good."""

from __future__ import annotations

from math import nan

from qtune.engine import streams
from qtune.engine.kernel.calendar import earliest, set_slot
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.draws import uniform, value
from qtune.engine.kernel.groups import delivery_ended, group_of, join_group, left_window, rejoin_group
from qtune.engine.plan import BY_AGE, NO_GROUPS, POLL
from qtune.result import (
    MESSAGE_DEAD_LETTERED,
    MESSAGE_DELAYED,
    MESSAGE_EXPIRED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
    MESSAGE_REJECTED,
)

WAITING = 2
"""A polling receiver whose request waits at the broker (see receivers.py)."""


@step
def add_call(w, start_s, end_s, consumer, op, count, outcome):  # type: ignore[no-untyped-def]
    """Note a call that has ended."""
    b = w.broker
    row = w.calls[b.calls & (len(w.calls) - 1)]
    b.calls += 1
    row.start_s = start_s
    row.end_s = end_s
    row.consumer = consumer
    row.op = op
    row.count = count
    row.outcome = outcome


@step
def new_message(w, due_s):  # type: ignore[no-untyped-def]
    """Note a message that falls due; its number."""
    b = w.broker
    row = w.messages[b.created & (len(w.messages) - 1)]
    row.due_s = due_s
    row.sent_s = nan
    row.completed_s = nan
    row.settled_s = nan
    row.left_s = nan
    row.delivery = -1
    row.group = -1 if w.plan.grouping == NO_GROUPS else group_of(w, b.created)
    row.deliveries = 0
    row.state = 0
    b.created += 1
    b.unsent += 1
    return b.created - 1


@step
def think(w, customer, now_s):  # type: ignore[no-untyped-def]
    """A customer of the closed loop thinks, and then sends."""
    row = w.customers[customer]
    think_s = value(w, streams.THINK, streams.THINK, customer, row.thought)
    row.thought += 1
    set_slot(w, w.slots.customers + customer, now_s + think_s)


@step
def refuse(w, message, now_s):  # type: ignore[no-untyped-def]
    """A message does not get in, and its sender gives it up."""
    row = w.messages[message & (len(w.messages) - 1)]
    row.state = MESSAGE_REJECTED
    row.left_s = now_s
    w.broker.unsent -= 1
    if w.plan.customers > 0:
        think(w, w.customer_of[message & (len(w.messages) - 1)], now_s)


@step
def store(w, message, now_s):  # type: ignore[no-untyped-def]
    """Keep a message, and make it ready unless it is delayed."""
    b = w.broker
    mask = len(w.messages) - 1
    w.messages[message & mask].sent_s = now_s
    b.entered = message + 1
    b.unsent -= 1
    b.stored += 1
    if w.plan.delay_s > 0.0:
        put_off(w, message, now_s)
    else:
        make_ready(w, message)
    if w.plan.retention_s <= w.plan.horizon_s:
        w.kept[b.kept_tail & mask] = message
        b.kept_tail += 1


@step
def make_ready(w, message):  # type: ignore[no-untyped-def]
    """Receivers may have a message for the first time."""
    b = w.broker
    mask = len(w.messages) - 1
    w.messages[message & mask].state = MESSAGE_READY
    b.backlog += 1
    if w.plan.hands_out == BY_AGE:
        w.ready[b.ready_tail & mask] = message
        b.ready_tail += 1
    else:
        join_group(w, message)


@rare()
def put_off(w, message, now_s):  # type: ignore[no-untyped-def]
    """Keep a message back that has just been sent."""
    b = w.broker
    mask = len(w.messages) - 1
    w.messages[message & mask].state = MESSAGE_DELAYED
    w.delayed[b.delayed_tail & mask] = message
    b.delayed_tail += 1
    if b.delayed_tail - b.delayed_head == 1:
        set_slot(w, w.slots.delays, now_s + w.plan.delay_s)


@step
def is_full(w):  # type: ignore[no-untyped-def]
    """Whether the queue's bound is reached."""
    return w.plan.capacity_messages > 0 and w.broker.stored >= w.plan.capacity_messages


@step
def enter(w, now_s):  # type: ignore[no-untyped-def]
    """Let in what has fallen due but is not in yet, as far as there is room (where there are no senders)."""
    p, b = w.plan, w.broker
    while b.entered < b.created:
        if is_full(w):
            if not p.rejects_when_full:
                return
            refuse(w, b.entered, now_s)
            b.entered += 1
        else:
            store(w, b.entered, now_s)


@step
def leave(w, message, state, now_s):  # type: ignore[no-untyped-def]
    """A message is gone: its place in the queue and its customer are free."""
    mask = len(w.messages) - 1
    row = w.messages[message & mask]
    row.state = state
    row.left_s = now_s
    w.broker.stored -= 1
    if w.plan.customers > 0:
        think(w, w.customer_of[message & mask], now_s)


@step
def give_back(w, message, counted, now_s):  # type: ignore[no-untyped-def]
    """A locked message is free again: ready, or the state in which it is to leave."""
    state = come_back(w, message, counted, now_s)
    if w.plan.hands_out != BY_AGE:
        delivery_ended(w, message)
        if state != MESSAGE_READY:
            left_window(w, message)
    return state


@step
def come_back(w, message, counted, now_s):  # type: ignore[no-untyped-def]
    """Put a message that was locked where it belongs now."""
    p, b = w.plan, w.broker
    mask = len(w.messages) - 1
    row = w.messages[message & mask]
    row.delivery = -1
    if counted and p.max_deliveries > 0 and row.deliveries >= p.max_deliveries:
        return MESSAGE_DEAD_LETTERED
    if row.sent_s + p.retention_s <= now_s:
        return MESSAGE_EXPIRED
    row.state = MESSAGE_READY
    b.backlog += 1
    if p.hands_out != BY_AGE:
        rejoin_group(w, message)
    elif p.redelivers_first:
        w.returned[b.returned_tail & mask] = message
        b.returned_tail += 1
    else:
        w.ready[b.ready_tail & mask] = message
        b.ready_tail += 1
    return MESSAGE_READY


@step
def start_lock(w, delivery, now_s):  # type: ignore[no-untyped-def]
    """Lock a delivery from now on, for the first time or again."""
    end_s = now_s + w.plan.lock_s
    w.deliveries[delivery & (len(w.deliveries) - 1)].lock_end_s = end_s
    queue_lock(w, end_s, delivery)


@step
def queue_lock(w, end_s, what):  # type: ignore[no-untyped-def]
    """Note when the lock of a delivery ends, or of a session, whose number is -1 - what."""
    b = w.broker
    mask = len(w.lock_end_s) - 1
    w.lock_end_s[b.lock_tail & mask] = end_s
    w.lock_delivery[b.lock_tail & mask] = what
    b.lock_tail += 1


@step
def next_message(w):  # type: ignore[no-untyped-def]
    """Take the message that is ready first; entries of messages that are gone are dropped."""
    b = w.broker
    mask = len(w.messages) - 1
    while b.returned_head < b.returned_tail:
        message = w.returned[b.returned_head & mask]
        b.returned_head += 1
        if message >= b.messages_from and w.messages[message & mask].state == MESSAGE_READY:
            return message
    while True:
        message = w.ready[b.ready_head & mask]
        b.ready_head += 1
        if message >= b.messages_from and w.messages[message & mask].state == MESSAGE_READY:
            return message


@step
def hand_out(w, message, consumer, now_s):  # type: ignore[no-untyped-def]
    """Lock a ready message; the number of the new delivery."""
    delivery = hand_over(w, message, consumer, now_s)
    start_lock(w, delivery, now_s)
    return delivery


@step
def hand_over(w, message, consumer, now_s):  # type: ignore[no-untyped-def]
    """Hand out a ready message; the number of the delivery, whose lock is still to start."""
    b = w.broker
    row = w.messages[message & (len(w.messages) - 1)]
    row.state = MESSAGE_LOCKED
    row.deliveries += 1
    row.delivery = b.deliveries
    b.backlog -= 1
    b.in_flight += 1
    return new_delivery(w, message, row.deliveries, consumer, now_s)


@step
def new_delivery(w, message, delivery_no, consumer, now_s):  # type: ignore[no-untyped-def]
    """Note a message that is handed out; the number of the delivery, whose lock is still to start."""
    b = w.broker
    row = w.deliveries[b.deliveries & (len(w.deliveries) - 1)]
    b.deliveries += 1
    row.message = message
    row.locked_s = now_s
    row.received_s = nan
    row.started_s = nan
    row.finished_s = nan
    row.settled_s = nan
    row.delivery_no = delivery_no
    row.consumer = consumer
    row.worker = -1
    row.attempts = 0
    row.renewals = 0
    row.outcome = 0
    return b.deliveries - 1


@step
def holds(w, delivery):  # type: ignore[no-untyped-def]
    """Whether the lock of this delivery still stands."""
    b = w.broker
    if delivery < b.deliveries_from:
        return False
    message = w.deliveries[delivery & (len(w.deliveries) - 1)].message
    if message < b.messages_from:
        return False
    row = w.messages[message & (len(w.messages) - 1)]
    return row.state == MESSAGE_LOCKED and row.delivery == delivery


@step
def wait_in_line(w, receiver):  # type: ignore[no-untyped-def]
    """A receiver waits for messages, behind those who do already; entries of calls that are over are dropped."""
    b = w.broker
    mask = len(w.demand) - 1
    if b.demand_tail - b.demand_head > mask:
        kept = b.demand_head
        for place in range(b.demand_head, b.demand_tail):
            if in_line(w, place):
                w.demand[kept & mask] = w.demand[place & mask]
                w.demand_call[kept & mask] = w.demand_call[place & mask]
                kept += 1
        b.demand_tail = kept
    w.demand[b.demand_tail & mask] = receiver
    w.demand_call[b.demand_tail & mask] = try_of(w.receivers[receiver])
    b.demand_tail += 1
    b.waiting += 1


@step
def in_line(w, place):  # type: ignore[no-untyped-def]
    """Whether the receiver at this place of the line still waits with the call that put it there."""
    if w.plan.discipline != POLL:
        return True
    row = w.receivers[w.demand[place & (len(w.demand) - 1)]]
    return row.state == WAITING and try_of(row) == w.demand_call[place & (len(w.demand) - 1)]


@step
def try_of(row):  # type: ignore[no-untyped-def]
    """What tells one try of one call of a receiver from all others: an entry of one that is over says nothing."""
    return row.call + row.refused * streams.NEXT_TRY


@rare(0, level=USUAL)
def any_in_line(w):  # type: ignore[no-untyped-def]
    """One of the receivers that wait, by a draw for the next delivery; the others keep their order."""
    b = w.broker
    mask = len(w.demand) - 1
    before = int(uniform(w, streams.HAND_OUT, b.deliveries, 0) * b.waiting)
    place = b.demand_head
    while before > 0 or not in_line(w, place):
        before -= in_line(w, place)
        place += 1
    receiver = w.demand[place & mask]
    b.demand_tail -= 1
    for later in range(place, b.demand_tail):
        w.demand[later & mask] = w.demand[(later + 1) & mask]
        w.demand_call[later & mask] = w.demand_call[(later + 1) & mask]
    b.waiting -= 1
    return receiver


@step
def next_in_line(w):  # type: ignore[no-untyped-def]
    """The receiver that is served next: who has waited longest, or any."""
    b = w.broker
    if w.plan.serves_any_receiver:
        return any_in_line(w)
    while not in_line(w, b.demand_head):
        b.demand_head += 1
    b.demand_head += 1
    b.waiting -= 1
    return w.demand[(b.demand_head - 1) & (len(w.demand) - 1)]


@step
def served_at(w, stream, a, b, now_s):  # type: ignore[no-untyped-def]
    """When a call that reaches a broker with few call slots now has been served."""
    need_s = value(w, streams.BROKER, stream, a, b)
    return earliest(w.call_slot_free_s, len(w.call_slot_free_s), now_s, need_s)
