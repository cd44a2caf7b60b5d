"""The steps of client objects: how a call that the broker refuses is made again."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.draws import uniform
from qtune.result import CALL_FAILED

GIVES_UP = -1.0


@step
def price_of(w, outcome):  # type: ignore[no-untyped-def]
    """The tokens that a try takes after this answer."""
    return w.plan.failed_tokens if outcome == CALL_FAILED else w.plan.throttled_tokens


@rare(0.0, level=USUAL)
def next_after_s(w, client, outcome, op, a, b, refused):  # type: ignore[no-untyped-def]
    """How long to wait before the next try of a call that was refused, or GIVES_UP.

    ``refused``: how many tries of this call were refused before this one.
    """
    p, row = w.plan, w.clients[client]
    price = price_of(w, outcome)
    if refused >= len(w.throttled_wait_s) or (p.retry_tokens > 0 and row.tokens < price):
        return GIVES_UP
    wait_s = w.failed_wait_s[refused] if outcome == CALL_FAILED else w.throttled_wait_s[refused]
    if p.retry_jitter:
        wait_s = wait_s * uniform(w, streams.RETRY + op, a, b + refused * streams.NEXT_TRY)
    row.tokens -= price
    return wait_s


@step
def answered(w, client, spent):  # type: ignore[no-untyped-def]
    """The broker took a call: the tokens ``spent`` on its last try come back, or one if it was the first."""
    row = w.clients[client]
    row.tokens = min(row.tokens + (spent if spent > 0 else 1), w.plan.retry_tokens)
