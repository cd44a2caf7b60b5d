"""The source's steps: messages that fall due, senders, customers."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import (
    begin_send,
    is_full,
    new_message,
    refuse,
    sender_done,
    served_at,
    store,
)
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import step
from qtune.engine.kernel.draws import value
from qtune.engine.kernel.world import FINISHED, MORE_MESSAGES


@step
def next_due(w):  # type: ignore[no-untyped-def]
    """Find when the next message of the open loop falls due; infinity when there is none."""
    p, b = w.plan[0], w.broker[0]
    message = b.created
    if p.customers > 0 or (p.messages_most > 0 and message >= p.messages_most):
        b.next_due_s = inf
    elif p.explicit:
        b.next_due_s = w.due_s[message] if message < len(w.due_s) else inf
    else:
        b.area = b.area + value(w, streams.GAP, streams.GAP, message, 0)
        last = len(w.segment_start_s) - 1
        while b.segment < last:
            here, there = w.segment_start_s[b.segment], w.segment_start_s[b.segment + 1]
            next_area = b.segment_area + w.segment_rate_per_s[b.segment] * (there - here)
            if b.area <= next_area:
                break
            b.segment += 1
            b.segment_area = next_area
        rate = w.segment_rate_per_s[b.segment]
        if rate > 0.0:
            b.next_due_s = w.segment_start_s[b.segment] + (b.area - b.segment_area) / rate
        else:
            b.next_due_s = inf


@step
def admit(w, now_s, most):  # type: ignore[no-untyped-def]
    """Let up to ``most`` messages that are due by now fall due; says when there is no room to note them.

    Arrivals are no events of their own: nobody sees a message before somebody looks at the broker.
    """
    p, b = w.plan[0], w.broker[0]
    last = b.created + most
    while b.next_due_s <= now_s and b.created < last:
        if b.created - b.messages_from >= len(w.messages):
            return MORE_MESSAGES
        due_s = b.next_due_s
        message = new_message(w, due_s)
        next_due(w)
        if p.senders > 0:
            continue
        if is_full(w):
            if p.rejects_when_full:
                b.entered += 1
                refuse(w, message, due_s)
        else:
            b.entered += 1
            store(w, message, due_s)
    return FINISHED


@step
def wake_sender(w, now_s):  # type: ignore[no-untyped-def]
    """A message has fallen due while a sender was idle."""
    b = w.broker[0]
    if b.idle_senders > 0 and b.next_to_send < b.created:
        b.idle_senders -= 1
        b.next_to_send += 1
        begin_send(w, w.idle_senders[b.idle_senders], b.next_to_send - 1, now_s)


@step
def sender_is_due(w, sender, now_s):  # type: ignore[no-untyped-def]
    """A send reaches a broker with few call slots, has been served, or is confirmed."""
    p, b = w.plan[0], w.broker[0]
    row = w.senders[sender]
    if row.phase == 0:
        row.phase = 1
        served_s = served_at(w, streams.BROKER_SEND, row.message, 0, now_s)
        set_slot(w, w.slots.senders + sender, served_s + row.half_s)
    elif not is_full(w):
        store(w, row.message, now_s)
        sender_done(w, sender, now_s)
    elif p.rejects_when_full:
        refuse(w, row.message, now_s)
        sender_done(w, sender, now_s)
    else:
        w.door[b.door_tail & (len(w.door) - 1)] = sender
        b.door_tail += 1
        set_slot(w, w.slots.senders + sender, inf)


@step
def customer_is_due(w, customer, now_s):  # type: ignore[no-untyped-def]
    """A customer of the closed loop sends a message, and waits until it is gone."""
    p, b = w.plan[0], w.broker[0]
    set_slot(w, w.slots.customers + customer, inf)
    message = new_message(w, now_s)
    w.customer_of[message & (len(w.messages) - 1)] = customer
    if p.senders > 0:
        wake_sender(w, now_s)
    elif not is_full(w):
        b.entered += 1
        store(w, message, now_s)
    elif p.rejects_when_full:
        b.entered += 1
        refuse(w, message, now_s)
