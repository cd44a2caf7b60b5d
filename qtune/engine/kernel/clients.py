"""The steps of client objects: how a call that the broker refuses is made again."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.compiled import rare, step
from qtune.engine.kernel.draws import uniform

GIVES_UP = -1.0


@rare
def next_after_s(w, client, op, a, b, refused):  # type: ignore[no-untyped-def]
    """How long to wait before the next try of a call that was refused, or GIVES_UP.

    ``refused``: how many tries of this call were refused before this one.
    """
    p, row = w.plan, w.clients[client]
    if refused >= len(w.throttled_wait_s) or (p.retry_tokens > 0 and row.tokens < p.throttled_tokens):
        return GIVES_UP
    wait_s = w.throttled_wait_s[refused]
    if p.retry_jitter:
        wait_s = wait_s * uniform(w, streams.RETRY + op, a, b + refused * streams.NEXT_TRY)
    row.tokens -= p.throttled_tokens
    return wait_s


@step
def answered(w, client, refused):  # type: ignore[no-untyped-def]
    """The broker took a call: the tokens of its last try come back, or one if it was the first."""
    p, row = w.plan, w.clients[client]
    row.tokens = min(row.tokens + (p.throttled_tokens if refused > 0 else 1), p.retry_tokens)
