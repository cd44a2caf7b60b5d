"""The source's steps: messages that fall due, senders, customers."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import (
    new_message,
    store,
)
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import step
from qtune.engine.kernel.draws import value
from qtune.engine.kernel.layout import FINISHED, MORE_MESSAGES


@step
def next_due(w):  # type: ignore[no-untyped-def]
    """Find when the next message of the open loop falls due; infinity when there is none."""
    p, b = w.plan, w.broker
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
    b = w.broker
    last = b.created + most
    while b.next_due_s <= now_s and b.created < last:
        if b.created - b.messages_from >= len(w.messages):
            return MORE_MESSAGES
        message = new_message(w, b.next_due_s)
        if w.plan.senders == 0 and w.plan.capacity_messages == 0:
            store(w, message, b.next_due_s)
        next_due(w)
    return FINISHED


@step
def customer_is_due(w, customer, now_s):  # type: ignore[no-untyped-def]
    """A customer of the closed loop sends a message, and waits until it is gone."""
    set_slot(w, w.slots.customers + customer, inf)
    message = new_message(w, now_s)
    w.customer_of[message & (len(w.messages) - 1)] = customer
