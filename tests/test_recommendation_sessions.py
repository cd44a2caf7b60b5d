"""What the recommender does for a queue with sessions: how many are held at a time, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.analysis import summarize
from qtune.errors import Infeasible
from qtune.recommendation import Recommendation, recommend
from qtune.scenario import Scenario
from qtune.simulation import replicate


def short_sessions(**consumers: Any) -> Scenario:
    """Two messages a second, each a session of its own, handled in 0.1 s."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 2.0},
        groups={"kind": "own"},
        service_time={"family": "constant", "mean_s": 0.1},
        queue={"provider": "servicebus", "tier": "premium", "requires_session": True},
        consumers={"client": "azure-processor", "workers": 8, "cores": 64, **consumers},
        horizon_s=300.0,
    )


def p95_s(found: Recommendation, **consumers: int) -> float:
    """The latency of the answer with other consumers, in the runs in which it was confirmed."""
    tried = found.scenario.with_(consumers=consumers)
    return summarize(replicate(tried, len(found.seeds))).latency_s_p95.value


def test_short_sessions_are_closed_soon_and_no_more_are_held_than_needed() -> None:
    """Instead of 120 slots that wait for a minute each there are a few that wait for a second; one fewer misses."""
    found = recommend(short_sessions(), "p95=1s")
    held = found.settings["consumers.sessions"]
    assert isinstance(held, int)
    assert held == found.settings["consumers.workers"] < 8
    assert found.settings["consumers.session_idle_timeout_s"] == 1.0
    assert p95_s(found) <= 1.0
    assert p95_s(found, workers=held - 1, sessions=held - 1) > 1.0


def test_the_calls_of_each_session_stay_as_many_as_they_are() -> None:
    """How many calls a session has decides whether its messages keep their order, so the answer does not change it."""
    found = recommend(short_sessions(sessions=4), "p95=1s")
    held, workers = found.settings["consumers.sessions"], found.settings["consumers.workers"]
    assert isinstance(held, int)
    assert workers == 2 * held


def test_a_number_of_sessions_that_is_kept_is_that_of_the_answer() -> None:
    """Then the workers are a multiple of it, and two are too few for one instance to answer."""
    found = recommend(short_sessions(sessions=4), "p95=1s", keep=["consumers.sessions"])
    assert found.settings["consumers.sessions"] == 4
    with pytest.raises(Infeasible, match="sessions"):
        recommend(short_sessions(sessions=2), "p95=1s", keep=["consumers.sessions"], most_instances=1)


def test_busy_sessions_are_renewed_where_messages_may_not_come_twice() -> None:
    """A lock of 5 s is lost every 5 s, at work or not, by whoever holds a session whose messages keep coming."""
    busy = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 10.0},
        groups={"kind": "even", "count": 4},
        service_time={"family": "constant", "mean_s": 0.1},
        queue={"provider": "servicebus", "tier": "premium", "requires_session": True, "lock_duration_s": 5.0},
        consumers={"client": "azure-processor", "workers": 4, "cores": 64},
        horizon_s=100.0,
    )
    kept = ["queue.lock_duration", "consumers.instances"]
    renewed = recommend(busy, "p95=2s,duplicates=0.1%", keep=kept)
    assert renewed.settings["consumers.renewal"]
    with pytest.raises(Infeasible, match="locks run out before"):
        recommend(busy, "p95=2s,duplicates=0.1%", keep=[*kept, "consumers.renewal"])
