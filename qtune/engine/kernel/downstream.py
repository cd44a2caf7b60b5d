"""Attempts that may have to wait for the downstream of all handlers, or are refused by it."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.breaker import lets_through, note_attempt
from qtune.engine.kernel.calendar import compute, set_slot
from qtune.engine.kernel.compiled import rare, step
from qtune.engine.kernel.draws import happens, uniform, value

# Phases of a worker in its attempts (the others are in workers.py).
HANDLING = 4
ATTEMPTING = 10
ASKING = 11
ENDING = 16

REFUSED = -1.0


@step
def ask(w, need_s, now_s):  # type: ignore[no-untyped-def]
    """When an attempt of ``need_s`` that asks now begins, or REFUSED."""
    p, b = w.plan, w.broker
    start_s = max(now_s, b.next_start_s - p.downstream_ahead_s)
    connection = 0
    if p.downstream_connections > 0:
        for other in range(1, p.downstream_connections):
            if w.downstream_free_s[other] < w.downstream_free_s[connection]:
                connection = other
        start_s = max(start_s, w.downstream_free_s[connection])
    if p.downstream_rejects and start_s > now_s:
        b.refusals += 1
        return REFUSED
    b.next_start_s = max(b.next_start_s, start_s) + p.downstream_gap_s
    b.downstream_busy_s += need_s
    if p.downstream_connections > 0:
        w.downstream_free_s[connection] = start_s + need_s
    return start_s


@rare(0.0)
def worked_s(w, now_s):  # type: ignore[no-untyped-def]
    """How long attempts have been served so far: all that were taken on, less what is left of them."""
    worked_s = w.broker.downstream_busy_s
    for worker in range(w.plan.workers_total):
        end_s = w.attempt_end_s[worker]
        if end_s > now_s:
            worked_s = worked_s - (end_s - max(w.attempt_start_s[worker], now_s))
    return worked_s


@step
def service_s(w, message, key):  # type: ignore[no-untyped-def]
    """How long one attempt works."""
    if len(w.service_s) > 0:
        return w.service_s[message]
    return value(w, streams.SERVICE, streams.SERVICE, message, key)


@step
def wait_after(w, message, key, tries):  # type: ignore[no-untyped-def]
    """The wait after so many attempts have failed, of which the last has this key."""
    wait_s = w.backoff_s[tries - 1]
    if w.plan.backoff_jitter > 0.0:
        wait_s = wait_s * (1.0 - w.plan.backoff_jitter * uniform(w, streams.BACKOFF, message, key))
    return wait_s


@rare(0.0)
def serve(w, worker, need_s, now_s):  # type: ignore[no-untyped-def]
    """When an attempt whose work on a core is done will be over, or REFUSED."""
    p = w.plan
    need_s = need_s - p.cpu_share * need_s
    if not p.has_downstream:
        return now_s + need_s
    start_s = ask(w, need_s, now_s)
    if start_s == REFUSED:
        return REFUSED
    w.attempt_start_s[worker] = start_s
    w.attempt_end_s[worker] = start_s + need_s
    return start_s + need_s


@rare()
def attempt_in_turn(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A worker begins an attempt on a core, or goes on without; it comes back for the next one, or after its last."""
    p = w.plan
    row = w.workers[worker]
    if row.phase == ENDING:
        note_attempt(w, row.consumer, 1 - row.succeeded, now_s)
        goes_on(w, worker, now_s)
        return
    if row.phase == ATTEMPTING and p.has_breaker and not lets_through(w, row.consumer, now_s):
        row.succeeded = 0
        goes_on(w, worker, now_s)
        return
    its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
    key = its.delivery_no * streams.ATTEMPTS_MOST + row.tries
    need_s = service_s(w, its.message, key)
    if row.phase == ATTEMPTING and p.cpu_share > 0.0:
        row.phase = ASKING
        set_slot(w, w.slots.workers + worker, compute(w, row.consumer, p.cpu_share * need_s, now_s))
        return
    end_s = serve(w, worker, need_s, now_s)
    fails = True
    if end_s == REFUSED:
        end_s = now_s + p.refusal_s
    else:
        row.attempts += 1
        fails = happens(w, streams.POISON, its.message, 0, p.poison_steps)
        fails = fails or happens(w, streams.FAIL, its.message, key, p.fail_steps)
    row.succeeded = 0 if fails else 1
    if p.has_breaker:
        row.phase = ENDING
        set_slot(w, w.slots.workers + worker, end_s)
    else:
        goes_on(w, worker, end_s)


@rare()
def goes_on(w, worker, end_s):  # type: ignore[no-untyped-def]
    """What follows an attempt that ends at ``end_s``: the wait for the next one, or the end of the handler."""
    row = w.workers[worker]
    its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
    key = its.delivery_no * streams.ATTEMPTS_MOST + row.tries
    row.tries += 1
    if row.succeeded == 0 and row.tries <= len(w.backoff_s):
        end_s = end_s + wait_after(w, its.message, key, row.tries)
        row.phase = ATTEMPTING
    else:
        row.phase = HANDLING
        row.finished_s = end_s
    set_slot(w, w.slots.workers + worker, end_s)
