"""Laws of calls: they carry what the rows say, and no more than the limits allow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qtune.invariants.offenders import offenders
from qtune.providers.base import CALLS
from qtune.result import (
    CALL_EMPTY,
    CALL_OPS,
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    OP_ABANDON,
    OP_RECEIVE,
    OP_SEND,
    OP_SETTLE,
    REFUSED,
    Result,
)

Mask = NDArray[np.bool_]


def calls_match_rows(result: Result) -> Iterator[str]:
    """What the calls carried is what the rows say: received, completed and abandoned, one for one."""
    calls, deliveries = result.calls, result.deliveries
    ended = calls[~np.isnan(calls["end_s"])]
    brought = np.isin(ended["outcome"], REFUSED) | (ended["count"] > 0)
    empty = (ended["outcome"] == CALL_EMPTY) != ((ended["op"] == OP_RECEIVE) & ~brought)
    yield from offenders("calls", empty, "empty is a receive that brought nothing, and nothing else")
    refused = np.isin(ended["outcome"], REFUSED)
    yield from offenders(
        "calls", refused & (ended["count"] != 0), "refused, and carried messages all the same"
    )
    outcome = deliveries["outcome"]
    right = (outcome == DELIVERY_COMPLETED) | (outcome == DELIVERY_LATE)
    told: list[tuple[str, int, Mask]] = [("completed or late", OP_SETTLE, right)]
    if result.scenario.failures.on_failure == "abandon":
        failed = (outcome == DELIVERY_ABANDONED) | (outcome == DELIVERY_FAILED)
        told.append(("abandoned or failed", OP_ABANDON, failed))
    if result.scenario.behaviour().discipline == "poll":
        told.append(("received", OP_RECEIVE, ~np.isnan(deliveries["received_s"])))
    for name, op, mask in told:
        carried, rows = int(ended["count"][ended["op"] == op].sum()), int(np.count_nonzero(mask))
        if carried != rows:
            yield f"calls: {CALL_OPS[op]} calls carried {carried} messages, but {rows} deliveries are {name}"


def rates_are_kept(result: Result) -> Iterator[str]:
    """In no period of a limit do calls take more than its credits and what its last call may overdraw.

    A settle, an abandonment and a renewal count when they end, a message when it is handed out, and a send when its
    messages come in. When a poll reached the broker is not in the rows, nor when a send did that a full queue held up,
    so these are not looked at; what came in at the same instant is taken for one send.
    """
    calls, handed_s = result.calls, result.deliveries["locked_s"]
    semantics = result.scenario.semantics()
    held_up = bool(semantics.capacity_messages) and not semantics.rejects_when_full
    seen = (calls["op"] != OP_RECEIVE) & (calls["op"] != OP_SEND)
    done = calls[seen & ~np.isin(calls["outcome"], REFUSED)]
    sent_s = result.messages["sent_s"]
    sent_s = sent_s[~np.isnan(sent_s)] if result.scenario.producers and not held_up else sent_s[:0]
    came_s, came = np.unique(sent_s, return_counts=True)
    for limit in result.scenario.rate_limits():
        costs = [(limit.call_cost.get(op, 0), limit.message_cost.get(op, 0)) for op in CALLS]
        by_op = np.zeros((len(CALL_OPS), 2))
        for op, cost in zip(CALLS, costs, strict=True):
            by_op[CALL_OPS.index(op)] = cost
        each = by_op[done["op"], 0] + by_op[done["op"], 1] * done["count"]
        handed = np.full(handed_s.size, by_op[OP_RECEIVE, 1])
        sends = by_op[OP_SEND, 0] + by_op[OP_SEND, 1] * came
        times_s = np.concatenate((done["end_s"], handed_s, came_s))
        each = np.concatenate((each, handed, sends))
        counted = (times_s >= limit.start_s) & (times_s < limit.end_s) & (each > 0.0)
        if not counted.any():
            continue
        used = np.bincount((times_s[counted] / limit.period_s).astype(np.int64), weights=each[counted])
        most = limit.credits + float(each[counted].max()) - 1.0
        if used.max() > most:
            yield f"calls: {used.max():g} credits of {limit.name} in one period, of which there are {limit.credits}"
