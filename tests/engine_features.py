"""What a run has exercised, read from its rows: not what its settings allowed, but what happened."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from engine_calls import CLIENT_SETTINGS, most_at_once, of_clients
from engine_feature_orders import from_orders
from engine_handlers import HANDLER_SETTINGS, of_handlers
from engine_plans import run
from numpy.typing import NDArray

from qtune.engine.plan import (
    DRAWN_GROUPS,
    LINK_BURST,
    LINK_SLIDING,
    OWN_GROUPS,
    POLL,
    SETTLE_BATCH,
    SETTLE_CONCURRENT,
    SETTLE_EACH,
    Plan,
)
from qtune.result import (
    CALL_EMPTY,
    CALL_FAILED,
    CALL_LOCK_LOST,
    CALL_OK,
    CALL_OPS,
    CALL_OUTCOMES,
    CALL_OVER_LIMIT,
    CALL_THROTTLED,
    DELIVERY_COMPLETED,
    DELIVERY_LOST,
    DELIVERY_OUTCOMES,
    MESSAGE_EXPIRED,
    MESSAGE_STATES,
    OP_ABANDON,
    OP_RECEIVE,
    OP_RELEASE,
    OP_RENEW,
    OP_SEND,
    OP_SETTLE,
    Result,
)

DISCIPLINES = {POLL: "poll", LINK_SLIDING: "sliding link", LINK_BURST: "burst link"}
SETTLES = {SETTLE_EACH: "each", SETTLE_BATCH: "batch", SETTLE_CONCURRENT: "concurrent"}
_ANSWERS = {
    OP_SEND: (CALL_OK, CALL_THROTTLED, CALL_FAILED),
    OP_RECEIVE: (CALL_OK, CALL_EMPTY, CALL_THROTTLED, CALL_OVER_LIMIT, CALL_FAILED),
    OP_SETTLE: (CALL_OK, CALL_LOCK_LOST, CALL_THROTTLED, CALL_FAILED),
    OP_ABANDON: (CALL_OK, CALL_LOCK_LOST, CALL_THROTTLED, CALL_FAILED),
    OP_RELEASE: (CALL_OK, CALL_LOCK_LOST),
    OP_RENEW: (CALL_OK, CALL_LOCK_LOST, CALL_THROTTLED, CALL_FAILED),
}

FROM_CODES = {
    *(f"message {name}" for name in MESSAGE_STATES),
    *(f"delivery {name}" for name in DELIVERY_OUTCOMES),
    *(f"{CALL_OPS[op]} {CALL_OUTCOMES[answer]}" for op, answers in _ANSWERS.items() for answer in answers),
}
FROM_SETTINGS = {
    *(
        f"{one}, settled {how}"
        for one, how in product(DISCIPLINES.values(), SETTLES.values())
        if one == "poll" or how != "batch"
    ),
    *("poll by loop", "poll by permits", "poll into a buffer", "poll without waiting"),
    *("credit when taken", "credit when settled", "burst without prefetch", "burst with prefetch"),
    *("piecewise rate", "closed loop", "given service times", "few call slots", "several consumers"),
    *("a full queue refuses", "a full queue holds senders up", "a full queue holds arrivals up"),
    *("returned first", "returned last", "client costs", "pause after an empty receive"),
    *("a slow broker", "a link held up by an outage"),
    *("a short poll that may miss", "in flight as many as may be"),
    *("any receiver is served next", "the longest waiting receiver is served next"),
    *("messages of a batch linger", "batches of varying size", "entries of a batch fail"),
    *("throttled for a while", "throttled with a quota of retries", "throttled without another try"),
    *HANDLER_SETTINGS,
    *CLIENT_SETTINGS,
}
FROM_ROWS = {
    *(
        "several in one send",
        "several in one receive",
        "several in one settle",
        "entries of a settle fail",
        "several attempts",
        "renewed twice",
    ),
    *("due at one instant", "expired unread", "expired after a delivery", "third delivery"),
    *("waited for a sender", "waited for a core", "handlers paused", "released by the keep-alive"),
    *("lingered", "an attempt fails and the next is right", "long poll served", "renewers too few"),
    *(
        "received when its delay ends",
        "completed after its lock",
        "several groups drawn",
        "a group for each message",
    ),
    *("waited for the downstream", "refused downstream", "refused every time"),
    *("a link held up by a limit", "worked again after a kill"),
    *("group by group by poll", "several of a group in one receive"),
    *("held up by its group", "comes back to its group", "order kept by a buffer"),
    *("ended when drained", "killed after its grace", "left locked by a link"),
    *("scaled out", "scaled in", "asleep", "a start awaited"),
    *("session by session", "a session's lock renewed", "a session changes hands", "lost with its session"),
}

ONLY_IN_PLANS = {
    *("overtaken by a quiet group", "a noisy group is handed out", "held up by the oldest messages"),
    *("group by group by link", "expired in a group", "given back by a link"),
    *("no session in time", "given back with its session"),
    *("scaled by a fallback", "asleep with some", "scaled by groups"),
}
"""What no scenario can make happen, or so seldom that it takes more of them."""


def features(plan: Plan, result: Result) -> set[str]:
    """The features of one run that have left a trace in its rows."""
    return (
        _from_codes(result)
        | _from_settings(plan, result)
        | _from_rows(plan, result)
        | _from_fleet(plan, result)
    )


def _from_codes(result: Result) -> set[str]:
    calls = set(zip(result.calls["op"].tolist(), result.calls["outcome"].tolist(), strict=True))
    return {
        *(f"message {MESSAGE_STATES[code]}" for code in np.unique(result.messages["state"])),
        *(f"delivery {DELIVERY_OUTCOMES[code]}" for code in np.unique(result.deliveries["outcome"])),
        *(f"{CALL_OPS[op]} {CALL_OUTCOMES[answer]}" for op, answer in calls),
    }


def _from_settings(plan: Plan, result: Result) -> set[str]:
    """Settings of a run that completed something with them."""
    if not (result.deliveries["outcome"] == DELIVERY_COMPLETED).any():
        return set()
    back = bool((result.deliveries["delivery_no"] > 1).any())
    full = plan.capacity_messages > 0
    unsent = bool((result.states["unsent"] > 0).any())
    poll = plan.discipline == POLL
    throttled = bool((result.calls["outcome"] == CALL_THROTTLED).any())
    several = bool((result.calls["count"][result.calls["op"] == OP_SEND] > 1).any())
    found = {
        f"{DISCIPLINES[plan.discipline]}, settled {SETTLES[plan.settle_mode]}": True,
        "poll by loop": poll and plan.credit_at_settle and plan.refill_at == plan.in_hand_limit > 1,
        "poll by permits": poll and plan.credit_at_settle and plan.refill_at < plan.in_hand_limit,
        "poll into a buffer": poll and not plan.credit_at_settle,
        "poll without waiting": poll and plan.wait_s == 0.0,
        "credit when taken": plan.discipline == LINK_SLIDING and not plan.credit_at_settle,
        "credit when settled": plan.discipline == LINK_SLIDING and plan.credit_at_settle,
        "burst without prefetch": plan.discipline == LINK_BURST and plan.prefetch == 0,
        "burst with prefetch": plan.discipline == LINK_BURST and plan.prefetch > 0,
        "piecewise rate": plan.segment_start_s.size > 1 and not plan.explicit,
        "closed loop": plan.customers > 0,
        "given service times": plan.service_s.size > 0,
        "few call slots": plan.calls_served_at_once > 0,
        "several consumers": np.unique(result.deliveries["consumer"]).size > 1,
        "a full queue refuses": full and plan.rejects_when_full,
        "a full queue holds senders up": full and not plan.rejects_when_full and plan.senders > 0 and unsent,
        "a full queue holds arrivals up": full and plan.senders == 0 and unsent,
        "returned first": plan.redelivers_first and back,
        "returned last": not plan.redelivers_first and back,
        "a slow broker": plan.slow_factor.size > 0,
        "a link held up by an outage": not poll
        and bool(np.isin(result.deliveries["locked_s"], plan.outage_end_s).any()),
        "a poll that waits is looked after": poll and plan.wait_s > 0.0 and plan.look_every_s > 0.0,
        "a short poll that may miss": poll and plan.wait_s == 0.0 and plan.short_poll_steps > 0,
        "in flight as many as may be": bool(
            (result.states["in_flight"] == (plan.in_flight_most or -1)).any()
        ),
        "any receiver is served next": plan.serves_any_receiver and plan.receivers_total > 1,
        "the longest waiting receiver is served next": not plan.serves_any_receiver
        and plan.receivers_total > 1,
        "messages of a batch linger": several and plan.send_linger_s > 0.0,
        "batches of varying size": several and plan.send_batch_from < plan.send_batch,
        "entries of a batch fail": several and plan.entry_fail_steps > 0,
        "throttled for a while": bool((plan.limit_end_s < np.inf).any()) and throttled,
        "throttled with a quota of retries": plan.retry_tokens > 0 and throttled,
        "throttled and slowed down": plan.paces_calls and throttled,
        "throttled without another try": not plan.throttled_wait_s.size and throttled,
        "client costs": bool(result.states["core_busy_s"][-1] > 0.0),
        **of_handlers(plan, result),
        **of_clients(plan, result),
        "pause after an empty receive": plan.idle_pause_s > 0.0 and _answered(result, CALL_EMPTY),
    }
    return {name for name, happened in found.items() if happened}


def _answered(result: Result, answer: int) -> bool:
    return bool(((result.calls["op"] == OP_RECEIVE) & (result.calls["outcome"] == answer)).any())


def _from_rows(plan: Plan, result: Result) -> set[str]:
    messages, deliveries, calls = result.messages, result.deliveries, result.calls
    took_s = calls["end_s"] - calls["start_s"]
    receive, served = calls["op"] == OP_RECEIVE, calls["outcome"] == CALL_OK
    expired = messages["deliveries"][messages["state"] == MESSAGE_EXPIRED]
    in_pause = np.zeros(deliveries.size, np.bool_)
    for start_s, end_s in zip(plan.pause_start_s, plan.pause_end_s, strict=True):
        in_pause |= (deliveries["received_s"] >= start_s) & (deliveries["received_s"] < end_s)
    released_s = calls["start_s"][calls["op"] == OP_RELEASE]
    ticks = released_s / plan.keepalive_s if plan.keepalive_s else np.array([0.5])
    tried = deliveries["attempts"] > 1
    unrenewed = (deliveries["renewals"] == 0) & (deliveries["finished_s"] > deliveries["lock_end_s"])
    handled_s = deliveries["started_s"] - deliveries["received_s"]
    linger = receive & served & (calls["count"] < plan.batch) & (took_s >= plan.linger_s)
    busy_most = plan.horizon_s * plan.cores * plan.consumers
    found = {
        "several in one send": (calls["count"][calls["op"] == OP_SEND] > 1).any(),
        "several in one receive": (calls["count"][receive] > 1).any(),
        "entries of a settle fail": plan.settle_entry_fail_steps > 0
        and ((calls["op"] == OP_SETTLE) & (calls["outcome"] == CALL_OK) & (calls["count"] == 0)).any(),
        "several in one settle": (calls["count"][calls["op"] == OP_SETTLE] > 1).any(),
        "several attempts": tried.any(),
        "renewed twice": (deliveries["renewals"] > 1).any(),
        "due at one instant": (np.diff(messages["due_s"]) == 0.0).any(),
        "expired unread": (expired == 0).any(),
        "expired after a delivery": (expired > 0).any(),
        "completed after its lock": (
            (deliveries["outcome"] == DELIVERY_COMPLETED)
            & (deliveries["settled_s"] > deliveries["lock_end_s"])
        ).any(),
        "several groups drawn": plan.grouping == DRAWN_GROUPS and np.unique(messages["group"]).size > 1,
        "a group for each message": plan.grouping == OWN_GROUPS and messages.size > 1,
        **from_orders(plan, result),
        "received when its delay ends": plan.delay_s > 0.0
        and bool((deliveries["locked_s"] == messages["sent_s"][deliveries["message"]] + plan.delay_s).any()),
        "third delivery": (deliveries["delivery_no"] > 2).any(),
        "waited for a sender": plan.senders > 0 and (result.states["unsent"] > plan.senders).any(),
        "waited for a core": result.states["core_busy_s"][-1] > 0.3 * busy_most,
        "handlers paused": (in_pause & (handled_s > 0.0)).any(),
        "released by the keep-alive": (ticks == np.round(ticks)).any(),
        "lingered": plan.discipline == LINK_BURST and linger.any(),
        "an attempt fails and the next is right": (
            tried & (deliveries["outcome"] == DELIVERY_COMPLETED)
        ).any(),
        "a link held up by a limit": plan.discipline != POLL
        and np.isin(deliveries["locked_s"][deliveries["locked_s"] > 0.0], _refills_s(plan)).any(),
        "long poll served": plan.discipline == POLL and (receive & served & (took_s > 0.5)).any(),
        "waited for the downstream": (
            0 < plan.downstream_connections < most_at_once(deliveries["started_s"], deliveries["finished_s"])
            and not plan.downstream_rejects
            and not plan.backoff_s.size
        ),
        "refused downstream": result.states["refusals"][-1] > 0,
        "refused every time": (
            (deliveries["finished_s"] >= deliveries["started_s"]) & (deliveries["attempts"] == 0)
        ).any(),
        "renewers too few": plan.renewers > 0 and plan.renew_after_s < plan.lock_s and unrenewed.any(),
    }
    return {name for name, happened in found.items() if happened}


def _refills_s(plan: Plan) -> NDArray[np.float64]:
    """When the periods of limits begin that hold received messages up."""
    starts_s = [np.empty(0)]
    for limit, period_s in enumerate(plan.limit_period_s):
        if plan.limit_message_cost[limit * len(CALL_OPS) + OP_RECEIVE] > 0.0:
            starts_s.append(np.arange(1, int(plan.horizon_s / period_s) + 1) * period_s)
    return np.concatenate(starts_s)


def _from_scaler(plan: Plan, result: Result) -> set[str]:
    """How the number of consumers changed that nothing but a scaler changes."""
    if not plan.scale_every_s:
        return set()
    count = result.states["consumers"]
    changes = np.diff(count)
    paid = np.diff(result.states["instance_s"]) / np.diff(result.states["time_s"])
    found = {
        "scaled out": bool((changes > 0).any()),
        "scaled by groups": plan.scale_groups and bool((changes != 0).any()),
        "scaled in": bool((changes < 0).any()),
        "asleep": plan.scale_poll_s > 0.0 and bool((count == 0).any()),
        "scaled by a fallback": _needs_its_fallback(plan, result),
        "asleep with some": 0 < plan.scale_asleep < plan.scale_least
        and bool((count < plan.scale_least).any()),
        "a start awaited": plan.start_up_s > 0.0 and bool((paid > count[1:] + 0.5).any()),
    }
    return {name for name, happened in found.items() if happened}


def _needs_its_fallback(plan: Plan, result: Result) -> bool:
    """Whether other instances are paid for without the fallback of the scaler."""
    if not plan.scale_fallback or not plan.outage_start_s.size:
        return False
    states = run("kernel", replace(plan, scale_fallback=0)).states
    return not np.array_equal(states["instance_s"], result.states["instance_s"])


def _from_fleet(plan: Plan, result: Result) -> set[str]:
    """What became of consumers that ended."""
    if not plan.fleet_at_s.size:
        return _from_scaler(plan, result)
    deliveries, calls, states = result.deliveries, result.calls, result.states
    lost = deliveries[deliveries["outcome"] == DELIVERY_LOST]
    drains = bool((plan.fleet_grace_s > 0.0).all())
    for_ever = np.isinf(plan.fleet_grace_s).all() and np.isinf(plan.fleet_back_s).all()
    all_s = states["time_s"][-1] * (plan.consumers - plan.absent_at_start)
    found = {
        "worked again after a kill": (
            np.isin(deliveries["consumer"], lost["consumer"])
            & (deliveries["locked_s"] > plan.fleet_at_s[0])
            & (deliveries["outcome"] == DELIVERY_COMPLETED)
        ).any(),
        "ended when drained": for_ever and states["instance_s"][-1] < (1.0 - 1e-9) * all_s,
        "killed after its grace": drains and (~np.isnan(lost["started_s"])).any(),
        "given back by a link": np.isin(calls["start_s"][calls["op"] == OP_RELEASE], plan.fleet_at_s).any(),
        "left locked by a link": drains
        and plan.discipline != POLL
        and not plan.returns_unstarted
        and np.isnan(lost["started_s"]).any(),
    }
    return {name for name, happened in found.items() if happened}
