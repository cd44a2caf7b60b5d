"""Batches of sends: what one call takes, how long messages wait for others, and entries that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model
from engine_plans import Plan, Rows, at_once, due_at, queue_plan, run, tables

from qtune.distributions import Constant
from qtune.engine import streams
from qtune.result import CALL_OK, MESSAGE_COMPLETED, MESSAGE_REJECTED, OP_SEND
from qtune.scenario import Scenario
from qtune.simulation import simulate

TRIP_S = 0.5  # exact in binary, as are all sums of it here


def sending(**fields: Any) -> Plan:
    """One sender whose calls take half a second, and a consumer that takes no time."""
    times = tables(send=Constant(value=TRIP_S), service=Constant(value=2.0**-10))
    return queue_plan(**{"senders": 1, "horizon_s": 60.0, "tables": times, **fields})


def batch(most: int, **fields: Any) -> dict[str, Any]:
    """The fields of a plan whose calls take up to so many messages, always if as many wait."""
    return {"send_batch": most, "send_batch_from": most, **fields}


def sends(rows: Rows) -> list[tuple[float, float, int]]:
    """Start, end and count of the send calls."""
    calls = rows.calls[rows.calls["op"] == OP_SEND]
    return [(row["start_s"], row["end_s"], row["count"]) for row in calls]


def test_a_free_sender_takes_all_that_waits_up_to_a_batch(engine: str) -> None:
    """The first message goes alone, as the sender is idle; what falls due meanwhile goes in batches of three."""
    rows = run(engine, sending(**due_at(0.0, 0.125, 0.25, 0.375, 0.4375), **batch(3)))
    assert sends(rows) == [(0.0, 0.5, 1), (0.5, 1.0, 3), (1.0, 1.5, 1)]
    assert rows.messages["sent_s"].tolist() == [0.25, 0.75, 0.75, 0.75, 1.25]


def test_lingering_ends_with_a_full_batch_or_with_the_patience_of_the_oldest(engine: str) -> None:
    """Three messages fill a batch at 1 s; the next two wait until the older one has waited 2 s."""
    rows = run(engine, sending(**due_at(0.0, 0.5, 1.0, 4.0, 5.0), **batch(3, send_linger_s=2.0)))
    assert sends(rows) == [(1.0, 1.5, 3), (6.0, 6.5, 2)]


def test_a_sender_that_is_free_again_takes_what_has_lingered_meanwhile(engine: str) -> None:
    """The only sender is busy when the second message's patience ends, and takes it with the third right after."""
    rows = run(engine, sending(**due_at(0.0, 0.25, 0.625), **batch(2, send_linger_s=0.125)))
    assert sends(rows) == [(0.125, 0.625, 1), (0.625, 1.125, 2)]


def test_two_idle_senders_each_take_a_full_batch_at_the_same_instant(engine: str) -> None:
    """Four messages due at once fill two batches of two, and both senders go."""
    rows = run(engine, sending(**at_once(4), senders=2, **batch(2, send_linger_s=9.0)))
    assert sends(rows) == [(0.0, 0.5, 2), (0.0, 0.5, 2)]


def test_batches_of_varying_size_take_all_numbers_equally_often(engine: str) -> None:
    """With 1 to 10 messages a call each size is drawn a tenth of the time: chi-square with 9 degrees of freedom."""
    plan = sending(**at_once(4000), send_batch=10, send_batch_from=1, horizon_s=400.0)
    sizes = [count for _, _, count in sends(run(engine, plan))][:-1]
    counts = np.bincount(sizes, minlength=11)[1:]
    expected = len(sizes) / 10
    assert len(sizes) > 500
    assert float(((counts - expected) ** 2 / expected).sum()) < 33.7  # a chance of 1 in 10,000


