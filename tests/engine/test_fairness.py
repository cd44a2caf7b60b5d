"""Fair queues: a tenant that takes up much of what is in flight waits behind the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_plans import Rows, due_at, run, tables

from qtune.analysis import summarize
from qtune.distributions import Constant
from qtune.engine import streams
from qtune.engine.plan import BY_AGE, BY_FAIRNESS, GIVEN_GROUPS, NO_GROUPS, POLL, Plan
from qtune.errors import ScenarioError
from qtune.scenario import Scenario
from qtune.simulation import simulate

A, B = 0, 1


def tenants(*messages: tuple[float, int], **fields: Any) -> Plan:
    """Messages of (due, tenant) before 40 workers that each receive one at a time and handle it in 10 s."""
    ordered = sorted(messages, key=lambda message: message[0])
    fixed: dict[str, Any] = {
        "seed": 1,
        "horizon_s": 1000.0,
        "sample_every_s": 10.0,
        "lock_s": 1e6,
        "hands_out": BY_FAIRNESS,
        "fair_share": 0.1,
        "fair_least": 30,
        "fair_quiet_s": 300.0,
        "grouping": GIVEN_GROUPS,
        "group_of": np.array([tenant for _, tenant in ordered], np.int64),
        "discipline": POLL,
        "receivers": 40,
        "wait_s": 20.0,
        "tables": tables(
            service=Constant(value=10.0), receive=Constant(value=0.02), settle=Constant(value=0.02)
        ),
        **due_at(*[due_s for due_s, _ in ordered]),
    }
    return Plan(**{**fixed, **fields})


def order(rows: Rows) -> list[int]:
    """The tenants in the order in which their messages were handed out."""
    tenant: list[int] = rows.messages["group"][rows.deliveries["message"]].tolist()
    return tenant


def test_a_quiet_tenant_does_not_wait_behind_the_backlog_of_a_noisy_one(engine: str) -> None:
    """With 40 of 40 in flight the first tenant is noisy: another tenant's message is the next to be handed out."""
    plan = tenants(*[(0.0, A)] * 400, (1.0, B))
    assert order(run(engine, plan)).index(B) == 40
    assert order(run(engine, replace(plan, hands_out=BY_AGE))).index(B) == 400


def test_a_tenant_with_fewer_than_30_in_flight_is_never_noisy(engine: str) -> None:
    """With 29 workers the rule cannot fire: everything is handed out by age."""
    plan = tenants(*[(0.0, A)] * 400, (1.0, B), receivers=29)
    fair, by_age = run(engine, plan), run(engine, replace(plan, hands_out=BY_AGE))
    assert fair.deliveries.tobytes() == by_age.deliveries.tobytes()


def test_messages_without_a_tenant_are_of_one(engine: str) -> None:
    """It is noisy with two of three in flight; when their locks have run out, what was put off comes before them."""
    three_at_once = {"receivers": 1, "batch": 3, "in_hand_limit": 3, "refill_at": 3}
    plan = tenants(*[(0.0, A)] * 5, lock_s=3.0, fair_least=2, fair_quiet_s=5.0, **three_at_once)
    handed_out = run(engine, replace(plan, grouping=NO_GROUPS)).deliveries["message"]
    assert handed_out[:6].tolist() == [0, 1, 2, 3, 4, 0]


def test_a_tenant_with_a_tenth_or_less_is_not_noisy(engine: str) -> None:
    """Thirty of three hundred in flight are a tenth and no more: the eleventh tenant waits for its turn."""
    ten = [(0.0, tenant) for tenant in range(10) for _ in range(30)]
    service_s = np.array([1e6] * 300 + [5.0] * 51)  # the first 300 stay in flight, and one worker is left
    plan = tenants(*ten, *[(1.0, A)] * 50, (2.0, 10), receivers=301, service_s=service_s)
    assert order(run(engine, plan)).index(10) == 350
    assert order(run(engine, replace(plan, fair_share=0.09))).index(10) == 301


