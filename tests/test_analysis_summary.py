"""What a summary says of runs whose answers are known, and that it says nothing it does not know."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade import fcfs, poisson_run, scenario_of

from qtune.analysis import Summary, summarize
from qtune.analysis.measures import UNITS
from qtune.analysis.theory import MMc
from qtune.errors import InputError
from qtune.result import (
    CALL,
    CALL_EMPTY,
    CALL_OK,
    DELIVERY_ABANDONED,
    DELIVERY_DROPPED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    DELIVERY_OPEN,
    DELIVERY_RELEASED,
    MESSAGE_DEAD_LETTERED,
    MESSAGE_EXPIRED,
    OP_RECEIVE,
    OP_RENEW,
    OP_SETTLE,
    Result,
)


def ten_messages(horizon_s: float = 20.0, **changes: Any) -> Result:
    """Ten messages, one a second from 0 s on, each handled for half a second by one worker."""
    return fcfs(np.arange(10.0), np.full(10, 0.5), scenario_of(horizon_s=horizon_s, **changes))


def with_calls(run: Result, *calls: tuple[float, float, int, int, int]) -> Result:
    """The run with these calls: start, end, operation, count and outcome; in the order of their ends."""
    rows = [(start_s, end_s, 0, op, count, outcome) for start_s, end_s, op, count, outcome in calls]
    return replace(run, calls=np.array(rows, CALL))


def test_rates_count_what_happened_after_the_warm_up() -> None:
    """Half the run's messages fell due in its second half; rates are per second of that half."""
    summary = summarize(ten_messages(horizon_s=10.0), warm_up=5.0)
    assert summary.arrivals_per_s.value == 1.0
    assert summary.goodput_per_s.value == 1.0
    assert summary.throughput_per_s.value == 1.0
    assert summary.handler_calls.value == 5.0


@pytest.mark.parametrize("warm_up", [0.0, 2.25, 9.25])
def test_utilization_is_the_busy_share_of_the_window(warm_up: float) -> None:
    """A worker that is busy for the first half of each second is so in any window, cut exactly."""
    summary = summarize(ten_messages(horizon_s=10.0), warm_up=warm_up)
    busy_s = math.floor(10.0 - warm_up) * 0.5 + max(0.5 - warm_up % 1.0, 0.0) * (warm_up % 1.0 > 0.0)
    assert summary.utilization.value == pytest.approx(busy_s / (10.0 - warm_up))


def test_a_handler_that_is_still_running_counts_as_busy() -> None:
    """A message handled since 0 s, and not done at the horizon, has kept its worker busy all the time."""
    run = fcfs(np.array([0.0]), np.array([100.0]), scenario_of(horizon_s=20.0))
    assert summarize(run, warm_up=0.0).utilization.value == 1.0


def test_load_is_planned_and_utilization_is_measured() -> None:
    """Offered load is arrivals times mean service by the scenario, whatever the run did."""
    summary = summarize(ten_messages())
    assert summary.offered_load.value == pytest.approx(8.0 * 0.1)
    assert summary.utilization.value == pytest.approx(10 * 0.5 / 20.0)


def test_wasted_work_stands_beside_the_percentiles() -> None:
    """Of two messages with lost locks one was handled for nothing: two losses, one duplicate, one wasted."""
    run = ten_messages()
    first, second = run.deliveries[:1].copy(), run.deliveries[1:2].copy()
    for lost in (first, second):
        lost["settled_s"] = np.nan
        lost["lock_end_s"] = lost["locked_s"] + 0.1
    first["outcome"] = DELIVERY_LATE  # handled with success, then handled again
    second["outcome"], second["started_s"], second["finished_s"] = DELIVERY_DROPPED, np.nan, np.nan
    messages = run.messages.copy()
    messages["deliveries"][:2] = 2
    messages["delivery"] += 2
    twice = replace(run, deliveries=np.concatenate([first, second, run.deliveries]), messages=messages)
    summary = summarize(twice, warm_up=0.0)
    assert summary.amplification.value == pytest.approx(1.2)
    assert summary.duplicates.value == pytest.approx(0.1)
    assert summary.lost_locks.value == 2.0
    assert summary.wasted_handler_calls.value == 1.0
    assert summary.handler_calls.value == 11.0
    assert summary.goodput_per_s.value == 0.5


