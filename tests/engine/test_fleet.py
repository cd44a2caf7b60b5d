"""Consumers that are killed and start again, in exact numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_models import write_model

from qtune.errors import ScenarioError
from qtune.result import DELIVERY_COMPLETED, DELIVERY_LOST
from qtune.scenario import Scenario
from qtune.simulation import simulate


def one_job(folder: Path, *, killed_s: float, instances: int = 2) -> Scenario:
    """A job of 100 s on a queue with a visibility timeout of 300 s, whose consumer is killed on the way."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": 1},
        service_time={"family": "constant", "mean_s": 100.0},
        queue={"provider": "sqs", "visibility_timeout_s": 300.0},
        consumers={"instances": instances, "workers": 1, "receive_batch": 1, "receive_wait_s": 20.0},
        faults=({"kind": "kill_consumers", "at_s": killed_s},),
        horizon_s=1000.0,
        model=write_model(folder, "sqs"),
    )


@pytest.mark.parametrize("killed_s", [1.0, 40.0, 99.5])
def test_a_kill_costs_what_is_left_of_the_timeout(engine: str, tmp_path: Path, killed_s: float) -> None:
    """A message whose consumer is killed waits for the rest of its visibility timeout, and is then done anew.

    The delay that a kill adds is the timeout less what had passed of it, whenever the kill comes.
    """
    result = simulate(one_job(tmp_path, killed_s=killed_s), engine=engine)  # type: ignore[arg-type]
    lost, again = result.deliveries
    assert (lost["outcome"], again["outcome"]) == (DELIVERY_LOST, DELIVERY_COMPLETED)
    assert np.isnan(lost["finished_s"])
    assert (lost["consumer"], again["consumer"]) == (0, 1)
    assert again["started_s"] - killed_s == 300.0 - killed_s
    assert result.messages["completed_s"][0] == 400.0


def test_a_consumer_that_never_comes_back_leaves_its_messages(engine: str, tmp_path: Path) -> None:
    """The only consumer, killed without a restart, completes nothing any more; with one, it goes on."""
    scenario = one_job(tmp_path, killed_s=40.0, instances=1)
    assert np.isnan(simulate(scenario, engine=engine).messages["completed_s"][0])  # type: ignore[arg-type]
    back = scenario.with_(faults=({"kind": "kill_consumers", "at_s": 40.0, "restart_after_s": 50.0},))
    assert simulate(back, engine=engine).messages["completed_s"][0] == 400.0  # type: ignore[arg-type]


def test_no_more_consumers_are_killed_than_run(tmp_path: Path) -> None:
    """A kill of more instances than run at that time is an error, not a smaller kill."""
    with pytest.raises(ScenarioError, match="only 1 of 2 instances run then"):
        one_job(tmp_path, killed_s=1.0).with_(
            faults=(
                {"kind": "kill_consumers", "at_s": 1.0},
                {"kind": "kill_consumers", "at_s": 2.0, "count": 2},
            )
        )
