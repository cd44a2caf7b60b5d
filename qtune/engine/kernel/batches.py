"""Handlers that take several messages in one call: what is in the receiver's hand, up to ``handler_batch``."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.background import settle_in_background
from qtune.engine.kernel.breaker import lets_through, note_attempt
from qtune.engine.kernel.calendar import compute, set_slot
from qtune.engine.kernel.compiled import rare, step
from qtune.engine.kernel.downstream import REFUSED, serve, service_s
from qtune.engine.kernel.draws import happens
from qtune.engine.plan import LINK_BURST, SETTLE_BATCH, SETTLE_CONCURRENT
from qtune.result import DELIVERY_DROPPED, DELIVERY_FAILED

# The last phases of a worker (the others are in workers.py).
BATCH_ATTEMPTING = 13
BATCH_ASKING = 14
BATCH_HANDLING = 15


@step
def another(w, receiver):  # type: ignore[no-untyped-def]
    """The next delivery for a call that a worker has begun to gather, or -1."""
    row = w.receivers[receiver]
    if w.plan.discipline == LINK_BURST:
        if row.batch_left == 0:
            return -1
        row.batch_left -= 1
    elif row.head == row.landed:
        return -1
    row.head += 1
    w.broker.buffered -= 1
    return w.buffer[receiver, (row.head - 1) & (w.buffer.shape[1] - 1)]


@rare()
def start_batch(w, worker, delivery, now_s):  # type: ignore[no-untyped-def]
    """A worker starts on a delivery and those behind it; False when the client dropped them all."""
    p = w.plan
    row = w.workers[worker]
    receiver = w.receivers[row.receiver]
    mask = len(w.deliveries) - 1
    asked, taken = 0, 0
    while delivery >= 0:
        asked += 1
        if p.drops_expired and now_s >= w.deliveries[delivery & mask].lock_end_s:
            w.deliveries[delivery & mask].outcome = DELIVERY_DROPPED
            receiver.freed += 1
        else:
            w.in_batch[worker, taken] = delivery
            taken += 1
            if not p.credit_at_settle:
                receiver.freed += 1
        delivery = another(w, row.receiver) if asked < p.handler_batch else -1
    w.batch_count[worker] = taken
    w.batch_next[worker] = 0
    if taken == 0:
        return False
    w.broker.busy_workers += 1
    row.delivery = w.in_batch[worker, 0]
    row.started_s = compute(w, row.consumer, p.message_cost_s * taken, now_s)
    for place in range(taken):
        its = w.deliveries[w.in_batch[worker, place] & mask]
        its.started_s = row.started_s
        its.worker = worker
    if p.attempt_waits:
        row.phase = BATCH_ATTEMPTING
        set_slot(w, w.slots.workers + worker, row.started_s)
        return True
    row.attempts = 1
    row.phase = BATCH_HANDLING
    set_slot(w, w.slots.workers + worker, row.started_s + batch_s(w, worker))
    return True


@step
def batch_s(w, worker):  # type: ignore[no-untyped-def]
    """How long one call works: a part for the call, and the sum of its messages' work or the longest of it."""
    work_s = 0.0
    for place in range(w.batch_count[worker]):
        its = w.deliveries[w.in_batch[worker, place] & (len(w.deliveries) - 1)]
        each_s = service_s(w, its.message, its.delivery_no * streams.ATTEMPTS_MOST)
        work_s = max(work_s, each_s) if w.plan.batch_longest else work_s + each_s
    return w.plan.batch_call_s + work_s


