"""What a client costs in processor time: by call and by message, from how busy its processes were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from qtune.analysis.intervals import Estimate
from qtune.result import OP_SEND, Result

Floats = NDArray[np.float64]

WINDOWS: Final = 20
RESAMPLES: Final = 499
NOT_TOLD_APART: Final = "every call was about the same number of messages: add a run with another batch size"


def fit_client_cost(results: Sequence[Result]) -> tuple[Estimate, Estimate]:
    """Processor time of a call and of a message in it, by non-negative least squares over parts of the runs.

    What handlers burn is taken off first. The two can be told apart when batches are of different sizes.
    """
    rows = np.concatenate([_windows(result) for result in results])
    rows = rows[~np.isnan(rows).any(axis=1)]
    if rows.shape[0] < 2 * WINDOWS // 2:
        missing = Estimate(value=float("nan"), unit="s", reason="the client's processor time was not seen")
        return missing, missing
    rng = np.random.default_rng(1)
    found = _solve(rows)
    samples = np.array([_solve(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(RESAMPLES)])
    low, high = np.quantile(samples, (0.025, 0.975), axis=0)
    ratio = rows[:, 1] / np.maximum(rows[:, 0], 1.0)
    reason = NOT_TOLD_APART if np.ptp(ratio[rows[:, 0] > 0.0]) < 0.2 * ratio.max() else ""
    call, message = (
        Estimate(
            value=float(v),
            low=float(lo),
            high=float(hi),
            unit="s",
            method="bootstrap over parts",
            reason=reason,
        )
        for v, lo, hi in zip(found, low, high, strict=True)
    )
    return call, message


def _solve(rows: Floats) -> Floats:
    solution, _ = optimize.nnls(rows[:, :2], rows[:, 2])
    return np.asarray(solution)


def _windows(result: Result) -> Floats:
    """Calls, messages handled and seconds of the cores, for each part of a run."""
    states, calls, deliveries = result.states, result.calls, result.deliveries
    edges_s = np.linspace(0.0, result.horizon_s, WINDOWS + 1)
    busy_s = np.diff(np.interp(edges_s, states["time_s"], states["core_busy_s"]))
    ours = calls[calls["op"] != OP_SEND]
    made = np.histogram(ours["start_s"], edges_s)[0]
    started = np.histogram(deliveries["started_s"][~np.isnan(deliveries["started_s"])], edges_s)[0]
    share = result.scenario.handler.cpu_share
    if share:
        done = ~np.isnan(deliveries["finished_s"])
        burnt = share * (deliveries["finished_s"] - deliveries["started_s"])[done]
        busy_s = busy_s - np.histogram(deliveries["finished_s"][done], edges_s, weights=burnt)[0]
    return np.column_stack((made, started, busy_s)).astype(np.float64)
