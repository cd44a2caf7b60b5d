"""Reported incidents about timeouts, round trips, renewal, polling and retention, in exact numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model
from engine_plans import due_at, poisson, queue_plan, run, tables

from qtune.distributions import Constant, Distribution, Exponential, Lognormal
from qtune.engine.plan import POLL, Plan
from qtune.result import (
    CALL_EMPTY,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    MESSAGE_EXPIRED,
    OP_RECEIVE,
    Result,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate


def simulated(engine: str, scenario: Scenario) -> Result:
    """A run with the engine of this name."""
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


def backlog(count: int, **fields: Any) -> Scenario:
    """So many messages at once."""
    return Scenario(arrivals={"kind": "burst_at_once", "messages": count}, **fields)


def idle_day(folder: Path, workers: int, wait_s: float, hours: float) -> Scenario:
    """A queue with one message at its start and then nothing."""
    return backlog(
        1,
        service_time={"family": "constant", "mean_s": 0.25},
        queue={"provider": "sqs"},
        consumers={"workers": workers, "receive_wait_s": wait_s},
        horizon_s=3600.0 * hours + 0.5,
        model=write_model(folder, "sqs", receive="0s" if wait_s else "50ms"),
    )


@pytest.mark.parametrize(
    ("workers", "wait_s", "hours", "empty"),
    [
        (1, 20.0, 24.0, 4_320),
        (5, 20.0, 1.0, 15 * 60),
        (1, 0.0, 0.1, 20 * 360 + 4),
    ],
)
def test_an_idle_queue_is_polled_as_often_as_the_wait_says(
    engine: str, tmp_path: Path, workers: int, wait_s: float, hours: float, empty: int
) -> None:
    """An idle long poll of 20 s makes 4,320 requests a day, five make 15 a minute.

    A short poll makes one in each round trip.
    """
    calls = simulated(engine, idle_day(tmp_path, workers, wait_s, hours)).calls
    seen = np.count_nonzero((calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_EMPTY))
    assert seen == empty


def slow_handlers(folder: Path, **consumers: Any) -> Scenario:
    """Handlers of 60 to 90 s on a queue with a visibility timeout of 30 s, and enough of them."""
    return backlog(
        10,
        service_time={"family": "uniform", "low_s": 60.0, "high_s": 90.0},
        queue={"provider": "sqs", "visibility_timeout_s": 30.0},
        consumers={"workers": 40, "receive_wait_s": 20.0, **consumers},
        horizon_s=89.0,
        model=write_model(folder, "sqs"),
    )


def test_a_timeout_shorter_than_the_handler_repeats_the_work(engine: str, tmp_path: Path) -> None:
    """With a timeout of 30 s and handlers of 60 to 90 s every message is received three times.

    The second and third handler start at 30 and 60 s, while the first is still at work; its delete, with the handle of
    a receive that has run out, ends the message, and the work of the other two is in vain.
    """
    result = simulated(engine, slow_handlers(tmp_path).with_(horizon_s=200.0))
    deliveries = result.deliveries
    for number, start_s in ((1, 0.0), (2, 30.0), (3, 60.0)):
        chosen = deliveries[deliveries["delivery_no"] == number]
        assert sorted(chosen["message"].tolist()) == list(range(10))
        assert (chosen["started_s"] == start_s).all()
    assert len(deliveries) == 30
    first = deliveries["delivery_no"] == 1
    assert (deliveries["outcome"][first] == DELIVERY_COMPLETED).all()
    assert (deliveries["outcome"][~first] == DELIVERY_LATE).all()
    ended_s = result.messages["completed_s"][deliveries["message"][first]]
    assert (ended_s == deliveries["finished_s"][first]).all()


def test_a_heartbeat_keeps_the_work_single(engine: str, tmp_path: Path) -> None:
    """The same handlers with renewal at half of the timeout receive each message once."""
    scenario = slow_handlers(tmp_path, renewal={"max_s": 300.0}).with_(horizon_s=200.0)
    result = simulated(engine, scenario)
    assert len(result.deliveries) == 10
    assert (result.deliveries["outcome"] == DELIVERY_COMPLETED).all()
    assert (result.deliveries["renewals"] == np.ceil(result.messages["completed_s"] / 15.0) - 1).all()


def test_the_share_of_repeated_work_is_the_chance_to_outlast_the_timeout(engine: str) -> None:
    """If 3 % of handler calls outlast the timeout, 3 % are in vain; with 6 x p99 none is."""
    service = Lognormal(mean=1.0, cv=1.0)
    count = 40_000 if engine == "kernel" else 8_000
    plan = queue_plan(
        workers=60,
        lock_s=service.quantile(0.97),
        horizon_s=count / 20.0,
        tables=tables(service=service),
        **poisson(20.0),
    )
    outcome = run(engine, plan).deliveries["outcome"]
    ended = np.count_nonzero((outcome == DELIVERY_LATE) | (outcome == DELIVERY_COMPLETED))
    share = np.count_nonzero(outcome == DELIVERY_LATE) / ended
    assert abs(share - 0.03) < 5.0 * math.sqrt(0.03 * 0.97 / ended)
    patient = queue_plan(
        workers=60,
        lock_s=6.0 * service.quantile(0.99),
        horizon_s=count / 20.0,
        tables=tables(service=service),
        **poisson(20.0),
    )
    assert not (run(engine, patient).deliveries["outcome"] == DELIVERY_LATE).any()


@pytest.mark.parametrize(("renewers", "kept"), [(4, 4), (10, 10), (1, 1)])
def test_a_renewer_that_stays_with_a_message_serves_no_other(
    engine: str, tmp_path: Path, renewers: int, kept: int
) -> None:
    """Of 10 long handlers with 4 renewers only 4 keep their locks (Azure/azure-sdk-for-python#19362)."""
    scenario = backlog(
        10,
        service_time={"family": "constant", "mean_s": 120.0},
        queue={"provider": "servicebus", "tier": "premium", "lock_duration_s": 30.0},
        consumers={"workers": 10, "renewal": {"max_s": 300.0, "renewers": renewers}},
        horizon_s=119.0,
        model=write_model(tmp_path, "servicebus"),
    )
    deliveries = simulated(engine, scenario).deliveries
    assert len(deliveries) == 10
    assert np.count_nonzero(deliveries["renewals"] == 5) == kept
    assert np.count_nonzero(deliveries["lock_end_s"] == 30.0) == 10 - kept


def test_one_by_one_is_a_round_trip_after_the_other(engine: str, tmp_path: Path) -> None:
    """1,000 messages one by one take 135.4 s and 1,000 at the same time 2.48 s, 54.5 times less.

    That was reported (Azure/azure-sdk-for-js#4704). 133.1 ms of round trips a message and a broker that
    settles one message in 2.35 ms explain both: one by one all of it adds up, at the same time only the
    broker's part does.
    """
    model = write_model(
        tmp_path, "servicebus", round_trip="66.53ms", calls_served_at_once=1, call_service="2.35ms"
    )
    serial = backlog(
        1000,
        service_time={"family": "constant", "mean_s": 0.0},
        queue={"provider": "servicebus", "tier": "premium"},
        consumers={"workers": 1},
        horizon_s=200.0,
        model=model,
    )
    one_s = simulated(engine, serial).messages["settled_s"].max()
    all_s = simulated(engine, serial.replace("consumers.workers", 1000)).messages["settled_s"].max()
    assert one_s == pytest.approx(1000 * (2 * 0.06653 + 0.00235), rel=1e-9)
    assert all_s == pytest.approx(2 * 0.06653 + 1000 * 0.00235, rel=1e-9)
    assert one_s / all_s == pytest.approx(54.5, rel=0.1)


def test_retention_eats_an_outage_longer_than_itself(engine: str) -> None:
    """Down for 50 h with a retention of 24 h: 52 % of the messages are deleted unread."""
    hour_s, count = 3600.0, 5000
    plan = Plan(
        seed=1,
        horizon_s=55.0 * hour_s,
        sample_every_s=hour_s,
        retention_s=24.0 * hour_s,
        lock_s=30.0,
        max_deliveries=0,
        discipline=POLL,
        wait_s=20.0,
        pause_start_s=np.array([0.0]),
        pause_end_s=np.array([50.0 * hour_s]),
        tables=tables(service=Constant(value=1.0)),
        **due_at(*(18.0 + 36.0 * np.arange(count))),
    )
    state = run(engine, plan).messages["state"]
    assert np.count_nonzero(state == MESSAGE_EXPIRED) == 2600
    assert np.count_nonzero(state == MESSAGE_COMPLETED) == 2400
    assert not (state == MESSAGE_DEAD_LETTERED).any()


def sojourn_p95_s(service: Distribution, workers: int) -> list[float]:
    """The p95 of the time in the system at 250 messages a second, five seeds of 1,000 s, after a minute."""
    found = []
    for seed in range(5):
        plan = queue_plan(
            workers=workers, horizon_s=1000.0, seed=seed, tables=tables(service=service), **poisson(250.0)
        )
        messages = run("kernel", plan).messages
        counted = messages[(messages["due_s"] > 60.0) & (messages["due_s"] < 990.0)]
        found.append(float(np.quantile(counted["completed_s"] - counted["due_s"], 0.95)))
    return found


def test_how_many_workers_keep_a_promise_of_half_a_second() -> None:
    """250 messages a second of 180 ms need 47 workers for a p95 of 500 ms, if service varies little.

    45 erlangs leave two spare. A constant time gives about 295 ms, a lognormal one with cv 0.5 about 417
    ms; with 46 the lognormal one breaks the promise in most runs. An exponential time or a lognormal one
    with cv 1.5 cannot keep it with any number of workers: their own p95 is 539 and 595 ms. On the kernel
    only: 1.2 million messages a case.
    """
    assert all(0.27 < p95_s < 0.33 for p95_s in sojourn_p95_s(Constant(value=0.18), 47))
    moderate = Lognormal(mean=0.18, cv=0.5)
    assert all(0.40 < p95_s < 0.44 for p95_s in sojourn_p95_s(moderate, 47))
    assert min(sojourn_p95_s(moderate, 46)) > max(sojourn_p95_s(moderate, 47))
    for service, floor_s in ((Exponential(mean=0.18), 0.539), (Lognormal(mean=0.18, cv=1.5), 0.595)):
        assert service.quantile(0.95) == pytest.approx(floor_s, abs=0.0006)
        assert all(p95_s == pytest.approx(floor_s, rel=0.03) for p95_s in sojourn_p95_s(service, 150))
