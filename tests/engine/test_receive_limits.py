"""What a receive does not bring although messages are there: too many are in flight, or a short poll misses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_plans import Plan, Rows, at_once, due_at, queue_plan, run, tables

from qtune.distributions import Constant
from qtune.engine import streams
from qtune.engine.plan import LINK_SLIDING, POLL
from qtune.result import CALL_EMPTY, CALL_OK, CALL_OVER_LIMIT, OP_RECEIVE
from qtune.scenario import Scenario
from qtune.simulation import simulate

BLINK_S = 0.125


def polling(**fields: Any) -> Plan:
    """A worker whose handlers fail at once and leave the lock, so that messages stay in flight."""
    times = tables(service=Constant(value=BLINK_S), receive=Constant(value=BLINK_S))
    failing = {"fail_steps": 1 << 53, "abandons": False, "lock_s": 60.0, "wait_s": 2.0}
    plain = {"horizon_s": 20.0, "discipline": POLL, "tables": times, **failing, **at_once(5)}
    return queue_plan(**{**plain, **fields})


def receives(rows: Rows) -> Any:
    """The receive calls."""
    return rows.calls[rows.calls["op"] == OP_RECEIVE]


def test_a_long_poll_above_the_limit_in_flight_finds_nothing(engine: str) -> None:
    """With as many messages in flight as may be, long polls wait and come back empty, without an error.

    Amazon SQS Developer Guide, quotas of standard queues; aws/aws-sdk-go#1972.
    """
    rows = run(engine, polling(in_flight_most=3, over_limit_fails=True))
    outcomes = receives(rows)["outcome"].tolist()
    assert outcomes[:3] == [CALL_OK] * 3
    assert set(outcomes[3:]) == {CALL_EMPTY}
    assert (rows.states["in_flight"][1:] == 3).all()
    assert (rows.states["backlog"][1:] == 2).all()


def test_a_short_poll_above_the_limit_in_flight_is_an_error(engine: str) -> None:
    """A short poll is answered OverLimit, which no client tries again, and the loop goes on after its pause."""
    retrying = {"throttled_wait_s": np.array([0.25, 0.25]), "wait_s": 0.0, "idle_pause_s": 1.0}
    rows = run(engine, polling(in_flight_most=3, over_limit_fails=True, horizon_s=5.0, **retrying))
    refused = receives(rows)[3:]
    assert (refused["outcome"] == CALL_OVER_LIMIT).all()
    assert np.diff(refused["start_s"]).tolist() == [1.0 + BLINK_S] * (len(refused) - 1)
    assert len(refused) > 2


def test_a_short_poll_finds_nothing_where_that_is_no_error(engine: str) -> None:
    """Where the limit is no error, a short poll above it comes back empty."""
    rows = run(engine, polling(in_flight_most=3, wait_s=0.0, idle_pause_s=1.0, horizon_s=5.0))
    assert set(receives(rows)["outcome"][3:].tolist()) == {CALL_EMPTY}


def test_a_lock_that_ends_lets_the_next_message_go(engine: str) -> None:
    """A waiting poll is served as soon as a lock runs out, with the message that has waited longest."""
    rows = run(engine, polling(in_flight_most=1, lock_s=4.0, wait_s=20.0, horizon_s=13.0))
    assert rows.deliveries["locked_s"].tolist() == [BLINK_S / 2 + 4.0 * turn for turn in range(4)]
    assert rows.deliveries["message"].tolist() == [0, 1, 2, 3]


def test_a_receive_brings_what_may_still_be_in_flight(engine: str) -> None:
    """A receive of four messages brings three when only three more may be in flight."""
    wide = {"batch": 4, "in_hand_limit": 4, "refill_at": 1, "workers": 4}
    rows = run(engine, polling(in_flight_most=3, **wide))
    assert receives(rows)["count"][0] == 3


def test_a_link_is_pushed_no_more_than_may_be_in_flight(engine: str) -> None:
    """Credit that stands at the broker brings nothing while too many messages are locked."""
    rows = run(
        engine, polling(in_flight_most=2, lock_s=4.0, discipline=LINK_SLIDING, workers=5, horizon_s=7.0)
    )
    assert rows.deliveries["locked_s"].tolist() == [BLINK_S / 2] * 2 + [BLINK_S / 2 + 4.0] * 2


def alone(**fields: Any) -> Plan:
    """A poller that comes by 16 times a second at messages that come one every few seconds."""
    times = tables(service=Constant(value=BLINK_S / 4), receive=Constant(value=BLINK_S / 4))
    rare = due_at(*(4.0 * np.arange(400)).tolist())
    short = {"wait_s": 0.0, "idle_pause_s": BLINK_S / 4, "short_poll_steps": streams.chance_steps(0.25)}
    return queue_plan(**{**rare, "horizon_s": 1600.0, "discipline": POLL, "tables": times, **short, **fields})


def test_a_short_poll_sees_each_message_with_the_chance_that_is_assumed(engine: str) -> None:
    """Of the polls that come while one message is ready, a share finds it.

    The tolerance is five standard errors of a share.
    """
    rows = run(engine, alone())
    polls_s = 0.5 * (receives(rows)["start_s"] + receives(rows)["end_s"])
    taken = rows.deliveries["locked_s"]
    sent_s = rows.messages["sent_s"][rows.deliveries["message"]]
    asked = np.searchsorted(polls_s, taken, "right") - np.searchsorted(polls_s, sent_s, "left")
    share = len(taken) / asked.sum()
    assert share == pytest.approx(0.25, abs=5.0 * (0.25 * 0.75 / asked.sum()) ** 0.5)


def test_a_short_poll_brings_as_many_as_it_sees(engine: str) -> None:
    """Of five messages that are ready, the first poll sees a number that is binomial."""
    consumers = 200 if engine == "reference" else 1000
    found = []
    for seed in range(consumers):
        wide = {"batch": 10, "in_hand_limit": 10, "horizon_s": 1.0, "seed": seed}
        found.append(int(receives(run(engine, alone(**{**wide, **at_once(5)})))["count"][0]))
    mean, variance = 5 * 0.25, 5 * 0.25 * 0.75
    assert np.mean(found) == pytest.approx(mean, abs=5.0 * (variance / consumers) ** 0.5)
    assert 0 < np.mean(np.array(found) == 0) < 1


def test_a_long_poll_misses_nothing(engine: str) -> None:
    """A poll that waits asks all servers, and takes what is ready at once."""
    rows = run(engine, alone(wait_s=20.0))
    assert (rows.deliveries["locked_s"] - rows.messages["sent_s"] <= BLINK_S).all()


def test_sqs_short_polls_miss_by_a_guess_that_the_result_names() -> None:
    """The shipped model of SQS lets a short poll miss messages, and says that the share is a prior."""
    scenario = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 1.0},
        service_time={"family": "constant", "mean_s": 0.01},
        queue={"provider": "sqs"},
        consumers={"workers": 1, "receive_wait_s": 0.0, "idle_pause_s": 1.0},
        horizon_s=200.0,
    )
    assert "short_poll" in scenario.priors()
    waited_s = simulate(scenario).messages
    assert np.nanmax(waited_s["completed_s"] - waited_s["due_s"]) > 2.0


def looked_after(*due_s: float, every_s: float, **fields: Any) -> Plan:
    """One poller whose calls take a blink, at a broker that looks for it so often while it waits."""
    plain = {"horizon_s": 20.0, "discipline": POLL, "wait_s": 2.0, **due_at(*due_s)}
    times = tables(service=Constant(value=BLINK_S), receive=Constant(value=BLINK_S))
    return queue_plan(**{**plain, "tables": times, "look_every_s": every_s, **fields})


def test_a_broker_that_looks_now_and_then_finds_a_message_at_its_next_look(engine: str) -> None:
    """A poll that came at b is looked after at b, b + every, b + 2 every, ... and gets what has come by then."""
    every_s = 0.375
    rows = run(engine, looked_after(0.5, 0.75, every_s=every_s))
    begins_s = 0.5 * BLINK_S
    expected_s = begins_s + 2 * every_s
    assert rows.deliveries["locked_s"].tolist()[:1] == [expected_s]
    assert receives(rows)["count"].tolist()[0] == 1
    both = run(engine, looked_after(0.5, 0.75, every_s=every_s, batch=2, in_hand_limit=2, refill_at=2))
    assert both.deliveries["locked_s"].tolist() == [expected_s] * 2


def test_a_message_that_is_there_is_handed_out_without_a_look(engine: str) -> None:
    """A poll that finds a message is answered at once, however seldom the broker looks for those that wait."""
    rows = run(engine, looked_after(0.0, 0.0, every_s=1.5))
    assert rows.deliveries["locked_s"].tolist() == [0.5 * BLINK_S, 2.5 * BLINK_S]


def test_a_poll_that_is_looked_after_in_vain_ends_in_time(engine: str) -> None:
    """The last look is at the end of the wait, also when that is no multiple of the time between looks."""
    rows = run(engine, looked_after(every_s=0.75, horizon_s=10.0))
    ended = receives(rows)
    assert set(ended["outcome"].tolist()) == {CALL_EMPTY}
    assert (ended["end_s"] - ended["start_s"]).tolist() == [2.0 + BLINK_S] * len(ended)
    last = run(engine, looked_after(2.0 + 0.25 * BLINK_S, every_s=0.75, horizon_s=3.0))
    assert last.deliveries["locked_s"].tolist() == [2.0 + 0.5 * BLINK_S]


def waits_for_a_look_s(engine: str, consumers: int) -> Any:
    """How long messages wait where one comes every 20 s on average and the broker looks every second."""
    seldom = {"segment_start_s": np.array([0.0]), "segment_rate_per_s": np.array([0.05])}
    plan = looked_after(
        every_s=1.0, horizon_s=20_000.0, wait_s=19.7, explicit=False, due_s=np.empty(0), **seldom
    )
    rows = run(engine, replace(plan, consumers=consumers))
    return rows.deliveries["locked_s"] - rows.messages["sent_s"][rows.deliveries["message"]]


def test_the_more_polls_wait_the_sooner_one_is_looked_after(engine: str) -> None:
    """A message waits for half the time between looks on average, and less when several polls wait.

    In 0.05/s x 2.5 blinks of all cases the only poller is away, for 2.5 blinks at most; and a poll that waits is a
    little more likely to be young.
    """
    one_s, four_s = waits_for_a_look_s(engine, 1), waits_for_a_look_s(engine, 4)
    away_s = 0.05 * (2.5 * BLINK_S) ** 2
    young_s = 0.05 / 12.0
    error_s = 4.0 * float(one_s.std()) / len(one_s) ** 0.5
    assert abs(one_s.mean() - 0.5) < error_s + away_s + young_s
    assert four_s.mean() < 0.6 * one_s.mean()
