"""What the broker does when a client is through with a delivery: completed, failed or given back."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.broker import holds, leave
from qtune.engine.kernel.compiled import rare, step
from qtune.engine.kernel.draws import happens
from qtune.engine.kernel.fairness import withdraw_fairly
from qtune.engine.kernel.groups import delivery_ended, left_window
from qtune.engine.plan import BY_AGE, BY_FAIRNESS
from qtune.result import (
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    DELIVERY_RELEASED,
    MESSAGE_COMPLETED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
)


@step
def is_there(w, message):  # type: ignore[no-untyped-def]
    """Whether the broker still has a message, ready or locked."""
    if message < w.broker.messages_from:
        return False
    state = w.messages[message & (len(w.messages) - 1)].state
    return state in (MESSAGE_READY, MESSAGE_LOCKED)


@step
def take_away(w, message, now_s):  # type: ignore[no-untyped-def]
    """Take a message from whoever has it: from the ready ones, or out of the lock of another delivery."""
    row = w.messages[message & (len(w.messages) - 1)]
    if row.state == MESSAGE_READY:
        w.broker.backlog -= 1
        if w.plan.hands_out == BY_FAIRNESS:
            withdraw_fairly(w, message)
    else:
        w.deliveries[row.delivery & (len(w.deliveries) - 1)].lock_end_s = now_s
        w.broker.in_flight -= 1


@step
def settle_one(w, delivery, succeeded, now_s):  # type: ignore[no-untyped-def]
    """Complete a delivery, or note that it failed; the message to give back (-1: none, -2: its lock was lost)."""
    row = w.deliveries[delivery & (len(w.deliveries) - 1)]
    message = w.messages[row.message & (len(w.messages) - 1)]
    was_locked = True
    if holds(w, delivery):
        row.lock_end_s = now_s
        w.broker.in_flight -= 1
    elif succeeded and w.plan.accepts_late and is_there(w, row.message):
        was_locked = message.state == MESSAGE_LOCKED
        take_away(w, row.message, now_s)
    else:
        row.outcome = DELIVERY_LATE if succeeded else DELIVERY_FAILED
        return -2
    row.settled_s = now_s
    if not succeeded:
        row.outcome = DELIVERY_ABANDONED
        return row.message
    row.outcome = DELIVERY_COMPLETED
    message.delivery = delivery
    message.completed_s = row.finished_s
    message.settled_s = now_s
    if w.plan.hands_out != BY_AGE and was_locked:
        delivery_ended(w, row.message)
        left_window(w, row.message)
    leave(w, row.message, MESSAGE_COMPLETED, now_s)
    return -1


@step
def release_one(w, delivery, now_s):  # type: ignore[no-untyped-def]
    """Take back a delivery that nobody handled; the message to give back, uncounted (-2: its lock was lost)."""
    row = w.deliveries[delivery & (len(w.deliveries) - 1)]
    row.outcome = DELIVERY_RELEASED
    if not holds(w, delivery):
        return -2
    row.lock_end_s = now_s
    w.broker.in_flight -= 1
    w.messages[row.message & (len(w.messages) - 1)].deliveries -= 1
    return row.message


@rare(0)
def failed_entries(w, worker, count):  # type: ignore[no-untyped-def]
    """Move the entries of a batch that fail before the others, both in their order; how many fail."""
    rounds, failed, taken = w.workers[worker].rounds, 0, 0
    for place in range(count):
        delivery = w.handled[worker, place]
        its = w.deliveries[delivery & (len(w.deliveries) - 1)]
        key = its.delivery_no + rounds * streams.NEXT_ROUND
        if happens(w, streams.SETTLE_ENTRY, its.message, key, w.plan.settle_entry_fail_steps):
            w.handled[worker, failed] = delivery
            failed += 1
        else:
            w.taken[taken] = delivery
            taken += 1
    for place in range(taken):
        w.handled[worker, failed + place] = w.taken[place]
    return failed
