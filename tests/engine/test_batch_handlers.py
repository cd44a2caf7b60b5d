"""Handlers that take what a receive brought in one call, and clients that wait for their whole batch, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model
from engine_plans import due_at, queue_plan, run, tables

from qtune.analysis import capacity_per_s, summarize
from qtune.distributions import Constant
from qtune.engine.plan import POLL, SETTLE_EACH
from qtune.result import (
    CALL_OK,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    OP_RECEIVE,
    OP_SETTLE,
    Result,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate


def simulated(engine: str, scenario: Scenario) -> Result:
    """A run with the engine of this name."""
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


def burst(folder: Path, messages: int, handler: dict[str, Any], **fields: Any) -> Scenario:
    """So many messages of 1 s at once, on SQS without latencies, received by tens by one worker."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "burst_at_once", "messages": messages},
        "service_time": {"family": "constant", "mean_s": 1.0},
        "handler": {"takes": "batch", **handler},
        "queue": {"provider": "sqs", "visibility_timeout_s": 600.0},
        "consumers": {"workers": 1, "receive_batch": 10, "receive_wait_s": 20.0, "settle": "batch"},
        "horizon_s": 300.0,
        "model": write_model(folder, "sqs"),
    }
    return Scenario(**{**base, **fields})


@pytest.mark.parametrize(
    ("handler", "call_s"),
    [
        ({}, 10.0),
        ({"batch_time": "sum", "per_call_s": 0.5}, 10.5),
        ({"batch_time": "longest"}, 1.0),
        ({"batch_time": "longest", "per_call_s": 0.25}, 1.25),
    ],
)
def test_a_call_takes_its_own_time_and_the_sum_or_the_longest_of_its_messages(
    engine: str, tmp_path: Path, handler: dict[str, Any], call_s: float
) -> None:
    """Twenty messages of 1 s in two calls of ten: all of a call start and end together, and are settled in one call."""
    result = simulated(engine, burst(tmp_path, 20, handler))
    deliveries, calls = result.deliveries, result.calls
    assert deliveries["started_s"].tolist() == [0.0] * 10 + [call_s] * 10
    assert deliveries["finished_s"].tolist() == [call_s] * 10 + [2.0 * call_s] * 10
    assert calls["count"][calls["op"] == OP_SETTLE].tolist() == [10, 10]
    assert (deliveries["attempts"] == 1).all()


def test_what_is_beyond_the_most_of_a_call_waits_for_the_next(engine: str, tmp_path: Path) -> None:
    """Ten messages go to a handler that takes four in calls of four, four and two; then comes the next poll."""
    result = simulated(engine, burst(tmp_path, 20, {"most": 4}))
    calls = result.calls
    assert calls["count"][calls["op"] == OP_SETTLE].tolist() == [4, 4, 2, 4, 4, 2]
    assert np.unique(result.deliveries["started_s"]).tolist() == [0.0, 4.0, 8.0, 10.0, 14.0, 18.0]
    received = (calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_OK)
    assert calls["end_s"][received].tolist() == [0.0, 10.0]


@pytest.mark.parametrize("failure", ["whole", "partial"])
def test_one_bad_message_fails_its_whole_batch_or_only_itself(
    engine: str, tmp_path: Path, failure: str
) -> None:
    """Without a partial batch response some poison messages take all ten to the dead-letter queue.

    With it only they go there, and all others are completed by the same call.
    """
    tried = burst(
        tmp_path,
        10,
        {"failure": failure},
        failures={"poison": 0.3, "on_failure": "lock_expiry"},
        queue={"provider": "sqs", "visibility_timeout_s": 60.0, "max_receive_count": 1},
    )
    state = simulated(engine, tried).messages["state"]
    lost = int(np.count_nonzero(state == MESSAGE_DEAD_LETTERED))
    assert np.count_nonzero(state == MESSAGE_COMPLETED) == 10 - lost
    assert lost == 10 if failure == "whole" else 0 < lost < 10


def test_messages_that_fail_in_part_are_given_back_one_by_one(engine: str, tmp_path: Path) -> None:
    """One call settles what succeeded, and each failed message is abandoned by a call of its own."""
    tried = burst(
        tmp_path,
        10,
        {"failure": "partial"},
        failures={"poison": 0.3, "on_failure": "abandon"},
        queue={"provider": "sqs", "max_receive_count": 1},
    )
    result = simulated(engine, tried)
    lost = int(np.count_nonzero(result.messages["state"] == MESSAGE_DEAD_LETTERED))
    calls = result.calls[result.calls["op"] != OP_RECEIVE]
    assert 0 < lost < 10
    assert calls["count"].tolist() == [10 - lost] + [1] * lost


