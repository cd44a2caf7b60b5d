"""What runs tell about single parameters: the times of calls that nothing else disturbed, and who got what.

Calls are chosen by what was known when they began, never by how long they took: a choice that prefers short calls would
make the fitted times too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.result import (
    CALL_LOCK_LOST,
    CALL_OK,
    DELIVERY_OPEN,
    OP_RECEIVE,
    OP_SEND,
    OP_SETTLE,
    Result,
    Table,
)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

AT_ONCE_S: Final = 0.002
"""A client has written down what a receive brought at most so long after the call."""

ANSWERED: Final = (CALL_OK, CALL_LOCK_LOST)


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long calls took: ``seen_s`` to the end, and ``censored_s`` of those that were open when the run ended."""

    seen_s: Floats
    censored_s: Floats

    @staticmethod
    def together(parts: Sequence[Times]) -> Times:
        """The times of several runs."""
        return Times(
            seen_s=np.concatenate([part.seen_s for part in parts] or [np.empty(0)]),
            censored_s=np.concatenate([part.censored_s for part in parts] or [np.empty(0)]),
        )

    def less(self, shift_s: float) -> Times:
        """Without a part that is the same for all."""
        return Times(seen_s=self.seen_s - shift_s, censored_s=self.censored_s - shift_s)


def is_measured(result: Result) -> bool:
    """Whether a run was on a real queue."""
    return result.source.startswith("measured")


def times_of(result: Result, op: int, others: float = 0) -> Times:
    """How long calls of ``op`` took that began when at most so many others were under way; receives are those of
    messages that were there."""
    if op == OP_RECEIVE:
        receives, oldest_s, _ = brought(result)
        chosen = receives[(oldest_s < receives["start_s"]) & is_quiet(result, receives, others)]
        return Times(seen_s=_length_s(chosen), censored_s=np.empty(0))
    calls = result.calls
    ours = calls[(calls["op"] == op) & np.isin(calls["outcome"], ANSWERED)]
    ours = ours[is_quiet(result, ours, others)]
    return Times(seen_s=_length_s(ours), censored_s=_open_s(result, op))


def is_quiet(result: Result, calls: Table, most: float) -> Mask:
    """Which of these calls began when at most so many others were under way, and had a connection that was open.

    A receive may wait all the time, so it counts only if it is no more than a round trip old.
    """
    everything = result.calls
    working = everything[everything["op"] != OP_RECEIVE]
    others = _under_way(working, calls["start_s"])
    receives = everything[everything["op"] == OP_RECEIVE]
    round_trip_s = typical_s(result)
    young = receives.copy()
    young["end_s"] = np.minimum(receives["end_s"], receives["start_s"] + round_trip_s)
    others = others + _under_way(young, calls["start_s"])
    return np.asarray((others <= most) & ~_opens_connection(result, calls))


def calls_under_way(result: Result) -> float:
    """How many calls were under way on average, without receives, which may wait."""
    working = result.calls[result.calls["op"] != OP_RECEIVE]
    return float(_length_s(working).sum()) / result.horizon_s


def typical_s(result: Result) -> float:
    """About how long a round trip takes: the median of the calls that do not wait."""
    working = result.calls[result.calls["op"] != OP_RECEIVE]
    return float(np.median(_length_s(working))) if working.size else 0.0


def _length_s(calls: Table) -> Floats:
    return np.asarray(calls["end_s"] - calls["start_s"])


def _under_way(calls: Table, at_s: Floats) -> Numbers:
    """How many of the calls had begun before an instant and had not ended."""
    begun = np.searchsorted(np.sort(calls["start_s"]), at_s, side="left")
    ended = np.searchsorted(np.sort(calls["end_s"]), at_s, side="right")
    return np.asarray(begun - ended)


def _client_of(result: Result, calls: Table) -> Numbers:
    """Which client object made a call: consumers by number, and behind them the producers."""
    consumers = result.scenario.consumers.instances
    producers = result.scenario.producers
    each = 1 if is_measured(result) or producers is None else producers.senders
    sender = consumers + calls["consumer"] // each
    return np.asarray(np.where(calls["op"] == OP_SEND, sender, calls["consumer"]), np.int64)


