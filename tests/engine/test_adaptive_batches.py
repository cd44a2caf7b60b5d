"""Receives that adapt their batch to how long the last ones took, by the rule of the queue-runtime document."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model

from qtune.result import CALL_OK, OP_RECEIVE, Result
from qtune.scenario import Scenario
from qtune.simulation import simulate


def adapting(folder: Path, service_s: float, **fields: Any) -> Scenario:
    """A backlog for one loop that wants a second of work in each receive; calls take no time."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "burst_at_once", "messages": 1000},
        "service_time": {"family": "constant", "mean_s": service_s},
        "queue": {"provider": "sqs", "visibility_timeout_s": 600.0},
        "consumers": {
            "workers": 1,
            "receive_wait_s": 20.0,
            "adaptive_batch": {"min": 2, "max": 10, "target_duration_s": 1.0},
        },
        "horizon_s": 30.0,
        "model": write_model(folder, "sqs"),
    }
    return Scenario(**{**base, **fields})


def brought(engine: str, scenario: Scenario) -> list[int]:
    """How many messages each receive brought that brought any."""
    result: Result = simulate(scenario, engine=engine)  # type: ignore[arg-type]
    calls = result.calls
    counts: list[int] = calls["count"][(calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_OK)].tolist()
    return counts


@pytest.mark.parametrize(
    ("service_s", "fitting"),
    [(0.3, 3), (0.13, 7), (0.01, 10), (2.0, 2), (0.0004, 10)],
)
def test_a_receive_asks_for_what_fits_the_target(
    engine: str, tmp_path: Path, service_s: float, fitting: int
) -> None:
    """The first receive asks for the least, all others for the target over the time of a message, within the bounds.

    A batch that takes less than a millisecond counts as none, and then the most is asked for.
    """
    counts = brought(engine, adapting(tmp_path, service_s))
    assert counts[0] == 2
    assert len(counts) > 5
    assert set(counts[1:-1]) == {fitting}


def test_the_last_ten_batches_decide(engine: str, tmp_path: Path) -> None:
    """After ten batches at the new pace nothing is left of the old one.

    A call of 0.4 s with 0.05 s for each message makes a batch of n take 0.4 + 0.05 n: the size follows the rule,
    computed here batch by batch from the times that the rows show.
    """
    tried = adapting(
        tmp_path,
        0.05,
        handler={"takes": "batch", "per_call_s": 0.4},
        arrivals={"kind": "burst_at_once", "messages": 400},
    )
    result = simulate(tried, engine=engine)  # type: ignore[arg-type]
    calls = result.calls[(result.calls["op"] == OP_RECEIVE) & (result.calls["outcome"] == CALL_OK)]
    remembered: list[float] = []
    for this, following in pairwise(calls):
        remembered.insert(0, int((following["start_s"] - this["start_s"]) * 1000.0) / int(this["count"]))
        mean_ms = sum(remembered[:10]) / len(remembered[:10])
        assert following["count"] == min(max(int(1000.0 / mean_ms), 2), 10)
    assert np.unique(calls["count"]).size > 2


def test_the_wait_for_messages_counts(engine: str, tmp_path: Path) -> None:
    """The document's clock starts before the receive, so a queue with little to do shrinks its batches."""
    sparse = adapting(
        tmp_path,
        0.01,
        arrivals={"kind": "renewal", "rate_per_s": 0.5, "cv": 0.0},
        faults=({"kind": "pause_handlers", "at_s": 40.0, "for_s": 40.0},),
        horizon_s=100.0,
    )
    assert set(brought(engine, sparse)) == {1, 2}
