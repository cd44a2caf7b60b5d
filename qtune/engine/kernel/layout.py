"""What the kernel's memory is made of: the fields of every record, and the arrays of a world in their order."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import numpy as np

from qtune.engine.plan import Plan
from qtune.engine.slots import Slots
from qtune.result import CALL, DELIVERY, MESSAGE, STATE


def _record(floats: str, integers: str) -> np.dtype[Any]:
    return np.dtype([(name, "<f8") for name in floats.split()] + [(name, "<i8") for name in integers.split()])


BROKER: Final = _record(
    "next_due_s area segment_area core_busy_s instance_s paid_until_s next_start_s downstream_busy_s",
    "created entered next_to_send unsent messages_from segment "
    "backlog in_flight stored ready_head ready_tail returned_head returned_tail "
    "delayed_head delayed_tail lock_head lock_tail kept_head kept_tail demand_head demand_tail waiting "
    "door_head door_tail "
    "deliveries deliveries_from calls calls_from background idle_senders buffered busy_workers "
    "pauses fleet running paid draining tick changed sure flows_short held refusals gathered overdue "
    "open_groups asides ages window inside asking_head asking_tail serve_head serve_tail "
    "breaker_openings breaker_rejections",
)
CONSUMER: Final = _record("due_s grace_s back_s", "phase idle_renewers to_renew_head to_renew_tail")
RECEIVER: Final = _record(
    "start_s half_s last_flow_s last_push_s deadline_s renewal_s last_renewal_s",
    "consumer state asked call visited in_hand freed head read landed tail idle_workers batch_left "
    "flow_head flow_tail flow_count limit known_limit pushed received in_call lingers refused outcome spent closed "
    "session lost queued renewing renewals looked",
)
WORKER: Final = _record(
    "started_s finished_s settle_start_s half_s",
    "phase receiver consumer delivery group succeeded attempts tries handled renewer settles_all rounds refused spent",
)
RENEWER: Final = _record(
    "due_s last_s start_s half_s", "phase worker delivery message key renewal wanted consumer refused spent"
)
SENDER: Final = _record(
    "start_s half_s", "phase message count entries entered taken failed rounds refused spent outcome"
)
CUSTOMER: Final = _record("", "thought")
GROUP: Final = _record("lock_end_s sent_s", "head tail in_flight holder first last waiting noisy")
PENDING: Final = _record(
    "call_start_s",
    "settle_from settle_receiver settle_single settle_first settle_count settle_succeeded back counted gone polled "
    "settle_next everything call call_consumer call_op call_count call_outcome let_go unread feed_from feed_to",
)
STEP: Final = _record("time_s start_s half_s", "delivery step succeeded receiver refused spent")
_PACE: Final = "counted_from_s measured_per_s throttled_s throttled_at_per_s back_after_s rate_per_s filled_s"
CLIENT: Final = _record(
    f"looked_s {_PACE} pace_tokens most_pace_tokens", "tokens idle_connections paced answers"
)
BREAKER: Final = _record("open_until_s", "state noted failures trials")
SCALER: Final = _record("poll_s sync_s active_s", "polls syncs looks wants failures")
TABLE: Final = _record("", "kind offset count")
SAMPLER: Final = _record("sample_s", "tick")

COUNTED: Final = 6
"""What the jump loop counts at each sample (see jump.py)."""

STREAMED_ROWS: Final = 1 << 16

FLOWS_AT_ONCE: Final = 8
"""More than a link tells the broker in one event."""

# What the loop says when it returns.
FINISHED: Final = 0
MORE_MESSAGES: Final = 1
MORE_DELIVERIES: Final = 2
MORE_CALLS: Final = 3
MORE_LOCKS: Final = 4
MORE_BACKGROUND: Final = 5
MORE_FLOWS: Final = 6


PLAN_NUMBERS: Final = [f.name for f in fields(Plan) if f.type in ("int", "float", "bool")]
PLAN_ARRAYS: Final = [f.name for f in fields(Plan) if f.type in ("Floats", "Numbers")]
PLAN_DERIVED: Final = (
    *("receivers_total", "workers_total", "samples", "refuses", "holds_up", "slows", "fleet_changes"),
    *("attempt_waits", "has_downstream", "has_breaker", "breaks", "holds_calls"),
)
PLAN: Final[np.dtype[Any]] = np.dtype(
    [(f.name, "<f8" if f.type == "float" else "<i8") for f in fields(Plan) if f.name in PLAN_NUMBERS]
    + [(name, "<i8") for name in (*PLAN_DERIVED, "most_at_once", "level")]
)

SLOTS: Final = _record("", " ".join(Slots._fields))
FLOAT64: Final = np.dtype(np.float64)
INT64: Final = np.dtype(np.int64)
INT32: Final = np.dtype(np.int32)
UINT64: Final = np.dtype(np.uint64)

LAYOUT: Final[dict[str, tuple[np.dtype[Any], int]]] = {
    "plan": (PLAN, 0),
    "slots": (SLOTS, 0),
    "broker": (BROKER, 0),
    "pending": (PENDING, 0),
    "scaler": (SCALER, 0),
    "look_s": (FLOAT64, 1),
    "look": (INT64, 1),
    "want_s": (FLOAT64, 1),
    "want": (INT64, 1),
    "keys": (UINT64, 1),
    "tables": (TABLE, 1),
    "values": (FLOAT64, 1),
    "limit_used": (FLOAT64, 1),
    "limit_until_s": (FLOAT64, 1),
    "clients": (CLIENT, 1),
    **{f.name: (FLOAT64 if f.type == "Floats" else INT64, 1) for f in fields(Plan) if f.name in PLAN_ARRAYS},
    "times": (INT64, 1),
    "winners": (INT32, 1),
    "slot_s": (FLOAT64, 1),
    "changed": (INT64, 1),
    "messages": (MESSAGE, 1),
    "deliveries": (DELIVERY, 1),
    "calls": (CALL, 1),
    "states": (STATE, 1),
    "ready": (INT64, 1),
    "returned": (INT64, 1),
    "kept": (INT64, 1),
    "delayed": (INT64, 1),
    "customer_of": (INT64, 1),
    "age": (INT64, 1),
    "behind": (INT64, 1),
    "by_age": (INT64, 1),
    "groups": (GROUP, 1),
    "open_group": (INT64, 1),
    "chosen": (INT64, 1),
    "after": (INT64, 1),
    "before": (INT64, 1),
    "asking": (INT64, 1),
    "to_serve": (INT64, 1),
    "lock_end_s": (FLOAT64, 1),
    "lock_delivery": (INT64, 1),
    "demand": (INT64, 1),
    "demand_call": (INT64, 1),
    "door": (INT64, 1),
    "consumers": (CONSUMER, 1),
    "receivers": (RECEIVER, 1),
    "workers": (WORKER, 1),
    "renewers": (RENEWER, 1),
    "senders": (SENDER, 1),
    "customers": (CUSTOMER, 1),
    "core_free_s": (FLOAT64, 2),
    "call_slot_free_s": (FLOAT64, 1),
    "downstream_free_s": (FLOAT64, 1),
    "attempt_start_s": (FLOAT64, 1),
    "attempt_end_s": (FLOAT64, 1),
    "breakers": (BREAKER, 1),
    "attempt_failed": (INT64, 2),
    "message_ms": (FLOAT64, 2),
    "batch_began_s": (FLOAT64, 1),
    "batches_seen": (INT64, 1),
    "brought": (INT64, 1),
    "gathers_until_s": (FLOAT64, 1),
    "in_batch": (INT64, 2),
    "batch_good": (INT64, 2),
    "batch_count": (INT64, 1),
    "batch_next": (INT64, 1),
    "buffer": (INT64, 2),
    "land_s": (FLOAT64, 2),
    "flow_s": (FLOAT64, 2),
    "flow_limit": (INT64, 2),
    "idle_workers": (INT64, 2),
    "handled": (INT64, 2),
    "taken": (INT64, 1),
    "idle_renewers": (INT64, 2),
    "to_renew_worker": (INT64, 2),
    "to_renew_delivery": (INT64, 2),
    "idle_senders": (INT64, 1),
    "background": (STEP, 1),
    "samplers": (SAMPLER, 1),
    "counts": (INT64, 2),
}
"""The arrays of a world, in the order of its directory, with their dimensions; 0 stands for a single record."""

STANDS: Final = frozenset({"plan", "slots", "keys", "tables", "values", *PLAN_ARRAYS})
"""What does not change while the loop runs."""

MAY_BE_EMPTY: Final = frozenset(
    {*PLAN_ARRAYS, "call_slot_free_s", "limit_used", "limit_until_s", "downstream_free_s"}
)
"""What a plan may have none of; the compiler is told that no other array is empty."""
