"""What the lab counts, on a run of three messages that was made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from handmade import fcfs, scenario_of

from qtune.lab import MEASURES
from qtune.result import CALL, CALL_EMPTY, DELIVERY_LOST, OP_RECEIVE, OP_SEND, Result

NAN = float("nan")


def run_of(starts_s: list[float] | None = None) -> Result:
    """Messages due at 0, 1 and 10 s, of 2, 2 and 1 s, the first two of one group, with one worker for 100 s."""
    due_s, service_s = np.array([0.0, 1.0, 10.0]), np.array([2.0, 2.0, 1.0])
    starts = None if starts_s is None else np.array(starts_s)
    result = fcfs(due_s, service_s, scenario_of(horizon_s=100.0), starts_s=starts)
    messages = result.messages.copy()
    messages["group"] = [0, 0, 1]
    return replace(result, messages=messages)


def with_calls(result: Result, op: int, outcome: int, *spans: tuple[float, float]) -> Result:
    """The run with calls of these spans added, in the order of their ends."""
    added = np.zeros(len(spans), CALL)
    added["start_s"], added["end_s"] = np.array(spans).T
    added["op"], added["outcome"] = op, outcome
    calls = np.concatenate([result.calls, added])
    return replace(result, calls=calls[np.argsort(calls["end_s"], kind="stable")])


def value(name: str, result: Result) -> float:
    """A measure of a run."""
    return MEASURES[name].read(result)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("completed", 3.0),
        ("completed_share", 1.0),
        ("last_completed_s", 11.0),
        ("last_settled_s", 11.0),
        ("last_send_s", NAN),
        ("last_dead_letter_s", NAN),
        ("least_dead_letter_left_s", NAN),
        ("late_goodput_per_s", 0.0),
        ("longest_expired_s", NAN),
        ("started_expired", 0.0),
        ("least_lock_left_s", 30.0),
        ("handler_calls_per_message", 1.0),
        ("repeated_share", 0.0),
        ("repeated_calls_share", 0.0),
        ("order_violations", 0.0),
        ("most_busy", 1.0),
        ("most_waiting", 0.0),
        ("longest_silence_s", 8.0),
        ("in_flight_most", 1.0),
        ("largest_receive", 1.0),
        ("killed_at_work", 0.0),
        ("first_scale_in_s", NAN),
        ("empty_receives", 0.0),
        ("missed_receives", 0.0),
        ("sent_per_s", 0.03),
        ("sends_per_s", 0.0),
        ("goodput_per_s", 0.03),
        ("latency_s_p50", 2.0),
        ("latency_s_p95", 3.0),
    ],
)
def test_a_measure_counts_what_its_name_says(name: str, expected: float) -> None:
    """The messages start at 0, 2 and 10 s and end at 2, 4 and 11 s, which decides every measure."""
    assert value(name, run_of()) == pytest.approx(expected, nan_ok=True)


def test_what_is_not_completed_is_slower_than_any() -> None:
    """A message that is never completed counts in a percentile as one that takes for ever, which is no number."""
    late = run_of([0.0, 2.0, 99.5])
    assert value("completed", late) == 2.0
    assert value("latency_s_p50", late) == 3.0
    assert np.isnan(value("latency_s_p95", late))


def test_a_message_begun_before_the_one_before_it_has_ended_violates_the_order() -> None:
    """Order counts within a group only: the second message must wait for the first, and the third for none."""
    assert value("order_violations", run_of([0.0, 1.5, 1.6])) == 1.0
    assert value("order_violations", run_of([0.0, 2.0, 2.1])) == 0.0


def test_a_receive_that_finds_nothing_while_a_message_is_there_has_missed_it() -> None:
    """The second message waits from 1 to 2 s: only a receive that begins and ends in that time has missed it."""
    result = with_calls(run_of(), OP_RECEIVE, CALL_EMPTY, (0.5, 1.5), (1.1, 1.9), (1.5, 2.5), (5.0, 6.0))
    assert value("empty_receives", result) == 4.0
    assert value("empty_receives_per_day", result) == pytest.approx(4.0 / 100.0 * 86_400.0)
    assert value("missed_receives", result) == 1.0


def test_sends_are_counted_by_call() -> None:
    """A send call counts once, whatever it brings."""
    sending = with_calls(run_of(), OP_SEND, 0, (0.0, 1.0), (1.0, 2.0))
    assert value("sends_per_s", sending) == 0.02
    assert value("last_send_s", sending) == 2.0


def test_a_warm_up_is_left_out() -> None:
    """A scenario's own warm-up is not counted."""
    result = run_of()
    warm = replace(result, scenario=scenario_of(horizon_s=100.0, warm_up_s=50.0))
    assert value("goodput_per_s", warm) == 0.0
    assert value("sent_per_s", warm) == 0.0


def test_instances_that_come_and_go_are_counted_as_sampled() -> None:
    """With one instance, then four, two and three, the most is four, and the first is removed half-way."""
    result = run_of()
    states = result.states.copy()
    states["consumers"] = np.repeat([1, 4, 2, 3], [50, 50, 50, 51])
    varied = replace(result, states=states)
    assert value("most_instances", varied) == 4.0
    assert value("first_scale_in_s", varied) == 50.0
    assert value("fewest_instances_after_scale_out", varied) == 2.0


def test_a_handler_whose_instance_is_killed_is_counted() -> None:
    """A delivery that is lost while a handler has it is one killed at work, and one that waits is not."""
    result = run_of()
    deliveries = result.deliveries.copy()
    deliveries["outcome"][:2] = DELIVERY_LOST
    deliveries["started_s"][1] = NAN
    assert value("killed_at_work", replace(result, deliveries=deliveries)) == 1.0