def test_of_several_noisy_tenants_the_one_with_the_fewest_in_flight_is_next(engine: str) -> None:
    """Forty of A and thirty of B stay in flight: while messages of both wait, each free place goes to B."""
    first = [*[(0.0, A)] * 40, *[(0.0, B)] * 30]
    service_s = np.array([1e6] * 70 + [5.0] * 40)
    plan = tenants(
        *first, *[(1.0, A)] * 20, *[(1.0, B)] * 20, receivers=71, service_s=service_s
    )  # one worker is left, which finds nothing but a message of A at first
    assert order(run(engine, plan))[70:] == [A, *[B] * 20, *[A] * 19]


def test_a_tenant_that_sends_nothing_for_a_while_is_quiet_again(engine: str) -> None:
    """Then its backlog comes before what others have sent since, unless it has a tenth in flight at that time."""
    steady = [(float(due_s), B) for due_s in range(1, 200, 2)]
    plan = tenants(*[(0.0, A)] * 300, *steady, receivers=32, fair_quiet_s=50.0)
    patient = order(run(engine, replace(plan, fair_quiet_s=1e9)))
    quick = order(run(engine, replace(plan, fair_least=33)))
    rows = run(engine, plan)
    before = rows.deliveries["locked_s"] < 50.0
    assert order(rows)[: before.sum()] == patient[: before.sum()]
    assert order(rows) != quick


def test_tenants_of_one_message_each_are_served_by_age(engine: str) -> None:
    """A message without a group is its own tenant, and none of these is ever noisy."""
    count = 200
    plan = tenants(*[(0.01 * number, number) for number in range(count)], receivers=40)
    assert run(engine, plan).deliveries["message"].tolist() == list(range(count))


def test_what_is_set_aside_can_expire_or_be_completed_late(engine: str) -> None:
    """No message is lost or handed out twice at a time when it leaves while it is set aside."""
    failing = {
        "fail_steps": streams.chance_steps(0.3),
        "lock_s": 12.0,
        "accepts_late": True,
        "retention_s": 60.0,
    }
    slow = tables(service=Constant(value=11.99), receive=Constant(value=0.02), settle=Constant(value=0.05))
    plan = tenants(*[(0.0, A)] * 200, *[(3.0, B)] * 100, *[(40.0, A)] * 50, tables=slow, **failing)
    rows = run(engine, replace(plan, receivers=60))
    assert np.bincount(rows.messages["state"], minlength=8).sum() == 350
    assert np.isnan(rows.messages["left_s"]).sum() == 0


def fair(**queue: Any) -> Scenario:
    """Two tenants, one of which sends nine of ten messages."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 20.0},
        service_time={"family": "constant", "mean_s": 1.0},
        groups={"kind": "weights", "weights": (9.0, 1.0)},
        queue={"provider": "sqs", "fair": True, **queue},
        consumers={"workers": 40, "receive_wait_s": 20.0},
        horizon_s=120.0,
    )


def test_a_fair_queue_costs_a_tenth_of_a_dollar_more_for_a_million_requests() -> None:
    """The same requests cost half a dollar instead of forty cents beyond the free million."""
    runs = {is_fair: summarize(simulate(fair(fair=is_fair))).cost for is_fair in (True, False)}
    requests = runs[True].requests_per_month.value
    assert requests == pytest.approx(runs[False].requests_per_month.value, rel=0.05)
    assert runs[True].requests_usd.value == pytest.approx((requests - 1e6) / 1e6 * 0.50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queue": {"type": "fifo"}}, "hands out by message group and not fairly"),
        ({"groups": None}, "its tenants are groups"),
    ],
)
def test_a_fair_queue_is_a_standard_queue_with_tenants(changes: dict[str, Any], message: str) -> None:
    """A FIFO queue is not fair, and without groups there is nobody to be fair to."""
    with pytest.raises(ScenarioError, match=message):
        fair().with_(**changes)