def test_a_batch_takes_one_turn_of_the_downstream(engine: str, tmp_path: Path) -> None:
    """Two workers with ten messages each share one connection: the second call is served when the first has ended."""
    tried = burst(
        tmp_path,
        20,
        {"batch_time": "longest"},
        downstream={"connections": 1},
        consumers={"workers": 2, "receive_batch": 10, "receive_wait_s": 20.0, "settle": "batch"},
    )
    result = simulated(engine, tried)
    assert sorted(result.messages["completed_s"].tolist()) == [1.0] * 10 + [2.0] * 10
    refusing = tried.with_(
        downstream={"when_full": "reject"},
        failures={"on_failure": "lock_expiry"},
        queue={"max_receive_count": 1},
    )
    refused = simulated(engine, refusing.with_(horizon_s=700.0))
    assert refused.states["refusals"][-1] == 1
    assert np.count_nonzero(refused.messages["state"] == MESSAGE_DEAD_LETTERED) == 10


def test_a_python_receiver_hands_over_what_its_call_returned(engine: str, tmp_path: Path) -> None:
    """azure-servicebus hands a batch to the handler too; AMQP then settles its messages one after the other."""
    tried = burst(
        tmp_path,
        6,
        {"batch_time": "longest"},
        queue={"provider": "servicebus", "tier": "premium", "lock_duration_s": 60.0},
        consumers={"workers": 1, "receive_batch": 3},
        model=write_model(tmp_path, "servicebus", settle="100ms"),
    )
    result = simulated(engine, tried)
    assert result.deliveries["finished_s"].tolist() == pytest.approx([1.0] * 3 + [2.3] * 3)
    settled_s = [1.1, 1.2, 1.3, 2.4, 2.5, 2.6]
    assert result.deliveries["settled_s"].tolist() == pytest.approx(settled_s)


def test_one_slow_message_holds_its_batch_up(engine: str) -> None:
    """A client that polls again only when its batch is done handles ten messages in the time of the slowest, 10 s."""
    plan = queue_plan(
        workers=10,
        discipline=POLL,
        batch=10,
        in_hand_limit=10,
        refill_at=10,
        wait_s=20.0,
        horizon_s=100.0,
        service_s=np.tile([10.0] + [0.001] * 9, 12),
        tables=tables(service=Constant(value=0.0)),
        **due_at(*[0.0] * 120),
    )
    received_s = run(engine, plan).deliveries["received_s"]
    assert np.unique(received_s[~np.isnan(received_s)]).tolist() == [10.0 * k for k in range(11)]


def test_four_messages_a_poll_of_750_ms_are_320_a_minute(engine: str, tmp_path: Path) -> None:
    """A serial loop of one poll and one handler call is bound to 4 / 0.75 s."""
    tried = burst(
        tmp_path,
        400,
        {"batch_time": "longest", "per_call_s": 0.55},
        service_time={"family": "constant", "mean_s": 0.2},
        consumers={"workers": 1, "receive_batch": 4, "receive_wait_s": 20.0, "settle": "batch"},
        horizon_s=60.0,
    )
    result = simulated(engine, tried)
    assert np.count_nonzero(result.messages["state"] == MESSAGE_COMPLETED) == 320
    assert 60.0 * capacity_per_s(tried) == pytest.approx(320.0)


def test_the_rest_of_a_serial_batch_is_handled_after_its_timeout(engine: str) -> None:
    """Ten messages of 4 s in turn on a timeout of 30 s: the k-th is lost when k x 4 s exceeds it, so the last three."""
    plan = queue_plan(
        discipline=POLL,
        batch=10,
        in_hand_limit=10,
        refill_at=10,
        wait_s=20.0,
        lock_s=30.0,
        settle_mode=SETTLE_EACH,
        horizon_s=41.0,
        tables=tables(service=Constant(value=4.0)),
        **due_at(*[0.0] * 10),
    )
    outcome = run(engine, plan).deliveries["outcome"][:10]
    assert outcome.tolist() == [DELIVERY_COMPLETED] * 7 + [DELIVERY_LATE] * 3


def test_a_call_counts_once_for_its_worker(engine: str, tmp_path: Path) -> None:
    """A worker that is always in a call is used to 100 %, however many messages are in the call."""
    summary = summarize(simulated(engine, burst(tmp_path, 400, {}, horizon_s=100.0)), warm_up=0.0)
    assert summary.utilization.value == pytest.approx(1.0)
    assert summary.handler_calls.value == 11.0
    assert summary.throughput_per_s.value == pytest.approx(1.0)
