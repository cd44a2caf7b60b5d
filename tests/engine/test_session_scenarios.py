"""Queues with sessions as a user writes them: their throughput, what contradicts them, and their laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qtune.analysis import capacity_of, setup_of
from qtune.errors import ScenarioError
from qtune.invariants import check
from qtune.result import MESSAGE_COMPLETED, Result, Table
from qtune.scenario import Scenario
from qtune.simulation import simulate

IN_MEMORY = {"provider": "memory", "session_lock_duration_s": 300.0}


def queue(**changes: Any) -> Scenario:
    """Ten receivers for sessions of one message each, of which more wait than they can have; with the changes."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "burst_at_once", "messages": 1000},
        "service_time": {"family": "constant", "mean_s": 0.05},
        "groups": {"kind": "own"},
        "queue": {"provider": "servicebus", "tier": "premium", "requires_session": True},
        "consumers": {"client": "azure-processor", "workers": 10},
        "horizon_s": 3600.0,
    }
    return Scenario(**{**base, **changes})


def test_ten_receivers_have_ten_short_sessions_a_minute(engine: str) -> None:
    """Each waits 60 s for a second message before it takes the next session (Azure/azure-sdk-for-net#21106)."""
    scenario = queue()
    done = simulate(scenario, engine=engine).messages["state"] == MESSAGE_COMPLETED  # type: ignore[arg-type]
    assert np.count_nonzero(done) == pytest.approx(600, rel=0.05)
    found = capacity_of(setup_of(scenario))
    assert found.ceilings[0].resource == "sessions"
    assert found.per_s == pytest.approx(10.0 / 60.0, rel=0.05)


def test_the_busiest_session_bounds_the_capacity(engine: str) -> None:
    """One session of one call at a time carries a message per receive, handler and settlement."""
    scenario = queue(groups={"kind": "even", "count": 1}, horizon_s=30.0)
    found = capacity_of(setup_of(scenario))
    assert found.ceilings[0].resource == "groups"
    done_s = simulate(scenario, engine=engine).messages["left_s"]  # type: ignore[arg-type]
    assert np.count_nonzero(done_s < 30.0) == pytest.approx(30.0 * found.per_s, rel=0.1)


def test_a_session_may_have_several_calls_at_a_time(engine: str) -> None:
    """With two calls in each of two sessions four messages are handled at once, and two sessions are held."""
    two = {"client": "azure-processor", "workers": 4, "sessions": 2}
    result = simulate(queue(groups={"kind": "even", "count": 8}, consumers=two, horizon_s=5.0), engine=engine)  # type: ignore[arg-type]
    assert result.states["busy_workers"].max() == 4
    at = result.deliveries["started_s"] < 1.0
    assert np.unique(result.messages["group"][result.deliveries["message"][at]]).size == 2


def trickle(**changes: Any) -> Scenario:
    """Four sessions that each have a message every 0.4 s or so, and two instances that can hold four sessions each."""
    steady: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": 10.0},
        "groups": {"kind": "even", "count": 4},
        "queue": {
            "provider": "servicebus",
            "tier": "premium",
            "requires_session": True,
            "lock_duration_s": 300.0,
        },
        "consumers": {"client": "azure-processor", "workers": 4, "instances": 2},
        "horizon_s": 200.0,
    }
    return queue(**{**steady, **changes})


def holders(result: Result, group: int) -> list[int]:
    """The instances that had messages of a session, each as often as it took the session from another."""
    its = result.deliveries[result.messages["group"][result.deliveries["message"]] == group]["consumer"]
    return its[np.append(True, its[1:] != its[:-1])].tolist()  # type: ignore[no-any-return]


def test_who_holds_a_session_keeps_it_while_messages_come(engine: str) -> None:
    """No session moves, not even to an instance that is added and has nothing to do."""
    scaling = {"kind": "keda", "min_instances": 1, "messages": 0.001, "scale_up_pods": 4}
    result = simulate(trickle(scaling=scaling), engine=engine)  # type: ignore[arg-type]
    assert result.states["consumers"][-1] == 2
    assert [holders(result, group) for group in range(4)] == [[0]] * 4


def test_the_sessions_of_a_drained_instance_go_to_another_and_nothing_is_repeated(engine: str) -> None:
    """All that the first instance held is the second's at once, in order, and no message is delivered twice."""
    drain = {"kind": "drain_consumers", "at_s": 100.0, "count": 1, "grace_s": 30.0}
    result = simulate(trickle(faults=[drain]), engine=engine)  # type: ignore[arg-type]
    moved = [group for group in range(4) if holders(result, group) == [0, 1]]
    assert len(moved) + sum(holders(result, group) == [1] for group in range(4)) == 4
    assert moved
    assert (result.deliveries["delivery_no"] == 1).all()
    assert check(result) == []


