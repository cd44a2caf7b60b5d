"""Queues that hand out group by group, and clients that keep to that order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_plans import Rows, due_at, run, tables

from qtune.analysis import capacity_of, setup_of
from qtune.distributions import Constant
from qtune.engine import streams
from qtune.engine.plan import BY_GROUP, GIVEN_GROUPS, POLL, SETTLE_BATCH, Plan
from qtune.errors import ScenarioError
from qtune.invariants import check
from qtune.result import (
    CALL_EMPTY,
    CALL_THROTTLED,
    DELIVERY_ABANDONED,
    DELIVERY_LATE,
    DELIVERY_SKIPPED,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    OP_RECEIVE,
    Result,
    Table,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

A, B, C = 0, 1, 2
EVERY_TIME = streams.chance_steps(1.0)


def backlog_of(*groups: int, **fields: Any) -> Plan:
    """Messages of these groups at time 0; one worker with receives of 10, calls of 20 ms and handlers of 1 s."""
    fixed: dict[str, Any] = {
        "seed": 1,
        "horizon_s": 100.0,
        "sample_every_s": 1.0,
        "lock_s": 1000.0,
        "hands_out": BY_GROUP,
        "keeps_order": True,
        "grouping": GIVEN_GROUPS,
        "group_of": np.array(groups, np.int64),
        "discipline": POLL,
        "batch": 10,
        "in_hand_limit": 10,
        "refill_at": 10,
        "wait_s": 20.0,
        "tables": tables(
            service=Constant(value=1.0), receive=Constant(value=0.02), settle=Constant(value=0.02)
        ),
        **due_at(*[0.0] * len(groups)),
    }
    return Plan(**{**fixed, **fields})


def receives(rows: Rows) -> list[list[int]]:
    """The messages that each receive took, in order."""
    found: dict[tuple[float, int], list[int]] = {}
    for delivery in rows.deliveries:
        key = float(delivery["locked_s"]), int(delivery["consumer"])
        found.setdefault(key, []).append(int(delivery["message"]))
    return list(found.values())


def test_a_receive_takes_as_many_of_one_group_as_it_can_and_then_of_the_next(engine: str) -> None:
    """The group with the oldest message comes first, with all it has, and each group stays in order."""
    rows = run(engine, backlog_of(A, B, A, C, B, A))
    assert receives(rows) == [[0, 2, 5, 1, 4, 3]]


def test_a_group_in_flight_is_closed_until_all_of_it_is_settled(engine: str) -> None:
    """Three consumers have nothing to do but two groups: who comes third waits until a whole batch is deleted."""
    rows = run(engine, backlog_of(A, A, A, B, consumers=3, batch=2, in_hand_limit=2, refill_at=2))
    assert receives(rows) == [[0, 1], [3], [2]]
    of_a = rows.deliveries[rows.messages["group"][rows.deliveries["message"]] == A]
    assert of_a["locked_s"][2] == of_a["settled_s"][:2].max()


def test_receives_are_empty_although_messages_wait(engine: str) -> None:
    """With both groups in flight the other pollers come home empty while the queue's depth is above zero."""
    plan = backlog_of(
        *([A, B] * 50), consumers=4, batch=1, in_hand_limit=1, refill_at=1, wait_s=0.2, horizon_s=20.0
    )
    rows = run(engine, plan)
    empty = rows.calls[(rows.calls["op"] == OP_RECEIVE) & (rows.calls["outcome"] == CALL_EMPTY)]
    states = rows.states[1:]
    assert empty.size > 0
    assert (states["backlog"] > 0).all()
    assert (states["in_flight"] <= 2).all()


