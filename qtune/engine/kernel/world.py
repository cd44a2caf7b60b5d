"""The kernel's memory: one named tuple of arrays, made from a plan, grown between two calls of the loop.

Everything that changes is in an array, so the loop can stop at any event, let Python make an array larger or take
finished rows away, and go on as if nothing had happened. Row ``n`` of a table lies at ``n & (length - 1)``.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import numpy as np

from qtune.engine import streams
from qtune.engine.kernel.handling import handler_arrays
from qtune.engine.kernel.plain import is_plain
from qtune.engine.kernel.sizes import most_at_once, most_in_hand, power_of_two
from qtune.engine.plan import BY_AGE, BY_SESSION, LINK_BURST, POLL, Plan, Slots, slots_of
from qtune.result import CALL, DELIVERY, MESSAGE, STATE

Array = np.ndarray[Any, np.dtype[Any]]


def _record(floats: str, integers: str) -> np.dtype[Any]:
    return np.dtype([(name, "<f8") for name in floats.split()] + [(name, "<i8") for name in integers.split()])


BROKER: Final = _record(
    "next_due_s area segment_area core_busy_s instance_s paid_until_s next_start_s downstream_busy_s",
    "created entered next_to_send unsent messages_from segment "
    "backlog in_flight stored ready_head ready_tail returned_head returned_tail "
    "lock_head lock_tail kept_head kept_tail demand_head demand_tail waiting door_head door_tail "
    "deliveries deliveries_from calls calls_from background idle_senders buffered busy_workers "
    "pauses fleet running paid draining tick changed sure flows_short held refusals gathered overdue "
    "open_groups ages asking_head asking_tail serve_head serve_tail",
)
CONSUMER: Final = _record("due_s grace_s back_s", "phase idle_renewers to_renew_head to_renew_tail")
RECEIVER: Final = _record(
    "start_s half_s last_flow_s last_push_s deadline_s renewal_s last_renewal_s",
    "consumer state asked call in_hand freed head read landed tail idle_workers batch_left "
    "flow_head flow_tail flow_count limit known_limit pushed received in_call lingers refused outcome spent closed "
    "session lost queued renewing renewals",
)
WORKER: Final = _record(
    "started_s finished_s settle_start_s half_s",
    "phase receiver consumer delivery group succeeded attempts tries handled renewer settles_all refused spent",
)
RENEWER: Final = _record(
    "due_s last_s start_s half_s", "phase worker delivery message key renewal wanted consumer refused spent"
)
SENDER: Final = _record(
    "start_s half_s", "phase message count entries entered taken failed rounds refused spent"
)
CUSTOMER: Final = _record("", "thought")
GROUP: Final = _record("lock_end_s", "head tail in_flight holder first last")
PENDING: Final = _record(
    "call_start_s",
    "settle_from settle_single settle_count settle_succeeded back counted gone polled settle_next everything "
    "call call_consumer call_op call_count call_outcome let_go unread feed_from feed_to",
)
STEP: Final = _record("time_s start_s half_s", "delivery step succeeded receiver refused spent")
CLIENT: Final = _record("", "tokens")
SCALER: Final = _record("poll_s sync_s active_s", "polls syncs looks wants")
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


_NUMBERS: Final = [f.name for f in fields(Plan) if f.type in ("int", "float", "bool")]
_ARRAYS: Final = [f.name for f in fields(Plan) if f.type in ("Floats", "Numbers")]
_DERIVED: Final = (
    *("receivers_total", "workers_total", "samples", "refuses", "holds_up", "slows", "fleet_changes"),
    *("attempt_waits", "has_downstream"),
)
PLAN: Final[np.dtype[Any]] = np.dtype(
    [(f.name, "<f8" if f.type == "float" else "<i8") for f in fields(Plan) if f.name in _NUMBERS]
    + [(name, "<i8") for name in (*_DERIVED, "most_at_once", "plain")]
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
    **{f.name: (FLOAT64 if f.type == "Floats" else INT64, 1) for f in fields(Plan) if f.name in _ARRAYS},
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
    "customer_of": (INT64, 1),
    "age": (INT64, 1),
    "behind": (INT64, 1),
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
    "message_ms": (FLOAT64, 2),
    "batch_began_s": (FLOAT64, 1),
    "batches_seen": (INT64, 1),
    "brought": (INT64, 1),
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
    "idle_renewers": (INT64, 2),
    "to_renew_worker": (INT64, 2),
    "to_renew_delivery": (INT64, 2),
    "idle_senders": (INT64, 1),
    "background": (STEP, 1),
    "samplers": (SAMPLER, 1),
    "counts": (INT64, 2),
}
"""The arrays of a world, in the order of its directory, with their dimensions; 0 stands for a single record."""

MAY_BE_EMPTY: Final = frozenset(
    {*_ARRAYS, "call_slot_free_s", "limit_used", "limit_until_s", "downstream_free_s"}
)
"""What a plan may have none of; the compiler is told that no other array is empty."""


class World:
    """All arrays of a run, as attributes; a single record is the record itself.

    ``address`` is where the directory lies: for each array its address and two lengths, as 64-bit integers. It is all
    that compiled code is given.
    """

    __slots__ = (*LAYOUT, "_arrays", "_directory", "address", "plain")

    def __getattr__(self, name: str) -> Any:
        """Only for type checkers: every array of the layout is set when the world is made."""
        raise AttributeError(name)

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays
        self.plain = bool(arrays["plan"]["plain"][0])
        directory: list[int] = []
        for name, (dtype, dimensions) in LAYOUT.items():
            array = arrays[name].view(np.ndarray)
            if array.dtype != dtype or array.ndim != max(dimensions, 1) or not array.flags.c_contiguous:
                raise TypeError(
                    f"{name} is {array.dtype} in {array.ndim} dimensions, and the kernel expects {dtype}"
                )
            if array.size == 0 and name not in MAY_BE_EMPTY:
                raise TypeError(f"{name} is empty, and the kernel was compiled for at least one entry")
            setattr(self, name, arrays[name][0] if dimensions == 0 else arrays[name])
            directory += (array.ctypes.data, *array.shape, 0)[:3]
        self._directory = np.array(directory, np.int64)
        self.address = int(self._directory.ctypes.data)

    def with_arrays(self, **arrays: Array) -> World:
        """The same world with other arrays in some places."""
        return World({**self._arrays, **arrays})


def make_world(plan: Plan, keep_rows: bool = True, *, jumps: bool = False) -> World:
    """The memory of a run before anything has happened, with room for all its rows if they are to be kept.

    The jump loop needs no place for what waits at the broker, and has no slot but those of the workers.
    """
    slots = slots_of(plan)
    tables, values = _tables(plan)
    consumers, receivers, workers = plan.consumers, plan.receivers_total, plan.workers_total
    width = most_in_hand(plan)
    flows = (
        1 if plan.discipline == POLL else power_of_two(plan.in_hand_limit + plan.workers + 4 * FLOWS_AT_ONCE)
    )
    burst = plan.discipline == LINK_BURST
    leaves = power_of_two(workers if jumps else slots.total)
    # Memory that is never touched costs nothing, and copying rows into a larger table does.
    # Rows that are to be taken away are worth it only by the ten thousand.
    expected = int(plan.expected_messages * 1.05) if keep_rows else STREAMED_ROWS
    messages, least = power_of_two(max(expected, 1 << 10)), 64 * most_at_once(plan)
    deliveries = power_of_two(max(expected, least))
    calls = expected if jumps else 3 * expected
    arrays: dict[str, Array] = {
        "plan": _plan_record(plan),
        "slots": np.array([tuple(slots)[: len(SLOTS.names or ())]], SLOTS).view(np.recarray),
        "keys": np.array([streams.stream_key(plan.seed, s) for s in range(streams.STREAMS)], np.uint64),
        "tables": tables,
        "values": values,
        **{name: np.ascontiguousarray(getattr(plan, name), LAYOUT[name][0]) for name in _ARRAYS},
        **_refusals(plan),
        **_scaling(plan),
        "broker": _records(1, BROKER),
        "times": np.full(2 * leaves, np.inf).view(np.int64),
        "winners": winners(leaves),
        "slot_s": np.full(slots.total, np.inf),
        "changed": np.zeros(4 * (slots.total + most_at_once(plan)), np.int64),
        "messages": _blank(messages, MESSAGE),
        "deliveries": _blank(deliveries, DELIVERY),
        "calls": _blank(power_of_two(max(calls, least)), CALL),
        "states": _records(plan.samples, STATE),
        **_queues(*((1, 1) if jumps else (messages, power_of_two(max(1 << 10, least))))),
        **_groups(plan, messages),
        "demand": np.zeros(power_of_two(2 * receivers + 2), np.int64),
        "demand_call": np.zeros(power_of_two(2 * receivers + 2), np.int64),
        "door": np.zeros(power_of_two(plan.senders + 1), np.int64),
        "consumers": _records(consumers, CONSUMER),
        "receivers": _records(receivers, RECEIVER),
        "workers": _records(workers + 1, WORKER),
        "renewers": _records(max(1, consumers * plan.renewers), RENEWER),
        "senders": _records(max(1, plan.senders), SENDER),
        "customers": _records(max(1, plan.customers), CUSTOMER),
        "core_free_s": np.zeros((consumers, plan.cores)),
        "call_slot_free_s": np.zeros(plan.calls_served_at_once),
        **handler_arrays(plan),
        "buffer": np.zeros((receivers, width), np.int64),
        "land_s": np.zeros((receivers, width if plan.discipline != POLL else 1)),
        "flow_s": np.zeros((receivers, flows)),
        "flow_limit": np.zeros((receivers, flows), np.int64),
        "idle_workers": np.zeros((receivers, 1 if burst else plan.workers), np.int64),
        "handled": np.zeros((workers + 1, max(plan.settle_batch, plan.handler_batch)), np.int64),
        "idle_renewers": np.zeros((consumers, max(1, plan.renewers)), np.int64),
        "to_renew_worker": np.zeros((consumers, power_of_two(2 * plan.receivers * plan.workers)), np.int64),
        "to_renew_delivery": np.zeros((consumers, power_of_two(2 * plan.receivers * plan.workers)), np.int64),
        "idle_senders": np.zeros(max(1, plan.senders), np.int64),
        "background": _records(power_of_two(64 * most_at_once(plan)), STEP),
        "pending": _records(1, PENDING),
        "samplers": _records(COUNTED, SAMPLER),
        "counts": np.zeros((COUNTED, plan.samples), np.int64),
    }
    return World(arrays)


def _scaling(plan: Plan) -> dict[str, Array]:
    """What the scaler keeps in mind: looks while they are too new, and what it wanted while that counts."""
    periods_s = [period_s for period_s in (plan.scale_every_s, plan.scale_poll_s) if period_s > 0.0]
    every_s = min(periods_s, default=1.0)
    looks = power_of_two(2 * int(plan.scale_lag_s / every_s) + 4)
    wants = power_of_two(int(max(plan.scale_up_window_s, plan.scale_down_window_s) / every_s) + 4)
    return {
        "scaler": _records(1, SCALER),
        "look_s": np.zeros(looks),
        "look": np.zeros(looks, np.int64),
        "want_s": np.zeros(wants),
        "want": np.zeros(wants, np.int64),
    }


def _plan_record(plan: Plan) -> Array:
    record = _records(1, PLAN)
    for name in (*_NUMBERS, *_DERIVED):
        record[name] = getattr(plan, name)
    record["plain"] = is_plain(plan)
    record["most_at_once"] = most_at_once(plan)
    return record


def _refusals(plan: Plan) -> dict[str, Array]:
    """What is used of each limit, and the clients that are refused."""
    clients = _records(plan.clients, CLIENT)
    clients["tokens"] = plan.retry_tokens
    return {
        "limit_used": np.zeros(plan.limit_credits.size),
        "limit_until_s": np.zeros(plan.limit_credits.size),
        "clients": clients,
    }


def _groups(plan: Plan, messages: int) -> dict[str, Array]:
    """The line in which messages are handed out group by group; next to nothing where they are not."""
    most = plan.groups_most or messages
    grouped, by_session = plan.hands_out != BY_AGE, plan.hands_out == BY_SESSION
    return {
        "age": np.zeros(messages if grouped else 1, np.int64),
        "behind": np.zeros(messages if grouped else 1, np.int64),
        "groups": _records(power_of_two(most) if grouped else 1, GROUP),
        "open_group": np.zeros(power_of_two(most) if grouped else 1, np.int64),
        "chosen": np.zeros(plan.batch, np.int64),
        "after": np.zeros(messages if by_session else 1, np.int64),
        "before": np.zeros(messages if by_session else 1, np.int64),
        "asking": np.zeros(power_of_two(plan.receivers_total + 1), np.int64),
        "to_serve": np.zeros(power_of_two(plan.receivers_total + 1), np.int64),
    }


def _tables(plan: Plan) -> tuple[Array, Array]:
    tables = _records(len(plan.tables), TABLE)
    offset = 0
    for number, (kind, values) in enumerate(plan.tables):
        tables[number] = (kind, offset, len(values))
        offset += len(values)
    return tables, np.concatenate([values for _, values in plan.tables])


def _queues(messages: int, locks: int) -> dict[str, Array]:
    """What waits at the broker, and the locks there."""
    waiting = {name: np.zeros(messages, np.int64) for name in ("ready", "returned", "kept", "customer_of")}
    return {**waiting, "lock_end_s": np.zeros(locks), "lock_delivery": np.zeros(locks, np.int64)}


def _blank(count: int, dtype: np.dtype[Any]) -> Array:
    """Room for rows, each of which is written in full before it is read."""
    return np.empty(count, dtype).view(np.recarray)


def _records(count: int, dtype: np.dtype[Any]) -> Array:
    return np.zeros(count, dtype).view(np.recarray)


def winners(leaves: int) -> Array:
    """Who wins each match of the calendar's tree before any slot is set: the smallest."""
    found = np.zeros(2 * leaves, np.int32)
    found[leaves:] = np.arange(leaves)
    for node in range(leaves - 1, 0, -1):
        found[node] = found[2 * node]
    return found
