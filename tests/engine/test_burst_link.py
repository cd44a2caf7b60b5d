"""The link of the Python client of Service Bus, which gives credit in bursts and reads only inside a call.

Every number is one that was measured with azure-servicebus 7.15 and 7.14 against a server with a known
round trip, or follows from the client's source.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_plans import Rows, at_once, due_at, run, tables

from qtune.distributions import Constant
from qtune.engine.plan import LINK_BURST, SETTLE_CONCURRENT, SETTLE_EACH, Plan
from qtune.result import (
    CALL_OK,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    DELIVERY_RELEASED,
    OP_RECEIVE,
    OP_RELEASE,
)


def client(*, work_s: float, round_trip_s: float, **fields: Any) -> Plan:
    """One receiver of the Python client, which lingers 0.2 s and keeps alive every 5 s."""
    call = Constant(value=round_trip_s)
    own: dict[str, Any] = {
        "seed": 1,
        "sample_every_s": fields["horizon_s"],
        "lock_s": 60.0,
        "max_deliveries": 10,
        "abandons": True,
        "redelivers_first": True,
        "discipline": LINK_BURST,
        "in_hand_limit": 0,
        "wait_s": 60.0,
        "linger_s": 0.2,
        "keepalive_s": 30.0 if fields.get("prefetch") else 5.0,
        "settle_mode": SETTLE_EACH,
        "tables": tables(service=Constant(value=work_s), receive=call, settle=call, renew=call),
    }
    return Plan(**{**own, **fields})


def receives(rows: Rows) -> np.ndarray[Any, np.dtype[Any]]:
    """The receive calls that brought something."""
    served = (rows.calls["op"] == OP_RECEIVE) & (rows.calls["outcome"] == CALL_OK)
    return np.asarray(rows.calls[served])


def durations_s(rows: Rows) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How long they took."""
    calls = receives(rows)
    return np.asarray(calls["end_s"] - calls["start_s"], np.float64)


def test_credit_comes_back_once_in_prefetch_plus_one_messages(engine: str) -> None:
    """With a prefetch of 9, receive calls 0, 10, 20 ... wait for a round trip and the others for nothing.

    Credit for 10 messages is given when the last of it is used up, and only inside a call: never a sliding
    window.
    """
    rows = run(engine, client(work_s=0.005, round_trip_s=0.02, prefetch=9, horizon_s=30.0, **at_once(40)))
    waits_s = durations_s(rows)
    assert len(waits_s) == 40
    assert np.flatnonzero(waits_s > 0.0).tolist() == [0, 10, 20, 30]
    assert waits_s[[0, 10, 20, 30]] == pytest.approx(0.02, abs=1e-12)
    locked_s = rows.deliveries["locked_s"].reshape(4, 10)
    assert (locked_s == locked_s[:, :1]).all()


def test_credit_is_not_topped_up_while_some_is_left(engine: str) -> None:
    """Of credit for 10, 8 messages leave 2: of 4 that come later 2 are pushed at once, the others by a new burst.

    The call that waits for them gives no more credit, because there is some left.
    """
    plan = client(
        work_s=0.5, round_trip_s=0.02, prefetch=9, horizon_s=200.0, **due_at(*[0.0] * 8, *[50.0] * 4)
    )
    locked_s = run(engine, plan).deliveries["locked_s"]
    assert (locked_s[8:10] == 50.0).all()
    # Half a round trip, two handlings with their settlements, and half a round trip of the new credit.
    assert locked_s[10:] == pytest.approx(50.0 + 0.01 + 2 * 0.52 + 0.01, abs=1e-9)


