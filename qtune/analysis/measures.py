"""What is counted in one run beside the latency: rates, shares and times, each a plain number with a name
and a unit.

Everything is counted from the end of the warm-up to the horizon. A percentile of the completed messages can
look well while most work is thrown away, so these numbers always stand beside the percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.analysis.dead_letters import deleted_s
from qtune.analysis.instances import instances_mean
from qtune.analysis.intervals import Floats
from qtune.analysis.quantiles import order_statistic
from qtune.analysis.setup import Setup
from qtune.result import (
    CALL_EMPTY,
    CALL_OPS,
    DELIVERY_COMPLETED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    DELIVERY_LOST,
    DELIVERY_RELEASED,
    DELIVERY_UNSETTLED,
    MESSAGE_DEAD_LETTERED,
    MESSAGE_EXPIRED,
    MESSAGE_REJECTED,
    OP_RECEIVE,
    OP_SEND,
    REFUSED,
    Result,
    Table,
    first_of_calls,
)

UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "arrivals_per_s": "1/s",
        "goodput_per_s": "1/s",
        "throughput_per_s": "1/s",
        "utilization": "1",
        "amplification": "1",
        "duplicates": "1",
        "lost_locks": "1",
        "handler_calls": "1",
        "wasted_handler_calls": "1",
        "dead_letters": "1",
        "dead_letters_deleted": "1",
        "expired": "1",
        "rejected": "1",
        "error_rate": "1",
        "client_core_utilization": "1",
        "downstream_utilization": "1",
        "refusals": "1",
        "breaker_openings": "1",
        "breaker_rejections": "1",
        "backlog_mean": "1",
        "backlog_most": "1",
        "empty_receives_per_s": "1/s",
        "refused_calls_per_s": "1/s",
        "batch_efficiency": "1",
        "calls_per_message": "1",
        **{f"{op}_s_p{percent}": "s" for op in CALL_OPS for percent in (50, 95)},
    }
)

SHARES: Final = frozenset(
    {
        *("utilization", "duplicates", "error_rate", "client_core_utilization", "batch_efficiency"),
        "downstream_utilization",
    }
)
"""The numbers that are a part of a whole, and so never above 1."""

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "utilization": "the start or the end of handlers was not seen",
        "amplification": "no message was delivered",
        "duplicates": "no message was delivered",
        "error_rate": "no message fell due",
        "client_core_utilization": "the client's processor time was not seen",
        "downstream_utilization": "the scenario has no downstream with connections, or it was not seen",
        "refusals": "the scenario has no downstream, or it was not seen",
        "breaker_openings": "the handlers have no circuit breaker, or it was not seen",
        "breaker_rejections": "the handlers have no circuit breaker, or it was not seen",
        "backlog_mean": "the state was not sampled after the warm-up",
        "backlog_most": "the state was not sampled after the warm-up",
        "batch_efficiency": "no receive call brought a message",
        "calls_per_message": "no message was completed",
        **{f"{op}_s_p{percent}": f"not so many {op} calls ended" for op in CALL_OPS for percent in (50, 95)},
    }
)


_OF_BREAKERS: Final = ("breaker_openings", "breaker_rejections")


def measures_of(result: Result, setup: Setup, warm_up_s: float) -> dict[str, float]:
    """All numbers of one run by name, in the order of ``UNITS``; NaN for what the run does not show."""
    found = {
        **of_messages(result, warm_up_s),
        **of_deliveries(result, setup, warm_up_s),
        **of_states(result, setup, warm_up_s),
        **_of_calls(result, setup, warm_up_s),
    }
    return {name: found[name] for name in UNITS}


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def of_messages(result: Result, warm_up_s: float) -> dict[str, float]:
    """The numbers that the table of messages tells, by name."""
    messages, window_s = result.messages, result.horizon_s - warm_up_s
    completed = _count(messages["completed_s"] >= warm_up_s)
    state, left = messages["state"], messages["left_s"] >= warm_up_s
    counted = messages["due_s"] >= warm_up_s
    due = _count(counted)
    lost = {
        name: state == code
        for name, code in (
            ("dead_letters", MESSAGE_DEAD_LETTERED),
            ("expired", MESSAGE_EXPIRED),
            ("rejected", MESSAGE_REJECTED),
        )
    }
    deleted = deleted_s(result)
    failed = lost["dead_letters"] | lost["expired"] | lost["rejected"]
    return {
        "arrivals_per_s": due / window_s,
        "goodput_per_s": completed / window_s,
        **{name: float(_count(mask & left)) for name, mask in lost.items()},
        "dead_letters_deleted": float(_count((deleted >= warm_up_s) & (deleted <= result.horizon_s))),
        "error_rate": _share(_count(failed & counted), due),
    }


def of_deliveries(result: Result, setup: Setup, warm_up_s: float) -> dict[str, float]:
    """The numbers that the deliveries tell, by name."""
    messages, deliveries, window_s = result.messages, result.deliveries, result.horizon_s - warm_up_s
    outcome, finished_s = deliveries["outcome"], deliveries["finished_s"]
    started_s = deliveries["started_s"]
    ended = finished_s >= warm_up_s
    counted = (messages["due_s"] >= warm_up_s) & (messages["deliveries"] > 0)
    delivered = _count(counted)
    right = (outcome == DELIVERY_COMPLETED) | (outcome == DELIVERY_LATE)
    runs = np.bincount(deliveries["message"][right], minlength=messages.size)
    busy_s = np.fmin(finished_s, result.horizon_s) - np.fmax(started_s, warm_up_s)
    called = first_of_calls(deliveries) if setup.handler.takes == "batch" else ~np.isnan(started_s)
    # When the work ended that was lost with its consumer is not known.
    known = called & ~((outcome == DELIVERY_LOST) & np.isnan(finished_s))
    busy_s = np.where(known, np.maximum(busy_s, 0.0), 0.0)
    workers = setup.workers_each * instances_mean(result, warm_up_s)
    wasted = (outcome == DELIVERY_LATE) | (outcome == DELIVERY_UNSETTLED)
    seen = not deliveries.size or bool((~np.isnan(started_s)).any())
    return {
        "throughput_per_s": _count(ended) / window_s,
        "utilization": _share(float(busy_s.sum()), workers * window_s) if seen else math.nan,
        "amplification": _share(float(messages["deliveries"][counted].sum()), delivered),
        "duplicates": _share(_count(runs[counted] > 1), delivered),
        "lost_locks": float(_count(lost_locks(deliveries, setup.abandons, warm_up_s))),
        "handler_calls": float(_count(called & (started_s >= warm_up_s))),
        "wasted_handler_calls": float(_count(ended & wasted)),
    }


def lost_locks(deliveries: Table, abandons: bool, from_s: float) -> NDArray[np.bool_]:
    """Which deliveries lost their lock at ``from_s`` or later, though the client still meant to settle them.

    A lock that a failed handler leaves to run out (``abandons`` False) is not lost but given up.
    """
    outcome = deliveries["outcome"]
    ran_out = (deliveries["lock_end_s"] >= from_s) & np.isnan(deliveries["settled_s"])
    given_up = (outcome == DELIVERY_RELEASED) | ((outcome == DELIVERY_FAILED) & (not abandons))
    lost: NDArray[np.bool_] = ran_out & ~given_up
    return lost


def of_states(result: Result, setup: Setup, warm_up_s: float) -> dict[str, float]:
    """The numbers that the sampled state tells, by name."""
    states = result.states[int(np.searchsorted(result.states["time_s"], warm_up_s)) :]
    if not states.size:
        names = (
            "client_core_utilization",
            "downstream_utilization",
            "refusals",
            *_OF_BREAKERS,
            "backlog_mean",
            "backlog_most",
        )
        return dict.fromkeys(names, math.nan)
    span_s = float(states["time_s"][-1] - states["time_s"][0])
    cores = setup.behaviour.cores * instances_mean(result, warm_up_s)
    core_s = float(states["core_busy_s"][-1] - states["core_busy_s"][0])
    return {
        "client_core_utilization": _share(core_s, cores * span_s),
        **_of_downstream(states, setup, span_s),
        **_of_breakers(states, setup),
        "backlog_mean": float(states["backlog"].mean()),
        "backlog_most": float(states["backlog"].max()),
    }


def _of_downstream(states: Table, setup: Setup, span_s: float) -> dict[str, float]:
    """How busy the connections were, and how many attempts were refused; NaN without a downstream."""
    if setup.downstream is None:
        return {"downstream_utilization": math.nan, "refusals": math.nan}
    busy_s = float(states["downstream_busy_s"][-1] - states["downstream_busy_s"][0])
    return {
        "downstream_utilization": _share(busy_s, (setup.downstream.connections or 0) * span_s),
        "refusals": float(states["refusals"][-1] - states["refusals"][0]),
    }


def _of_breakers(states: Table, setup: Setup) -> dict[str, float]:
    """How often circuit breakers opened, and what they rejected; NaN without any."""
    if setup.handler.circuit_breaker is None:
        return dict.fromkeys(_OF_BREAKERS, math.nan)
    return {name: float(states[name][-1] - states[name][0]) for name in _OF_BREAKERS}


def calls_from(result: Result, from_s: float) -> Table:
    """The calls that ended at ``from_s`` or later, or are still open: the last ones, as they are ordered."""
    return result.calls[int(np.searchsorted(result.calls["end_s"], from_s)) :]


def ended_calls(result: Result, from_s: float) -> Table:
    """The calls that ended at ``from_s`` or later; the open ones are the last of all."""
    counted = calls_from(result, from_s)
    return counted[: counted.size - _count(np.isnan(counted["end_s"]))]


def batch_efficiency(calls: Table, setup: Setup) -> float:
    """Messages in the receives that brought any, of the most that these may bring; NaN when none did."""
    brought = calls["count"][(calls["op"] == OP_RECEIVE) & ~np.isin(calls["outcome"], (CALL_EMPTY, *REFUSED))]
    return _share(float(brought.sum()), brought.size * setup.behaviour.batch)


def _of_calls(result: Result, setup: Setup, warm_up_s: float) -> dict[str, float]:
    counted, ended = calls_from(result, warm_up_s), ended_calls(result, warm_up_s)
    op = counted["op"]
    duration_s = counted["end_s"] - counted["start_s"]
    duration_s[ended.size :] = math.inf
    empty = (ended["op"] == OP_RECEIVE) & (ended["outcome"] == CALL_EMPTY)
    completed = _count(result.messages["completed_s"] >= warm_up_s)
    window_s = result.horizon_s - warm_up_s
    found = {
        "empty_receives_per_s": _count(empty) / window_s,
        "refused_calls_per_s": _count(np.isin(ended["outcome"], REFUSED)) / window_s,
        "batch_efficiency": batch_efficiency(ended, setup),
        "calls_per_message": _share(_count(ended["op"] != OP_SEND), completed),
    }
    for code, name in enumerate(CALL_OPS):
        of_op = duration_s[op == code]
        for percent in (50, 95):
            found[f"{name}_s_p{percent}"] = _call_quantile_s(of_op, percent / 100.0)
    return found


def _call_quantile_s(duration_s: Floats, p: float) -> float:
    """A quantile of call times, of which those still open are infinitely long; NaN if it is among them."""
    value_s = order_statistic(duration_s, p) if duration_s.size else math.inf
    return value_s if math.isfinite(value_s) else math.nan
