"""What a client costs in processor time: by call and by message, from how busy its processes were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qtune.analysis.intervals import Estimate, missing
from qtune.result import OP_SEND, Result

Floats = NDArray[np.float64]

PARTS: Final = 20
"""Each run is cut into so many parts, whose processor times are the observations."""

TOLD_APART: Final = 0.2
"""Messages for a call must differ by so much between runs, as a share, to tell what costs what."""

NOT_SEEN: Final = "the processor time of the client alone was not seen: its processes are shared with others"
NOT_TOLD_APART: Final = (
    "every run has about as many calls for each message: add a run with another receive_batch to tell "
    "what a call costs and what a message"
)

OUTSIDE: Final = (
    "the client works longer than its shortest calls last, so a part of it is counted to the messages"
)


@dataclass(frozen=True, kw_only=True)
class ClientCostFit:
    """Processor time of a call and of a message in it; a message without an interval was not told apart."""

    call: Estimate
    message: Estimate


def fit_client_cost(results: Sequence[Result], message_cost_s: float) -> ClientCostFit:
    """Least squares over parts of the runs: seconds of the cores against calls, messages, and time that passed.

    What handlers burn is taken off first. What a process uses while it does nothing goes to the time that passed. The
    errors are robust against parts that differ in how exact they are (HC3, MacKinnon and White, 1985).

    message_cost_s: taken when runs with one size of batch cannot tell it from the calls. The interval of a call then
    has room for every message cost from nothing to that of a call.
    """
    seen = [result for result in results if not np.isnan(result.states["core_busy_s"]).all()]
    rows = np.concatenate([_parts(result) for result in seen] or [np.empty((0, 4))])
    rows = rows[~np.isnan(rows).any(axis=1)]
    if rows.shape[0] < PARTS:
        return ClientCostFit(call=missing(NOT_SEEN, "s"), message=missing(NOT_SEEN, "s"))
    if _is_told_apart(seen):
        found, low, high = _least_squares(rows[:, :3], rows[:, 3])
        if found[0] > 0.0 and found[1] >= 0.0:
            return ClientCostFit(call=_estimate(found, low, high, 0), message=_estimate(found, low, high, 1))
    found, low, high = _least_squares(rows[:, [0, 2]], rows[:, 3] - message_cost_s * rows[:, 1])
    # A message costs something from nothing to as much as a call.
    low = np.minimum(
        low, _least_squares(np.column_stack((rows[:, 0] + rows[:, 1], rows[:, 2])), rows[:, 3])[1]
    )
    high = np.maximum(high, _least_squares(rows[:, [0, 2]], rows[:, 3])[2])
    if found[0] <= 0.0:
        reason = "the client's processor time does not grow with its calls: add a run with more of them"
        return ClientCostFit(call=missing(reason, "s"), message=missing(reason, "s"))
    return ClientCostFit(call=_estimate(found, low, high, 0), message=missing(NOT_TOLD_APART, "s"))


def _estimate(found: Floats, low: Floats, high: Floats, place: int) -> Estimate:
    return Estimate(
        value=float(found[place]),
        low=max(0.0, float(low[place])),
        high=float(high[place]),
        unit="s",
        method="least squares over parts of the runs, robust errors",
    )


def _least_squares(columns: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """The coefficients with their 95 % intervals."""
    inverse = np.linalg.pinv(columns.T @ columns)
    found = inverse @ columns.T @ target
    leverage = np.einsum("ij,jk,ik->i", columns, inverse, columns)
    off = (target - columns @ found) / np.maximum(1.0 - leverage, 1e-6)
    error = np.sqrt(np.diag(inverse @ (columns.T * off**2) @ columns @ inverse))
    freedom = max(1, columns.shape[0] - columns.shape[1])
    half = float(stats.t.ppf(0.975, freedom)) * error
    return np.asarray(found), np.asarray(found - half), np.asarray(found + half)


def _is_told_apart(results: Sequence[Result]) -> bool:
    ratios = [float(parts[:, 1].sum() / max(1.0, parts[:, 0].sum())) for parts in map(_parts, results)]
    return max(ratios) - min(ratios) > TOLD_APART * max(ratios)


def _parts(result: Result) -> Floats:
    """Calls, messages handled, seconds that passed and seconds of the cores, for each part of a run."""
    states, calls, deliveries = result.states, result.calls, result.deliveries
    edges_s = np.linspace(0.0, result.horizon_s, PARTS + 1)
    busy_s = np.diff(np.interp(edges_s, states["time_s"], states["core_busy_s"]))
    ours = calls[calls["op"] != OP_SEND]
    made = np.histogram(ours["start_s"], edges_s)[0]
    started = np.histogram(deliveries["started_s"][~np.isnan(deliveries["started_s"])], edges_s)[0]
    share = result.scenario.handler.cpu_share
    if share:
        done = ~np.isnan(deliveries["finished_s"])
        burnt = share * (deliveries["finished_s"] - deliveries["started_s"])[done]
        busy_s = busy_s - np.histogram(deliveries["finished_s"][done], edges_s, weights=burnt)[0]
    passed = np.full(PARTS, result.horizon_s / PARTS)
    return np.column_stack((made, started, passed, busy_s)).astype(np.float64)


def spent_s(call: Estimate, otherwise_s: float) -> float:
    """What a call costs, by the fit or else as it was assumed."""
    return otherwise_s if math.isnan(call.value) else call.value


def within_calls(
    cost: ClientCostFit, most_s: float, results: Sequence[Result], message_cost_s: float
) -> ClientCostFit:
    """The same, with no call's part longer than the shortest calls: what does not fit is worked between calls, and
    counts to the messages."""
    if not cost.call.value > most_s:
        return cost
    calls, messages = np.sum([_parts(result)[:, :2].sum(axis=0) for result in results], axis=0)
    outside_s = (cost.call.value - most_s) * float(calls) / max(1.0, float(messages))
    each_s = outside_s + spent_s(cost.message, message_cost_s)
    call = replace(cost.call, value=most_s, low=min(cost.call.low, most_s), reason=OUTSIDE)
    message = Estimate(value=each_s, unit="s", method=cost.call.method, reason=OUTSIDE)
    return ClientCostFit(call=call, message=message)
