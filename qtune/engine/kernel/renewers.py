"""The renewers' steps: each keeps the lock of one delivery alive while its worker is with it."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import add_call, holds, served_at, start_lock
from qtune.engine.kernel.calendar import compute, set_slot
from qtune.engine.kernel.clients import GIVES_UP, answered, connected_s, hang_up, next_after_s, price_of
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.limits import ask
from qtune.engine.kernel.pacing import note_answer
from qtune.result import CALL_LOCK_LOST, CALL_OK, OP_RENEW

IDLE = 0
WAITING_FOR_DUE = 1
CALLING_BROKER = 2
TAKING_EFFECT = 3
HOLDING = 4


@step
def start_renewing(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A worker begins with a delivery: an idle renewer stays with it to its end, or it waits for one."""
    row = w.workers[worker]
    consumer = w.consumers[row.consumer]
    row.renewer = -1
    if consumer.idle_renewers > 0:
        consumer.idle_renewers -= 1
        attach(w, w.idle_renewers[row.consumer, consumer.idle_renewers], worker, now_s)
        return
    mask = w.to_renew_worker.shape[1] - 1
    if consumer.to_renew_tail - consumer.to_renew_head > mask:
        kept = consumer.to_renew_head
        for place in range(consumer.to_renew_head, consumer.to_renew_tail):
            waiting = w.to_renew_worker[row.consumer, place & mask]
            delivery = w.to_renew_delivery[row.consumer, place & mask]
            if w.workers[waiting].delivery == delivery:
                w.to_renew_worker[row.consumer, kept & mask] = waiting
                w.to_renew_delivery[row.consumer, kept & mask] = delivery
                kept += 1
        consumer.to_renew_tail = kept
    w.to_renew_worker[row.consumer, consumer.to_renew_tail & mask] = worker
    w.to_renew_delivery[row.consumer, consumer.to_renew_tail & mask] = row.delivery
    consumer.to_renew_tail += 1


@step
def attach(w, renewer, worker, now_s):  # type: ignore[no-untyped-def]
    """A renewer stays with a worker from now on."""
    p = w.plan
    row = w.renewers[renewer]
    w.workers[worker].renewer = renewer
    row.worker = worker
    row.delivery = w.workers[worker].delivery
    row.wanted = 1
    row.renewal = 0
    row.refused = 0
    row.spent = 0
    lock_end_s = w.deliveries[row.delivery & (len(w.deliveries) - 1)].lock_end_s
    row.due_s = lock_end_s - p.lock_s + p.renew_after_s
    row.last_s = w.workers[worker].started_s + p.renew_max_s
    wait_for_due(w, renewer, now_s)


@step
def wait_for_due(w, renewer, now_s):  # type: ignore[no-untyped-def]
    """Wait for the next renewal, if the limit allows it."""
    row = w.renewers[renewer]
    slot = w.slots.renewers + renewer
    if row.due_s <= row.last_s:
        row.due_s = max(row.due_s, now_s)
        row.phase = WAITING_FOR_DUE
        set_slot(w, slot, row.due_s)
    else:
        row.phase = HOLDING
        set_slot(w, slot, inf)


