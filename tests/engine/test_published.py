"""What the providers' own guides say about round trips and prefetch, from scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model

from qtune.result import MESSAGE_COMPLETED, MESSAGE_DEAD_LETTERED, OP_SEND, Result
from qtune.scenario import Scenario
from qtune.simulation import simulate


def sending(count: int, senders: int, model: str, **fields: Any) -> Scenario:
    """So many messages to send at once, and consumers that do not matter."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": count},
        service_time={"family": "constant", "mean_s": 0.001},
        producers={"senders": senders},
        consumers={"workers": 1},
        model=model,
        **fields,
    )


def simulated(engine: str, scenario: Scenario) -> Result:
    """A run with the engine of this name."""
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


@pytest.mark.parametrize("senders", [1, 4])
def test_a_call_of_20_ms_lets_a_thread_make_50_calls_a_second(
    engine: str, tmp_path: Path, senders: int
) -> None:
    """A thread that makes one call of 20 ms after the other makes 50 a second, and four threads make 200.

    Amazon SQS Developer Guide, increasing throughput with horizontal scaling.
    """
    model = write_model(tmp_path, "sqs", round_trip="20ms")
    scenario = sending(5000, senders, model, queue={"provider": "sqs"}, horizon_s=10.01)
    calls = simulated(engine, scenario).calls
    assert np.count_nonzero(calls["op"] == OP_SEND) == 500 * senders


@pytest.mark.parametrize(("senders", "total_s"), [(1, 8.0), (100, 1.07)])
def test_sends_in_a_loop_add_up_their_round_trips(
    engine: str, tmp_path: Path, senders: int, total_s: float
) -> None:
    """At 70 ms of round trip and 10 ms to store a message, 100 sends in a loop take 8 s.

    Sent without waiting for each other they take one round trip and the storing, which the broker does here
    one after the other. Azure documentation, Message transfers, locks and settlement.
    """
    model = write_model(
        tmp_path, "servicebus", round_trip="70ms", calls_served_at_once=1, call_service="10ms"
    )
    queue = {"provider": "servicebus", "tier": "premium"}
    # A consumer would take call slots of this broker as well, so none settles: handlers are paused.
    pause = {"kind": "pause_handlers", "at_s": 0.0, "for_s": 20.0}
    scenario = sending(100, senders, model, queue=queue, faults=(pause,), horizon_s=20.5)
    calls = simulated(engine, scenario).calls
    assert calls["end_s"][calls["op"] == OP_SEND].max() == pytest.approx(total_s, rel=1e-9)


def prefetching(prefetch: int) -> Scenario:
    """Three handlers of 100 ms on a backlog, with the lock and the rate of the guide's example."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": 20_000},
        service_time={"family": "constant", "mean_s": 0.1},
        queue={"provider": "servicebus", "tier": "premium", "lock_duration_s": 60.0, "max_delivery_count": 3},
        consumers={"workers": 3, "client": "azure-processor", "prefetch": prefetch, "settle": "concurrent"},
        horizon_s=600.0,
    )


def test_a_prefetch_of_20_seconds_fits_a_lock_of_60(engine: str) -> None:
    """A prefetch of 600 at 30 messages a second is 20 s of work, and no lock of 60 s runs out.

    Azure documentation, Best practices for performance improvements: prefetch 20 times the rate.
    """
    result = simulated(engine, prefetching(600))
    done = result.messages[result.messages["state"] == MESSAGE_COMPLETED]
    assert len(done) > 0.95 * 30.0 * 600.0
    assert (result.messages["deliveries"] <= 1).all()


def test_a_prefetch_of_100_seconds_fills_the_dead_letter_queue(engine: str) -> None:
    """A prefetch of 3,000 is 100 s of work: locks run out, and dead letters grow without end."""
    result = simulated(engine, prefetching(3000))
    left_s = result.messages["left_s"][result.messages["state"] == MESSAGE_DEAD_LETTERED]
    grown = [np.count_nonzero(left_s < time_s) for time_s in (300.0, 450.0, 600.0)]
    assert grown[0] > 0
    assert (np.diff(grown) > 500).all()
    late_s = result.messages["completed_s"]
    assert np.nanmax(late_s) < 100.0
