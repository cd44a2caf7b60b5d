"""A downstream that all handlers share: Erlang's formulas, token buckets, and a reported incident, in exact numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_agreement import MESSAGES, PRECISION, agrees, means, replications, sojourns_s
from engine_models import write_model
from engine_plans import at_once, due_at, poisson, queue_plan, run, tables

from qtune.analysis.theory import MMc, erlang_b
from qtune.distributions import Constant, Exponential
from qtune.errors import ScenarioError
from qtune.result import (
    DELIVERY_FAILED,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    Result,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate


def reserved_concurrency(
    engine: str, folder: Path, *, messages: int, connections: int, receives: int, horizon_s: float
) -> Result:
    """A function of 3 s on a queue with a timeout of 90 s, whose reserved concurrency throttles its pollers."""
    scenario = Scenario(
        arrivals={"kind": "burst_at_once", "messages": messages},
        service_time={"family": "constant", "mean_s": 3.0},
        failures={"on_failure": "lock_expiry"},
        downstream={"connections": connections, "when_full": "reject"},
        queue={"provider": "sqs", "visibility_timeout_s": 90.0, "max_receive_count": receives},
        consumers={"workers": messages, "receive_wait_s": 20.0},
        horizon_s=horizon_s,
        model=write_model(folder, "sqs"),
    )
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


def test_a_throttled_receive_counts(engine: str, tmp_path: Path) -> None:
    """Reserved concurrency 1, four messages, three receives: done at 3, 93 and 183 s, and one dead letter at 270 s.

    No handler ever ran for the one that is lost, and each message that waits for its turn waits for its timeout.
    """
    result = reserved_concurrency(engine, tmp_path, messages=4, connections=1, receives=3, horizon_s=400.0)
    done = result.messages["state"] == MESSAGE_COMPLETED
    assert sorted(result.messages["completed_s"][done].tolist()) == [3.0, 93.0, 183.0]
    (lost,) = np.flatnonzero(result.messages["state"] == MESSAGE_DEAD_LETTERED)
    assert result.messages["left_s"][lost] == 270.0
    its = result.deliveries[result.deliveries["message"] == lost]
    assert its["delivery_no"].tolist() == [1, 2, 3]
    assert (its["attempts"] == 0).all()
    assert (its["outcome"] == DELIVERY_FAILED).all()
    assert result.states["refusals"][-1] == 3 + 2 + 1


@pytest.mark.parametrize(("receives", "lost"), [(1, 3), (2, 2), (3, 1), (4, 0), (5, 0)])
def test_how_many_receives_a_throttled_burst_needs(
    engine: str, tmp_path: Path, receives: int, lost: int
) -> None:
    """With reserved concurrency 1, four messages lose 3, 2, 1, 0 and 0 of them for 1 to 5 receives."""
    result = reserved_concurrency(
        engine, tmp_path, messages=4, connections=1, receives=receives, horizon_s=600.0
    )
    assert np.count_nonzero(result.messages["state"] == MESSAGE_DEAD_LETTERED) == lost
    assert np.count_nonzero(result.messages["state"] == MESSAGE_COMPLETED) == 4 - lost


@pytest.mark.parametrize("messages", [50, 60, 100])
def test_a_burst_beyond_receives_times_concurrency_is_lost(
    engine: str, tmp_path: Path, messages: int
) -> None:
    """With reserved concurrency 10 and five receives, 50 messages of a burst are done, and all beyond are lost."""
    result = reserved_concurrency(
        engine, tmp_path, messages=messages, connections=10, receives=5, horizon_s=600.0
    )
    lost = np.count_nonzero(result.messages["state"] == MESSAGE_DEAD_LETTERED)
    assert lost == messages - 50


def test_a_pool_that_lets_handlers_wait_is_an_erlang_c_queue(engine: str) -> None:
    """With more workers than connections the connections are the servers, and messages queue for them."""
    rate_per_s = 4.0
    plan = queue_plan(
        workers=40,
        downstream_connections=5,
        horizon_s=MESSAGES[engine] / rate_per_s,
        tables=tables(service=Exponential(mean=1.0)),
        **poisson(rate_per_s),
    )
    exact_s = MMc(arrival_per_s=rate_per_s, service_mean_s=1.0, servers=5).sojourn_mean_s
    found = means(replications(engine, plan), lambda rows: sojourns_s(rows, leave_out=200))
    agrees(found, exact_s, precision=PRECISION[engine])


def test_a_pool_that_refuses_is_an_erlang_b_system(engine: str) -> None:
    """Of single attempts at a full pool of 5, at 4 erlangs, Erlang's share is refused, whatever the service times."""
    rate_per_s = 4.0
    for service in (Exponential(mean=1.0), Constant(value=1.0)):
        plan = queue_plan(
            workers=60,
            downstream_connections=5,
            downstream_rejects=True,
            refusal_s=0.001,
            max_deliveries=1,
            horizon_s=MESSAGES[engine] / rate_per_s,
            tables=tables(service=service),
            **poisson(rate_per_s),
        )
        lost = [
            float(np.mean(rows.messages["state"] == MESSAGE_DEAD_LETTERED))
            for rows in replications(engine, plan)
        ]
        agrees(lost, erlang_b(5, 4.0), precision=PRECISION[engine])