@pytest.mark.parametrize(
    ("outcome", "settled", "lost"),
    [
        (DELIVERY_OPEN, False, True),  # handled beyond its lock
        (DELIVERY_ABANDONED, True, False),
        (DELIVERY_RELEASED, False, False),
    ],
)
def test_a_lock_is_lost_when_it_ends_before_its_owner_is_done(
    outcome: int, settled: bool, lost: bool
) -> None:
    """Given back is not lost; still in work with a dead lock is."""
    run = ten_messages()
    run.deliveries["outcome"][3] = outcome
    if not settled:
        run.deliveries["settled_s"][3] = np.nan
    assert summarize(run, warm_up=0.0).lost_locks.value == float(lost)


@pytest.mark.parametrize(("on_failure", "lost"), [("abandon", 1.0), ("lock_expiry", 0.0)])
def test_a_lock_that_is_left_to_run_out_is_not_lost(on_failure: str, lost: float) -> None:
    """A failed handler that leaves its lock has given it up; one that meant to give it back has lost it."""
    run = ten_messages(failures={"rate": 0.1, "on_failure": on_failure})
    run.deliveries["outcome"][3], run.deliveries["settled_s"][3] = DELIVERY_FAILED, np.nan
    assert summarize(run, warm_up=0.0).lost_locks.value == lost


def test_what_is_never_completed_is_an_error_and_no_latency() -> None:
    """One message of ten dead-lettered and one expired are an error rate of 20 %, and leave no p95."""
    run = ten_messages()
    for row, state in ((4, MESSAGE_DEAD_LETTERED), (7, MESSAGE_EXPIRED)):
        run.messages["state"][row], run.messages["completed_s"][row] = state, np.nan
        run.deliveries["outcome"][row] = DELIVERY_LATE
    summary = summarize(run, warm_up=0.0)
    assert (summary.dead_letters.value, summary.expired.value, summary.rejected.value) == (1.0, 1.0, 0.0)
    assert summary.error_rate.value == pytest.approx(0.2)
    assert summary.latency_s_p50.value == 0.5
    assert not summary.latency_s_p95.known
    assert summary.latency_s_p95.reason.startswith("not reached: 2 of 10")


def test_calls_are_counted_by_kind() -> None:
    """Of four receives that ended two bring three messages and one, of five allowed, and two are empty."""
    run = ten_messages(
        consumers={"workers": 1, "receive_batch": 5, "receive_wait_s": 1.0, "polling": "permits"}
    )
    run = with_calls(
        run,
        (0.0, 0.2, OP_RECEIVE, 3, CALL_OK),
        (0.2, 1.2, OP_RECEIVE, 0, CALL_EMPTY),
        (1.0, 1.4, OP_SETTLE, 3, CALL_OK),
        (1.2, 1.6, OP_RECEIVE, 1, CALL_OK),
        (1.6, 2.6, OP_RECEIVE, 0, CALL_EMPTY),
        (2.6, np.nan, OP_RECEIVE, 0, CALL_OK),
    )
    summary = summarize(run, warm_up=0.0)
    assert summary.empty_receives_per_s.value == pytest.approx(2 / 20.0)
    assert summary.batch_efficiency.value == pytest.approx((3 + 1) / (2 * 5))
    assert summary.calls_per_message.value == pytest.approx(5 / 10)
    assert summary.settle_s_p50.value == pytest.approx(0.4)
    assert summary.receive_s_p50.value == pytest.approx(1.0)


def test_a_call_that_does_not_end_is_not_a_fast_one() -> None:
    """With a call in two still open, the median is the time of the other, and the p95 is not known."""
    run = with_calls(ten_messages(), (0.0, 0.3, OP_RENEW, 1, CALL_OK), (1.0, np.nan, OP_RENEW, 1, CALL_OK))
    summary = summarize(run, warm_up=0.0)
    assert summary.renew_s_p50.value == pytest.approx(0.3)
    assert not summary.renew_s_p95.known
    assert not summary.send_s_p50.known
    assert summary.send_s_p50.reason == "not so many send calls ended"


def test_the_clients_cores_are_measured_after_the_warm_up() -> None:
    """Core time that grows by a quarter of a second each second is a utilization of 25 %."""
    run = ten_messages()
    time_s = run.states["time_s"]
    run.states["core_busy_s"] = np.where(time_s < 10.0, time_s, 10.0 + (time_s - 10.0) * 0.25)
    assert summarize(run, warm_up=10.0).client_core_utilization.value == pytest.approx(0.25)
    run.states["core_busy_s"] = np.nan
    assert "was not seen" in summarize(run, warm_up=10.0).client_core_utilization.reason


