"""What goes on in the background: settles and releases that no worker waits for, in a heap by time and delivery."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import add_call, served_at
from qtune.engine.kernel.calendar import compute, set_slot
from qtune.engine.kernel.clients import GIVES_UP, answered, connected_s, hang_up, next_after_s, price_of
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.limits import ask
from qtune.engine.kernel.pacing import note_answer
from qtune.engine.kernel.settling import release_one
from qtune.result import CALL_LOCK_LOST, CALL_OK, DELIVERY_UNSETTLED, OP_ABANDON, OP_RELEASE, OP_SETTLE

REACHES = 0
CONFIRMED = 1
RELEASED = 2
AGAIN = 3


@step
def before(w, a, b):  # type: ignore[no-untyped-def]
    """Whether one step in the background comes before another."""
    one, other = w.background[a], w.background[b]
    return one.time_s < other.time_s or (one.time_s == other.time_s and one.delivery < other.delivery)


@step
def put(w, time_s, start_s, half_s, delivery, what, succeeded, receiver, refused, spent):  # type: ignore[no-untyped-def]
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
    new.refused = refused
    new.spent = spent
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
    row = w.workers[worker]
    call(w, row.delivery, row.succeeded, row.receiver, 0, 0, now_s)


@step
def call(w, delivery, succeeded, receiver, refused, spent, now_s):  # type: ignore[no-untyped-def]
    """Make the call of a settle, for the first time or again."""
    p = w.plan
    its = w.deliveries[delivery & (len(w.deliveries) - 1)]
    key = its.delivery_no + refused * streams.NEXT_TRY
    round_trip_s = trip_s(w, streams.SETTLE, streams.SETTLE, its.message, key, now_s)
    client = w.receivers[receiver].consumer
    leaves_s = compute(w, client, p.call_cost_s, now_s)
    op = OP_SETTLE if succeeded == 1 else OP_ABANDON
    leaves_s = connected_s(w, client, op, its.message, key, leaves_s, now_s)
    half_s = 0.5 * round_trip_s
    what = REACHES if p.calls_served_at_once > 0 else CONFIRMED
    time_s = leaves_s + (half_s if what == REACHES else round_trip_s)
    put(w, time_s, now_s, half_s, delivery, what, succeeded, receiver, refused, spent)


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
        half_s = 0.5 * trip_s(w, streams.SETTLE, streams.RELEASE, its.message, its.delivery_no, now_s)
        put(w, now_s + half_s, now_s, half_s, delivery, RELEASED, 0, receiver, 0, 0)
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
    start_s, half_s, succeeded, refused = first.start_s, first.half_s, first.succeeded, first.refused
    spent = first.spent
    drop_first(w)
    if receiver < 0:  # its consumer was killed
        return
    its = w.deliveries[delivery & (len(w.deliveries) - 1)]
    if what == REACHES:
        key = its.delivery_no + refused * streams.NEXT_TRY
        served_s = served_at(w, streams.BROKER_SETTLE, its.message, key, now_s)
        put(w, served_s + half_s, start_s, half_s, delivery, CONFIRMED, succeeded, receiver, refused, spent)
        return
    if what == AGAIN:
        call_again(w, delivery, succeeded, receiver, refused, spent, now_s)
        return
    if what == CONFIRMED:
        hang_up(w, w.receivers[receiver].consumer, start_s, now_s)
    asks = w.plan.refuses and what == CONFIRMED
    if asks and settle_is_refused(w, start_s, delivery, succeeded, receiver, refused, spent, now_s):
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
        if w.broker.draining > 0:
            q.feed_from, q.feed_to = receiver, receiver + 1
        return
    q.call_op = OP_SETTLE if succeeded == 1 else OP_ABANDON
    q.settle_receiver = receiver
    q.settle_single = delivery
    q.settle_count = 1
    q.settle_succeeded = succeeded
    if w.plan.credit_at_settle:
        w.receivers[receiver].freed += 1
    q.feed_from, q.feed_to = receiver, receiver + 1


@rare(level=USUAL)
def call_again(w, delivery, succeeded, receiver, refused, spent, now_s):  # type: ignore[no-untyped-def]
    """Make the call of a settle that was refused before."""
    call(w, delivery, succeeded, receiver, refused, spent, now_s)


@rare(False, level=USUAL)
def settle_is_refused(  # type: ignore[no-untyped-def]
    w, start_s, delivery, succeeded, receiver, refused, spent, now_s
):
    """Whether a settle that would be confirmed now is refused; the client tries again, or gives the delivery up."""
    q, row = w.pending, w.receivers[receiver]
    its = w.deliveries[delivery & (len(w.deliveries) - 1)]
    op = OP_SETTLE if succeeded == 1 else OP_ABANDON
    outcome = ask(w, op, 1, start_s, now_s)
    if w.plan.paces_calls:
        note_answer(w, row.consumer, outcome, now_s)
    if outcome == CALL_OK:
        answered(w, row.consumer, spent)
        return False
    add_call(w, start_s, now_s, row.consumer, op, 0, outcome)
    wait_s = next_after_s(w, row.consumer, outcome, op, its.message, its.delivery_no, refused)
    if wait_s != GIVES_UP:
        put(
            w,
            now_s + wait_s,
            now_s,
            0.0,
            delivery,
            AGAIN,
            succeeded,
            receiver,
            refused + 1,
            price_of(w, outcome),
        )
        return True
    its.outcome = DELIVERY_UNSETTLED
    if w.plan.credit_at_settle:
        row.freed += 1
    q.feed_from, q.feed_to = receiver, receiver + 1
    return True
