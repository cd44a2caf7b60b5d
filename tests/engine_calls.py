"""What clients and their calls have exercised in a run, and how many calls or handlers went on at one time."""

from __future__ import annotations

import numpy as np
from engine_plans import Floats

from qtune.engine.plan import Plan
from qtune.result import DELIVERY_LOST, OP_ABANDON, OP_RENEW, OP_SETTLE, Result

CLIENT_SETTINGS = (
    *("connections that are kept", "more calls than connections", "a slow network"),
    *("a poller of several queues", "an answer lost with its connection"),
)


def of_clients(plan: Plan, result: Result) -> dict[str, bool]:
    """What clients do about connections, and pollers about other queues."""
    lost = bool((result.deliveries["outcome"] == DELIVERY_LOST).any())
    return {
        "connections that are kept": plan.pool_connections > 0,
        "more calls than connections": 0 < plan.pool_connections < most_calls_of_one(result),
        "a slow network": bool((plan.slow_extra_s > 0.0).any()),
        "a poller of several queues": plan.other_queues > 0,
        "an answer lost with its connection": plan.drop_s.size > 0 and not plan.fleet_changes and lost,
    }


def most_at_once(begin_s: Floats, end_s: Floats) -> int:
    """The most handlers that are at work at one time."""
    begin_s, end_s = np.sort(begin_s[~np.isnan(begin_s)]), np.sort(end_s[~np.isnan(end_s)])
    count = np.arange(1, begin_s.size + 1) - np.searchsorted(end_s, begin_s, "right")
    return int(count.max(initial=0))


def most_calls_of_one(result: Result) -> int:
    """The most calls of one consumer at a time, of those that need a connection."""
    calls = result.calls[np.isin(result.calls["op"], (OP_SETTLE, OP_ABANDON, OP_RENEW))]
    each = (calls[calls["consumer"] == consumer] for consumer in np.unique(calls["consumer"]))
    return max((most_at_once(its["start_s"], its["end_s"]) for its in each), default=0)