def test_a_group_behind_the_messages_that_are_looked_at_is_not_found(engine: str) -> None:
    """A group with as many messages as a receive looks at hides the next one, until one of them has been deleted."""
    one_each = {"consumers": 2, "batch": 1, "in_hand_limit": 1, "refill_at": 1}
    hidden = run(engine, backlog_of(A, A, A, B, group_window=3, **one_each))
    assert receives(hidden)[:3] == [[0], [1], [3]]
    of_b = hidden.deliveries["locked_s"][hidden.deliveries["message"] == 3]
    assert of_b[0] >= hidden.messages["settled_s"][0]
    found = run(engine, backlog_of(A, A, A, B, group_window=4, **one_each))
    assert found.deliveries["locked_s"][found.deliveries["message"] == 3].tolist() == [0.01]


def test_a_group_that_is_found_is_given_whole_although_it_goes_on_behind_what_is_looked_at(
    engine: str,
) -> None:
    """What is looked for is groups: of one that is found a receive takes as much as it can."""
    rows = run(engine, backlog_of(A, B, B, A, A, A, group_window=2))
    assert receives(rows) == [[0, 3, 4, 5, 1, 2]]


def test_a_poison_message_blocks_its_group_until_it_is_dead_lettered(engine: str) -> None:
    """Nothing of its group is handled before the poison message has left; other groups go on."""
    plan = backlog_of(A, A, B, B, poison_steps=EVERY_TIME, max_deliveries=3, abandons=True)
    rows = run(engine, replace(plan, batch=1, in_hand_limit=1, refill_at=1, horizon_s=30.0))
    assert (rows.messages["state"] == MESSAGE_DEAD_LETTERED).all()
    for first, second in ((0, 1), (2, 3)):
        starts_s = rows.deliveries["started_s"][rows.deliveries["message"] == second]
        assert starts_s.min() >= rows.messages["left_s"][first]


def test_a_late_delete_fails_and_the_message_is_the_first_of_its_group_again(engine: str) -> None:
    """A handler that outlasts the timeout works in vain, and the next receive begins with the same message."""
    rows = run(engine, backlog_of(A, A, lock_s=0.9, horizon_s=3.0, batch=1, in_hand_limit=1, refill_at=1))
    assert rows.deliveries["outcome"][0] == DELIVERY_LATE
    assert rows.deliveries["message"][:3].tolist() == [0, 0, 0]
    assert (rows.messages["completed_s"] != rows.messages["completed_s"]).all()


def overlaps(rows: Rows | Result) -> int:
    """How often a handler of a group starts before the one of the message before it has ended."""
    count = 0
    for group in np.unique(rows.messages["group"]):
        its = rows.deliveries[rows.messages["group"][rows.deliveries["message"]] == group]
        its = its[np.argsort(its["message"])]
        count += int((its["started_s"][1:] < its["finished_s"][:-1]).sum())
    return count


@pytest.mark.parametrize("settle", [0, SETTLE_BATCH])
def test_workers_that_share_a_batch_handle_one_message_of_a_group_at_a_time(engine: str, settle: int) -> None:
    """Four workers take turns on one group; a client that ignores groups handles them at the same time."""
    shared = backlog_of(*[A] * 8, B, B, workers=4, settle_mode=settle, settle_batch=10 if settle else 1)
    rows, ignoring = run(engine, shared), run(engine, replace(shared, keeps_order=False))
    assert (rows.messages["state"] == MESSAGE_COMPLETED).all()
    assert overlaps(rows) == 0
    assert np.unique(rows.deliveries["started_s"]).size == 8  # B beside A
    assert overlaps(ignoring) > 0


def test_after_a_failure_the_rest_of_the_group_is_not_handled(engine: str) -> None:
    """What is left of the group comes back with the message that failed, and is received again behind it.

    Given back, each costs a call; left alone, all come back together when their locks run out.
    """
    plan = backlog_of(A, A, A, B, poison_steps=EVERY_TIME, max_deliveries=1, lock_s=20.0, horizon_s=15.0)
    rows = run(engine, plan)
    assert rows.deliveries["outcome"][1:3].tolist() == [DELIVERY_SKIPPED] * 2
    assert np.isnan(rows.deliveries["started_s"][1:3]).all()
    assert not np.isnan(rows.deliveries["started_s"][3])
    given_back = run(engine, replace(plan, abandons=True))
    assert given_back.deliveries["outcome"][:3].tolist() == [DELIVERY_ABANDONED] * 3
    assert np.isnan(given_back.deliveries["started_s"][1:3]).all()
    assert (given_back.deliveries["settled_s"][1:3] == given_back.deliveries["finished_s"][0] + 0.02).all()


