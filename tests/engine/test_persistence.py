"""An in-memory queue that writes its calls to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_models import write_model

from qtune.analysis import capacity_per_s
from qtune.errors import ScenarioError
from qtune.scenario import Scenario
from qtune.simulation import simulate


def written(write_s: float | None) -> Scenario:
    """A backlog, senders and workers to spare, and a file."""
    queue = {"provider": "memory", "max_queue_size": 100_000, "persistence_s": write_s}
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": 5000},
        service_time={"family": "constant", "mean_s": 0.0001},
        producers={"senders": 50},
        queue=queue,
        consumers={"workers": 50, "polling": "permits", "receive_batch": 10, "receive_wait_s": 1.0},
        horizon_s=20.0,
    )


def test_calls_write_one_after_the_other(engine: str) -> None:
    """With 2 ms a write no more than 500 calls are answered in a second, whoever makes them; without, thousands."""
    slow, fast = (simulate(written(write_s), engine=engine).calls for write_s in (0.002, None))  # type: ignore[arg-type]
    per_s = np.bincount(slow["end_s"][np.isfinite(slow["end_s"])].astype(np.int64))
    assert 495 <= per_s[5] <= 505
    assert np.count_nonzero(fast["end_s"] < 1.0) > 5000


def test_the_file_bounds_the_throughput() -> None:
    """A message takes two writes of its own and its part of a receive, and that is the lowest ceiling."""
    scenario = written(0.002)
    assert pytest.approx(capacity_per_s(scenario), rel=0.01) == 1.0 / (2.1 * 0.002)


def test_a_file_contradicts_a_model_that_serves_few_calls(tmp_path: Path) -> None:
    """Two settings that say how many calls are served at once are an error."""
    model = write_model(tmp_path, "memory", round_trip="1ms", calls_served_at_once=4)
    with pytest.raises(ScenarioError, match="already serves 4 calls at once"):
        written(0.002).with_(model=model)
