"""Consumers that are killed and start again, in exact numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model

from qtune.errors import ScenarioError
from qtune.result import DELIVERY_COMPLETED, DELIVERY_LOST, DELIVERY_RELEASED, OP_RECEIVE, Result
from qtune.scenario import Scenario
from qtune.simulation import simulate


def simulated(engine: str, scenario: Scenario) -> Result:
    """A run with the engine of this name."""
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


def one_job(folder: Path, *, instances: int = 2, **fault: Any) -> Scenario:
    """A job of 100 s on a queue with a visibility timeout of 300 s, and a fault that ends its consumer on the way."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": 1},
        service_time={"family": "constant", "mean_s": 100.0},
        queue={"provider": "sqs", "visibility_timeout_s": 300.0},
        consumers={"instances": instances, "workers": 1, "receive_batch": 1, "receive_wait_s": 20.0},
        faults=({"kind": "kill_consumers", **fault},),
        horizon_s=1000.0,
        model=write_model(folder, "sqs"),
    )


@pytest.mark.parametrize("killed_s", [1.0, 40.0, 99.5])
def test_a_kill_costs_what_is_left_of_the_timeout(engine: str, tmp_path: Path, killed_s: float) -> None:
    """A message whose consumer is killed waits for the rest of its visibility timeout, and is then done anew.

    The delay that a kill adds is the timeout less what had passed of it, whenever the kill comes.
    """
    result = simulate(one_job(tmp_path, at_s=killed_s), engine=engine)  # type: ignore[arg-type]
    lost, again = result.deliveries
    assert (lost["outcome"], again["outcome"]) == (DELIVERY_LOST, DELIVERY_COMPLETED)
    assert np.isnan(lost["finished_s"])
    assert (lost["consumer"], again["consumer"]) == (0, 1)
    assert again["started_s"] - killed_s == 300.0 - killed_s
    assert result.messages["completed_s"][0] == 400.0


def test_a_consumer_that_never_comes_back_leaves_its_messages(engine: str, tmp_path: Path) -> None:
    """The only consumer, killed without a restart, completes nothing any more; with one, it goes on."""
    scenario = one_job(tmp_path, at_s=40.0, instances=1)
    assert np.isnan(simulate(scenario, engine=engine).messages["completed_s"][0])  # type: ignore[arg-type]
    back = scenario.with_(faults=({"kind": "kill_consumers", "at_s": 40.0, "restart_after_s": 50.0},))
    assert simulate(back, engine=engine).messages["completed_s"][0] == 400.0  # type: ignore[arg-type]


def test_no_more_consumers_are_killed_than_run(tmp_path: Path) -> None:
    """A kill of more instances than run at that time is an error, not a smaller kill."""
    with pytest.raises(ScenarioError, match="only 1 of 2 instances run then"):
        one_job(tmp_path, at_s=1.0).with_(
            faults=(
                {"kind": "kill_consumers", "at_s": 1.0},
                {"kind": "kill_consumers", "at_s": 2.0, "count": 2},
            )
        )


def test_a_consumer_that_drains_finishes_its_job(engine: str, tmp_path: Path) -> None:
    """A consumer that is told to stop completes what it has in hand, takes no more, and is paid for to that moment."""
    scenario = one_job(tmp_path, kind="drain_consumers", at_s=40.0, instances=1)
    scenario = scenario.with_(arrivals={"messages": 2})
    result = simulated(engine, scenario)
    (delivery,) = result.deliveries
    assert (delivery["outcome"], delivery["settled_s"]) == (DELIVERY_COMPLETED, 100.0)
    states = result.states
    assert set(states["consumers"][states["time_s"] < 40.0]) == {1}
    assert set(states["consumers"][states["time_s"] > 40.0]) == {0}
    assert states["instance_s"][-1] == 100.0


@pytest.mark.parametrize(("grace_s", "completed_s"), [(59.0, 400.0), (61.0, 100.0)])
def test_the_grace_of_a_drain_decides_whether_a_job_is_lost(
    engine: str, tmp_path: Path, grace_s: float, completed_s: float
) -> None:
    """A job that outlasts the grace is killed with its consumer and done anew when its timeout has run out."""
    scenario = one_job(tmp_path, kind="drain_consumers", at_s=40.0, grace_s=grace_s)
    assert simulated(engine, scenario).messages["completed_s"][0] == completed_s


def test_an_instance_that_starts_again_is_paid_for_meanwhile(engine: str, tmp_path: Path) -> None:
    """A killed instance with a restart costs as if it had never ended; one without costs nothing from then on."""
    for restart_after_s, paid_s in ((50.0, 1000.0), (None, 40.0)):
        scenario = one_job(tmp_path, at_s=40.0, instances=1, restart_after_s=restart_after_s)
        assert simulated(engine, scenario).states["instance_s"][-1] == pytest.approx(paid_s, rel=1e-12)


def prefetching(folder: Path, client: str) -> Scenario:
    """Two workers, of whom one is told to stop while it has ten messages prefetched."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": 22},
        service_time={"family": "constant", "mean_s": 3.0},
        queue={"provider": "servicebus", "tier": "premium", "lock_duration_s": 60.0},
        consumers={"instances": 2, "workers": 1, "prefetch": 10, "client": client},
        faults=({"kind": "drain_consumers", "at_s": 10.0},),
        horizon_s=200.0,
        model=write_model(folder, "servicebus"),
    )


def test_a_client_that_releases_its_buffer_costs_no_lock(engine: str, tmp_path: Path) -> None:
    """azure-servicebus 7.15 gives back at once what it has prefetched; 7.14 leaves it locked for the rest of the lock.

    Given back, the messages are free at 10 s and not counted. Left, they wait for the 60 s of their lock and have one
    delivery more.
    """
    newer, older = (
        simulated(engine, prefetching(tmp_path, f"azure-servicebus-{version}"))
        for version in ("7.15", "7.14")
    )
    back = newer.deliveries[newer.deliveries["outcome"] == DELIVERY_RELEASED]
    left = older.deliveries[older.deliveries["outcome"] == DELIVERY_LOST]
    assert back.size == left.size == 7
    assert set(back["lock_end_s"]) == {10.0}
    assert set(left["lock_end_s"]) == {60.0}
    assert newer.messages["deliveries"].max() == 1
    assert np.count_nonzero(older.messages["deliveries"] == 2) == 7
    assert newer.messages["completed_s"].max() < 60.0 < older.messages["completed_s"].max()


def test_a_poll_that_waits_ends_with_its_consumer(engine: str, tmp_path: Path) -> None:
    """A long poll of a consumer that is told to stop brings nothing any more: the next message goes to another."""
    scenario = one_job(tmp_path, kind="drain_consumers", at_s=4.0, instances=2)
    scenario = scenario.with_(
        arrivals={
            "kind": "piecewise",
            "segments": [{"for_s": 5.0, "rate_per_s": 0.0}, {"for_s": 995.0, "rate_per_s": 0.01}],
        }
    )
    result = simulated(engine, scenario)
    assert set(result.deliveries["consumer"]) == {1}
    assert 0 not in result.calls["consumer"][result.calls["op"] == OP_RECEIVE]
