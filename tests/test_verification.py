"""The sixteen assertions: what passes, what fails, and what is never claimed."""

from __future__ import annotations

import json
from typing import Any

import pytest

import qtune
from qtune.scenario import Scenario
from qtune.verification import Verification, verify
from qtune.verification.assertion import ASSERTIONS


def on_sqs(**changes: Any) -> Scenario:
    """A small SQS queue with room to spare."""
    values: dict[str, Any] = {
        "name": "small",
        "arrivals": {"kind": "poisson", "rate_per_s": 20.0},
        "service_time": {"family": "exponential", "mean_s": 0.05},
        "queue": {"provider": "sqs", "visibility_timeout_s": 10.0, "max_receive_count": 5},
        "consumers": {"workers": 4, "receive_batch": 1, "receive_wait_s": 20.0},
        "horizon_s": 300.0,
    }
    return Scenario(**{**values, **changes})


@pytest.fixture(scope="module")
def sound() -> Verification:
    """A setting with nothing wrong about it."""
    return verify(on_sqs(), "p95=1s,throughput=19/s")


def failed(found: Verification) -> set[int]:
    """The numbers of the assertions that failed."""
    return {assertion.number for assertion in found.assertions if assertion.outcome == "FAIL"}


def test_every_assertion_of_the_document_is_answered_in_order(sound: Verification) -> None:
    """There are sixteen, each with an outcome and a reason, and those that are judged show numbers."""
    assert [assertion.number for assertion in sound.assertions] == list(range(1, 17))
    assert len(ASSERTIONS) == 16
    assert all(assertion.reason for assertion in sound.assertions)
    assert all(assertion.evidence for assertion in sound.assertions if assertion.outcome == "PASS")


def test_a_sound_setting_passes_all_that_can_be_judged(sound: Verification) -> None:
    """What the simulator has no model of is not applicable, with the reason, and everything else passes."""
    assert sound.holds
    aside = {a.number for a in sound.assertions if a.outcome == "NOT APPLICABLE"}
    assert aside == {7, 9, 10}
    assert "no model of memory" in sound.assertion(9).reason


def test_consumers_scale_as_their_number_does(sound: Verification) -> None:
    """Four times as many consumers work off a backlog four times as fast, which theory says of idle brokers."""
    assert sound.assertion(3).evidence["times_with_4"].value == pytest.approx(4.0, rel=0.05)
    assert sound.assertion(13).evidence["quotient"].value == pytest.approx(2.0, rel=0.05)


def test_batches_of_ten_save_nine_receives_of_ten(sound: Verification) -> None:
    """Singly a message takes a receive and a delete; in tens, a tenth of a receive and a delete."""
    evidence = sound.assertion(2).evidence
    assert evidence["calls_single"].value == pytest.approx(2.0, rel=0.05)
    assert evidence["calls_batched"].value == pytest.approx(1.1, rel=0.05)


def test_an_overloaded_queue_sustains_nothing() -> None:
    """More load than capacity fails the first assertion by its verdict, and the latency with it."""
    found = verify(on_sqs(arrivals={"kind": "poisson", "rate_per_s": 200.0}), "p95=1s")
    assert {1, 5} <= failed(found)
    assert "unstable" in found.assertion(1).reason
    assert not found.holds


def test_a_throughput_that_is_not_offered_is_missed() -> None:
    """A target above the load is not met, though the queue keeps up."""
    assert failed(verify(on_sqs(), "throughput=30/s")) == {1}


def test_a_buffer_that_outlives_its_locks_fails_under_pressure() -> None:
    """A client that holds more than it can handle within a lock works in vain after a pause and under load."""
    found = verify(
        Scenario(
            arrivals={"kind": "poisson", "rate_per_s": 5.0},
            service_time={"family": "constant", "mean_s": 0.1},
            queue={"provider": "servicebus", "tier": "premium", "lock_duration_s": 60.0},
            consumers={"workers": 1, "client": "azure-processor", "prefetch": 1000},
            horizon_s=600.0,
        )
    )
    assert {15, 16} <= failed(found)


def test_a_client_that_outweighs_its_handlers_has_too_much_overhead() -> None:
    """When handlers take less than ten times the client's own processor time for a message, assertion 6 fails."""
    found = verify(on_sqs(service_time={"family": "constant", "mean_s": 0.001}))
    assert 6 in failed(found)


def test_a_lock_shorter_than_its_handler_is_a_timeout_that_is_not_respected() -> None:
    """Handlers that outlast the visibility timeout fail assertion 8."""
    queue = {"provider": "sqs", "visibility_timeout_s": 1.0}
    found = verify(on_sqs(queue=queue, service_time={"family": "exponential", "mean_s": 0.15}))
    assert 8 in failed(found)


def test_without_a_threshold_the_latency_is_not_judged() -> None:
    """Nobody is told that a latency is low enough who did not say what that means."""
    assert verify(on_sqs()).assertion(5).outcome == "NOT APPLICABLE"


def test_a_limit_that_is_not_simulated_is_not_said_to_be_handled() -> None:
    """A quota of calls a second that the simulator knows and does not apply leaves assertion 4 open."""
    queue = {"provider": "servicebus", "tier": "standard"}
    consumers = {"workers": 4, "client": "azure-servicebus-7.15"}
    found = verify(on_sqs(queue=queue, consumers=consumers)).assertion(4)
    open_ones = [
        limit for limit in on_sqs(queue=queue, consumers=consumers).provider().limits if not limit.modelled
    ]
    throttles = [limit.name for limit in open_ones if limit.unit.endswith("a second")]
    assert (found.outcome == "NOT APPLICABLE") == bool(throttles)
    assert all(name in found.reason for name in throttles)


def test_a_run_too_large_for_memory_is_refused_with_the_next_step() -> None:
    """A load with a course of its own whose rows would not fit is an input error, and not a crash."""
    arrivals = {"kind": "piecewise", "segments": [{"rate_per_s": 50_000.0, "for_s": 300.0}]}
    with pytest.raises(qtune.InputError, match="verify a shorter horizon"):
        verify(on_sqs(arrivals=arrivals))


def test_the_same_seed_gives_the_same_verification(sound: Verification) -> None:
    """A verification repeats to the digit, and its data is JSON."""
    again = verify(on_sqs(), "p95=1s,throughput=19/s")
    assert json.dumps(again.to_dict(), allow_nan=False) == json.dumps(sound.to_dict(), allow_nan=False)


def test_the_report_says_what_the_data_says(sound: Verification) -> None:
    """The printed list has each number with its outcome, and the verdict counts them."""
    report = qtune.describe(sound)
    assert [(int(row[0]), row[1]) for row in report.section("Assertions").rows] == [
        (assertion.number, assertion.outcome) for assertion in sound.assertions
    ]
    assert report.verdict == "13 of 13 assertions pass, 0 fail; 3 do not apply"
    assert report.good is True
