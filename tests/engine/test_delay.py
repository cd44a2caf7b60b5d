"""Queues that hold messages back for a while after they were sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_plans import Rows, due_at, poisson, run, tables

from qtune.analysis import floor_s
from qtune.distributions import Constant, Exponential, Lognormal
from qtune.engine.plan import BY_GROUP, DRAWN_GROUPS, POLL, Plan
from qtune.errors import ScenarioError
from qtune.result import MESSAGE_DELAYED, MESSAGE_EXPIRED, OP_RECEIVE
from qtune.scenario import Scenario
from qtune.simulation import simulate


def polled(**fields: Any) -> Plan:
    """Two consumers of one worker each that poll for ten messages at a time and wait for up to 20 s."""
    fixed: dict[str, Any] = {
        "seed": 3,
        "horizon_s": 60.0,
        "sample_every_s": 0.5,
        "lock_s": 1000.0,
        "discipline": POLL,
        "consumers": 2,
        "batch": 10,
        "in_hand_limit": 10,
        "refill_at": 10,
        "wait_s": 20.0,
        "tables": tables(
            service=Lognormal(mean=0.2, cv=1.0), receive=Exponential(mean=0.02), settle=Constant(value=0.01)
        ),
    }
    return Plan(**{**fixed, **fields})


@pytest.mark.parametrize("hands_out", [{}, {"hands_out": BY_GROUP, "keeps_order": True}])
def test_a_delay_is_the_same_as_messages_that_are_sent_later(engine: str, hands_out: dict[str, Any]) -> None:
    """All that receivers can tell of a delay is that messages come later: deliveries are the same to the last bit."""
    drawn = {"grouping": DRAWN_GROUPS, "group_ends": np.array((0.25, 0.5, 1.0)), **hands_out}
    due_s = np.cumsum(np.random.default_rng(5).exponential(0.15, 300))
    delayed = run(engine, polled(delay_s=7.3, **drawn, **due_at(*due_s)))
    later = run(engine, polled(**drawn, **due_at(*(due_s + 7.3))))
    assert delayed.deliveries.tobytes() == later.deliveries.tobytes()
    assert delayed.calls.tobytes() == later.calls.tobytes()
    assert np.array_equal(delayed.states["backlog"], later.states["backlog"])


def test_what_is_delayed_is_counted_apart(engine: str) -> None:
    """By Little's law rate times delay messages are held back on average, and none of them is in the backlog."""
    rows = run(engine, polled(delay_s=5.0, horizon_s=400.0, **poisson(3.0)))
    later = rows.states[rows.states["time_s"] >= 5.0]
    sent = rows.messages["sent_s"]
    window_s = float((np.minimum(sent + 5.0, 400.0) - np.maximum(sent, 5.0)).clip(0.0).sum())
    spread = float(later["delayed"].std()) / np.sqrt(
        later.size / 10.0
    )  # ten samples last as long as the delay
    assert abs(later["delayed"].mean() - window_s / 395.0) < 6.0 * spread
    at_end = (sent + 5.0 > 400.0) & np.isnan(rows.messages["left_s"])
    assert np.array_equal(rows.messages["state"] == MESSAGE_DELAYED, at_end)


def test_the_messages_of_one_call_become_ready_together(engine: str) -> None:
    """A batch that was sent in one call can be received in one call when its delay ends."""
    plan = polled(
        delay_s=2.0,
        consumers=1,
        senders=1,
        send_batch=10,
        send_batch_from=10,
        send_linger_s=5.0,
        **due_at(*[0.0] * 10),
    )
    rows = run(engine, plan)
    first = rows.calls[rows.calls["op"] == OP_RECEIVE][0]
    assert first["count"] == 10
    assert (rows.deliveries["locked_s"] == rows.messages["sent_s"] + 2.0).all()


def test_a_message_that_comes_back_is_not_delayed_again(engine: str) -> None:
    """The delay counts from the send: a message whose lock runs out can be received again at once."""
    slow = tables(service=Constant(value=30.0), receive=Constant(value=0.02))
    plan = polled(delay_s=4.0, lock_s=6.0, batch=1, in_hand_limit=1, refill_at=1, tables=slow, **due_at(1.0))
    rows = run(engine, plan)
    assert rows.deliveries["locked_s"][:2].tolist() == [5.0, 11.0]


def test_retention_counts_from_the_send_and_not_from_the_end_of_the_delay(engine: str) -> None:
    """A message that nobody takes is deleted when its retention ends, however long it was held back before."""
    paused = {"pause_start_s": np.array([0.0]), "pause_end_s": np.array([60.0])}
    plan = polled(delay_s=6.0, retention_s=8.0, consumers=1, **paused, **due_at(*np.arange(1.0, 31.0)))
    rows = run(engine, plan)
    unread = rows.messages[rows.messages["deliveries"] == 0]
    gone = unread["state"] == MESSAGE_EXPIRED
    assert gone.any()
    assert (unread["left_s"][gone] == unread["sent_s"][gone] + 8.0).all()


def delayed(delay_s: float, **queue: Any) -> Scenario:
    """Ten messages a second on a standard queue with a delay."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 10.0},
        service_time={"family": "constant", "mean_s": 0.05},
        queue={"provider": "sqs", "delay_s": delay_s, **queue},
        consumers={"workers": 4, "receive_wait_s": 20.0},
        horizon_s=60.0,
    )


def test_the_least_latency_has_the_delay_in_it() -> None:
    """No target below the delay can be met, and the floor says so without a run; a run is just above it."""
    assert floor_s(delayed(5.0), 0.5) == pytest.approx(floor_s(delayed(0.0), 0.5) + 5.0)
    messages = simulate(delayed(5.0)).messages
    latency_s = messages["completed_s"] - messages["due_s"]
    assert np.nanmin(latency_s) >= 5.0


@pytest.mark.parametrize(
    ("queue", "bound"),
    [
        ({"delay_s": 901.0}, "delay is at most 15min"),
        ({"delay_s": 60.0, "message_retention_s": 60.0}, "deleted after 60s"),
    ],
)
def test_a_delay_has_its_bounds(queue: dict[str, Any], bound: str) -> None:
    """A delay is at most 15 min, and ends before the retention, or nobody could ever receive a message."""
    with pytest.raises(ScenarioError, match=bound):
        delayed(**queue)


def test_a_run_is_what_the_rows_of_both_engines_say(engine: str) -> None:
    """The rows of a delayed queue have no delivery before its time."""
    rows: Rows = run(engine, polled(delay_s=0.7, **poisson(5.0)))
    ready_s = rows.messages["sent_s"][rows.deliveries["message"]] + 0.7
    assert (rows.deliveries["locked_s"] >= ready_s).all()