def fifo(**changes: Any) -> Scenario:
    """A FIFO queue of one group under more load than it can carry; with the changes."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": 20.0},
        "service_time": {"family": "constant", "mean_s": 0.1},
        "groups": {"kind": "even", "count": 1},
        "queue": {"provider": "sqs", "type": "fifo", "visibility_timeout_s": 60.0},
        "consumers": {
            "workers": 1,
            "receive_batch": 10,
            "receive_wait_s": 20.0,
            "settle": "batch",
            "settle_batch": 10,
        },
        "horizon_s": 400.0,
    }
    return Scenario(**{**base, **changes})


@pytest.mark.parametrize("instances", [1, 4, 16])
def test_one_group_has_the_throughput_of_one_batch_after_the_other(engine: str, instances: int) -> None:
    """However many consumers there are, a group carries 10 / (receive + work + delete) messages a second.

    More than one consumer saves half a receive, because its next request waits at the broker already.
    """
    scenario = fifo().with_(consumers={"instances": instances})
    calls = scenario.call_model()
    exact_per_s = 10.0 / (calls.receive.mean + 10 * 0.1 + calls.settle.mean)
    done_s = simulate(scenario, engine=engine).messages["left_s"]  # type: ignore[arg-type]
    measured_per_s = np.count_nonzero(done_s > 100.0) / 300.0
    assert measured_per_s == pytest.approx(exact_per_s, rel=0.05)
    assert measured_per_s <= capacity_of(setup_of(scenario)).per_s * 1.01


def test_the_busiest_group_bounds_the_capacity() -> None:
    """With a quarter of the messages in one group, the queue carries four times what that group does."""
    one = capacity_of(setup_of(fifo())).of("groups")
    skewed = fifo(groups={"kind": "weights", "weights": (2, 1, 1, 1, 1, 1, 1)})
    most = capacity_of(setup_of(skewed.with_(consumers={"instances": 20}))).of("groups")
    own = capacity_of(setup_of(fifo(groups={"kind": "own"}))).of("groups")
    assert one is not None
    assert most is not None
    assert most.per_s == pytest.approx(4.0 * one.per_s)
    assert own is None


def test_a_fifo_queue_answers_300_calls_a_second_of_each_action(engine: str) -> None:
    """With single receives and deletes more than 300 messages a second cannot go, and the client is throttled."""
    scenario = fifo(
        arrivals={"kind": "burst_at_once", "messages": 1500},
        service_time={"family": "constant", "mean_s": 0.001},
        groups={"kind": "own"},
        consumers={"workers": 40, "receive_wait_s": 20.0},
        horizon_s=4.0,
    )
    result = simulate(scenario, engine=engine)  # type: ignore[arg-type]
    assert (result.calls["outcome"] == CALL_THROTTLED).any()
    assert np.count_nonzero(result.messages["left_s"] < 3.0) <= 900


def test_a_fifo_queue_needs_groups_and_only_it_has_an_order_to_keep() -> None:
    """Both mistakes are errors that say what to write instead."""
    with pytest.raises(ScenarioError, match="belongs to a group"):
        fifo(groups=None)
    with pytest.raises(ScenarioError, match="no order of groups"):
        fifo(queue={"provider": "sqs"}).with_(consumers={"keep_group_order": True})


def test_consumers_of_a_fifo_queue_keep_the_order_unless_they_are_told_not_to(engine: str) -> None:
    """A dispatcher that ignores the groups of its batch handles messages of one group at the same time.

    MassTransit/MassTransit#4355 and ruby-shoryuken/shoryuken#530.
    """
    four = fifo(consumers={"workers": 4, "polling": "permits", "receive_batch": 4, "receive_wait_s": 20.0})
    assert overlaps(simulate(four, engine=engine)) == 0  # type: ignore[arg-type]
    ignoring = four.with_(consumers={"keep_group_order": False})
    assert overlaps(simulate(ignoring, engine=engine)) > 0  # type: ignore[arg-type]


def test_a_fifo_queue_refuses_late_deletes_and_a_standard_queue_takes_them() -> None:
    """AWS says of FIFO queues that a delete after the timeout fails; of standard queues that it succeeds."""
    assert not fifo().semantics().accepts_late
    assert fifo(queue={"provider": "sqs"}).semantics().accepts_late


def test_the_laws_of_groups_find_what_breaks_them() -> None:
    """A second receive of a group in flight, a later message before an older one, and too large a receive are found."""
    good = simulate(fifo(horizon_s=20.0))
    assert check(good) == []

    def broken(change: Callable[[Table], None]) -> str:
        deliveries = good.deliveries.copy()
        change(deliveries)
        return " ".join(check(replace(good, deliveries=deliveries)))

    later = int(np.flatnonzero(good.deliveries["locked_s"] > good.deliveries["locked_s"][0])[0])

    def too_early(deliveries: Table) -> None:
        deliveries["locked_s"][later] = good.deliveries["lock_end_s"][later - 1] - 0.05

    def swapped(deliveries: Table) -> None:
        deliveries["message"][[0, later]] = deliveries["message"][[later, 0]]

    def together(deliveries: Table) -> None:
        deliveries["locked_s"][later : later + 10] = deliveries["locked_s"][later + 10]

    assert "came before all its locks had ended" in broken(too_early)
    assert "before an older one of its group" in broken(swapped)
    assert "more than one receive's worth" in broken(together)


def high_throughput(**queue: Any) -> Scenario:
    """A FIFO queue in high-throughput mode with 1,000 messages a second that are received one by one."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 1000.0},
        service_time={"family": "constant", "mean_s": 0.001},
        groups={"kind": "even", "count": 10_000},
        queue={"provider": "sqs", "type": "fifo", **queue},
        consumers={"workers": 100, "receive_wait_s": 20.0},
        horizon_s=3.0,
    )