def test_entries_that_fail_are_sent_again_alone(engine: str) -> None:
    """A call that brings fewer messages than it had entries is followed at once by one with the others.

    In the end each message is sent once. The number of entries sent for each message is geometric, so its mean is
    1 / (1 - p) with a standard deviation of sqrt(p) / (1 - p).
    """
    chance, count = 0.25, 4001  # the first falls due alone, as the sender is idle
    plan = sending(
        **at_once(count), **batch(10), entry_fail_steps=streams.chance_steps(chance), horizon_s=2000.0
    )
    rows = run(engine, plan)
    assert set(rows.messages["state"].tolist()) == {MESSAGE_COMPLETED}
    tried, left = 0, 1
    for _, _, carried in sends(rows):
        left = left or 10
        tried += left
        left -= int(carried)
        assert left >= 0
    assert left == 0
    spread = np.sqrt(chance) / (1.0 - chance) / np.sqrt(count)
    assert abs(tried / count - 1.0 / (1.0 - chance)) < 4.0 * spread


def test_a_full_queue_holds_up_the_rest_of_a_batch(engine: str) -> None:
    """A batch of three goes into the two places that are free; a handler frees another, and the call is answered."""
    times = tables(send=Constant(value=TRIP_S), service=Constant(value=4.0))
    plan = sending(**at_once(3), **batch(3, send_linger_s=1.0), capacity_messages=2, tables=times)
    rows = run(engine, plan)
    assert rows.messages["sent_s"].tolist() == [0.25, 0.25, 4.25]
    assert sends(rows) == [(0.0, 4.5, 3)]


def test_a_batch_that_is_given_up_loses_all_its_messages(engine: str) -> None:
    """In an outage the client tries again after 1 s and gives up: every message of the batch is rejected."""
    outage = {"outage_start_s": np.array([0.25]), "outage_end_s": np.array([3.0])}
    waits = {"failed_wait_s": np.array([1.0]), "throttled_wait_s": np.array([1.0])}
    due = due_at(0.0, 0.0, 0.0, 5.0)
    plan = sending(**due, **batch(3, send_linger_s=1.0), **waits, **outage)
    rows = run(engine, plan)
    assert rows.messages["state"].tolist()[:3] == [MESSAGE_REJECTED] * 3
    assert rows.messages["left_s"].tolist()[:3] == [2.0] * 3
    assert rows.messages["sent_s"].tolist()[3] == 6.25


def mqperf(threads: int, round_trip: str, folder: Path) -> float:
    """Messages a second of so many threads that send batches of 1 to 10 messages in a loop."""
    seconds = 20.0
    scenario = Scenario(
        arrivals={"kind": "burst_at_once", "messages": int(threads * 15_000)},
        service_time={"family": "constant", "mean_s": 0.001},
        message_size_bytes=100,
        producers={"senders": threads, "batch": 10, "batch_from": 1},
        queue={"provider": "sqs"},
        consumers={"workers": 1, "receive_wait_s": 20.0},
        model=write_model(folder, "sqs", round_trip=round_trip),
        horizon_s=seconds,
    )
    result = simulate(scenario)
    calls = result.calls[(result.calls["op"] == OP_SEND) & (result.calls["outcome"] == CALL_OK)]
    return float(calls["count"].sum() / seconds)


def test_threads_that_send_batches_scale_as_published(tmp_path: Path) -> None:
    """SQS takes 528, 2,680, 13,345 and 26,576 messages a second from 1, 5, 25 and 50 threads of mqperf.

    Each loops over batches of 1 to 10 messages (5.5 in the mean). The round trip follows from the first figure,
    5.5 / 528 = 10.4 ms; the others must come out within 5 %. Source: softwaremill/mqperf of 2021, SQS.
    """
    published = {1: 528.0, 5: 2680.0, 25: 13_345.0, 50: 26_576.0}
    round_trip = f"{1000.0 * 5.5 / published[1]}ms"
    for threads, per_s in published.items():
        assert mqperf(threads, round_trip, tmp_path) == pytest.approx(per_s, rel=0.05)