def parts_of(run: Result) -> Result:
    """The run with time spent in every stage, different for each message."""
    i = np.arange(10.0)
    messages, deliveries = run.messages, run.deliveries
    messages["sent_s"] = messages["due_s"] + 0.01 * i
    deliveries["locked_s"] = messages["sent_s"] + 0.02 * i
    deliveries["received_s"] = deliveries["locked_s"] + 0.01
    deliveries["started_s"] = deliveries["received_s"] + 0.005 * i
    deliveries["finished_s"] = messages["completed_s"] = deliveries["started_s"] + 0.5
    for table in (messages, deliveries):
        table["settled_s"] = deliveries["finished_s"] + 0.03
    messages["left_s"] = deliveries["lock_end_s"] = deliveries["settled_s"]
    return run


def test_stages_add_up_to_the_latency() -> None:
    """Send, queue, buffer and service add up to the mean latency, of all messages and of the slowest."""
    run = parts_of(ten_messages())
    summary = summarize(run, warm_up=0.0)
    latency_s = run.messages["completed_s"] - run.messages["due_s"]
    parts = [summary.stage(name) for name in ("send", "queue", "buffer", "service")]
    assert [part.mean_s.value for part in parts] == pytest.approx([0.045, 0.1, 0.0225, 0.5])
    assert sum(part.mean_s.value for part in parts) == pytest.approx(float(latency_s.mean()), rel=1e-12)
    assert sum(part.slowest_mean_s.value for part in parts) == pytest.approx(
        float(latency_s.max()), rel=1e-12
    )
    assert summary.stage("settle").mean_s.value == pytest.approx(0.03)


def test_time_lost_to_earlier_deliveries_is_queue_time() -> None:
    """A message whose first delivery was lost waits in the queue until the one that completes it."""
    run = ten_messages()
    first = run.deliveries[9:10].copy()
    first["outcome"], first["settled_s"] = DELIVERY_LATE, np.nan
    run.deliveries["delivery_no"][9] = 2
    for name in ("locked_s", "received_s", "started_s", "finished_s", "settled_s", "lock_end_s"):
        run.deliveries[name][9] += 3.0
    for name in ("completed_s", "settled_s", "left_s"):
        run.messages[name][9] += 3.0
    twice = replace(run, deliveries=np.concatenate([run.deliveries, first]))
    summary = summarize(twice, warm_up=0.0)
    assert summary.stage("queue").slowest_mean_s.value == pytest.approx(3.0)
    assert summary.stage("service").slowest_mean_s.value == pytest.approx(0.5)


def test_an_unseen_stage_has_no_value() -> None:
    """What an adapter cannot see is not 0: the stage has no value, and the others keep theirs."""
    run = ten_messages()
    run.messages["sent_s"] = np.nan
    summary = summarize(run, warm_up=0.0)
    assert summary.stage("queue").mean_s.reason == "not every run shows this stage of a completed message"
    assert summary.stage("service").mean_s.value == pytest.approx(0.5)


def test_an_unknown_stage_is_answered_with_the_known_ones() -> None:
    """A stage that does not exist is answered with those that do."""
    with pytest.raises(InputError, match="send, queue, buffer, service, settle"):
        summarize(ten_messages()).stage("waiting")


@pytest.fixture(scope="module")
def replications() -> list[Result]:
    """Six runs of M/M/1 at load 0.7, 600 s each."""
    rng = np.random.default_rng(8)
    scenario = scenario_of(arrivals={"kind": "poisson", "rate_per_s": 7.0}, horizon_s=600.0)
    return [poisson_run(rng, rate_per_s=7.0, scenario=scenario, seed=seed) for seed in range(1, 7)]


def test_replications_agree_with_theory(replications: list[Result]) -> None:
    """The quantiles, the goodput and the utilization of M/M/1 lie in their intervals at 99.9 %."""
    summary = summarize(replications, confidence=0.999)
    queue = MMc(arrival_per_s=7.0, service_mean_s=0.1)
    for percent in (50, 95, 99):
        estimate = summary.numbers[f"latency_s_p{percent}"]
        assert estimate.low <= queue.sojourn_quantile_s(percent / 100.0) <= estimate.high
    assert summary.goodput_per_s.low <= 7.0 <= summary.goodput_per_s.high
    assert summary.utilization.low <= 0.7 <= summary.utilization.high
    assert summary.replications == 6
    assert summary.verdict.kind == "stable"


def test_the_warm_up_is_the_users_the_scenarios_or_found(replications: list[Result]) -> None:
    """An explicit warm-up wins, then the scenario's own, then MSER-5; which of them it was is said."""
    assert summarize(replications, warm_up=60.0).warm_up.cut_s == 60.0
    assert summarize(replications).warm_up.method == "MSER-5"
    own = [replace(run, scenario=run.scenario.with_(warm_up_s=30.0)) for run in replications]
    found = summarize(own).warm_up
    assert (found.cut_s, found.method) == (30.0, "given")
    assert "the scenario's own" in found.reason