@pytest.mark.parametrize(
    ("ready", "prefetch", "took_s"), [(1, 0, 0.2), (5, 0, 0.2), (10, 0, 0.0), (1, 20, 0.2)]
)
def test_a_receive_lingers_after_its_first_message(
    engine: str, ready: int, prefetch: int, took_s: float
) -> None:
    """A receive for 10 returns at once with 10, and 0.2 s after its first message with fewer."""
    plan = client(
        work_s=1.0, round_trip_s=0.0, batch=10, prefetch=prefetch, horizon_s=100.0, **due_at(*[3.0] * ready)
    )
    first = receives(run(engine, plan))[0]
    assert first["count"] == ready
    assert first["end_s"] == pytest.approx(3.0 + took_s, abs=1e-12)


def test_the_linger_is_set_once(engine: str) -> None:
    """The 0.2 s count from the first message of a call; a later one does not extend them."""
    plan = client(work_s=1.0, round_trip_s=0.0, batch=10, horizon_s=100.0, **due_at(3.0, 3.15, 3.25))
    first = receives(run(engine, plan))[0]
    assert (first["count"], first["end_s"]) == (2, pytest.approx(3.2, abs=1e-12))


def test_a_waiting_receive_wakes_at_once(engine: str) -> None:
    """A call that waits for one message returns half a round trip after the message is there."""
    rows = run(engine, client(work_s=1.0, round_trip_s=0.02, horizon_s=100.0, **due_at(7.0)))
    assert receives(rows)["end_s"][0] == pytest.approx(7.01, abs=1e-12)
    assert rows.deliveries["locked_s"][0] == 7.0


def test_a_receive_gives_up_after_its_wait(engine: str) -> None:
    """An empty queue answers a call with nothing after 60 s, which is the client's own default since 7.15."""
    rows = run(engine, client(work_s=1.0, round_trip_s=0.02, horizon_s=200.0, **due_at()))
    empty = rows.calls[rows.calls["op"] == OP_RECEIVE]
    assert empty["end_s"].tolist() == [60.0, 120.0, 180.0]
    assert (empty["count"] == 0).all()


@pytest.mark.parametrize(("prefetch", "batch"), [(0, 1), (0, 10), (9, 1), (99, 1)])
@pytest.mark.parametrize(("settles", "settle_s"), [(SETTLE_EACH, 0.02), (SETTLE_CONCURRENT, 0.0)])
def test_the_cycle_of_a_worker_on_a_backlog(
    engine: str, prefetch: int, batch: int, settles: int, settle_s: float
) -> None:
    """A message costs W + S + R / G: work, settlement, and a round trip shared by the G messages of a grant.

    G is the prefetch count plus one, or the batch without prefetch. S is a round trip from 7.15, and
    nothing before, when settlements were not waited for.
    """
    work_s, round_trip_s, messages = 0.005, 0.02, 200
    grant = prefetch + 1 if prefetch else batch
    plan = client(
        work_s=work_s,
        round_trip_s=round_trip_s,
        prefetch=prefetch,
        batch=batch,
        settle_mode=settles,
        horizon_s=1000.0,
        **at_once(messages),
    )
    rows = run(engine, plan)
    assert (rows.deliveries["outcome"] == DELIVERY_COMPLETED).all()
    # The last message ends at the worker, and a settlement that nobody waits for is still on its way.
    through_s = rows.deliveries["finished_s"].max() + settle_s
    assert through_s / messages == pytest.approx(work_s + settle_s + round_trip_s / grant, rel=1e-9)


def short_receive(**fields: Any) -> Plan:
    """A call for 10 gets 2; 8 more come while the worker is busy for 1 s with each of the two."""
    due_s = (0.0, 0.0, *(0.5 + 0.01 * number for number in range(8)))
    return client(work_s=1.0, round_trip_s=0.02, batch=10, horizon_s=60.0, **{**due_at(*due_s), **fields})


