"""What the network does to calls: longer ways and broken connections; and pollers that take several queues in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_plans import Rows, at_once, due_at, run, tables

from qtune.analysis.capacity import capacity_per_s
from qtune.distributions import Constant
from qtune.engine.plan import POLL, SETTLE_EACH, Plan
from qtune.engine.planning import make_plan
from qtune.errors import ScenarioError
from qtune.result import (
    CALL_EMPTY,
    CALL_FAILED,
    CALL_OK,
    DELIVERY_COMPLETED,
    DELIVERY_LOST,
    OP_RECEIVE,
    OP_SEND,
    OP_SETTLE,
)
from qtune.scenario import Scenario


def polling(**fields: Any) -> Plan:
    """One poller that waits up to 5 s; calls take 0.2 s, handlers 1 s, and a lock 3 s."""
    given: dict[str, Any] = {
        "seed": 1,
        "horizon_s": 12.0,
        "sample_every_s": 3.0,
        "discipline": POLL,
        "wait_s": 5.0,
        "lock_s": 3.0,
        "settle_mode": SETTLE_EACH,
        "failed_wait_s": np.array([0.5]),
        "throttled_wait_s": np.array([0.5]),
        "tables": tables(
            service=Constant(value=1.0),
            send=Constant(value=0.2),
            receive=Constant(value=0.2),
            settle=Constant(value=0.2),
        ),
    }
    return Plan(**{**given, **fields})


def calls_of(rows: Rows, op: int) -> list[tuple[float, float, int]]:
    """Begin, end and outcome of each call of a kind."""
    calls = rows.calls[rows.calls["op"] == op]
    calls = calls[np.argsort(calls["start_s"], kind="stable")]
    return [(float(row["start_s"]), float(row["end_s"]), int(row["outcome"])) for row in calls]


def test_a_receive_whose_connection_breaks_fails_and_its_messages_stay_locked(engine: str) -> None:
    """The broker has handed the message out at 0.1 s; the client never gets it, and its lock has to run out."""
    rows = run(engine, polling(drop_s=np.array([0.15]), **at_once(1)))
    receives = calls_of(rows, OP_RECEIVE)
    assert receives[0] == (0.0, pytest.approx(0.2), CALL_FAILED)
    assert receives[1][0] == pytest.approx(0.7)  # after the wait of the client
    assert rows.deliveries["outcome"].tolist() == [DELIVERY_LOST, DELIVERY_COMPLETED]
    assert rows.deliveries["locked_s"] == pytest.approx([0.1, 3.1])
    assert np.isnan(rows.deliveries["received_s"][0])


def test_a_receive_that_waits_when_connections_break_fails_at_the_end_of_its_wait(engine: str) -> None:
    """Nobody tells a client that its connection is gone: it notices when the answer should be there."""
    rows = run(engine, polling(drop_s=np.array([2.0]), **due_at(50.0)))
    assert calls_of(rows, OP_RECEIVE)[:2] == [
        (0.0, pytest.approx(5.2), CALL_FAILED),
        (pytest.approx(5.7), pytest.approx(10.9), CALL_EMPTY),
    ]


def test_a_settlement_whose_connection_breaks_is_made_again(engine: str) -> None:
    """A settlement under way has not taken effect; the client makes it again, and the message is completed once."""
    rows = run(engine, polling(drop_s=np.array([1.3]), **at_once(1)))
    assert calls_of(rows, OP_SETTLE) == [
        (pytest.approx(1.2), pytest.approx(1.4), CALL_FAILED),
        (pytest.approx(1.9), pytest.approx(2.1), CALL_OK),
    ]
    assert rows.deliveries["outcome"].tolist() == [DELIVERY_COMPLETED]


def test_a_pool_has_no_connection_left_when_all_have_broken(engine: str) -> None:
    """Connections that lie idle break too, and the next call opens one; a break before a call begins harms no call."""
    plan = polling(
        senders=1,
        pool_connections=2,
        drop_s=np.array([1.0, 2.1]),
        tables=tables(send=Constant(value=0.2), receive=Constant(value=0.2), connect=Constant(value=0.05)),
        **due_at(0.0, 0.5, 1.5, 2.0, 4.0),
    )
    assert calls_of(run(engine, plan), OP_SEND) == [
        (0.0, pytest.approx(0.25), CALL_OK),
        (0.5, pytest.approx(0.7), CALL_OK),
        (1.5, pytest.approx(1.75), CALL_OK),
        (2.0, pytest.approx(2.2), CALL_FAILED),
        (pytest.approx(2.7), pytest.approx(2.95), CALL_OK),
        (4.0, pytest.approx(4.2), CALL_OK),
    ]


def test_a_longer_way_adds_its_time_to_each_round_trip(engine: str) -> None:
    """Calls that begin while the network is slow take the delay longer, after the factor of a slow broker."""
    slow = {
        "slow_start_s": np.array([1.0, 1.0]),
        "slow_end_s": np.array([2.0, 2.0]),
        "slow_factor": np.array([3.0, 1.0]),
        "slow_extra_s": np.array([0.0, 0.1]),
    }
    rows = run(engine, polling(senders=1, **slow, **due_at(0.0, 1.5, 2.5)))
    assert [end_s - start_s for start_s, end_s, _ in calls_of(rows, OP_SEND)] == pytest.approx(
        [0.2, 0.7, 0.2]
    )


@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_poller_of_several_queues_asks_this_one_after_all_the_others(engine: str, others: int) -> None:
    """Between two receives here lies a turn with each of the others, also after one that brought a message."""
    turn = tables(
        service=Constant(value=1.0),
        receive=Constant(value=0.2),
        settle=Constant(value=0.2),
        turn=Constant(value=0.4),
    )
    rows = run(engine, polling(other_queues=others, wait_s=0.0, tables=turn, **at_once(2)))
    receives = calls_of(rows, OP_RECEIVE)
    away_s = others * 0.4
    done_s = [0.2 + 1.0 + 0.2, 2 * (0.2 + 1.0 + 0.2) + away_s]
    assert [start_s for start_s, _, _ in receives[:4]] == pytest.approx(
        [0.0, done_s[0] + away_s, done_s[1] + away_s, done_s[1] + 0.2 + 2 * away_s]
    )


def scenario(**fields: Any) -> Scenario:
    """One worker behind SQS."""
    given: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": 1.0},
        "service_time": {"family": "constant", "mean_s": 0.1},
        "queue": {"provider": "sqs"},
        "consumers": {"workers": 1, "receive_wait_s": 20.0},
        "horizon_s": 60.0,
    }
    return Scenario(**{**given, **fields})


def test_a_scenario_names_the_faults_of_the_network() -> None:
    """A slow network and broken connections are faults; so is what a plan says of them."""
    network = {"kind": "network", "at_s": 10.0, "for_s": 5.0, "delay_s": 0.2}
    plan = make_plan(scenario(faults=(network, {"kind": "drop_connections", "at_s": 20.0})), 1)
    assert (plan.slow_factor.tolist(), plan.slow_extra_s.tolist(), plan.drop_s.tolist()) == (
        [1.0],
        [0.2],
        [20.0],
    )
    assert plan.failed_wait_s.size == 2  # boto3 makes a failed call three times


@pytest.mark.parametrize(
    ("queue", "kind", "said"),
    [
        (
            {"provider": "servicebus", "tier": "premium"},
            "drop_connections",
            "loss of a link is not simulated",
        ),
        ({"provider": "memory"}, "drop_connections", "calls stay in the process"),
        ({"provider": "memory"}, "network", "calls stay in the process"),
    ],
)
def test_a_fault_that_cannot_happen_is_an_error(queue: dict[str, Any], kind: str, said: str) -> None:
    """Where calls need no connections none can break, and a link's loss is not simulated."""
    fault = {"kind": kind, "at_s": 1.0, **({"for_s": 1.0, "delay_s": 0.1} if kind == "network" else {})}
    with pytest.raises(ScenarioError, match=said):
        scenario(queue=queue, consumers={"workers": 1}, faults=(fault,))


def test_other_queues_are_the_poller_s_and_bound_what_it_lets_through() -> None:
    """A poller that is away for 2 s between receives of one message lets less than one in 2 s through."""
    others = {"count": 2, "turn": {"family": "constant", "mean_s": 1.0}}
    tried = scenario(consumers={"workers": 1, "receive_wait_s": 20.0, "other_queues": others})
    assert make_plan(tried, 1).other_queues == 2
    assert 0.4 < capacity_per_s(tried) < 0.5
    with pytest.raises(ScenarioError, match="a link for each queue"):
        scenario(
            queue={"provider": "servicebus", "tier": "premium"},
            consumers={"workers": 1, "other_queues": others},
        )
