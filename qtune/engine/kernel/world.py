"""The kernel's memory: one named tuple of arrays, made from a plan, grown between two calls of the loop.

Everything that changes is in an array, so the loop can stop at any event, let Python make an array larger or take
finished rows away, and go on as if nothing had happened. Row ``n`` of a table lies at ``n & (length - 1)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qtune.engine import streams
from qtune.engine.kernel.handling import handler_arrays
from qtune.engine.kernel.layout import (
    BROKER,
    CLIENT,
    CONSUMER,
    COUNTED,
    CUSTOMER,
    FLOWS_AT_ONCE,
    GROUP,
    LAYOUT,
    MAY_BE_EMPTY,
    PENDING,
    PLAN,
    PLAN_ARRAYS,
    PLAN_DERIVED,
    PLAN_NUMBERS,
    RECEIVER,
    RENEWER,
    SAMPLER,
    SCALER,
    SENDER,
    SLOTS,
    STEP,
    STREAMED_ROWS,
    TABLE,
    WORKER,
)
from qtune.engine.kernel.levels import level_of
from qtune.engine.kernel.sizes import most_at_once, most_in_hand, power_of_two
from qtune.engine.pacing import FIRST_PER_S
from qtune.engine.plan import BY_AGE, BY_SESSION, LINK_BURST, POLL, Plan
from qtune.engine.slots import slots_of
from qtune.result import CALL, DELIVERY, MESSAGE, STATE

Array = np.ndarray[Any, np.dtype[Any]]


class World:
    """All arrays of a run, as attributes; a single record is the record itself.

    ``address`` is where the directory lies: for each array its address and two lengths, as 64-bit integers. It is all
    that compiled code is given.
    """

    __slots__ = (*LAYOUT, "_arrays", "_directory", "address", "level")

    def __getattr__(self, name: str) -> Any:
        """Only for type checkers: every array of the layout is set when the world is made."""
        raise AttributeError(name)

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays
        self.level = int(arrays["plan"]["level"][0])
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
        **{name: np.ascontiguousarray(getattr(plan, name), LAYOUT[name][0]) for name in PLAN_ARRAYS},
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
        "delayed": np.zeros(messages if plan.delay_s else 1, np.int64),
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
        "taken": np.zeros(max(plan.settle_batch, plan.handler_batch), np.int64),
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
    for name in (*PLAN_NUMBERS, *PLAN_DERIVED):
        record[name] = getattr(plan, name)
    record["level"] = level_of(plan)
    record["most_at_once"] = most_at_once(plan)
    return record


def _refusals(plan: Plan) -> dict[str, Array]:
    """What is used of each limit, and the clients that are refused."""
    clients = _records(plan.clients, CLIENT)
    clients["tokens"] = plan.retry_tokens
    clients["rate_per_s"] = clients["most_pace_tokens"] = FIRST_PER_S
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
        "by_age": np.zeros(messages if plan.group_window else 1, np.int64),
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