def test_leftover_credit_locks_messages_that_nobody_reads(engine: str) -> None:
    """A short receive leaves credit out: asked for 10 it got 2, and 8 more are locked meanwhile.

    The settle of 7.15 reads the link and gives all 8 back, uncounted. The next call gets them.
    """
    rows = run(engine, short_receive())
    first, then = rows.deliveries[:2], rows.deliveries[2:10]
    assert receives(rows)["count"][0] == 2
    assert then["locked_s"] == pytest.approx(0.5 + 0.01 * np.arange(8), abs=1e-12)
    assert (then["outcome"] == DELIVERY_RELEASED).all()
    assert np.isnan(then["started_s"]).all()
    releases = rows.calls[rows.calls["op"] == OP_RELEASE]
    assert len(releases) == 8
    assert (releases["start_s"] == first["settled_s"][0]).all()
    again = rows.deliveries[10:]
    assert (again["message"] == np.arange(2, 10)).all()
    assert (again["delivery_no"] == 1).all()
    assert (rows.messages["deliveries"] == 1).all()


def test_before_7_15_leftovers_stay_locked_until_the_next_call(engine: str) -> None:
    """A settle that does not wait reads nothing: the next call gets the 8, and none is released."""
    rows = run(engine, short_receive(settle_mode=SETTLE_CONCURRENT))
    assert not (rows.deliveries["outcome"] == DELIVERY_RELEASED).any()
    second = receives(rows)[1]
    assert second["count"] == 8
    assert rows.deliveries["started_s"][2] >= rows.deliveries["finished_s"][1]


def test_the_keep_alive_gives_back_what_nobody_reads(engine: str) -> None:
    """A worker that settles nothing for long has its leftovers given back by the keep-alive, every 5 s."""
    plan = short_receive(tables=tables(service=Constant(value=12.0), receive=Constant(value=0.02)))
    rows = run(engine, plan)
    releases = rows.calls[rows.calls["op"] == OP_RELEASE]
    assert (releases["start_s"][:8] == 5.0).all()
    assert (rows.deliveries["outcome"][2:10] == DELIVERY_RELEASED).all()


def test_prefetched_messages_are_handed_out_dead(engine: str) -> None:
    """12 messages of 0.3 s under a lock of 2 s, prefetched, are handed out 25 times, 13 in vain.

    Nothing renews or checks a message in the buffer, so the seventh, which ends after 2.1 s, is the first
    to be late. The last are given out four times (the client's own delivery count, which begins at 0, was
    seen to reach 3).
    """
    plan = client(work_s=0.3, round_trip_s=0.001, prefetch=20, lock_s=2.0, horizon_s=60.0, **at_once(12))
    rows = run(engine, plan)
    outcome = rows.deliveries["outcome"]
    assert (outcome[:6] == DELIVERY_COMPLETED).all()
    assert (outcome[6:12] == DELIVERY_LATE).all()
    assert np.count_nonzero(outcome == DELIVERY_COMPLETED) == 12
    assert np.count_nonzero(outcome == DELIVERY_LATE) == 13
    assert rows.messages["deliveries"].max() == 4


def test_calls_that_time_out_faster_than_credit_travels_lose_none(engine: str) -> None:
    """Calls of 10 ms over a way of 2 s have two hundred grants of credit on their way, and each arrives in its time.

    Each grant is for one message beyond what was read, so the broker pushes one, and the next only when that was read.
    """
    plan = client(
        work_s=0.5, round_trip_s=4.0, wait_s=0.01, horizon_s=30.0, settle_mode=SETTLE_CONCURRENT, **at_once(5)
    )
    rows = run(engine, plan)
    calls = rows.calls[rows.calls["op"] == OP_RECEIVE]
    first_s = rows.deliveries["received_s"][0]
    before = calls["end_s"] < first_s
    assert first_s == 4.0
    assert before.sum() == pytest.approx(first_s / plan.wait_s, abs=1)
    assert (calls["count"][before] == 0).all()
    assert (rows.deliveries["outcome"][: len(rows.messages)] == DELIVERY_COMPLETED).all()
    # After half a second of work the next call grants, and its message is there a round trip later.
    assert rows.deliveries["received_s"] == pytest.approx(4.0 + 4.5 * np.arange(5))
