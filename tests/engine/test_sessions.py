"""Sessions: who holds one, for how long, and what becomes of its messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_plans import Rows, due_at, run, tables

from qtune.analysis import capacity_of, setup_of
from qtune.distributions import Constant
from qtune.engine import streams
from qtune.engine.plan import BY_SESSION, GIVEN_GROUPS, LINK_SLIDING, Plan
from qtune.errors import ScenarioError
from qtune.invariants import check
from qtune.result import (
    CALL_EMPTY,
    DELIVERY_LATE,
    DELIVERY_LOST,
    DELIVERY_RELEASED,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    OP_RECEIVE,
    OP_RENEW,
    Table,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

A, B = 0, 1
TRIP_S = 0.0625  # powers of 2, so that sums of them are exact
HANDLER_S = 1.0
IDLE_S = 8.0


def sessions(*groups: int, **fields: Any) -> Plan:
    """Messages of these sessions at time 0; one receiver, calls of a sixteenth of a second, handlers of 1 s."""
    fixed: dict[str, Any] = {
        "seed": 1,
        "horizon_s": 100.0,
        "sample_every_s": 1.0,
        "lock_s": 1000.0,
        "hands_out": BY_SESSION,
        "grouping": GIVEN_GROUPS,
        "group_of": np.array(groups, np.int64),
        "discipline": LINK_SLIDING,
        "in_hand_limit": 1,
        "abandons": True,
        "session_idle_s": IDLE_S,
        "accept_wait_s": 60.0,
        "tables": tables(
            service=Constant(value=HANDLER_S),
            receive=Constant(value=TRIP_S),
            settle=Constant(value=TRIP_S),
            renew=Constant(value=TRIP_S),
        ),
        **due_at(*[0.0] * len(groups)),
    }
    return Plan(**{**fixed, **fields})


def told_to_stop(at_s: float, grace_s: float) -> dict[str, Any]:
    """The fields of a plan whose first consumer is told to stop for good."""
    told = {"fleet_at_s": at_s, "fleet_grace_s": grace_s, "fleet_back_s": np.inf}
    return {**{name: np.array([value]) for name, value in told.items()}, "fleet_count": np.array([1])}


def handled(rows: Rows) -> list[int]:
    """The messages in the order in which handlers start on them."""
    started = rows.deliveries[~np.isnan(rows.deliveries["started_s"])]
    order: list[int] = started["message"][np.argsort(started["started_s"], kind="stable")].tolist()
    return order


def test_a_receiver_handles_all_of_a_session_before_it_takes_the_next(engine: str) -> None:
    """The session with the oldest message comes first, and messages that come in time belong to its holder."""
    rows = run(engine, sessions(A, B, A, B, A, **due_at(0.0, 0.0, 0.0, 0.0, 3.0)))
    assert handled(rows) == [0, 2, 4, 1, 3]
    assert (rows.messages["state"] == MESSAGE_COMPLETED).all()


def test_a_session_is_held_for_the_idle_timeout_after_its_last_message(engine: str) -> None:
    """Between two sessions lie the timeout, closing one, asking for the next, and a trip for its first message."""
    rows = run(engine, sessions(A, B))
    first, second = rows.deliveries
    assert second["received_s"] - first["settled_s"] == IDLE_S + 3.0 * TRIP_S


def test_a_message_that_comes_too_late_finds_its_session_closed(engine: str) -> None:
    """Just within the timeout the holder gets it; beyond, who asks next: here another receiver, which waits already."""
    done_s = 2.0 * TRIP_S + HANDLER_S + TRIP_S
    for late_s, consumers in ((IDLE_S - 0.5, {0}), (IDLE_S + 0.5, {0, 1})):
        rows = run(engine, sessions(A, A, consumers=2, **due_at(0.0, done_s + late_s)))
        assert set(rows.deliveries["consumer"].tolist()) == consumers


def test_no_two_receivers_have_one_session_and_no_receiver_has_two(engine: str) -> None:
    """With 4 sessions and 16 receivers 4 are busy, however many messages wait (Azure/azure-service-bus-java#261)."""
    rows = run(engine, sessions(*range(4), *range(4), *range(4), consumers=16, horizon_s=20.0))
    assert rows.states["busy_workers"].max() == 4
    for group in range(4):
        its = rows.deliveries[rows.messages["group"][rows.deliveries["message"]] == group]
        assert np.unique(its["consumer"]).size == 1
        assert (its["started_s"][1:] >= its["settled_s"][:-1]).all()


def test_an_abandoned_message_is_the_next_of_its_session(engine: str) -> None:
    """Nothing of the session is handled before a message that fails has been dead-lettered."""
    rows = run(engine, sessions(A, A, poison_steps=streams.chance_steps(1.0), max_deliveries=3))
    assert handled(rows) == [0, 0, 0, 1, 1, 1]
    assert (rows.messages["state"] == MESSAGE_DEAD_LETTERED).all()


def test_a_session_lock_that_runs_out_counts_a_delivery(engine: str) -> None:
    """The handler works in vain, the message counts as delivered, and another receiver may have the session."""
    rows = run(engine, sessions(A, A, lock_s=0.5, consumers=2, horizon_s=5.0))
    first = rows.deliveries[0]
    granted_s = 0.5 * TRIP_S
    assert first["lock_end_s"] == granted_s + 0.5
    assert first["outcome"] == DELIVERY_LATE
    second = rows.deliveries[1]
    assert second["message"] == 0
    assert second["delivery_no"] == 2
    assert second["consumer"] == 1
    once = run(engine, sessions(A, A, lock_s=0.5, consumers=2, horizon_s=5.0, max_deliveries=1))
    assert (once.messages["state"] == MESSAGE_DEAD_LETTERED).all()


def test_the_lock_of_a_session_is_renewed_and_with_it_its_messages(engine: str) -> None:
    """Renewed after half of each lock a session outlives any handler; when renewals end, so does the lock."""
    plan = sessions(
        A, A, A, lock_s=1.0, renews_sessions=True, renew_after_s=0.5, renew_max_s=2.0, horizon_s=8.0
    )
    for_ever = run(engine, replace(plan, renew_max_s=100.0))
    assert (for_ever.messages["state"] == MESSAGE_COMPLETED).all()
    assert np.count_nonzero(for_ever.calls["op"] == OP_RENEW) > 5
    ended = run(engine, plan)
    assert DELIVERY_LATE in ended.deliveries["outcome"]
    renewals_s = ended.calls["end_s"][ended.calls["op"] == OP_RENEW]
    late = ended.deliveries[ended.deliveries["outcome"] == DELIVERY_LATE][0]
    assert late["lock_end_s"] == renewals_s[renewals_s < late["lock_end_s"]].max() + 1.0


def test_closing_a_session_gives_back_uncounted_what_is_on_its_way(engine: str) -> None:
    """A message that is pushed while the session is being closed comes again with the same delivery number."""
    closes_s = 2.0 * TRIP_S + HANDLER_S + TRIP_S + IDLE_S
    rows = run(engine, sessions(A, A, **due_at(0.0, closes_s + 0.25 * TRIP_S)))
    released, again = rows.deliveries[1:]
    assert released["outcome"] == DELIVERY_RELEASED
    assert np.isnan(released["received_s"])
    assert (again["message"], again["delivery_no"]) == (1, 1)
    assert rows.messages["state"][1] == MESSAGE_COMPLETED


def test_a_wish_for_a_session_is_kept_for_the_try_timeout(engine: str) -> None:
    """With no session to have, receivers come home empty each 60 s and a round trip, and ask again."""
    rows = run(engine, sessions(A, consumers=2, **due_at(200.0), horizon_s=190.0))
    empty = rows.calls[rows.calls["op"] == OP_RECEIVE]
    assert (empty["outcome"] == CALL_EMPTY).all()
    assert (empty["end_s"] - empty["start_s"] == 60.0 + TRIP_S).all()
    assert empty.size == 2 * 3


def test_the_session_of_a_killed_consumer_is_locked_until_its_lock_runs_out(engine: str) -> None:
    """The broker learns nothing of the kill: the next receiver has the session when the lock has ended."""
    plan = sessions(A, lock_s=20.0, consumers=2, **told_to_stop(0.5, grace_s=0.0))
    rows = run(engine, plan)
    lost, second = rows.deliveries
    assert (lost["consumer"], lost["outcome"]) == (0, DELIVERY_LOST)
    assert second["consumer"] == 1
    assert second["locked_s"] >= lost["lock_end_s"] == 0.5 * TRIP_S + 20.0


def test_a_consumer_that_drains_closes_its_session_when_its_handlers_have_ended(engine: str) -> None:
    """It finishes what it has begun with; the rest of the session is at once another's, uncounted."""
    plan = sessions(A, A, A, consumers=2, in_hand_limit=2, **told_to_stop(0.5, grace_s=30.0))
    rows = run(engine, plan)
    first, released, *others = rows.deliveries
    assert (first["consumer"], first["message"]) == (0, 0)
    assert (released["outcome"], released["lock_end_s"]) == (DELIVERY_RELEASED, first["settled_s"])
    assert [(its["message"], its["delivery_no"], its["consumer"]) for its in others] == [(1, 1, 1), (2, 1, 1)]
    assert (rows.messages["state"] == MESSAGE_COMPLETED).all()


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