def test_a_load_with_a_course_of_its_own_loses_nothing() -> None:
    """The start of a backlog, a trace or a disturbed run belongs to the answer, and is not cut."""
    backlog = {"kind": "burst_at_once", "messages": 100}
    run = fcfs(np.zeros(100), np.full(100, 0.1), scenario_of(arrivals=backlog, horizon_s=60.0))
    found = summarize(run).warm_up
    assert (found.cut_s, found.method) == (0.0, "none")


def test_an_unstable_queue_has_no_percentile() -> None:
    """The latency of a queue that cannot keep up depends on how long one looks, so none is given."""
    summary = summarize(poisson_run(np.random.default_rng(1), rate_per_s=15.0))
    assert summary.verdict.kind == "unstable"
    assert not summary.latency_s_p50.known
    assert "exceeds the capacity" in summary.latency_s_p50.reason
    assert summary.utilization.value == pytest.approx(1.0, abs=0.01)


def test_every_number_is_an_attribute_and_a_row(replications: list[Result]) -> None:
    """Each number has a name, by which it is an attribute, a key of the JSON and a row of the frame."""
    summary = summarize(replications)
    frame = summary.to_frame().set_index("name")
    written = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    for name in (*UNITS, "latency_s_p95", "capacity_per_s", "offered_load"):
        estimate = getattr(summary, name)
        assert written["numbers"][name]["value"] == (estimate.value if estimate.known else None)
        assert frame.loc[name, "unit"] == estimate.unit
        assert name in dir(summary)
    assert frame.loc["stage_service_s_mean", "value"] == summary.stage("service").mean_s.value
    assert frame.loc["month_usd", "value"] == summary.cost.month_usd.value


def test_json_says_why_a_number_is_missing() -> None:
    """A null in the JSON has its reason beside it."""
    written = summarize(poisson_run(np.random.default_rng(1), rate_per_s=15.0)).to_dict()["numbers"]
    assert isinstance(written, dict)
    for number in written.values():
        assert number["value"] is not None or number["reason"]


def test_a_mistyped_number_is_answered_with_a_suggestion(replications: list[Result]) -> None:
    """A summary has no number by any name, and suggests the nearest of those it has."""
    with pytest.raises(AttributeError, match='Did you mean "latency_s_p95"'):
        _ = summarize(replications).latency_p95


def test_a_summary_survives_pickling(replications: list[Result]) -> None:
    """A summary made in another process arrives whole."""
    summary = summarize(replications)
    copy: Summary = pickle.loads(pickle.dumps(summary))
    assert copy.to_dict() == summary.to_dict()


def test_replications_must_be_of_one_scenario(replications: list[Result]) -> None:
    """Runs of two scenarios are not replications; nor are runs of different lengths, or one seed twice."""
    one, two = replications[:2]
    with pytest.raises(InputError, match=r"compare\(\) takes two scenarios"):
        summarize([one, replace(two, scenario=two.scenario.replace("consumers.workers", 2))])
    with pytest.raises(InputError, match="one horizon"):
        summarize([one, replace(two, horizon_s=599.0)])
    with pytest.raises(InputError, match="the same seed gives the same rows"):
        summarize([one, replace(two, seed=one.seed)])
    with pytest.raises(InputError, match="nothing to summarize"):
        summarize([])
    again = replace(two, seed=one.seed, source="measured:sqs")
    assert summarize([replace(one, source="measured:sqs"), again]).replications == 2


def test_a_scenario_that_differs_in_its_seed_only_is_the_same(replications: list[Result]) -> None:
    """The seed in the scenario is a default, and no part of what is replicated."""
    one, two = replications[:2]
    other = replace(two, scenario=two.scenario.with_(seed=99))
    assert summarize([one, other]).replications == 2


@pytest.mark.parametrize("warm_up", [-1.0, 600.0, math.nan])
def test_a_warm_up_ends_before_the_run(replications: list[Result], warm_up: float) -> None:
    """A warm-up that leaves nothing to look at is refused with the horizon."""
    with pytest.raises(InputError, match="600 s"):
        summarize(replications, warm_up=warm_up)


def test_an_empty_run_has_a_summary() -> None:
    """When nothing fell due the summary says so, number by number, and nothing fails."""
    summary = summarize(fcfs(np.empty(0), np.empty(0)))
    assert summary.verdict.kind == "undecided"
    assert summary.goodput_per_s.value == 0.0
    assert not summary.error_rate.known
    json.dumps(summary.to_dict(), allow_nan=False)
