"""What remains between runs and their simulation under a fitted model, by run and stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.calibration.again import Again
from qtune.providers.model import ProviderModel
from qtune.result import CALL_OK, OP_RECEIVE, OP_SEND, OP_SETTLE, Result

Floats = NDArray[np.float64]

CALLS: Final = {"send call": OP_SEND, "receive call": OP_RECEIVE, "settle call": OP_SETTLE}


@dataclass(frozen=True, kw_only=True)
class Residual:
    """One figure of a run as it was, and as the model has it.

    stage: "send call", "receive call", "settle call", "queue wait" (from the broker to the client) in seconds, or
    "throughput" in completed messages a second. statistic: "mean", "p50" or "p95". NaN: there was nothing to see.
    """

    run: str
    stage: str
    statistic: str
    measured: float
    simulated: float

    @property
    def error(self) -> float:
        """How far the simulation is off, as a share of what was measured; NaN where either is missing."""
        return self.simulated / self.measured - 1.0 if self.measured else math.nan


def residuals_of(runs: Sequence[Result], model: ProviderModel) -> Iterator[Residual]:
    """Every figure of every run; a run is simulated again with its own messages."""
    for run in runs:
        measured, simulated = _figures(run), _figures(Again(run, model).simulated())
        for (stage, statistic), value in measured.items():
            yield Residual(
                run=run.scenario.name,
                stage=stage,
                statistic=statistic,
                measured=value,
                simulated=simulated[stage, statistic],
            )


def _figures(run: Result) -> dict[tuple[str, str], float]:
    calls, figures = run.calls, dict[tuple[str, str], float]()
    for stage, op in CALLS.items():
        chosen = calls[(calls["op"] == op) & (calls["outcome"] == CALL_OK)]
        figures |= _statistics(stage, np.asarray(chosen["end_s"] - chosen["start_s"]))
    first = run.deliveries[run.deliveries["delivery_no"] == 1]
    wait_s = first["received_s"] - run.messages["sent_s"][first["message"]]
    figures |= _statistics("queue wait", wait_s[~np.isnan(wait_s)])
    figures["throughput", "mean"] = float((~np.isnan(run.messages["completed_s"])).sum()) / run.horizon_s
    return figures


def _statistics(stage: str, times_s: Floats) -> dict[tuple[str, str], float]:
    if not times_s.size:
        return dict.fromkeys(((stage, "mean"), (stage, "p50"), (stage, "p95")), math.nan)
    return {
        (stage, "mean"): float(times_s.mean()),
        (stage, "p50"): float(np.quantile(times_s, 0.5)),
        (stage, "p95"): float(np.quantile(times_s, 0.95)),
    }
