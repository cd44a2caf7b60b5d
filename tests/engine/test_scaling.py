"""Fleets that are scaled, in exact numbers: when which scaler has how many instances, and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model

from qtune.result import DELIVERY_LOST, MESSAGE_EXPIRED, Result
from qtune.scenario import Scenario
from qtune.simulation import simulate


def scaled(
    engine: str,
    folder: Path,
    *,
    waiting: int,
    horizon_s: float,
    instances: int,
    work_s: float = 1e5,
    faults: tuple[dict[str, Any], ...] = (),
    **scaling: Any,
) -> Result:
    """A backlog of long jobs before consumers of one worker each, on a queue whose calls take no time."""
    provider = "servicebus" if scaling["kind"] == "functions" else "sqs"
    queue: dict[str, Any] = {"provider": "sqs", "visibility_timeout_s": 43_200.0}
    client: dict[str, Any] = {"receive_wait_s": 20.0, "idle_pause_s": 1.0 if faults else None}
    if provider == "servicebus":
        queue = {"provider": "servicebus", "tier": "premium", "lock_duration_s": 300.0}
        client = {"client": "azure-processor", "renewal": {"max_s": 1e6}}
    scenario = Scenario(
        arrivals={"kind": "burst_at_once", "messages": waiting},
        service_time={"family": "constant", "mean_s": work_s},
        queue=queue,
        consumers={"instances": instances, "workers": 1, **client},
        scaling=scaling,
        faults=faults,
        horizon_s=horizon_s,
        model=write_model(folder, provider),
    )
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


def running(result: Result, *times_s: float) -> list[int]:
    """How many consumers take messages at these instants."""
    places = np.searchsorted(result.states["time_s"], times_s)
    return [int(count) for count in result.states["consumers"][places]]


def test_pods_ramp_up_as_the_autoscaler_steps(engine: str, tmp_path: Path) -> None:
    """Before an endless backlog the pods are 1, and from then on, every 15 s, 5, 10, 20, 40, 80 and 100."""
    result = scaled(
        engine, tmp_path, waiting=2_000, horizon_s=100.0, instances=100, kind="keda", min_instances=1
    )
    assert running(result, 14.0, *(15.0 * step + 1.0 for step in range(1, 7))) == [1, 5, 10, 20, 40, 80, 100]


def test_an_instance_receives_when_it_has_started(engine: str, tmp_path: Path) -> None:
    """An instance is paid for from the decision on, and receives after its start-up."""
    result = scaled(
        engine,
        tmp_path,
        waiting=100,
        horizon_s=40.0,
        instances=2,
        kind="keda",
        min_instances=1,
        start_up_s=20.0,
    )
    assert running(result, 16.0, 34.0, 36.0) == [1, 1, 2]
    assert result.states["instance_s"][-1] == pytest.approx(40.0 + 25.0)
    assert set(result.deliveries["locked_s"]) == {0.0, 35.0}


def test_idle_pods_go_after_the_window_and_not_after_the_cooldown(engine: str, tmp_path: Path) -> None:
    """From ten pods to one it takes the 300 s of the scale-down window; the cooldown is only for the last one."""
    base: dict[str, Any] = {
        "waiting": 1,
        "work_s": 1.0,
        "instances": 10,
        "start_instances": 10,
        "kind": "keda",
    }
    result = scaled(engine, tmp_path, horizon_s=400.0, min_instances=1, **base)
    assert running(result, 299.0, 301.0) == [10, 1]
    asleep = scaled(engine, tmp_path, horizon_s=400.0, min_instances=0, cooldown_s=100.0, **base)
    assert running(asleep, 29.0, 31.0) == [10, 0]


def test_a_sleeping_fleet_wakes_at_the_next_poll(engine: str, tmp_path: Path) -> None:
    """From zero, KEDA brings the first pod at its poll after 30 s, and the autoscaler the others from 30 s on."""
    result = scaled(engine, tmp_path, waiting=1_000, horizon_s=70.0, instances=50, kind="keda")
    assert running(result, 29.0, 31.0, 46.0, 61.0) == [0, 5, 10, 20]


def test_few_messages_below_the_activation_leave_the_fleet_asleep(engine: str, tmp_path: Path) -> None:
    """40 messages with a threshold of 10 and an activation of 50 are never handled, though four pods are wanted."""
    result = simulate(
        Scenario(
            arrivals={"kind": "burst_at_once", "messages": 40},
            service_time={"family": "constant", "mean_s": 1.0},
            queue={"provider": "sqs"},
            consumers={"instances": 10, "workers": 1, "receive_wait_s": 20.0},
            scaling={"kind": "keda", "messages": 10.0, "activation": 50.0},
            horizon_s=900.0,
            model=write_model(tmp_path, "sqs"),
        ),
        engine=engine,  # type: ignore[arg-type]
    )
    assert set(result.states["consumers"]) == {0}
    assert not result.deliveries.size


def test_a_fleet_with_an_idle_count_of_0_sleeps_and_wakes_to_its_fewest(engine: str, tmp_path: Path) -> None:
    """Idle for longer than the cooldown it has no pods; the poll that finds work brings the fewest, here three."""
    result = scaled(
        engine,
        tmp_path,
        waiting=1,
        horizon_s=200.0,
        instances=10,
        kind="keda",
        min_instances=3,
        start_instances=3,
        idle_instances=0,
        cooldown_s=60.0,
        messages=5.0,
        work_s=1.0,
    )
    assert running(result, 29.0, 31.0, 199.0) == [3, 0, 0]
    busy = scaled(
        engine,
        tmp_path,
        waiting=1,
        horizon_s=100.0,
        instances=10,
        kind="keda",
        min_instances=3,
        start_instances=3,
        idle_instances=0,
        faults=({"kind": "kill_consumers", "at_s": 1.0, "count": 3},),
    )
    assert running(busy, 2.0, 16.0, 31.0) == [0, 0, 3]


def test_an_idle_count_above_0_fights_with_the_autoscaler(engine: str, tmp_path: Path) -> None:
    """KEDA takes the second pod every 30 s, and the autoscaler, whose fewest are two, brings it back each time."""
    result = scaled(
        engine,
        tmp_path,
        waiting=1,
        horizon_s=300.0,
        instances=10,
        kind="keda",
        min_instances=2,
        idle_instances=1,
        start_up_s=5.0,
        work_s=1.0,
    )
    polls = [30.0 * poll for poll in range(1, 10)]
    assert running(result, *(at_s + 1.0 for at_s in polls)) == [1] * 9
    assert running(result, *(at_s + 10.0 for at_s in polls)) == [2] * 9


def test_a_scaler_does_nothing_while_the_queue_cannot_be_read(engine: str, tmp_path: Path) -> None:
    """In an outage the number of messages is not known: two pods stay before a backlog of a hundred, until it ends."""
    outage = {"kind": "outage", "at_s": 10.0, "for_s": 90.0}
    result = scaled(
        engine,
        tmp_path,
        waiting=100,
        horizon_s=140.0,
        instances=50,
        kind="keda",
        min_instances=2,
        faults=(outage,),
    )
    assert running(result, 16.0, 99.0, 104.0, 106.0, 121.0) == [2, 2, 2, 6, 12]


def test_a_fallback_follows_when_the_threshold_is_passed(engine: str, tmp_path: Path) -> None:
    """The questions of 15, 30 and 45 s fail; with a threshold of 2 the third brings the six replicas of the fallback.

    Two pods may grow by four in a step, so they are there at once; after the outage the messages decide again.
    """
    result = scaled(
        engine,
        tmp_path,
        waiting=100,
        horizon_s=140.0,
        instances=50,
        kind="keda",
        min_instances=2,
        faults=({"kind": "outage", "at_s": 10.0, "for_s": 90.0},),
        fallback={"failure_threshold": 2, "replicas": 6},
    )
    assert running(result, 44.0, 46.0, 104.0, 106.0) == [2, 6, 6, 12]


@pytest.mark.parametrize(("in_flight", "lost"), [(True, 0), (False, 3)])
def test_counting_visible_messages_only_kills_running_jobs(
    engine: str, tmp_path: Path, in_flight: bool, lost: int
) -> None:
    """Four jobs in flight and none visible look like no work: three of their four pods are killed.

    With messages in flight counted, which is the default, they want four pods, and none is.
    """
    result = scaled(
        engine,
        tmp_path,
        waiting=4,
        messages=1.0,
        work_s=3_000.0,
        horizon_s=1_000.0,
        instances=5,
        kind="keda",
        min_instances=1,
        start_instances=4,
        scale_on_in_flight=in_flight,
    )
    assert np.count_nonzero(result.deliveries["outcome"] == DELIVERY_LOST) == lost


def test_target_tracking_waits_for_three_points_of_its_metric(engine: str, tmp_path: Path) -> None:
    """1,500 messages before ten instances with a target of 100 add five, when three minutes have shown it."""
    result = scaled(
        engine,
        tmp_path,
        waiting=1_500,
        horizon_s=400.0,
        instances=20,
        kind="target_tracking",
        backlog=100.0,
        min_instances=1,
        start_instances=10,
    )
    assert running(result, 179.0, 181.0, 399.0) == [10, 15, 15]


def test_functions_grow_by_four_every_half_minute(engine: str, tmp_path: Path) -> None:
    """1,000 messages bring four instances of Azure Functions every 30 s, from none."""
    result = scaled(engine, tmp_path, waiting=1_000, horizon_s=140.0, instances=63, kind="functions")
    assert running(result, 29.0, 31.0, 61.0, 91.0, 121.0) == [0, 4, 8, 12, 16]


def test_lambda_adds_three_hundred_a_minute(engine: str, tmp_path: Path) -> None:
    """A mapping starts with 5 concurrent batches and has 305, 605 and at most its MaximumConcurrency."""
    result = scaled(engine, tmp_path, waiting=2_000, horizon_s=200.0, instances=700, kind="lambda")
    assert running(result, 59.0, 61.0, 121.0, 181.0) == [5, 305, 605, 700]


def test_a_mapping_of_a_fifo_queue_works_on_one_batch_of_a_group_at_a_time(
    engine: str, tmp_path: Path
) -> None:
    """Six groups keep six of ten concurrent batches at work: the fewer of active groups and MaximumConcurrency."""
    result = simulate(
        Scenario(
            arrivals={"kind": "burst_at_once", "messages": 600},
            service_time={"family": "constant", "mean_s": 1.0},
            groups={"kind": "even", "count": 6},
            queue={"provider": "sqs", "type": "fifo", "visibility_timeout_s": 600.0},
            consumers={"instances": 10, "workers": 1, "receive_wait_s": 20.0},
            scaling={"kind": "lambda"},
            horizon_s=70.0,
            model=write_model(tmp_path, "sqs"),
        ),
        engine=engine,  # type: ignore[arg-type]
    )
    started = result.deliveries[~np.isnan(result.deliveries["started_s"])]
    scaled_out = started[started["started_s"] > 61.0]
    assert running(result, 59.0, 61.0) == [5, 10]
    assert np.unique(scaled_out["started_s"], return_counts=True)[1].max() == 6


def test_messages_outlive_their_retention_while_no_consumer_runs(engine: str, tmp_path: Path) -> None:
    """Consumers that are away for 50 h with a retention of 24 h lose 26 of the 50 hours: 52 %."""
    hour_s = 3_600.0
    result = simulate(
        Scenario(
            arrivals={"kind": "renewal", "rate_per_s": 30.0 / hour_s, "cv": 0.0},
            service_time={"family": "constant", "mean_s": 1.0},
            queue={"provider": "sqs", "message_retention_s": 24.0 * hour_s},
            consumers={"workers": 1, "receive_wait_s": 20.0},
            faults=({"kind": "drain_consumers", "at_s": 10.01 * hour_s, "restart_after_s": 50.0 * hour_s},),
            horizon_s=70.0 * hour_s,
            model=write_model(tmp_path, "sqs"),
        ),
        engine=engine,  # type: ignore[arg-type]
    )
    due_s = result.messages["due_s"]
    away = np.count_nonzero((due_s > 10.01 * hour_s) & (due_s <= 60.01 * hour_s))
    expired = np.count_nonzero(result.messages["state"] == MESSAGE_EXPIRED)
    assert expired / away == pytest.approx(0.52, abs=1.5 / away)


QUEUES_WITH_GROUPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fifo": ({"provider": "sqs", "type": "fifo", "visibility_timeout_s": 600.0}, {"receive_wait_s": 20.0}),
    "sessions": (
        {"provider": "servicebus", "tier": "premium", "requires_session": True, "lock_duration_s": 300.0},
        {"client": "azure-processor", "session_idle_timeout_s": 1.0},
    ),
}


@pytest.mark.parametrize("kind", QUEUES_WITH_GROUPS)
@pytest.mark.parametrize(
    ("target", "most"), [({"messages": 5.0}, 10), ({"groups": 1.0}, 3), ({"groups": 2.0}, 2)]
)
def test_open_groups_can_be_counted_instead_of_messages(
    engine: str, kind: str, target: dict[str, float], most: int
) -> None:
    """Three groups with 300 messages keep three pods busy: by messages there are ten, and by groups as many as work.

    A group counts as long as a message of it is ready or in flight; when all are done, no pod is wanted but the least.
    """
    queue, client = QUEUES_WITH_GROUPS[kind]
    scenario = Scenario(
        arrivals={"kind": "burst_at_once", "messages": 300},
        groups={"kind": "even", "count": 3},
        service_time={"family": "constant", "mean_s": 0.7},
        queue=queue,
        consumers={"instances": 10, "workers": 1, **client},
        scaling={"kind": "keda", "min_instances": 1, "tolerance": 0.0, "scale_down_window_s": 0.0, **target},
        horizon_s=300.0,
    )
    result = simulate(scenario, engine=engine)  # type: ignore[arg-type]
    assert result.states["consumers"].max() == most
    assert result.states["busy_workers"].max() == min(3, most)
    assert running(result, 299.0) == [1]
