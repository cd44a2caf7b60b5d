"""A broker that is down or slow for a while: what its calls answer, what waits, and how the queue comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_plans import Plan, at_once, due_at, queue_plan, run, tables

from qtune.distributions import Constant
from qtune.engine.plan import LINK_SLIDING, POLL
from qtune.result import (
    CALL_FAILED,
    CALL_OK,
    DELIVERY_COMPLETED,
    MESSAGE_COMPLETED,
    OP_RECEIVE,
    OP_SEND,
    OP_SETTLE,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

BLINK_S = 0.125


def down(start_s: float, end_s: float, *waits_s: float) -> dict[str, Any]:
    """The fields of a plan with an outage, and the waits before the second, third ... try of a call."""
    waits = {"failed_wait_s": np.array(waits_s), "throttled_wait_s": np.array(waits_s)}
    return {"outage_start_s": np.array([start_s]), "outage_end_s": np.array([end_s]), **waits}


def slow(start_s: float, end_s: float, factor: float) -> dict[str, Any]:
    """The fields of a plan whose broker is slow for a while."""
    window = {"slow_start_s": np.array([start_s]), "slow_end_s": np.array([end_s])}
    return {**window, "slow_factor": np.array([factor]), "slow_extra_s": np.zeros(1)}


def polling(**fields: Any) -> Plan:
    """One worker that polls for one message at a time, over calls that take a moment."""
    moment = Constant(value=BLINK_S)
    times = tables(receive=moment, settle=moment, send=moment, service=moment)
    plain = {"horizon_s": 30.0, "discipline": POLL, "wait_s": 20.0, "tables": times, **at_once(1)}
    return queue_plan(**{**plain, **fields})


def calls_of(engine: str, plan: Plan, op: int) -> list[tuple[float, float, int]]:
    """Start, end and outcome of the calls of one kind."""
    calls = run(engine, plan).calls
    return [(row["start_s"], row["end_s"], row["outcome"]) for row in calls[calls["op"] == op]]


def test_a_send_fails_in_an_outage_and_is_tried_again(engine: str) -> None:
    """A send into an outage is an error after its round trip, and its message is sent by a later try."""
    plan = polling(**due_at(1.0), senders=1, **down(0.0, 4.0, 1.0, 2.0, 4.0))
    assert calls_of(engine, plan, OP_SEND) == [
        (1.0, 1.125, CALL_FAILED),
        (2.125, 2.25, CALL_FAILED),
        (4.25, 4.375, CALL_OK),
    ]


def test_a_settle_fails_in_an_outage_and_is_tried_again(engine: str) -> None:
    """A message whose settle fails keeps its lock, and a later try completes it."""
    plan = polling(**down(0.3, 2.0, 2.0))
    assert calls_of(engine, plan, OP_SETTLE) == [(0.25, 0.375, CALL_FAILED), (2.375, 2.5, CALL_OK)]
    assert run(engine, plan).deliveries["outcome"].tolist() == [DELIVERY_COMPLETED]


def test_a_poll_fails_in_an_outage_and_the_loop_goes_on(engine: str) -> None:
    """A receive loop pauses after a poll that failed to the last try, and finds the message when the outage is over."""
    plan = polling(**due_at(0.5), wait_s=0.25, idle_pause_s=1.0, **down(0.0, 3.0, 0.5))
    receives = calls_of(engine, plan, OP_RECEIVE)
    assert [start_s for start_s, _, outcome in receives if outcome == CALL_FAILED] == [
        0.0,
        0.625,
        1.75,
        2.375,
    ]
    assert receives[4] == (3.5, 3.625, CALL_OK)


def test_a_waiting_poll_is_served_when_the_outage_is_over(engine: str) -> None:
    """A long poll that waits at the broker when it goes down is answered when it is up again."""
    plan = polling(**due_at(2.0), **down(1.0, 5.0))
    assert calls_of(engine, plan, OP_RECEIVE)[0] == (0.0, 5.0 + BLINK_S / 2, CALL_OK)


def test_a_link_is_pushed_nothing_in_an_outage(engine: str) -> None:
    """Credit stands, and what has gathered is pushed when the outage is over."""
    plan = polling(**due_at(0.5, 2.0, 3.0), discipline=LINK_SLIDING, workers=4, **down(1.0, 5.0))
    assert run(engine, plan).deliveries["locked_s"].tolist() == [0.5, 5.0, 5.0]


def test_a_failed_call_takes_more_of_the_quota_than_a_throttled_one(engine: str) -> None:
    """With 20 tokens, at 14 for a retry after a failure, one retry is made and no second."""
    quota = {"retry_tokens": 20, "failed_tokens": 14, "throttled_tokens": 5}
    plan = polling(**due_at(1.0), senders=1, **down(0.0, 9.0, 0.5, 0.5, 0.5), **quota)
    assert [outcome for _, _, outcome in calls_of(engine, plan, OP_SEND)] == [CALL_FAILED, CALL_FAILED]


def test_a_slow_broker_stretches_the_calls_that_begin_meanwhile(engine: str) -> None:
    """Round trips are as always before and after, and in between they take so many times as long."""
    plan = polling(**due_at(*np.arange(9.0).tolist()), senders=1, horizon_s=9.0, **slow(3.0, 6.0, 4.0))
    took_s = [end_s - start_s for start_s, end_s, _ in calls_of(engine, plan, OP_SEND)]
    assert took_s == [BLINK_S] * 3 + [4.0 * BLINK_S] * 3 + [BLINK_S] * 3


@pytest.mark.parametrize("discipline", [POLL, LINK_SLIDING])
def test_a_slow_broker_brings_messages_late(engine: str, discipline: int) -> None:
    """A message is in the client half a round trip after its lock began, which is longer in a slow time."""
    often = {"wait_s": 0.5, "discipline": discipline, "workers": 2}
    plan = polling(**due_at(2.0, 4.0, 8.0), horizon_s=9.0, **often, **slow(3.0, 6.0, 4.0))
    deliveries = run(engine, plan).deliveries
    on_the_way_s = deliveries["received_s"] - deliveries["locked_s"]
    assert on_the_way_s.tolist() == [BLINK_S / 2, 2.0 * BLINK_S, BLINK_S / 2]


def test_settles_are_slow_too(engine: str) -> None:
    """A worker waits longer for the answer to its settle."""
    plan = polling(**slow(0.25, 1.0, 8.0))
    assert calls_of(engine, plan, OP_SETTLE) == [(0.25, 1.25, CALL_OK)]


@pytest.mark.parametrize("kind", ["outage", "throttling", "slow_broker"])
def test_a_queue_comes_back_from_a_bad_time(kind: str) -> None:
    """The backlog of a bad time is worked off after it, and only calls of that time fail.

    A message is lost only to a sender that gives up.
    """
    extra = {"throttling": {"rate_per_s": 10.0}, "slow_broker": {"factor": 20.0}}.get(kind, {})
    scenario = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 50.0},
        service_time={"family": "constant", "mean_s": 0.05},
        queue={"provider": "sqs"},
        consumers={"workers": 10, "receive_wait_s": 20.0, "retry_mode": "legacy"},
        faults=({"kind": kind, "at_s": 20.0, "for_s": 10.0, **extra},),
        horizon_s=200.0,
    )
    run = simulate(scenario)
    backlog = dict(zip(run.states["time_s"].tolist(), run.states["backlog"].tolist(), strict=True))
    assert backlog[30.0] > 100
    assert backlog[200.0] < 20
    failed = run.calls[~np.isin(run.calls["outcome"], (CALL_OK,)) & (run.calls["op"] == OP_SETTLE)]
    assert ((failed["end_s"] >= 20.0) & (failed["end_s"] < 30.5)).all()
    old = run.messages[run.messages["due_s"] < 150.0]
    assert (old["state"] == MESSAGE_COMPLETED).all()