def test_a_rate_lets_a_burst_through_and_then_keeps_its_pace(engine: str) -> None:
    """A bucket of 3 at 4 a second serves three of eight messages at once, and then one in each quarter of a second."""
    plan = queue_plan(
        workers=8,
        downstream_gap_s=0.25,
        downstream_ahead_s=0.5,
        horizon_s=10.0,
        tables=tables(service=Constant(value=1.0)),
        **at_once(8),
    )
    finished_s = run(engine, plan).messages["completed_s"]
    assert sorted(finished_s.tolist()) == [1.0, 1.0, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25]


def test_a_rate_that_refuses_answers_what_is_beyond_its_burst(engine: str) -> None:
    """Ten attempts at once at an interface that takes bursts of four: six are refused."""
    plan = queue_plan(
        workers=10,
        downstream_gap_s=0.25,
        downstream_ahead_s=0.75,
        downstream_rejects=True,
        refusal_s=0.01,
        max_deliveries=1,
        horizon_s=10.0,
        tables=tables(service=Constant(value=1.0)),
        **at_once(10),
    )
    rows = run(engine, plan)
    assert rows.states["refusals"][-1] == 6
    assert np.count_nonzero(rows.messages["state"] == MESSAGE_DEAD_LETTERED) == 6


def test_a_refused_attempt_is_tried_again_after_the_backoff(engine: str) -> None:
    """With one connection taken for 1 s, a second handler is refused twice and served at its third attempt.

    Each refusal takes 0.1 s and is followed by a wait of 0.5 s, so the third attempt begins at 1.2 s.
    """
    plan = queue_plan(
        workers=2,
        downstream_connections=1,
        downstream_rejects=True,
        refusal_s=0.1,
        backoff_s=np.array([0.5, 0.5]),
        horizon_s=10.0,
        tables=tables(service=Constant(value=1.0)),
        **at_once(2),
    )
    rows = run(engine, plan)
    assert rows.messages["completed_s"].tolist() == [1.0, pytest.approx(2.2)]
    assert rows.deliveries["attempts"].tolist() == [1, 1]
    assert rows.states["refusals"][-1] == 2


def test_waits_between_attempts_leave_the_connection_to_others(engine: str) -> None:
    """A connection is held for attempts and not for the waits between them: two poison messages share one."""
    plan = queue_plan(
        workers=2,
        downstream_connections=1,
        poison_steps=1 << 53,
        backoff_s=np.array([1.0]),
        max_deliveries=1,
        horizon_s=10.0,
        tables=tables(service=Constant(value=1.0)),
        **at_once(2),
    )
    finished_s = run(engine, plan).deliveries["finished_s"]
    assert finished_s.tolist() == [3.0, 4.0]


def test_the_state_says_how_long_connections_have_worked(engine: str) -> None:
    """At each sample the work of the downstream is what it has done so far, without what it is yet to do."""
    plan = queue_plan(
        workers=5,
        downstream_connections=1,
        horizon_s=8.0,
        tables=tables(service=Constant(value=1.0)),
        **due_at(0.0, 0.0, 0.0, 6.5),
    )
    states = run(engine, plan).states
    assert states["time_s"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert states["downstream_busy_s"].tolist() == [0.0, 2.0, 3.0, 3.0, 4.0]


def settings(**downstream: Any) -> dict[str, Any]:
    """The smallest scenario with this downstream."""
    return {
        "arrivals": {"kind": "poisson", "rate_per_s": 1.0},
        "service_time": {"family": "constant", "mean_s": 1.0},
        "downstream": downstream,
        "queue": {"provider": "sqs"},
        "consumers": {"workers": 1, "receive_wait_s": 20.0},
        "horizon_s": 60.0,
    }


def test_a_refusal_without_end_is_refused(tmp_path: Path) -> None:
    """Refusing in no time, giving back in no time and receiving in no time would never end: it is an error."""
    fields = {**settings(connections=1, when_full="reject"), "model": write_model(tmp_path, "sqs")}
    with pytest.raises(ScenarioError, match="in no time, for ever: set refusal"):
        Scenario(**fields)
    assert Scenario(**{**fields, "downstream": {**fields["downstream"], "refusal_s": 0.01}})
    assert Scenario(**{**fields, "failures": {"on_failure": "lock_expiry"}})
