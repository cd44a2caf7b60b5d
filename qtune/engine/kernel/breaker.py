"""Circuit breakers: one in each consumer process, round every attempt of its handlers (rules in the reference)."""

from __future__ import annotations

from qtune.engine.kernel.compiled import rare

CLOSED = 0
OPEN = 1
HALF_OPEN = 2


@rare(True)
def lets_through(w, consumer, now_s):  # type: ignore[no-untyped-def]
    """Whether an attempt may begin now."""
    row = w.breakers[consumer]
    if row.state == OPEN and now_s >= row.open_until_s:
        row.state = HALF_OPEN
        row.trials = w.plan.breaker_trials
    if row.state == OPEN or (row.state == HALF_OPEN and row.trials == 0):
        w.broker.breaker_rejections += 1
        return False
    if row.state == HALF_OPEN:
        row.trials -= 1
    return True


@rare()
def note_attempt(w, consumer, failed, now_s):  # type: ignore[no-untyped-def]
    """An attempt that was let through has ended."""
    p, row = w.plan, w.breakers[consumer]
    if row.state == OPEN:
        return
    place = row.noted % p.breaker_window
    if row.noted >= p.breaker_window:
        row.failures -= w.attempt_failed[consumer, place]
    w.attempt_failed[consumer, place] = failed
    row.failures += failed
    row.noted += 1
    seen = min(row.noted, p.breaker_window)
    if seen < (p.breaker_trials_least if row.state == HALF_OPEN else p.breaker_least):
        return
    if row.failures / seen >= p.breaker_failures:
        w.broker.breaker_openings += 1
        reset_breaker(w, consumer)
        row.state = OPEN
        row.open_until_s = now_s + p.breaker_open_s
    elif row.state == HALF_OPEN:
        reset_breaker(w, consumer)


@rare()
def reset_breaker(w, consumer):  # type: ignore[no-untyped-def]
    """Closed, with nothing remembered, as a process has it when it starts."""
    row = w.breakers[consumer]
    row.state = CLOSED
    row.noted = 0
    row.failures = 0