@rare(False)
def batch_is_due(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A call begins on a core, or goes on without, or ends; True when its worker has nothing left to do."""
    p = w.plan
    row = w.workers[worker]
    if row.phase == BATCH_HANDLING:
        return batch_ends(w, worker, now_s)
    if row.phase == BATCH_ATTEMPTING and p.has_breaker and not lets_through(w, row.consumer, now_s):
        row.tries = 0
        row.attempts = 0
        row.phase = BATCH_HANDLING
        set_slot(w, w.slots.workers + worker, now_s)
        return False
    need_s = batch_s(w, worker)
    if row.phase == BATCH_ATTEMPTING and p.cpu_share > 0.0:
        row.phase = BATCH_ASKING
        set_slot(w, w.slots.workers + worker, compute(w, row.consumer, p.cpu_share * need_s, now_s))
        return False
    end_s = serve(w, worker, need_s, now_s)
    row.tries = 1
    row.attempts = 0 if end_s == REFUSED else 1
    row.phase = BATCH_HANDLING
    set_slot(w, w.slots.workers + worker, end_s if end_s != REFUSED else now_s + p.refusal_s)
    return False


@step
def succeeds(w, worker, place):  # type: ignore[no-untyped-def]
    """Whether one message of a call succeeds by itself."""
    p = w.plan
    its = w.deliveries[w.in_batch[worker, place] & (len(w.deliveries) - 1)]
    key = its.delivery_no * streams.ATTEMPTS_MOST
    fails = happens(w, streams.POISON, its.message, 0, p.poison_steps)
    fails = fails or happens(w, streams.FAIL, its.message, key, p.fail_steps)
    return not fails and w.workers[worker].attempts > 0


@step
def batch_ends(w, worker, now_s):  # type: ignore[no-untyped-def]
    """What follows a call for each of its messages; what this worker has to settle is kept in its batch.

    That is first what it settles together with others, of which ``handled`` is used as a list here, and then the rest.
    """
    p = w.plan
    row = w.workers[worker]
    row.finished_s = now_s
    all_good = True
    if p.batch_fails_whole:
        for place in range(w.batch_count[worker]):
            all_good = all_good and succeeds(w, worker, place)
    if p.has_breaker and row.tries > 0:
        note_attempt(w, row.consumer, 0 if all_good and row.attempts > 0 else 1, now_s)
    alone, together = 0, 0
    for place in range(w.batch_count[worker]):
        delivery = w.in_batch[worker, place]
        good = all_good if p.batch_fails_whole else succeeds(w, worker, place)
        its = w.deliveries[delivery & (len(w.deliveries) - 1)]
        its.attempts = row.attempts
        its.finished_s = now_s
        if not good and not p.abandons:
            its.outcome = DELIVERY_FAILED
            if p.credit_at_settle:
                w.receivers[row.receiver].freed += 1
        elif p.settle_mode == SETTLE_CONCURRENT:
            row.delivery = delivery
            row.succeeded = 1 if good else 0
            settle_in_background(w, worker, now_s)
        elif p.settle_mode == SETTLE_BATCH and good:
            w.handled[worker, together] = delivery
            together += 1
        else:
            w.in_batch[worker, alone] = delivery
            w.batch_good[worker, alone] = 1 if good else 0
            alone += 1
    for place in range(alone - 1, -1, -1):
        w.in_batch[worker, together + place] = w.in_batch[worker, place]
        w.batch_good[worker, together + place] = w.batch_good[worker, place]
    for place in range(together):
        w.in_batch[worker, place] = w.handled[worker, place]
        w.batch_good[worker, place] = 1
    w.batch_count[worker] = together + alone
    w.batch_next[worker] = 0
    return not settles_next(w, worker)


@rare(False)
def settles_next(w, worker):  # type: ignore[no-untyped-def]
    """Settle the next messages of a call, as many as go into one settle or one alone; False when there is none."""
    row, place = w.workers[worker], w.batch_next[worker]
    if place >= w.batch_count[worker]:
        return False
    row.delivery = w.in_batch[worker, place]
    row.succeeded = w.batch_good[worker, place]
    w.pending.let_go = -1  # its locks are not renewed, and it still has deliveries in hand
    w.pending.settle_next = worker
    w.pending.everything = 1 if w.plan.settle_mode == SETTLE_BATCH and row.succeeded == 1 else 0
    if w.pending.everything == 0:
        w.batch_next[worker] = place + 1
    return True


@rare()
def gather_settle(w, worker):  # type: ignore[no-untyped-def]
    """Take as many of a call's messages as go into one settle, when the one before has been settled."""
    row, place = w.workers[worker], w.batch_next[worker]
    last = min(place + w.plan.settle_batch, w.batch_count[worker])
    while place < last and w.batch_good[worker, place] == 1:
        w.handled[worker, row.handled] = w.in_batch[worker, place]
        row.handled += 1
        place += 1
    w.batch_next[worker] = place
