"""The workers' steps: take a delivery, handle it, settle it; and the settles that no worker waits for."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.background import settle_in_background
from qtune.engine.kernel.batches import BATCH_ATTEMPTING, batch_is_due, gather_settle, settles_next
from qtune.engine.kernel.broker import add_call, served_at
from qtune.engine.kernel.calendar import compute, set_slot
from qtune.engine.kernel.clients import GIVES_UP, answered, connected_s, hang_up, next_after_s, price_of
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.downstream import ASKING, ATTEMPTING, ENDING, HANDLING, attempt_in_turn, wait_after
from qtune.engine.kernel.draws import happens, trip_s, value
from qtune.engine.kernel.limits import ask
from qtune.engine.kernel.ordering import bring_forward, next_place, skip_group
from qtune.engine.kernel.pacing import note_answer
from qtune.engine.kernel.polls import gathers
from qtune.engine.kernel.receivers import CLOSING, FREE, close_call, is_over, open_call
from qtune.engine.kernel.settling import failed_entries, settle_one
from qtune.engine.plan import LINK_BURST, SETTLE_BATCH, SETTLE_CONCURRENT, SETTLE_EACH
from qtune.result import (
    CALL_LOCK_LOST,
    CALL_OK,
    DELIVERY_DROPPED,
    DELIVERY_FAILED,
    DELIVERY_UNSETTLED,
    OP_ABANDON,
    OP_SETTLE,
)

PAUSED = 1
OPENING = 2
CALLING = 3
AT_BROKER = 5
SETTLING = 6
COMPUTING = 8
TRYING_AGAIN = 9
DEAD = 12
"""Phase of a worker, and state of a receiver, that will not act again."""

NOBODY = -1


@step
def paused_until_s(w, now_s):  # type: ignore[no-untyped-def]
    """When the present pause of all handlers ends; 0 when there is none."""
    b = w.broker
    while b.pauses < len(w.pause_end_s) and w.pause_end_s[b.pauses] <= now_s:
        b.pauses += 1
    if b.pauses < len(w.pause_end_s) and w.pause_start_s[b.pauses] <= now_s:
        return w.pause_end_s[b.pauses]
    return 0.0


@step
def next_delivery(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """The oldest delivery in the buffer that an idle worker of this receiver can start on, or nobody's."""
    row = w.receivers[receiver]
    if row.idle_workers == 0 or row.head == row.landed or paused_until_s(w, now_s) > 0.0:
        return NOBODY
    if w.plan.keeps_order and not bring_forward(w, receiver):
        return NOBODY
    if w.plan.gather_s > 0.0 and gathers(w, receiver):
        return NOBODY
    delivery = w.buffer[receiver, row.head & (w.buffer.shape[1] - 1)]
    row.head += 1
    w.broker.buffered -= 1
    return delivery


