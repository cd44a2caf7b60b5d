"""Sessions: who holds one, for how long, and what becomes of its messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from engine_plans import Rows, due_at, run, tables

from qtune.distributions import Constant
from qtune.engine import streams
from qtune.engine.plan import BY_SESSION, GIVEN_GROUPS, LINK_SLIDING, Plan
from qtune.result import (
    CALL_EMPTY,
    CALL_FAILED,
    CALL_LOCK_LOST,
    CALL_OK,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    DELIVERY_LOST,
    DELIVERY_RELEASED,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    MESSAGE_EXPIRED,
    OP_RECEIVE,
    OP_RENEW,
)

A, B = 0, 1
TRIP_S = 0.0625  # powers of 2, so that sums of them are exact
HANDLER_S = 1.0
IDLE_S = 8.0


def sessions(*groups: int, handler_s: float = HANDLER_S, **fields: Any) -> Plan:
    """Messages of these sessions at time 0; one receiver, calls of a sixteenth of a second, handlers of 1 s."""
    fixed: dict[str, Any] = {
        "seed": 1,
        "horizon_s": 100.0,
        "sample_every_s": 1.0,
        "lock_s": 1000.0,
        "hands_out": BY_SESSION,
        "grouping": GIVEN_GROUPS,
        "group_of": np.array(groups, np.int64),
        "discipline": LINK_SLIDING,
        "in_hand_limit": 1,
        "abandons": True,
        "session_idle_s": IDLE_S,
        "accept_wait_s": 60.0,
        "tables": tables(
            service=Constant(value=handler_s),
            receive=Constant(value=TRIP_S),
            settle=Constant(value=TRIP_S),
            renew=Constant(value=TRIP_S),
        ),
        **due_at(*[0.0] * len(groups)),
    }
    return Plan(**{**fixed, **fields})


def told_to_stop(at_s: float, grace_s: float) -> dict[str, Any]:
    """The fields of a plan whose first consumer is told to stop for good."""
    told = {"fleet_at_s": at_s, "fleet_grace_s": grace_s, "fleet_back_s": np.inf}
    return {**{name: np.array([value]) for name, value in told.items()}, "fleet_count": np.array([1])}


def handled(rows: Rows) -> list[int]:
    """The messages in the order in which handlers start on them."""
    started = rows.deliveries[~np.isnan(rows.deliveries["started_s"])]
    order: list[int] = started["message"][np.argsort(started["started_s"], kind="stable")].tolist()
    return order


def test_a_receiver_handles_all_of_a_session_before_it_takes_the_next(engine: str) -> None:
    """The session with the oldest message comes first, and messages that come in time belong to its holder."""
    rows = run(engine, sessions(A, B, A, B, A, **due_at(0.0, 0.0, 0.0, 0.0, 3.0)))
    assert handled(rows) == [0, 2, 4, 1, 3]
    assert (rows.messages["state"] == MESSAGE_COMPLETED).all()


def test_a_session_is_held_for_the_idle_timeout_after_its_last_message(engine: str) -> None:
    """Between two sessions lie the timeout, closing one, asking for the next, and a trip for its first message."""
    rows = run(engine, sessions(A, B))
    first, second = rows.deliveries
    assert second["received_s"] - first["settled_s"] == IDLE_S + 3.0 * TRIP_S


def test_a_message_that_comes_too_late_finds_its_session_closed(engine: str) -> None:
    """Just within the timeout the holder gets it; beyond, who asks next: here another receiver, which waits already."""
    done_s = 2.0 * TRIP_S + HANDLER_S + TRIP_S
    for late_s, consumers in ((IDLE_S - 0.5, {0}), (IDLE_S + 0.5, {0, 1})):
        rows = run(engine, sessions(A, A, consumers=2, **due_at(0.0, done_s + late_s)))
        assert set(rows.deliveries["consumer"].tolist()) == consumers


def test_no_two_receivers_have_one_session_and_no_receiver_has_two(engine: str) -> None:
    """With 4 sessions and 16 receivers 4 are busy, however many messages wait (Azure/azure-service-bus-java#261)."""
    rows = run(engine, sessions(*range(4), *range(4), *range(4), consumers=16, horizon_s=20.0))
    assert rows.states["busy_workers"].max() == 4
    for group in range(4):
        its = rows.deliveries[rows.messages["group"][rows.deliveries["message"]] == group]
        assert np.unique(its["consumer"]).size == 1
        assert (its["started_s"][1:] >= its["settled_s"][:-1]).all()


def test_an_abandoned_message_is_the_next_of_its_session(engine: str) -> None:
    """Nothing of the session is handled before a message that fails has been dead-lettered."""
    rows = run(engine, sessions(A, A, poison_steps=streams.chance_steps(1.0), max_deliveries=3))
    assert handled(rows) == [0, 0, 0, 1, 1, 1]
    assert (rows.messages["state"] == MESSAGE_DEAD_LETTERED).all()


def test_a_session_lock_that_runs_out_counts_a_delivery(engine: str) -> None:
    """The handler works in vain, the message counts as delivered, and another receiver may have the session."""
    rows = run(engine, sessions(A, A, lock_s=0.5, consumers=2, horizon_s=5.0))
    first = rows.deliveries[0]
    granted_s = 0.5 * TRIP_S
    assert first["lock_end_s"] == granted_s + 0.5
    assert first["outcome"] == DELIVERY_LATE
    second = rows.deliveries[1]
    assert second["message"] == 0
    assert second["delivery_no"] == 2
    assert second["consumer"] == 1
    once = run(engine, sessions(A, A, lock_s=0.5, consumers=2, horizon_s=5.0, max_deliveries=1))
    assert (once.messages["state"] == MESSAGE_DEAD_LETTERED).all()


def test_the_lock_of_a_session_is_renewed_and_with_it_its_messages(engine: str) -> None:
    """Renewed after half of each lock a session outlives any handler; when renewals end, so does the lock."""
    plan = sessions(
        A, A, A, lock_s=1.0, renews_sessions=True, renew_after_s=0.5, renew_max_s=2.0, horizon_s=8.0
    )
    for_ever = run(engine, replace(plan, renew_max_s=100.0))
    assert (for_ever.messages["state"] == MESSAGE_COMPLETED).all()
    assert np.count_nonzero(for_ever.calls["op"] == OP_RENEW) > 5
    ended = run(engine, plan)
    assert DELIVERY_LATE in ended.deliveries["outcome"]
    renewals_s = ended.calls["end_s"][ended.calls["op"] == OP_RENEW]
    late = ended.deliveries[ended.deliveries["outcome"] == DELIVERY_LATE][0]
    assert late["lock_end_s"] == renewals_s[renewals_s < late["lock_end_s"]].max() + 1.0


def test_closing_a_session_gives_back_uncounted_what_is_on_its_way(engine: str) -> None:
    """A message that is pushed while the session is being closed comes again with the same delivery number."""
    closes_s = 2.0 * TRIP_S + HANDLER_S + TRIP_S + IDLE_S
    rows = run(engine, sessions(A, A, **due_at(0.0, closes_s + 0.25 * TRIP_S)))
    released, again = rows.deliveries[1:]
    assert released["outcome"] == DELIVERY_RELEASED
    assert np.isnan(released["received_s"])
    assert (again["message"], again["delivery_no"]) == (1, 1)
    assert rows.messages["state"][1] == MESSAGE_COMPLETED


def test_a_wish_for_a_session_is_kept_for_the_try_timeout(engine: str) -> None:
    """With no session to have, receivers come home empty each 60 s and a round trip, and ask again."""
    rows = run(engine, sessions(A, consumers=2, **due_at(200.0), horizon_s=190.0))
    empty = rows.calls[rows.calls["op"] == OP_RECEIVE]
    assert (empty["outcome"] == CALL_EMPTY).all()
    assert (empty["end_s"] - empty["start_s"] == 60.0 + TRIP_S).all()
    assert empty.size == 2 * 3


def test_the_session_of_a_killed_consumer_is_locked_until_its_lock_runs_out(engine: str) -> None:
    """The broker learns nothing of the kill: the next receiver has the session when the lock has ended."""
    plan = sessions(A, lock_s=20.0, consumers=2, **told_to_stop(0.5, grace_s=0.0))
    rows = run(engine, plan)
    lost, second = rows.deliveries
    assert (lost["consumer"], lost["outcome"]) == (0, DELIVERY_LOST)
    assert second["consumer"] == 1
    assert second["locked_s"] >= lost["lock_end_s"] == 0.5 * TRIP_S + 20.0


def test_a_consumer_that_drains_closes_its_session_when_its_handlers_have_ended(engine: str) -> None:
    """It finishes what it has begun with; the rest of the session is at once another's, uncounted."""
    plan = sessions(A, A, A, consumers=2, in_hand_limit=2, **told_to_stop(0.5, grace_s=30.0))
    rows = run(engine, plan)
    first, released, *others = rows.deliveries
    assert (first["consumer"], first["message"]) == (0, 0)
    assert (released["outcome"], released["lock_end_s"]) == (DELIVERY_RELEASED, first["settled_s"])
    assert [(its["message"], its["delivery_no"], its["consumer"]) for its in others] == [(1, 1, 1), (2, 1, 1)]
    assert (rows.messages["state"] == MESSAGE_COMPLETED).all()


def test_a_lock_of_a_session_ends_where_its_last_renewal_left_it(engine: str) -> None:
    """The renewals move the end of the lock of what is in hand, and are counted with it."""
    plan = sessions(A, lock_s=0.25, renews_sessions=True, renew_after_s=0.125, renew_max_s=0.5, horizon_s=3.0)
    rows = run(engine, plan)
    renewed_s = rows.calls["end_s"][rows.calls["op"] == OP_RENEW]
    late = rows.deliveries[0]
    within = renewed_s[renewed_s < late["lock_end_s"]]
    assert late["renewals"] == within.size > 1
    assert late["lock_end_s"] == within.max() + 0.25


def test_a_receiver_whose_lock_is_lost_takes_the_next_session_at_once(engine: str) -> None:
    """It has learned of the loss when it is through with what it has, and does not wait for more of the session."""
    rows = run(engine, sessions(A, lock_s=0.5, horizon_s=5.0))
    first, second = rows.deliveries[:2]
    settled_s = first["finished_s"] + TRIP_S
    assert second["received_s"] - settled_s == 3.0 * TRIP_S


def test_a_receiver_is_told_when_its_lock_ends_while_it_has_nothing_in_hand(engine: str) -> None:
    """The broker ends the link half a trip later, and the next session is asked for, not only after the timeout."""
    rows = run(engine, sessions(A, B, lock_s=4.0, **due_at(0.0, 2.0)))
    told_s = 0.5 * TRIP_S + 4.0 + 0.5 * TRIP_S
    assert rows.deliveries[1]["received_s"] == told_s + 3.0 * TRIP_S


def test_a_renewal_that_comes_too_late_tells_of_the_loss_too(engine: str) -> None:
    """The call is a row with the lost lock, and here it is answered before the broker has told the receiver."""
    after_s = 0.5 - 1.25 * TRIP_S
    renews: dict[str, Any] = {"renews_sessions": True, "renew_after_s": after_s, "renew_max_s": 100.0}
    rows = run(engine, sessions(A, B, handler_s=0.125, lock_s=0.5, horizon_s=1.0, **renews))
    renewals = rows.calls[rows.calls["op"] == OP_RENEW]
    answered_s = 2.0 * TRIP_S + after_s
    assert (renewals["outcome"][0], renewals["end_s"][0]) == (CALL_LOCK_LOST, answered_s)
    assert rows.deliveries["received_s"][1] == answered_s + 3.0 * TRIP_S


def test_a_renewal_that_is_refused_is_followed_by_the_next(engine: str) -> None:
    """During an outage a renewal fails; the one after it keeps the lock, which was long enough for both."""
    outage = {"outage_start_s": np.array([1.0]), "outage_end_s": np.array([1.5])}
    renews: dict[str, Any] = {"renews_sessions": True, "renew_after_s": 1.0, "renew_max_s": 100.0}
    rows = run(engine, sessions(A, handler_s=10.0, lock_s=3.0, **renews, **outage))
    outcomes = rows.calls["outcome"][rows.calls["op"] == OP_RENEW]
    assert outcomes[0] == CALL_FAILED
    assert (outcomes[1:8] == CALL_OK).all()
    assert rows.deliveries["outcome"].tolist() == [DELIVERY_COMPLETED]


def test_a_session_that_is_closed_is_not_renewed(engine: str) -> None:
    """Closed before its first renewal was due, it never has one."""
    plan = sessions(A, renews_sessions=True, renew_after_s=1.0 + IDLE_S + 1.0, renew_max_s=100.0)
    calls = run(engine, plan).calls
    assert OP_RENEW not in calls["op"]


def test_a_receiver_that_asks_again_has_one_session_at_a_time(engine: str) -> None:
    """After a wish that came to nothing it takes the sessions that then come one after the other."""
    rows = run(engine, sessions(A, B, **due_at(70.0, 70.0)))
    first, second = rows.deliveries
    assert handled(rows) == [0, 1]
    assert second["received_s"] - first["settled_s"] == IDLE_S + 3.0 * TRIP_S


def test_what_comes_into_the_session_of_a_killed_consumer_waits_for_its_lock(engine: str) -> None:
    """A receiver that waits for a session does not get one whose lock still stands."""
    plan = sessions(A, A, lock_s=20.0, consumers=2, **told_to_stop(0.5, grace_s=0.0), **due_at(0.0, 2.0))
    rows = run(engine, plan)
    assert (rows.deliveries["locked_s"][1:] >= rows.deliveries["lock_end_s"][0]).all()
    assert rows.deliveries["message"][1:].tolist() == [0, 1]


def test_a_consumer_that_drains_asks_for_no_session(engine: str) -> None:
    """Told to stop while it waits for one, it gets none of those that come later; the other consumer does."""
    plan = sessions(A, consumers=2, **told_to_stop(1.0, grace_s=30.0), **due_at(2.0))
    rows = run(engine, plan)
    assert rows.deliveries["consumer"].tolist() == [1]


def test_a_session_whose_message_has_expired_is_closed_all_the_same(engine: str) -> None:
    """Its only message outlives its retention before the receiver has credit for it: the idle timeout still runs."""
    retention_s = 1.0 * TRIP_S
    rows = run(engine, sessions(A, B, retention_s=retention_s, **due_at(0.0, 9.0)))
    assert rows.messages["state"].tolist() == [MESSAGE_EXPIRED, MESSAGE_COMPLETED]