@step
def let_go(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A worker is through with its delivery: its renewer is free, or will be when the call on its way is answered."""
    row = w.workers[worker]
    row.delivery = -1
    if row.renewer < 0:
        return
    renewer = row.renewer
    row.renewer = -1
    w.renewers[renewer].wanted = 0
    phase = w.renewers[renewer].phase
    if phase in (WAITING_FOR_DUE, HOLDING):
        next_worker(w, renewer, now_s)


@step
def next_worker(w, renewer, now_s):  # type: ignore[no-untyped-def]
    """A renewer stays with the worker that has waited longest and is still with the same delivery, or idles."""
    number = w.renewers[renewer].consumer
    consumer = w.consumers[number]
    mask = w.to_renew_worker.shape[1] - 1
    while consumer.to_renew_head < consumer.to_renew_tail:
        worker = w.to_renew_worker[number, consumer.to_renew_head & mask]
        delivery = w.to_renew_delivery[number, consumer.to_renew_head & mask]
        consumer.to_renew_head += 1
        if w.workers[worker].delivery == delivery:
            attach(w, renewer, worker, now_s)
            return
    w.renewers[renewer].phase = IDLE
    set_slot(w, w.slots.renewers + renewer, inf)
    w.idle_renewers[number, consumer.idle_renewers] = renewer
    consumer.idle_renewers += 1


@step
def renewer_is_due(w, renewer, now_s):  # type: ignore[no-untyped-def]
    """A renewal is called, reaches a broker with few call slots, or takes effect."""
    p = w.plan
    row = w.renewers[renewer]
    slot = w.slots.renewers + renewer
    its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
    if row.phase == WAITING_FOR_DUE:
        # The delivery may be over, and its row gone, before the answer to this call is there.
        row.start_s = now_s
        row.message = its.message
        row.key = its.delivery_no * streams.ATTEMPTS_MOST + row.renewal
        key = row.key + row.refused * streams.NEXT_TRY
        round_trip_s = trip_s(w, streams.RENEW, streams.RENEW, row.message, key, now_s)
        row.half_s = 0.5 * round_trip_s
        leaves_s = compute(w, row.consumer, p.call_cost_s, now_s)
        leaves_s = connected_s(w, row.consumer, OP_RENEW, row.message, key, leaves_s, now_s)
        if p.calls_served_at_once > 0:
            row.phase = CALLING_BROKER
            set_slot(w, slot, leaves_s + row.half_s)
        else:
            row.phase = TAKING_EFFECT
            set_slot(w, slot, leaves_s + round_trip_s)
        return
    if row.phase == CALLING_BROKER:
        row.phase = TAKING_EFFECT
        key = row.key + row.refused * streams.NEXT_TRY
        served_s = served_at(w, streams.BROKER_RENEW, row.message, key, now_s)
        set_slot(w, slot, served_s + row.half_s)
        return
    hang_up(w, row.consumer, row.start_s, now_s)
    if p.refuses and renewal_is_refused(w, renewer, now_s):
        return
    held = holds(w, row.delivery)
    if held:
        its.renewals += 1
        start_lock(w, row.delivery, now_s)
    q = w.pending
    q.call = 1
    q.call_start_s = row.start_s
    q.call_consumer = row.consumer
    q.call_op = OP_RENEW
    q.call_count = 1
    q.call_outcome = CALL_OK if held else CALL_LOCK_LOST
    if row.wanted == 0:
        next_worker(w, renewer, now_s)
        return
    row.renewal += 1
    row.due_s = now_s + p.renew_after_s if held else inf
    wait_for_due(w, renewer, now_s)


@rare(False, level=USUAL)
def renewal_is_refused(w, renewer, now_s):  # type: ignore[no-untyped-def]
    """Whether a renewal that would take effect now is refused; it is tried again, unless the worker is through."""
    row = w.renewers[renewer]
    outcome = ask(w, OP_RENEW, 1, row.start_s, now_s)
    if w.plan.paces_calls:
        note_answer(w, row.consumer, outcome, now_s)
    if outcome == CALL_OK:
        answered(w, row.consumer, row.spent)
        row.refused = 0
        row.spent = 0
        return False
    add_call(w, row.start_s, now_s, row.consumer, OP_RENEW, 0, outcome)
    if row.wanted == 0:
        next_worker(w, renewer, now_s)
        return True
    wait_s = next_after_s(w, row.consumer, outcome, OP_RENEW, row.message, row.key, row.refused)
    row.refused += 1
    row.spent = price_of(w, outcome)
    if wait_s == GIVES_UP:
        row.due_s = inf
        wait_for_due(w, renewer, now_s)
    else:
        row.phase = WAITING_FOR_DUE
        set_slot(w, w.slots.renewers + renewer, now_s + wait_s)
    return True
