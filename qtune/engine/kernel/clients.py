"""The steps of client objects: their connections, and how a call that the broker refuses is made again."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.compiled import USUAL, apart, rare, step
from qtune.engine.kernel.draws import trip_s, uniform
from qtune.engine.kernel.pacing import begin_pace, paced_s
from qtune.result import CALL_FAILED

GIVES_UP = -1.0


@step
def connected_s(w, client, op, a, b, leaves_s, now_s):  # type: ignore[no-untyped-def]
    """When a try that begins now and could leave at ``leaves_s`` has all that it needs to leave."""
    return held_until_s(w, client, op, a, b, leaves_s, now_s) if w.plan.holds_calls else leaves_s


@step
def new_client(w, client, now_s):  # type: ignore[no-untyped-def]
    """A client object that has made no call yet, in place of the one before."""
    row = w.clients[client]
    row.tokens = w.plan.retry_tokens
    row.idle_connections = 0
    row.looked_s = 0.0
    if w.plan.paces_calls:
        begin_pace(w, client, now_s)


@rare(False)
def broke_since(w, start_s, now_s):  # type: ignore[no-untyped-def]
    """Whether connections have broken after an instant."""
    broke = False
    for place in range(len(w.drop_s)):
        broke = broke or start_s < w.drop_s[place] <= now_s
    return broke


@rare()
def look_at_pool(w, client, now_s):  # type: ignore[no-untyped-def]
    """What has broken since is not idle in the pool any more."""
    row = w.clients[client]
    if broke_since(w, row.looked_s, now_s):
        row.idle_connections = 0
    row.looked_s = now_s


@apart
def held_until_s(w, client, op, a, b, leaves_s, now_s):  # type: ignore[no-untyped-def]
    """When a try may leave, by the pace of its client, and has a connection to leave by."""
    if w.plan.paces_calls:
        leaves_s = paced_s(w, client, leaves_s)
    if w.plan.pool_connections > 0:
        leaves_s = leaves_s + connect_s(w, client, op, a, b, now_s)
    return leaves_s


@step
def connect_s(w, client, op, a, b, now_s):  # type: ignore[no-untyped-def]
    """Take a connection for a try: how long until it is open, which one that the pool has kept is already."""
    row = w.clients[client]
    if w.plan.breaks:
        look_at_pool(w, client, now_s)
    if row.idle_connections > 0:
        row.idle_connections -= 1
        return 0.0
    return trip_s(w, streams.CONNECT_TABLE, streams.CONNECT + op, a, b, now_s)


@step
def hang_up(w, client, start_s, now_s):  # type: ignore[no-untyped-def]
    """A try, which began then, is answered: the pool keeps its connection if that stands and there is room."""
    if w.plan.pool_connections > 0:
        row = w.clients[client]
        if w.plan.breaks:
            look_at_pool(w, client, now_s)
            if broke_since(w, start_s, now_s):
                return
        row.idle_connections = min(row.idle_connections + 1, w.plan.pool_connections)


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
