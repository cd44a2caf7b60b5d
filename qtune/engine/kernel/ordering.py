"""How a client keeps the order of groups: one of each at a time, and none of it after a failure.

These steps are called, not woven in: most plans do not keep the order, and then nothing here runs.
"""

from __future__ import annotations

from qtune.engine.kernel.background import call
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.result import DELIVERY_SKIPPED

NOBODY = -1


@step
def group_of_delivery(w, delivery):  # type: ignore[no-untyped-def]
    """The group of a delivery's message."""
    message = w.deliveries[delivery & (len(w.deliveries) - 1)].message
    return w.messages[message & (len(w.messages) - 1)].group


@rare(0, level=USUAL)
def next_place(w, receiver, worker):  # type: ignore[no-untyped-def]
    """Where in the buffer the oldest delivery is that may start, if this worker (or nobody) were idle; -1: nowhere."""
    p, row = w.plan, w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    for place in range(row.head, row.landed):
        group = group_of_delivery(w, w.buffer[receiver, place & mask])
        for one in range(receiver * p.workers, (receiver + 1) * p.workers):
            if one != worker and w.workers[one].phase > 0 and w.workers[one].group == group:
                break
        else:
            return place
    return -1


@rare(False, level=USUAL)
def bring_forward(w, receiver):  # type: ignore[no-untyped-def]
    """Move the oldest delivery that may start to the front of the buffer; False when there is none."""
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    place = next_place(w, receiver, NOBODY)
    if place < 0:
        return False
    delivery = w.buffer[receiver, place & mask]
    while place > row.head:
        w.buffer[receiver, place & mask] = w.buffer[receiver, (place - 1) & mask]
        place -= 1
    w.buffer[receiver, place & mask] = delivery
    return True


@rare(level=USUAL)
def skip_group(w, receiver, group, now_s):  # type: ignore[no-untyped-def]
    """A handler has failed: what is in hand of its group is not handled, or would be before what has failed."""
    p, row = w.plan, w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    for place in range(row.head, row.landed):
        delivery = w.buffer[receiver, place & mask]
        if group_of_delivery(w, delivery) != group:
            continue
        w.broker.buffered -= 1
        if p.abandons:
            row.freed += 0 if p.credit_at_settle else 1
            call(w, delivery, 0, receiver, 0, 0, now_s)
        else:
            row.freed += 1
            w.deliveries[delivery & (len(w.deliveries) - 1)].outcome = DELIVERY_SKIPPED
    to = row.landed - 1
    for place in range(row.landed - 1, row.head - 1, -1):
        delivery = w.buffer[receiver, place & mask]
        if group_of_delivery(w, delivery) != group:
            w.buffer[receiver, to & mask] = delivery
            to -= 1
    row.head = to + 1
