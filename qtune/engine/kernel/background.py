"""What goes on in the background: settles and releases that no worker waits for, in a heap by time and delivery."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import release_one, served_at
from qtune.engine.kernel.calendar import compute, set_slot
from qtune.engine.kernel.compiled import step
from qtune.engine.kernel.draws import value
from qtune.result import CALL_LOCK_LOST, CALL_OK, OP_ABANDON, OP_RELEASE, OP_SETTLE

REACHES = 0
CONFIRMED = 1
RELEASED = 2


@step
def before(w, a, b):  # type: ignore[no-untyped-def]
    """Whether one step in the background comes before another."""
    one, other = w.background[a], w.background[b]
    return one.time_s < other.time_s or (one.time_s == other.time_s and one.delivery < other.delivery)


@step
def put(w, time_s, start_s, half_s, delivery, what, succeeded, receiver):  # type: ignore[no-untyped-def]
    """Note a step in the background."""
    place = w.broker.background
    w.broker.background += 1
    while place > 0:
        above = (place - 1) >> 1
        other = w.background[above]
        if other.time_s < time_s or (other.time_s == time_s and other.delivery < delivery):
            break
        w.background[place] = w.background[above]
        place = above
    new = w.background[place]
    new.time_s = time_s
    new.start_s = start_s
    new.half_s = half_s
    new.delivery = delivery
    new.step = what
    new.succeeded = succeeded
    new.receiver = receiver
    set_slot(w, w.slots.background, w.background[0].time_s)


@step
def drop_first(w):  # type: ignore[no-untyped-def]
    """Forget the step that was due first."""
    b = w.broker
    b.background -= 1
    last, place = b.background, 0
    while True:
        below = 2 * place + 1
        if below >= last:
            break
        if below + 1 < last and before(w, below + 1, below):
            below += 1
        if before(w, last, below):
            break
        w.background[place] = w.background[below]
        place = below
    w.background[place] = w.background[last]
    set_slot(w, w.slots.background, w.background[0].time_s if last > 0 else inf)


@step
def settle_in_background(w, worker, now_s):  # type: ignore[no-untyped-def]
    """Send a settle on its way; it does not hold up the worker, but it needs the client's core."""
    p = w.plan
    row = w.workers[worker]
    its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
    round_trip_s = value(w, streams.SETTLE, streams.SETTLE, its.message, its.delivery_no)
    leaves_s = compute(w, row.consumer, p.call_cost_s, now_s)
    half_s = 0.5 * round_trip_s
    what = REACHES if p.calls_served_at_once > 0 else CONFIRMED
    time_s = leaves_s + (half_s if what == REACHES else round_trip_s)
    put(w, time_s, now_s, half_s, row.delivery, what, row.succeeded, row.receiver)


@step
def release_unread(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Give back, uncounted, what came while no call was there to take it."""
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    count = row.landed - row.read
    if count == 0:
        return
    set_slot(w, w.slots.timers + receiver, inf)
    for place in range(row.read, row.landed):
        delivery = w.buffer[receiver, place & mask]
        its = w.deliveries[delivery & (len(w.deliveries) - 1)]
        half_s = 0.5 * value(w, streams.SETTLE, streams.RELEASE, its.message, its.delivery_no)
        put(w, now_s + half_s, now_s, half_s, delivery, RELEASED, 0, receiver)
    for place in range(row.landed, row.tail):
        w.buffer[receiver, (place - count) & mask] = w.buffer[receiver, place & mask]
        w.land_s[receiver, (place - count) & mask] = w.land_s[receiver, place & mask]
    row.received += count
    row.landed -= count
    row.tail -= count
    w.broker.buffered -= count


@step
def background_is_due(w, now_s):  # type: ignore[no-untyped-def]
    """A settle reaches the broker or is confirmed there, or a release arrives."""
    q = w.pending
    first = w.background[0]
    what, delivery, receiver = first.step, first.delivery, first.receiver
    start_s, half_s, succeeded = first.start_s, first.half_s, first.succeeded
    drop_first(w)
    its = w.deliveries[delivery & (len(w.deliveries) - 1)]
    if what == REACHES:
        served_s = served_at(w, streams.BROKER_SETTLE, its.message, its.delivery_no, now_s)
        put(w, served_s + half_s, start_s, half_s, delivery, CONFIRMED, succeeded, receiver)
        return
    q.call = 1
    q.call_start_s = start_s
    q.call_consumer = w.receivers[receiver].consumer
    q.call_count = 1
    if what == RELEASED:
        q.call_op = OP_RELEASE
        message = release_one(w, delivery, now_s)
        q.call_outcome = CALL_LOCK_LOST if message == -2 else CALL_OK
        if message >= 0:
            q.back = message
            q.counted = 0
        return
    q.call_op = OP_SETTLE if succeeded == 1 else OP_ABANDON
    q.settle_single = delivery
    q.settle_count = 1
    q.settle_succeeded = succeeded
    if w.plan.credit_at_settle:
        w.receivers[receiver].freed += 1
    q.feed_from, q.feed_to = receiver, receiver + 1
