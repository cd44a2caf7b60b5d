"""The laws that every run obeys: they hold for whole runs, and each of them sees its own kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade import fcfs, poisson_run, scenario_of

from qtune.invariants import check
from qtune.result import (
    CALL_EMPTY,
    CALL_THROTTLED,
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    DELIVERY_UNSETTLED,
    MESSAGE_COMPLETED,
    MESSAGE_READY,
    TABLES,
    Result,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate


def copy_of(result: Result, source: str | None = None) -> Result:
    """The same run with tables of its own, to be damaged."""
    tables: dict[str, Any] = {name: result.table(name).copy() for name in TABLES}
    return replace(result, **tables, source=source or result.source)


@pytest.fixture(scope="module")
def two_workers() -> Result:
    """Two workers at 80 % load for 100 s, cut off while they work."""
    scenario = scenario_of(
        arrivals={"kind": "poisson", "rate_per_s": 16.0}, consumers=workers(2), horizon_s=100.0
    )
    return poisson_run(np.random.default_rng(5), rate_per_s=16.0, scenario=scenario)


def workers(count: int) -> dict[str, Any]:
    """In-process consumers with so many workers."""
    return {"instances": 1, "workers": count, "receive_wait_s": 1.0, "polling": "permits"}


def test_a_run_made_by_hand_breaks_no_law(two_workers: Result) -> None:
    """A queue served in order keeps every law, also for the messages still on their way at the end."""
    assert np.isnan(two_workers.messages["left_s"]).any()
    assert check(two_workers) == []


def test_a_run_without_messages_breaks_no_law() -> None:
    """An empty run is a run: nothing fell due, so nothing can be wrong with it."""
    assert check(fcfs(np.empty(0), np.empty(0))) == []


SQS = {"provider": "sqs", "visibility_timeout_s": 1.0, "max_receive_count": 3}
BUS = {"provider": "servicebus", "tier": "standard", "lock_duration_s": 1.0, "max_delivery_count": 3}
FULL = {"provider": "memory", "max_queue_size": 20, "when_full": "reject", "lock_duration_s": 1.0}
THINKING = {"family": "constant", "mean_s": 0.1}
STRESS: dict[str, dict[str, Any]] = {
    "locks run out in a buffer": {
        "queue": SQS,
        "consumers": {"workers": 2, "receivers": 1, "polling": "buffer", "buffer": 30, "receive_wait_s": 1.0},
    },
    "handlers fail and locks are left": {
        "queue": SQS,
        "consumers": {"workers": 4, "receive_wait_s": 1.0, "settle": "batch", "settle_batch": 10},
        "failures": {"rate": 0.3, "poison": 0.1, "on_failure": "lock_expiry"},
    },
    "bursts of credit with leftovers": {
        "queue": BUS,
        "consumers": {"workers": 4, "instances": 2, "receive_batch": 5, "settle": "concurrent"},
        "failures": {"rate": 0.1},
    },
    "a processor that prefetches too much": {
        "queue": BUS,
        "consumers": {"workers": 2, "client": "azure-processor", "prefetch": 40, "drop_expired": True},
    },
    "renewal with too few renewers": {
        "queue": {**BUS, "lock_duration_s": 0.5},
        "consumers": {
            "workers": 4,
            "client": "azure-processor",
            "renewal": {"max_s": 60.0, "renewers": 2},
        },
        "service_time": {"family": "exponential", "mean_s": 0.5},
    },
    "a full queue and few senders": {
        "queue": FULL,
        "consumers": {"workers": 2, "receive_wait_s": 1.0, "polling": "permits"},
        "producers": {"instances": 1, "senders": 2},
    },
    "a throttled namespace": {
        "queue": {**BUS, "credits_per_s": 60.0, "settle_credits": 1},
        "consumers": {"workers": 4, "client": "azure-processor", "prefetch": 10, "settle": "concurrent"},
        "producers": {"instances": 2, "senders": 4},
        "faults": ({"kind": "throttling", "at_s": 5.0, "for_s": 5.0, "rate_per_s": 3.0},),
    },
    "a closed loop": {
        "arrivals": {
            "kind": "closed_loop",
            "customers": 9,
            "think_time": {"family": "constant", "mean_s": 0.1},
        },
        "queue": SQS,
        "consumers": {"workers": 2, "receive_wait_s": 0.0, "idle_pause_s": 0.1},
    },
}


@pytest.mark.parametrize("situation", STRESS)
def test_every_law_holds_in_both_engines(engine: str, situation: str) -> None:
    """Whatever goes wrong in a simulated queue, no message is lost, doubled or in two hands at a time."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": 25.0},
        "service_time": {"family": "exponential", "mean_s": 0.1},
        "horizon_s": 40.0,
    }
    run = simulate(Scenario(**{**base, **STRESS[situation]}), seed=2, engine=engine)  # type: ignore[arg-type]
    assert len(run.deliveries) > 100
    assert check(run) == []