def test_in_high_throughput_mode_the_region_says_how_many_calls_are_answered() -> None:
    """Three hundred calls of each action a second are not enough for a thousand messages one by one; 2,400 are."""
    by_region = {None: 300, "eu-north-1": 2_400, "us-east-1": 70_000}
    for region, each_s in by_region.items():
        mode = {"high_throughput": True, "region": region} if region else {}
        scenario = high_throughput(**mode)
        assert {limit.credits for limit in scenario.rate_limits()} == {each_s}
        throttled = np.count_nonzero(simulate(scenario).calls["outcome"] == CALL_THROTTLED)
        assert (throttled > 0) == (each_s < 1000)
        ceiling = capacity_of(setup_of(scenario)).of("credits")
        assert ceiling is not None
        assert each_s <= ceiling.per_s <= each_s + 1.0


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ({"high_throughput": True}, "say which, as in region"),
        ({"high_throughput": True, "region": "eu-west-9"}, "no region of which the quota is known"),
        ({"region": "eu-west-1"}, "leave it out"),
        (
            {"type": "standard", "high_throughput": True, "region": "eu-west-1"},
            "only FIFO queues have this mode",
        ),
    ],
)
def test_high_throughput_mode_needs_a_known_region_and_a_fifo_queue(
    queue: dict[str, Any], message: str
) -> None:
    """A quota is never guessed: a region that is missing or misspelt is an error, and so is one without a use."""
    with pytest.raises(ScenarioError, match=message):
        high_throughput(**queue)
