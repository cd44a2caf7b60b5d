"""What a broker refuses: everything in an outage, and what a rate limit has no credits for.

These steps are called, not woven in: most plans have neither, and then nothing here runs.
"""

from __future__ import annotations

from math import floor, inf

from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.clients import broke_since
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.result import CALL_FAILED, CALL_OK, CALL_OPS, CALL_THROTTLED, OP_RECEIVE

OPS = len(CALL_OPS)


@step
def counts(w, limit, op, now_s):  # type: ignore[no-untyped-def]
    """Whether a limit counts calls of this kind now; a new period begins with all credits."""
    if not (w.limit_start_s[limit] <= now_s < w.limit_end_s[limit]):
        return False
    if w.limit_call_cost[limit * OPS + op] + w.limit_message_cost[limit * OPS + op] <= 0.0:
        return False
    if now_s >= w.limit_until_s[limit]:
        period_s = w.limit_period_s[limit]
        number = floor(now_s / period_s) + 1
        while number * period_s <= now_s:
            number += 1
        w.limit_used[limit] = 0.0
        w.limit_until_s[limit] = number * period_s
    return True


@step
def down_until_s(w, now_s):  # type: ignore[no-untyped-def]
    """When the present outage ends; 0 when there is none."""
    for place in range(len(w.outage_start_s)):
        if w.outage_start_s[place] <= now_s < w.outage_end_s[place]:
            return w.outage_end_s[place]
    return 0.0


@rare(0, level=USUAL)
def ask(w, op, count, start_s, now_s):  # type: ignore[no-untyped-def]
    """Charge a call that began then and takes effect now, with ``count`` messages, or refuse it; its outcome."""
    if w.plan.breaks and broke_since(w, start_s, now_s):
        return CALL_FAILED
    if down_until_s(w, now_s) > now_s:
        return CALL_FAILED
    for limit in range(len(w.limit_credits)):
        if counts(w, limit, op, now_s) and w.limit_used[limit] >= w.limit_credits[limit]:
            return CALL_THROTTLED
    for limit in range(len(w.limit_credits)):
        if counts(w, limit, op, now_s):
            cost = w.limit_call_cost[limit * OPS + op] + w.limit_message_cost[limit * OPS + op] * count
            w.limit_used[limit] += cost
    return CALL_OK


@rare(level=USUAL)
def charge_received(w, count, now_s):  # type: ignore[no-untyped-def]
    """Charge messages that are handed out; their call, if there was one, was charged before."""
    for limit in range(len(w.limit_credits)):
        if counts(w, limit, OP_RECEIVE, now_s):
            w.limit_used[limit] += w.limit_message_cost[limit * OPS + OP_RECEIVE] * count


@rare(False, level=USUAL)
def is_held_up(w, now_s):  # type: ignore[no-untyped-def]
    """Whether a limit holds up what is ready; if so, it goes in the next period."""
    down_s = down_until_s(w, now_s)
    until_s = down_s if down_s > now_s else inf
    for limit in range(len(w.limit_credits) if until_s == inf else 0):
        counted = counts(w, limit, OP_RECEIVE, now_s)
        counted = counted and w.limit_message_cost[limit * OPS + OP_RECEIVE] > 0.0
        if counted and w.limit_used[limit] >= w.limit_credits[limit]:
            until_s = min(until_s, w.limit_until_s[limit], w.limit_end_s[limit])
    if until_s == inf:
        return False
    w.broker.held = 1
    set_slot(w, w.slots.refill, until_s)
    return True


@step
def refill(w):  # type: ignore[no-untyped-def]
    """A limit has credits again or ends, or an outage does: what it held up may go."""
    w.broker.held = 0
    set_slot(w, w.slots.refill, inf)