@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_what_leaves_at_the_instant_of_a_sample_may_be_counted_or_not(engine: str) -> None:
    """Eleven messages that expire together at the very instant of a sample break no law of averages."""
    scenario = Scenario(
        arrivals={"kind": "burst_at_once", "messages": 20},
        service_time={"family": "constant", "mean": "100ms"},
        queue={"provider": "servicebus", "tier": "premium", "lock_duration": "30s", "message_ttl": "1s"},
        consumers={"workers": 1, "client": "azure-servicebus-7.15"},
        horizon=f"{20 / 3!r}s",  # a sample every 1/75 s, so one at 1 s
    )
    assert check(simulate(scenario, seed=0, engine=engine)) == []


def damage(table: str, column: str, row: int | slice, value: Any) -> Callable[[Result], None]:
    """A change of one field, or of a column of it; value may be a function of the table."""

    def apply(run: Result) -> None:
        rows = run.table(table)  # type: ignore[arg-type]
        rows[column][row] = value(rows) if callable(value) else value

    return apply


def also(*parts: Callable[[Result], None]) -> Callable[[Result], None]:
    """Several changes one after the other."""

    def apply(run: Result) -> None:
        for part in parts:
            part(run)

    return apply


def lock_twice(run: Result) -> None:
    """Give the first message a second delivery before its first lock has ended."""
    run.deliveries["message"][1] = run.deliveries["message"][0]
    run.deliveries["locked_s"][1] = run.deliveries["locked_s"][0]