def test_the_sessions_of_a_killed_instance_wait_for_their_locks(engine: str) -> None:
    """Until their locks of 20 s run out nothing of them is handled; what was in hand is delivered a second time."""
    locked = {"provider": "servicebus", "tier": "premium", "requires_session": True, "lock_duration_s": 20.0}
    consumers = {"client": "azure-processor", "workers": 4, "instances": 2, "renewal": {"max_s": 1000.0}}
    kill = {"kind": "kill_consumers", "at_s": 100.0, "count": 1}
    result = simulate(trickle(queue=locked, consumers=consumers, faults=[kill]), engine=engine)  # type: ignore[arg-type]
    group = result.messages["group"][result.deliveries["message"]]
    moved = [number for number in range(4) if holders(result, number) == [0, 1]]
    assert moved
    for number in moved:
        its = result.deliveries[group == number]
        first_s = its["locked_s"][its["consumer"] == 1].min()
        assert 100.0 + 20.0 - 10.0 - 1.0 <= first_s <= 100.0 + 20.0 + 1.0
    again = result.deliveries[result.deliveries["delivery_no"] == 2]
    assert set(again["consumer"].tolist()) <= {1}
    assert check(result) == []


def test_a_session_in_memory_waits_a_second_for_its_next_message(engine: str) -> None:
    """Two receivers in one process have about two sessions of one message in a second, and hold one lock for each."""
    scenario = queue(queue=IN_MEMORY, consumers={"workers": 2}, horizon_s=100.0)
    result = simulate(scenario, engine=engine)  # type: ignore[arg-type]
    done = np.count_nonzero(result.messages["state"] == MESSAGE_COMPLETED)
    assert done == pytest.approx(2.0 * 100.0 / (1.0 + 0.05), rel=0.02)
    assert capacity_of(setup_of(scenario)).per_s == pytest.approx(done / 100.0, rel=0.05)
    assert (result.deliveries["lock_end_s"] - result.deliveries["locked_s"]).max() <= 300.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": None}, "belongs to one"),
        ({"consumers": {"workers": 2}}, "only azure-processor and azure-functions are simulated"),
        ({"consumers": {"client": "azure-processor", "workers": 4, "sessions": 3}}, "divides workers"),
        (
            {"consumers": {"client": "azure-processor", "workers": 4, "credit_returned": "taken"}},
            "leave it out",
        ),
        ({"failures": {"on_failure": "lock_expiry"}}, "on_failure: abandon"),
        (
            {
                "queue": {"provider": "servicebus", "tier": "premium"},
                "consumers": {"workers": 2, "sessions": 2},
            },
            "no sessions",
        ),
        (
            {"queue": {"provider": "memory"}, "consumers": {"workers": 2, "sessions": 2}},
            "session_lock_duration: 5min",
        ),
        (
            {"queue": {"provider": "sqs"}, "consumers": {"workers": 2, "session_idle_timeout_s": 1.0}},
            "no sessions",
        ),
        ({"queue": IN_MEMORY, "consumers": {"workers": 2, "receive_batch": 5}}, "message by message"),
        (
            {"queue": {**IN_MEMORY, "lock_duration_s": 30.0}, "consumers": {"workers": 2}},
            "is that of its messages",
        ),
        ({"queue": {**IN_MEMORY, "persistence_s": 0.001}, "consumers": {"workers": 2}}, "writes to a file"),
    ],
)
def test_settings_that_contradict_sessions_are_errors(changes: dict[str, Any], message: str) -> None:
    """Each says what to write instead."""
    with pytest.raises(ScenarioError, match=message):
        queue(**changes)


def test_the_laws_of_sessions_find_what_breaks_them() -> None:
    """Two consumers in one session at a time, and messages of one out of order, are found."""
    many = {"client": "azure-processor", "workers": 1, "instances": 2}
    good = simulate(queue(groups={"kind": "even", "count": 2}, consumers=many, horizon_s=20.0))
    assert check(good) == []

    def broken(change: Callable[[Table], None]) -> str:
        deliveries = good.deliveries.copy()
        change(deliveries)
        return " ".join(check(replace(good, deliveries=deliveries)))

    group = good.messages["group"][good.deliveries["message"]]
    first, second = np.flatnonzero(group == 0)[:2]

    def shared(deliveries: Table) -> None:
        deliveries["consumer"][second] = 1 - deliveries["consumer"][second]
        deliveries["locked_s"][second] = deliveries["lock_end_s"][first] - 0.01

    def swapped(deliveries: Table) -> None:
        deliveries["message"][[first, second]] = deliveries["message"][[second, first]]

    assert "before all locks of the one before had ended" in broken(shared)
    assert "the next one is of an older message" in broken(swapped)
