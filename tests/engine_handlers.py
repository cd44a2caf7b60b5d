"""What handlers have exercised in a run: batches, cores, a downstream, and circuit breakers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qtune.engine.plan import LINK_BURST, POLL, Plan
from qtune.result import (
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_FAILED,
    OP_RECEIVE,
    Result,
    first_of_calls,
)

HANDLER_SETTINGS = {
    *("batches by poll", "batches by a burst link", "a batch fails whole", "a batch fails in part"),
    *("batches by the sum of their work", "batches by the longest of their work"),
    *("waits that vary", "handlers on a core", "handlers on a core for a downstream"),
    *("batches that adapt", "a batch between its bounds"),
    *("a batch gathered by several receives", "a window that ends early"),
    *("downstream of few connections", "downstream with a pace", "downstream that refuses"),
    *("a breaker opens again", "a breaker rejects", "a breaker round batches"),
    "a breaker round a downstream that refuses",
}


def of_handlers(plan: Plan, result: Result) -> dict[str, bool]:
    """What handlers take and share, and what happened with it."""
    several = plan.handler_batch > 1 and _in_calls(result).max(initial=0) > 1
    opened = int(result.states["breaker_openings"][-1])
    return {
        "batches by poll": plan.discipline == POLL and several,
        "batches by a burst link": plan.discipline == LINK_BURST and several,
        "a batch fails whole": plan.batch_fails_whole and several,
        "a batch fails in part": not plan.batch_fails_whole and several and _part_failed(result),
        "batches by the sum of their work": not plan.batch_longest and several,
        "batches by the longest of their work": plan.batch_longest and several,
        "waits that vary": plan.backoff_jitter > 0.0 and bool((result.deliveries["attempts"] > 1).any()),
        "handlers on a core": plan.cpu_share > 0.0,
        "handlers on a core for a downstream": plan.cpu_share > 0.0 and plan.has_downstream,
        "batches that adapt": plan.adaptive_least > 0,
        "a batch between its bounds": plan.adaptive_least > 0 and _between_bounds(plan, result),
        **_from_windows(plan, result),
        "downstream of few connections": plan.downstream_connections > 0,
        "downstream with a pace": plan.downstream_gap_s > 0.0,
        "downstream that refuses": plan.downstream_rejects,
        "a breaker opens again": opened > plan.consumers,
        "a breaker rejects": int(result.states["breaker_rejections"][-1]) > 0,
        "a breaker round batches": plan.handler_batch > 1 and opened > 0,
        "a breaker round a downstream that refuses": plan.downstream_rejects and opened > 0,
    }


def _in_calls(result: Result) -> NDArray[np.int64]:
    """How many deliveries each handler call has had, of handlers that take batches."""
    return np.bincount(_call_of(result)) if result.deliveries.size else np.zeros(0, np.int64)


def _call_of(result: Result) -> NDArray[np.int64]:
    """The number of the handler call of each delivery that was started, in the order of workers and starts."""
    started = result.deliveries[~np.isnan(result.deliveries["started_s"])]
    ordered = started[np.lexsort((started["started_s"], started["worker"]))]
    return np.asarray(np.cumsum(first_of_calls(ordered)) - 1)


def _part_failed(result: Result) -> bool:
    """Whether some messages of one handler call were completed and others failed."""
    started = result.deliveries[~np.isnan(result.deliveries["started_s"])]
    ordered = started[np.lexsort((started["started_s"], started["worker"]))]
    call = _call_of(result)
    good = np.bincount(call, weights=ordered["outcome"] == DELIVERY_COMPLETED)
    bad = np.bincount(call, weights=np.isin(ordered["outcome"], (DELIVERY_ABANDONED, DELIVERY_FAILED)))
    return bool(((good > 0) & (bad > 0)).any())


def _between_bounds(plan: Plan, result: Result) -> bool:
    """Whether a receive has brought more than the least and fewer than the most of an adaptive batch."""
    counts = result.calls["count"][result.calls["op"] == OP_RECEIVE]
    return bool(((counts > plan.adaptive_least) & (counts < plan.batch)).any())


def _from_windows(plan: Plan, result: Result) -> dict[str, bool]:
    """How full the batches are that a receiver gathers before its workers take them."""
    if not plan.gather_s or plan.handler_batch == 1:
        return {}
    started = result.deliveries[~np.isnan(result.deliveries["started_s"])]
    ordered = started[np.lexsort((started["started_s"], started["worker"]))]
    call, received_s = _call_of(result), ordered["received_s"]
    several = (call[1:] == call[:-1]) & (received_s[1:] != received_s[:-1])
    return {
        "a batch gathered by several receives": bool(several.any()),
        "a window that ends early": bool((np.bincount(call) == plan.in_hand_limit).any()),
    }
