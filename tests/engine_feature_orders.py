"""What a run has exercised of the orders in which a broker hands out: groups, sessions and fairness."""

from __future__ import annotations

import numpy as np

from qtune.engine.plan import BY_FAIRNESS, BY_GROUP, BY_SESSION, POLL, Plan
from qtune.result import (
    CALL_EMPTY,
    CALL_OK,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    DELIVERY_RELEASED,
    MESSAGE_EXPIRED,
    OP_RECEIVE,
    OP_RENEW,
    Result,
)


def from_orders(plan: Plan, result: Result) -> dict[str, bool]:
    """What happens where messages are handed out, or handled, group by group."""
    messages, deliveries = result.messages, result.deliveries
    grouped = plan.hands_out == BY_GROUP and bool((deliveries["outcome"] == DELIVERY_COMPLETED).any())
    group = messages["group"][deliveries["message"]]
    together = np.unique(np.stack((group, deliveries["locked_s"])), axis=1, return_counts=True)[1]
    several = messages.size > np.unique(messages["group"]).size > 1
    empty = bool(((result.calls["op"] == OP_RECEIVE) & (result.calls["outcome"] == CALL_EMPTY)).any())
    waits_s = deliveries["started_s"] - deliveries["received_s"]
    expired = bool((messages["state"] == MESSAGE_EXPIRED).any())
    return {
        "group by group by poll": grouped and plan.discipline == POLL,
        "group by group by link": grouped and plan.discipline != POLL,
        "several of a group in one receive": grouped and several and bool((together > 1).any()),
        "held up by its group": grouped and empty and bool((result.states["backlog"] > 0).any()),
        "held up by the oldest messages": grouped
        and 0 < plan.group_window < int(result.states["backlog"].max(initial=0))
        and empty,
        "comes back to its group": grouped and several and bool((deliveries["delivery_no"] > 1).any()),
        "order kept by a buffer": plan.keeps_order
        and several
        and plan.workers > 1
        and bool((waits_s > 0.0).any()),
        **_from_sessions(plan, result),
        **_from_fairness(plan, result),
        "expired in a group": grouped and several and expired,
    }


def _from_sessions(plan: Plan, result: Result) -> dict[str, bool]:
    """What happens where receivers hold a session each."""
    deliveries, calls = result.deliveries, result.calls
    if plan.hands_out != BY_SESSION:
        return {}
    group = result.messages["group"][deliveries["message"]]
    receiver = deliveries["worker"] // plan.workers
    handled = deliveries["worker"] >= 0
    holders = np.unique(np.stack((group[handled], receiver[handled])), axis=1)[0]
    return {
        "session by session": bool((deliveries["outcome"] == DELIVERY_COMPLETED).any()),
        "no session in time": bool((calls["op"] == OP_RECEIVE).any()),
        "a session's lock renewed": bool(
            ((calls["op"] == OP_RENEW) & (calls["outcome"] == CALL_OK)).any()
            and (deliveries["renewals"] > 0).any()
        ),
        "a session changes hands": bool((np.unique(holders, return_counts=True)[1] > 1).any()),
        "given back with its session": bool((deliveries["outcome"] == DELIVERY_RELEASED).any()),
        "lost with its session": bool((deliveries["outcome"] == DELIVERY_LATE).any()),
    }


def _from_fairness(plan: Plan, result: Result) -> dict[str, bool]:
    """What happens where quiet groups come before noisy ones."""
    if plan.hands_out != BY_FAIRNESS or result.deliveries.size == 0:
        return {}
    first = result.deliveries[result.deliveries["delivery_no"] == 1]
    sent_s = result.messages["sent_s"][first["message"]]
    group = result.messages["group"][first["message"]]
    earlier = np.maximum.accumulate(sent_s)[:-1] > sent_s[1:]
    return {
        "overtaken by a quiet group": bool((earlier & (group[1:] != group[:-1])).any()),
        "a noisy group is handed out": bool((earlier & (group[1:] == group[:-1])).any()),
    }
