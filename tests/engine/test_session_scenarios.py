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
from qtune.result import MESSAGE_COMPLETED, Table
from qtune.scenario import Scenario
from qtune.simulation import simulate


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