DAMAGE: dict[str, tuple[Callable[[Result], None], str]] = {
    "a state without a name": (damage("messages", "state", 4, 9), "messages: the state has no name"),
    "an unknown worker": (damage("deliveries", "worker", 4, 2), "the worker belongs to another consumer"),
    "an unknown caller": (damage("calls", "consumer", 4, 1), "no such caller"),
    "messages out of order": (damage("messages", "due_s", 4, 99.0), "the next one is due earlier"),
    "sent before it was due": (damage("messages", "sent_s", 4, 0.0), "sent_s is before due_s"),
    "handled before it came": (damage("deliveries", "started_s", 9, 0.0), "started_s is before received_s"),
    "locked before it was sent": (damage("deliveries", "locked_s", 9, 0.0), "locked before it was sent"),
    "an event after the end": (damage("deliveries", "finished_s", 9, 101.0), "after the horizon"),
    "a call before its start": (damage("calls", "start_s", 4, 99.0), "end_s is before start_s"),
    "calls in disorder": (damage("calls", "end_s", 4, 99.0), "rows are in the order of end_s"),
    "completed, but still there": (damage("messages", "left_s", 4, np.nan), "left_s contradicts the state"),
    "ready, but gone": (damage("messages", "state", 4, MESSAGE_READY), "left_s contradicts the state"),
    "completed at no time": (damage("messages", "completed_s", 4, np.nan), "completed_s contradicts"),
    "a live lock of a message that has left": (
        damage("deliveries", "lock_end_s", 4, np.nan),
        "the state contradicts the live locks",
    ),
    "a completion that nobody made": (
        damage("deliveries", "outcome", 4, DELIVERY_LATE),
        "completed by no delivery, or by several",
    ),
    "another time than its delivery": (
        damage("messages", "completed_s", 4, lambda rows: rows["completed_s"][4] - 1e-9),
        "differs from the delivery that completed it",
    ),
    "another message's delivery": (damage("messages", "delivery", 4, 5), "differs from the delivery"),
    "two locks at a time": (lock_twice, "locked again while it was locked"),
    "a delivery number that jumps": (damage("deliveries", "delivery_no", 4, 2), "another number"),
    "a wrong count of deliveries": (
        damage("messages", "deliveries", 4, 2),
        "its count of deliveries is wrong",
    ),
    "settled too late": (
        damage("deliveries", "lock_end_s", 4, lambda rows: rows["locked_s"][4]),
        "settled after its lock had ended",
    ),
    "abandoned at no time": (
        also(
            damage("deliveries", "outcome", 4, DELIVERY_ABANDONED),
            damage("deliveries", "settled_s", 4, np.nan),
        ),
        "settled at no time",
    ),
    "late, but settled": (
        damage("deliveries", "outcome", 4, DELIVERY_LATE),
        "settled though its lock was lost",
    ),
    "two deliveries in one hand": (damage("deliveries", "worker", slice(None), 0), "before the one before"),
    "an empty call that brought something": (damage("calls", "outcome", 4, CALL_EMPTY), "empty is a receive"),
    "a call that carried too much": (damage("calls", "count", 4, 2), "calls carried"),
    "time that is missing": (
        damage("states", "backlog", slice(None), lambda rows: rows["backlog"] + 5),
        "by Little's law",
    ),
    "a sample that saw too much": (
        damage("states", "in_flight", 100, 3),
        "in_flight is not what the rows say",
    ),
    "a refused call that carried a message": (
        damage("calls", "outcome", 0, CALL_THROTTLED),
        "refused, and carried messages all the same",
    ),
    "a settlement given up that was made": (
        damage("deliveries", "outcome", 3, DELIVERY_UNSETTLED),
        "settled though its client gave up",
    ),
    "a sample of too few busy workers": (
        damage("states", "busy_workers", slice(None), 0),
        "busy_workers is not what the rows say",
    ),
    "a sample with a ghost in a buffer": (
        damage("states", "buffered", 100, 1),
        "buffered is not what the rows say",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_seen(two_workers: Result, kind: str) -> None:
    """A row that contradicts another is reported with the law it breaks and where it stands."""
    run = copy_of(two_workers)
    apply, told = DAMAGE[kind]
    apply(run)
    found = check(run)
    assert any(told in broken for broken in found), found


def test_a_report_names_the_first_offender(two_workers: Result) -> None:
    """Each broken law says how many rows break it, and which is the first, so that one can look there."""
    run = copy_of(two_workers)
    run.messages["sent_s"][[7, 30]] = 0.0
    assert "messages: sent_s is before due_s (2 rows, first 7)" in check(run)


def test_samples_of_a_measured_run_are_not_held_to_the_instant(two_workers: Result) -> None:
    """An adapter looks at a queue that goes on meanwhile, so its samples need not match the rows exactly."""
    run = copy_of(two_workers, source="measured:sqs")
    run.states["in_flight"][100] += 1
    assert check(run) == []


def test_released_deliveries_do_not_count(engine: str) -> None:
    """A message that was given back unhandled has the same delivery number again, and that is no error."""
    scenario = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 6.0},
        service_time={"family": "constant", "mean_s": 0.5},
        queue={"provider": "servicebus", "tier": "standard"},
        consumers={"workers": 4, "receive_batch": 10},
        horizon_s=60.0,
    )
    run = simulate(scenario, seed=1, engine=engine)  # type: ignore[arg-type]
    assert (run.frame("deliveries")["outcome"] == "released").any()
    assert check(run) == []
    done = run.deliveries["outcome"] == DELIVERY_COMPLETED
    assert done.sum() == (run.messages["state"] == MESSAGE_COMPLETED).sum()


def test_more_calls_than_credits_are_seen() -> None:
    """A period in which more was sent and received than its credits allow breaks a law."""
    scenario = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 20.0},
        service_time={"family": "constant", "mean_s": 0.01},
        queue=BUS,
        consumers={"workers": 4, "client": "azure-processor", "prefetch": 10},
        producers={"senders": 10},
        horizon_s=20.0,
    )
    run = simulate(scenario)
    assert check(run) == []
    fewer = replace(run, scenario=scenario.with_(queue={"credits_per_s": 20.0}))
    assert any("credits of a standard namespace in one period" in broken for broken in check(fewer))