def _opens_connection(result: Result, calls: Table) -> Mask:
    """Which of these calls may have had to open a connection: more were under way than any time before."""
    kept = result.scenario.behaviour().pool_connections
    found = np.zeros(calls.size, np.bool_)
    if not kept:
        return found
    everything, client_of = result.calls, _client_of(result, result.calls)
    asked = _client_of(result, calls)
    for client in np.unique(asked):
        its = everything[client_of == client]
        its = its[np.argsort(its["start_s"], kind="stable")]
        at_once = _under_way(its, its["start_s"]) + 1
        most = np.minimum(np.maximum.accumulate(np.append(0, at_once)), kept)
        mine = asked == client
        before = np.searchsorted(its["start_s"], calls["start_s"][mine], side="left")
        now = _under_way(its, calls["start_s"][mine]) + 1
        found[mine] = now > most[before]
    return found


def _open_s(result: Result, op: int) -> Floats:
    """How long calls had lasted that were open at the horizon, as far as rows tell when they began."""
    horizon_s = result.horizon_s
    if op == OP_SETTLE and result.scenario.behaviour().settle == "each":
        rows = result.deliveries
        asked = np.isnan(rows["settled_s"]) & (rows["outcome"] == DELIVERY_OPEN)
        begun_s = rows["finished_s"][asked & ~np.isnan(rows["finished_s"])]
        return np.asarray(horizon_s - begun_s[begun_s < horizon_s])
    producers = result.scenario.producers
    if op == OP_SEND and producers is not None and producers.batch == 1:
        due_s, sends = result.messages["due_s"], result.calls[result.calls["op"] == OP_SEND]
        left = int(due_s.size - sends["count"].sum())
        # The last to fall due are under way, if there is a sender for each of them.
        if 0 < left <= producers.senders_total:
            return np.asarray(horizon_s - due_s[-left:][due_s[-left:] < horizon_s])
    return np.empty(0)


def brought(result: Result) -> tuple[Table, Floats, Floats]:
    """The receives that brought something for the first time, with when the oldest and the newest message of each came
    to the broker.

    Where it is not clear which deliveries a call brought, both are inf and -inf, so that no comparison holds.
    """
    calls, deliveries = result.calls, result.deliveries
    receives = calls[(calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_OK) & (calls["count"] > 0)]
    deliveries = deliveries[~np.isnan(deliveries["received_s"])]
    # One axis on which the consumers lie one behind the other.
    apart_s = 2.0 * (result.horizon_s + 1.0)
    place_s = deliveries["consumer"] * apart_s + deliveries["received_s"]
    order = np.argsort(place_s, kind="stable")
    ends_s = receives["consumer"] * apart_s + receives["end_s"]
    first = np.searchsorted(place_s[order], ends_s - 1e-9, side="left")
    last = np.searchsorted(place_s[order], ends_s + AT_ONCE_S, side="right")
    sent_s = np.where(
        deliveries["delivery_no"][order] == 1, result.messages["sent_s"][deliveries["message"][order]], np.nan
    )
    whole = (last - first == receives["count"]) & (last > first)
    oldest_s, newest_s = np.full(receives.size, np.inf), np.full(receives.size, -np.inf)
    for row in np.flatnonzero(whole):
        its_s = sent_s[first[row] : last[row]]
        if not np.isnan(its_s).any():
            oldest_s[row], newest_s[row] = its_s.min(), its_s.max()
    return receives, oldest_s, newest_s


@dataclass(frozen=True, kw_only=True)
class Waited:
    """Messages that came while receives waited for them.

    wait_s: from the broker to the client. passed: how many receives had waited longer than the one that got it. of: how
    many waited.
    """

    wait_s: Floats
    passed: Numbers
    of: Numbers


def waited(result: Result) -> Waited:
    """The messages that single receives waited for, up to 3000 of a run."""
    calls = result.calls[result.calls["op"] == OP_RECEIVE]
    receives, _, newest_s = brought(result)
    half_s = 0.5 * typical_s(result)
    # A receive waits from when it has reached the broker until its message comes, or until it has come back empty.
    reached_s = calls["start_s"] + half_s
    served_s = calls["end_s"].copy()
    for row, newest in zip(receives, newest_s, strict=True):
        served_s[(calls["end_s"] == row["end_s"]) & (calls["start_s"] == row["start_s"])] = newest
    alone = (receives["count"] == 1) & np.isfinite(newest_s) & (newest_s > receives["start_s"] + half_s)
    wait_s, passed, of = [], [], []
    for row, at_s in list(zip(receives[alone], newest_s[alone], strict=True))[:3000]:
        there = (reached_s < at_s) & (served_s >= at_s)
        of.append(int(there.sum()))
        passed.append(int((there & (calls["start_s"] < row["start_s"])).sum()))
        wait_s.append(row["end_s"] - at_s)
    return Waited(
        wait_s=np.array(wait_s, np.float64), passed=np.array(passed, np.int64), of=np.array(of, np.int64)
    )
