"""The verdict: a queue keeps up, or cannot, or throws its work away, or the run does not say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from handmade import fcfs, poisson_run, scenario_of

from qtune.analysis import summarize
from qtune.analysis.stability import Load, collapse_of, in_system, judge, theil_sen, waiting_for_work
from qtune.result import (
    DELIVERY,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    MESSAGE_COMPLETED,
    MESSAGE_READY,
    Result,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

CAPACITY_PER_S = 10.0


def load_of(kind: str = "poisson", rate_per_s: float | None = 8.0, *, disturbed: bool = False) -> Load:
    """A load on one worker that handles ten messages a second."""
    return Load(
        kind=kind, rate_per_s=rate_per_s, capacity_per_s=CAPACITY_PER_S, workers=1, disturbed=disturbed
    )


def runs_at(rate_per_s: float, count: int = 1, horizon_s: float = 1000.0) -> list[Result]:
    """M/M/1 runs with a mean service of 0.1 s."""
    rng = np.random.default_rng(int(1000 * rate_per_s))
    scenario = scenario_of(arrivals={"kind": "poisson", "rate_per_s": rate_per_s}, horizon_s=horizon_s)
    return [
        poisson_run(rng, rate_per_s=rate_per_s, scenario=scenario, seed=seed) for seed in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("rate_per_s", [1.0, 5.0, 8.0])
def test_a_queue_below_its_capacity_is_stable(count: int, rate_per_s: float) -> None:
    """Up to 80 % load a run of thousands of messages is called stable, with any number of replications."""
    verdict = judge(
        runs_at(rate_per_s, count), load_of(rate_per_s=rate_per_s), warm_up_s=0.0, confidence=0.95
    )
    assert verdict.kind == "stable"
    assert verdict.keeps_up
    assert "is worked off" in verdict.text


@pytest.mark.parametrize("count", [1, 3, 6])
def test_an_overloaded_queue_is_unstable_with_its_growth(count: int) -> None:
    """At 13 messages a second for 10, the verdict names load and capacity, and the growth of 3 a second."""
    verdict = judge(runs_at(13.0, count), load_of(rate_per_s=13.0), warm_up_s=0.0, confidence=0.999)
    assert verdict.kind == "unstable"
    assert "the offered load of 13/s exceeds the capacity of 10/s; the backlog grows by" in verdict.text
    assert verdict.growth_per_s.low <= 3.0 <= verdict.growth_per_s.high


def test_a_growth_that_theory_did_not_foresee_is_unstable_too() -> None:
    """When the backlog grows below the ceiling of theory, what was worked off is the capacity."""
    load = Load(kind="poisson", rate_per_s=13.0, capacity_per_s=100.0, workers=1)
    verdict = judge(runs_at(13.0), load, warm_up_s=0.0, confidence=0.95)
    assert verdict.kind == "unstable"
    assert "that were worked off" in verdict.text


def test_few_stable_queues_are_called_unstable() -> None:
    """Of 100 runs at 90 % load none is called unstable, though their backlogs wander."""
    kinds = [
        judge([run], load_of(rate_per_s=9.0), warm_up_s=0.0, confidence=0.95).kind
        for run in runs_at(9.0, 100, horizon_s=300.0)
    ]
    assert "unstable" not in kinds


def test_a_short_look_is_undecided() -> None:
    """A few messages at a high load say neither that the queue keeps up nor that it does not."""
    verdict = judge(runs_at(9.9, horizon_s=30.0), load_of(rate_per_s=9.9), warm_up_s=0.0, confidence=0.95)
    assert verdict.kind == "undecided"
    assert "run longer" in verdict.text


def course(*parts: tuple[float, float]) -> Result:
    """A metronome through stretches of (seconds, rate per second), served in 0.1 s each."""
    due, start_s = [], 0.0
    for length_s, rate_per_s in parts:
        due.append(start_s + np.arange(0.0, length_s, 1.0 / rate_per_s))
        start_s += length_s
    due_s = np.concatenate(due)
    return fcfs(due_s, np.full(due_s.size, 0.1), scenario_of(horizon_s=start_s))


def test_a_burst_that_is_worked_off_is_not_unstable() -> None:
    """A minute at four times the capacity, with time to recover, is a burst in a stable queue.

    It is worked off after 885 s of 1000, so that most of the second half is spent on it.
    """
    run = course((600.0, 2.0), (60.0, 40.0), (340.0, 2.0))
    assert judge([run], load_of("piecewise", 4.28), warm_up_s=0.0, confidence=0.95).kind == "stable"


def test_a_burst_at_the_end_is_undecided() -> None:
    """A run that ends in its busy hour cannot say whether the queue would recover."""
    run = course((600.0, 2.0), (400.0, 15.0))
    verdict = judge([run], load_of("piecewise", 7.2), warm_up_s=0.0, confidence=0.95)
    assert verdict.kind == "undecided"
    assert "the load is not steady" in verdict.text


def test_a_disturbed_queue_that_recovers_is_stable() -> None:
    """A fault that is over and made up for is no instability."""
    run = course((300.0, 5.0), (30.0, 60.0), (670.0, 5.0))
    load = load_of(rate_per_s=5.0, disturbed=True)
    assert judge([run], load, warm_up_s=0.0, confidence=0.95).kind == "stable"


def test_a_backlog_is_judged_by_whether_it_is_gone() -> None:
    """Messages that are all there at the start are worked off by the horizon, or the run was too short."""
    backlog = np.zeros(500), np.full(500, 0.1)
    gone = fcfs(*backlog, scenario_of(horizon_s=100.0))
    left = fcfs(*backlog, scenario_of(horizon_s=40.0))
    load = load_of("burst_at_once", 5.0)
    assert judge([gone], load, warm_up_s=0.0, confidence=0.95).kind == "stable"
    verdict = judge([left], load, warm_up_s=0.0, confidence=0.95)
    assert verdict.kind == "undecided"
    assert "of 500 messages were still open" in verdict.text


def test_a_closed_loop_cannot_be_unstable() -> None:
    """Customers who wait for their answer cannot pile up beyond their own number."""
    verdict = judge(runs_at(13.0), load_of("closed_loop", None), warm_up_s=0.0, confidence=0.95)
    assert verdict.kind == "stable"


def test_without_messages_there_is_no_verdict() -> None:
    """A run in which nothing fell due says nothing about the queue."""
    run = fcfs(np.empty(0), np.empty(0))
    assert judge([run], load_of(), warm_up_s=0.0, confidence=0.95).kind == "undecided"


BUS: dict[str, Any] = {"provider": "servicebus", "tier": "standard", "lock_duration_s": 60.0}


def prefetching(count: int) -> dict[str, Any]:
    """One handler behind a prefetch buffer whose credit returns when the handler takes a message."""
    return {"workers": 1, "client": "azure-processor", "prefetch": count, "credit_returned": "taken"}


@pytest.mark.parametrize(("prefetch", "kind"), [(100, "stable"), (1000, "collapsed")])
def test_a_metastable_queue_has_collapsed_and_is_not_just_slow(prefetch: int, kind: str) -> None:
    """After a pause of 150 s a buffer of 1000 messages never recovers at half load, and one of 100 does.

    The messages in the large buffer outlive their locks before their turn comes, so all work comes too late.
    """
    scenario = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 5.0},
        service_time={"family": "constant", "mean_s": 0.1},
        queue=BUS,
        consumers=prefetching(prefetch),
        faults=[{"kind": "pause_handlers", "at_s": 600.0, "for_s": 150.0}],
        horizon_s=3600.0,
    )
    summary = summarize(simulate(scenario))
    assert summary.verdict.kind == kind
    if kind == "collapsed":
        assert "of the work came too late" in summary.verdict.text
        assert not summary.latency_s_p95.known
        assert summary.latency_s_p95.reason == summary.verdict.text
        assert summary.wasted_handler_calls.value > 10_000


def test_twenty_long_messages_behind_an_unbounded_prefetch_are_dead_lettered() -> None:
    """Twenty messages of 45 s, locked for 60 s all at once: one is done, nineteen die after ten deliveries.

    The public case dapr/dapr#1526; with nothing prefetched all twenty are done.
    """
    base = Scenario(
        arrivals={"kind": "burst_at_once", "messages": 20},
        service_time={"family": "constant", "mean_s": 45.0},
        queue=BUS,
        consumers=prefetching(20),
        horizon_s=10_000.0,
    )
    summary = summarize(simulate(base))
    assert summary.verdict.kind == "collapsed"
    assert summary.dead_letters.value == 19.0
    good = summarize(simulate(base.replace("consumers.prefetch", 0)))
    assert good.verdict.kind == "stable"
    assert good.dead_letters.value == 0.0


def late_run(useful: int, wasted: int) -> Result:
    """A run of 100 s whose deliveries came in time or too late, evenly, with a message that stays open."""
    deliveries = np.zeros(useful + wasted, DELIVERY)
    for name in ("settled_s", "lock_end_s"):
        deliveries[name] = np.nan
    run = fcfs(np.linspace(0.0, 99.0, useful + 1), np.full(useful + 1, 0.01), scenario_of(horizon_s=100.0))
    run.messages["state"][-1], run.messages["left_s"][-1] = MESSAGE_READY, np.nan
    run.messages["completed_s"][-1] = np.nan
    deliveries["finished_s"] = np.linspace(0.1, 99.9, useful + wasted)
    deliveries["outcome"] = DELIVERY_LATE
    deliveries["outcome"][np.linspace(0, useful + wasted - 1, useful).astype(int)] = run.deliveries[
        "outcome"
    ][0]
    return Result(
        messages=run.messages,
        deliveries=deliveries,
        calls=run.calls,
        states=run.states,
        scenario=run.scenario,
        seed=1,
        source="simulated:by hand",
        horizon_s=100.0,
    )


def test_collapse_needs_little_goodput_and_much_waste() -> None:
    """Waste alone is no collapse while the demand is met, nor is low goodput without waste."""
    assert collapse_of(late_run(90, 300), 1.0) is None
    assert collapse_of(late_run(10, 300), 1.0) is None  # few messages fell due, and all were completed
    starved, failing = late_run(90, 300), late_run(90, 30)
    for run in (starved, failing):
        run.messages["completed_s"][40:] = np.nan
        run.messages["left_s"][40:] = np.nan
    assert collapse_of(failing, 1.0) is None  # little is completed, but not because of lost locks
    found = collapse_of(starved, 1.0)
    assert found is not None
    assert found.goodput_per_s == 0.0
    assert found.wasted_share == pytest.approx(300 / 390, abs=0.02)


def test_the_number_in_the_system_is_exact() -> None:
    """At each instant it is the number of messages due and not gone; one that leaves just then is gone."""
    run = fcfs(np.array([0.0, 1.0, 2.0]), np.array([2.0, 2.0, 2.0]), scenario_of(horizon_s=5.0))
    times_s = np.array([0.0, 1.0, 2.0, 3.9, 4.0, 5.0])
    assert in_system(run, times_s).tolist() == [1.0, 2.0, 2.0, 2.0, 1.0, 1.0]


def test_failed_messages_wait_for_the_clock_and_not_for_a_worker() -> None:
    """Messages whose locks are left to run out gather for the length of a lock: no growth of work."""
    run = fcfs(np.array([0.0, 1.0]), np.array([0.5, 0.5]), scenario_of(horizon_s=50.0))
    run.messages["state"][0], run.messages["left_s"][0] = MESSAGE_READY, np.nan
    run.deliveries["outcome"][0], run.deliveries["lock_end_s"][0] = DELIVERY_FAILED, 30.0
    times_s = np.array([0.1, 10.0, 31.0])
    assert in_system(run, times_s).tolist() == [1.0, 1.0, 1.0]
    assert waiting_for_work(run, times_s).tolist() == [1.0, 0.0, 1.0]
    assert run.messages["state"][1] == MESSAGE_COMPLETED


def test_a_slope_is_not_moved_by_outliers() -> None:
    """The Theil-Sen slope of a line stays its slope when a quarter of the points lie elsewhere."""
    values = 3.0 * np.arange(21.0)
    values[[2, 7, 11, 15, 19]] = 500.0
    assert theil_sen(values) == pytest.approx(3.0, abs=0.5)
    assert theil_sen(3.0 * np.arange(21.0)) == 3.0