@step
def next_delivery_by_call(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """The next delivery of a burst link's only worker, who makes receive calls until one returns something."""
    p = w.plan
    row, worker = w.receivers[receiver], w.workers[receiver]
    slot = w.slots.workers + receiver
    while True:
        if worker.phase == CLOSING:
            close_call(w, receiver, now_s)
            worker.phase = FREE
        if worker.phase == FREE and row.closed == 1 and row.batch_left == 0:
            worker.phase = DEAD
            return NOBODY
        if worker.phase == FREE:
            pause_end_s = paused_until_s(w, now_s)
            if pause_end_s > 0.0:
                worker.phase = PAUSED
                set_slot(w, slot, pause_end_s)
                return NOBODY
            if row.batch_left > 0:
                row.batch_left -= 1
                row.head += 1
                w.broker.buffered -= 1
                return w.buffer[receiver, (row.head - 1) & (w.buffer.shape[1] - 1)]
            row.start_s = now_s
            row.batch_left = min(p.batch, row.read - row.head)
            if row.batch_left == p.batch:
                worker.phase = CLOSING
                continue
            worker.phase = OPENING
            leaves_s = compute(w, row.consumer, p.call_cost_s, now_s)
            if leaves_s > now_s:
                worker.phase = COMPUTING
                set_slot(w, slot, leaves_s)
                return NOBODY
        if worker.phase != OPENING:
            return NOBODY
        open_call(w, receiver, now_s)
        worker.phase = CLOSING if is_over(w, receiver, now_s) else CALLING
        set_slot(w, slot, inf)


@step
def attempt(w, worker, message, delivery_no):  # type: ignore[no-untyped-def]
    """Find whether the handler succeeds, after how many attempts, and when it is through with them."""
    p = w.plan
    row = w.workers[worker]
    poison = p.poison_steps > 0 and happens(w, streams.POISON, message, 0, p.poison_steps)
    time_s = row.started_s
    tries = 0
    while True:
        key = delivery_no * streams.ATTEMPTS_MOST + tries
        if len(w.service_s) > 0:
            time_s = time_s + w.service_s[message]
        else:
            time_s = time_s + value(w, streams.SERVICE, streams.SERVICE, message, key)
        fails = poison or (p.fail_steps > 0 and happens(w, streams.FAIL, message, key, p.fail_steps))
        tries += 1
        if not fails or tries > len(w.backoff_s):
            break
        time_s = time_s + wait_after(w, message, key, tries)
    row.succeeded = 0 if fails else 1
    row.attempts = tries
    row.finished_s = time_s


@step
def start(w, worker, delivery, now_s):  # type: ignore[no-untyped-def]
    """A worker starts on a delivery; False when the client dropped it instead."""
    p = w.plan
    row, its = w.workers[worker], w.deliveries[delivery & (len(w.deliveries) - 1)]
    receiver = w.receivers[row.receiver]
    if p.drops_expired and now_s >= its.lock_end_s:
        its.outcome = DELIVERY_DROPPED
        receiver.freed += 1
        return False
    w.broker.busy_workers += 1
    row.delivery = delivery
    if p.keeps_order:
        row.group = w.messages[its.message & (len(w.messages) - 1)].group
    row.started_s = compute(w, row.consumer, p.message_cost_s, now_s)
    its.started_s = row.started_s
    its.worker = worker
    if not p.credit_at_settle:
        receiver.freed += 1
    if p.attempt_waits > 0:
        row.phase = ATTEMPTING
        row.tries = 0
        row.attempts = 0
        set_slot(w, w.slots.workers + worker, row.started_s)
        return True
    attempt(w, worker, its.message, its.delivery_no)
    row.phase = HANDLING
    ends_s = row.finished_s
    settles = row.succeeded == 1 or (p.abandons and not p.keeps_order)
    at_once = p.call_cost_s <= 0.0 and p.calls_served_at_once == 0 and not p.holds_calls
    if settles and p.settle_mode == SETTLE_EACH and at_once:
        # Nothing happens when the handler ends but that its settle leaves: one event instead of two.
        row.phase = SETTLING
        row.settles_all = 0
        row.settle_start_s = ends_s
        ends_s = ends_s + trip_s(w, streams.SETTLE, streams.SETTLE, its.message, its.delivery_no, ends_s)
    set_slot(w, w.slots.workers + worker, ends_s)
    return True


@step
def begin_settle(w, worker, everything, now_s):  # type: ignore[no-untyped-def]
    """A worker makes one call: for its delivery, or for everything that it has handled."""
    p = w.plan
    row = w.workers[worker]
    row.settles_all = everything
    row.settle_start_s = now_s
    if everything == 1 and p.handler_batch > 1 and row.handled == 0:
        gather_settle(w, worker)
    first = w.handled[worker, 0] if everything == 1 else row.delivery
    its = w.deliveries[first & (len(w.deliveries) - 1)]
    key = its.delivery_no + row.rounds * streams.NEXT_ROUND + row.refused * streams.NEXT_TRY
    round_trip_s = trip_s(w, streams.SETTLE, streams.SETTLE, its.message, key, now_s)
    row.half_s = 0.5 * round_trip_s
    leaves_s = compute(w, row.consumer, p.call_cost_s, now_s)
    op = OP_ABANDON if everything == 0 and row.succeeded == 0 else OP_SETTLE
    leaves_s = connected_s(w, row.consumer, op, its.message, key, leaves_s, now_s)
    if p.calls_served_at_once > 0:
        row.phase = AT_BROKER
        set_slot(w, w.slots.workers + worker, leaves_s + row.half_s)
    else:
        row.phase = SETTLING
        set_slot(w, w.slots.workers + worker, leaves_s + round_trip_s)


@step
def worker_is_due(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A handler ends, its settle reaches the broker or is confirmed, or a worker may go on."""
    row = w.workers[worker]
    if row.phase == HANDLING:
        handler_ends(w, worker, now_s)
    elif row.phase == SETTLING:
        settle_confirmed(w, worker, now_s)
    elif row.phase == AT_BROKER:
        row.phase = SETTLING
        first = w.handled[worker, 0] if row.settles_all == 1 else row.delivery
        its = w.deliveries[first & (len(w.deliveries) - 1)]
        key = its.delivery_no + row.rounds * streams.NEXT_ROUND + row.refused * streams.NEXT_TRY
        served_s = served_at(w, streams.BROKER_SETTLE, its.message, key, now_s)
        set_slot(w, w.slots.workers + worker, served_s + row.half_s)
    elif row.phase == TRYING_AGAIN:
        begin_settle(w, worker, row.settles_all, now_s)
    elif row.phase in (ATTEMPTING, ASKING, ENDING):
        attempt_in_turn(w, worker, now_s)
    elif row.phase >= BATCH_ATTEMPTING:
        if batch_is_due(w, worker, now_s):
            worker_free(w, worker)
    else:
        set_slot(w, w.slots.workers + worker, inf)
        row.phase = FREE if row.phase == PAUSED else OPENING
        w.pending.feed_from, w.pending.feed_to = row.receiver, row.receiver + 1


@step
def handler_ends(w, worker, now_s):  # type: ignore[no-untyped-def]
    """What follows the handler: nothing, a settle at once, with others, or in the background."""
    p, q = w.plan, w.pending
    row = w.workers[worker]
    its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
    its.attempts = row.attempts
    its.finished_s = now_s
    everything = -1
    if p.keeps_order and row.succeeded == 0:
        skip_group(w, row.receiver, row.group, now_s)
    if row.succeeded == 0 and not p.abandons:
        its.outcome = DELIVERY_FAILED
        if p.credit_at_settle:
            w.receivers[row.receiver].freed += 1
        q.let_go = worker
        if row.handled > 0 and nothing_to_do(w, worker, now_s):
            everything = 1
    elif p.settle_mode == SETTLE_CONCURRENT:
        settle_in_background(w, worker, now_s)
        q.let_go = worker
    elif p.settle_mode == SETTLE_BATCH and row.succeeded == 1:
        w.handled[worker, row.handled] = row.delivery
        row.handled += 1
        q.let_go = worker
        if row.handled >= p.settle_batch or nothing_to_do(w, worker, now_s):
            everything = 1
    else:
        everything = 0
    if everything >= 0:
        q.settle_next = worker
        q.everything = everything
    else:
        worker_free(w, worker)


@step
def nothing_to_do(w, worker, now_s):  # type: ignore[no-untyped-def]
    """Whether no delivery is there that a worker could take next."""
    receiver = w.workers[worker].receiver
    row = w.receivers[receiver]
    if row.head == row.landed or paused_until_s(w, now_s) > 0.0:
        return True
    return w.plan.keeps_order and next_place(w, receiver, worker) < 0


@step
def worker_free(w, worker):  # type: ignore[no-untyped-def]
    """A worker has nothing in hand."""
    row = w.workers[worker]
    row.phase = FREE
    w.broker.busy_workers -= 1
    if w.plan.discipline != LINK_BURST:
        receiver = w.receivers[row.receiver]
        w.idle_workers[row.receiver, receiver.idle_workers] = worker
        receiver.idle_workers += 1
    set_slot(w, w.slots.workers + worker, inf)
    w.pending.feed_from, w.pending.feed_to = row.receiver, row.receiver + 1


@step
def settle_confirmed(w, worker, now_s):  # type: ignore[no-untyped-def]
    """The answer to a worker's settle is there."""
    p, q = w.plan, w.pending
    row = w.workers[worker]
    hang_up(w, row.consumer, row.settle_start_s, now_s)
    given_up = 0
    if p.refuses:
        given_up = settle_is_refused(w, worker, now_s)
        if given_up < 0:
            return
    q.settle_from = worker
    q.settle_receiver = row.receiver
    q.settle_succeeded = 1
    q.settle_single = -1
    q.settle_first = 0
    q.settle_count = row.handled
    if row.settles_all == 0:
        q.settle_single = row.delivery
        q.settle_count = 1
        q.settle_succeeded = row.succeeded
        its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
        its.attempts = row.attempts
        its.finished_s = row.finished_s
        q.let_go = worker
    else:
        row.handled = 0
        if p.settle_entry_fail_steps > 0 and given_up == 0:
            row.handled = failed_entries(w, worker, q.settle_count)
            q.settle_first = row.handled
            q.settle_count -= row.handled
        row.rounds = row.rounds + 1 if row.handled > 0 else 0
    if p.credit_at_settle:
        w.receivers[row.receiver].freed += q.settle_count
    if given_up == 0:
        q.call = 1
        q.call_start_s = row.settle_start_s
        q.call_consumer = row.consumer
        q.call_op = OP_SETTLE if q.settle_succeeded == 1 else OP_ABANDON
        q.call_count = q.settle_count
        q.call_outcome = CALL_OK
    else:
        q.settle_count = 0
    q.unread = row.receiver
    if row.handled > 0 and (row.settles_all == 1 or nothing_to_do(w, worker, now_s)):
        q.settle_next = worker
        q.everything = 1
    elif p.handler_batch == 1 or not settles_next(w, worker):
        worker_free(w, worker)


@rare(False, level=USUAL)
def settle_is_refused(w, worker, now_s):  # type: ignore[no-untyped-def]
    """Whether a settle that would be confirmed now is refused: 0 no, -1 it is tried again, 1 it is given up."""
    row = w.workers[worker]
    alone = row.settles_all == 0
    count = 1 if alone else row.handled
    first = row.delivery if alone else w.handled[worker, 0]
    its = w.deliveries[first & (len(w.deliveries) - 1)]
    op = OP_ABANDON if alone and row.succeeded == 0 else OP_SETTLE
    outcome = ask(w, op, count, row.settle_start_s, now_s)
    if w.plan.paces_calls:
        note_answer(w, row.consumer, outcome, now_s)
    if outcome == CALL_OK:
        answered(w, row.consumer, row.spent)
        row.refused = 0
        row.spent = 0
        return 0
    if alone:
        its.attempts = row.attempts
        its.finished_s = row.finished_s
    add_call(w, row.settle_start_s, now_s, row.consumer, op, 0, outcome)
    b = its.delivery_no + row.rounds * streams.NEXT_ROUND
    wait_s = next_after_s(w, row.consumer, outcome, op, its.message, b, row.refused)
    if wait_s != GIVES_UP:
        row.refused += 1
        row.spent = price_of(w, outcome)
        row.phase = TRYING_AGAIN
        set_slot(w, w.slots.workers + worker, now_s + wait_s)
        return -1
    row.refused = 0
    row.spent = 0
    for place in range(count):
        delivery = row.delivery if alone else w.handled[worker, place]
        w.deliveries[delivery & (len(w.deliveries) - 1)].outcome = DELIVERY_UNSETTLED
    return 1


@step
def settle_all(w, now_s):  # type: ignore[no-untyped-def]
    """The broker settles what a call asked for."""
    q = w.pending
    q.call_outcome = CALL_OK
    for place in range(q.settle_count):
        delivery = (
            q.settle_single if q.settle_single >= 0 else w.handled[q.settle_from, q.settle_first + place]
        )
        message = settle_one(w, delivery, q.settle_succeeded == 1, now_s)
        if message == -2:
            q.call_outcome = CALL_LOCK_LOST
            w.receivers[q.settle_receiver].lost = 1
        elif message >= 0:
            q.back = message
