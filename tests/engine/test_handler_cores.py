"""Handlers that need a core of their instance for a part of their time, and waits that vary, against exact values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_agreement import MESSAGES, PRECISION, agrees, means, replications, sojourns_s
from engine_plans import at_once, poisson, queue_plan, run, tables

from qtune.analysis.theory import MG1, MMc
from qtune.distributions import Constant, Distribution, Exponential, Gamma
from qtune.engine.plan import Plan
from qtune.result import DELIVERY_COMPLETED, DELIVERY_LATE


def on_cores(engine: str, rate_per_s: float, service: Distribution, **fields: Any) -> Plan:
    """Many workers whose handlers need nothing but a core."""
    return queue_plan(
        workers=60,
        cpu_share=1.0,
        horizon_s=MESSAGES[engine] / rate_per_s,
        tables=tables(service=service),
        **poisson(rate_per_s),
        **fields,
    )


def test_handlers_on_two_cores_are_a_queue_with_two_servers(engine: str) -> None:
    """With many workers and two cores the cores are the servers: the mean time in the system is that of M/M/2."""
    plan = on_cores(engine, 1.2, Exponential(mean=1.0), cores=2)
    exact_s = MMc(arrival_per_s=1.2, service_mean_s=1.0, servers=2).sojourn_mean_s
    found = means(replications(engine, plan), lambda rows: sojourns_s(rows, leave_out=60))
    agrees(found, exact_s, precision=PRECISION[engine])


@pytest.mark.parametrize("service", [Constant(value=1.0), Gamma(mean=1.0, cv=0.5)])
def test_handlers_hold_one_core_in_the_order_of_asking(engine: str, service: Distribution) -> None:
    """One core without interruption is M/G/1 by Pollaczek and Khinchine, and no processor sharing."""
    plan = on_cores(engine, 0.6, service)
    exact_s = MG1(arrival_per_s=0.6, service_mean_s=1.0, service_scv=service.scv).sojourn_mean_s
    found = means(replications(engine, plan), lambda rows: sojourns_s(rows, leave_out=60))
    agrees(found, exact_s, precision=PRECISION[engine])


def test_a_handler_holds_its_core_first_and_then_waits_without(engine: str) -> None:
    """Three handlers of 2 s, half of it on the only core: they end at 2, 3 and 4 s, and the core has worked 3 s."""
    plan = queue_plan(
        workers=3, cpu_share=0.5, horizon_s=8.0, tables=tables(service=Constant(value=2.0)), **at_once(3)
    )
    rows = run(engine, plan)
    assert sorted(rows.messages["completed_s"].tolist()) == [2.0, 3.0, 4.0]
    assert rows.states["core_busy_s"][-1] == 3.0
    apart = run(engine, replace(plan, cores=3))
    assert apart.messages["completed_s"].tolist() == [2.0] * 3


def test_the_downstream_is_asked_when_the_core_is_done(engine: str) -> None:
    """Half of 2 s on one of three cores, the rest at a downstream with one connection: ends at 2, 3 and 4 s."""
    plan = queue_plan(
        workers=3,
        cpu_share=0.5,
        cores=3,
        downstream_connections=1,
        horizon_s=8.0,
        tables=tables(service=Constant(value=2.0)),
        **at_once(3),
    )
    rows = run(engine, plan)
    assert sorted(rows.messages["completed_s"].tolist()) == [2.0, 3.0, 4.0]
    assert rows.states["downstream_busy_s"][-1] == 3.0


@pytest.mark.parametrize(("cores", "outcome"), [(1, DELIVERY_LATE), (2, DELIVERY_COMPLETED)])
def test_a_handler_that_keeps_the_core_starves_the_renewal_of_its_lock(
    engine: str, cores: int, outcome: int
) -> None:
    """A renewal needs a moment of a core too: beside a handler that blocks the only one, the lock runs out."""
    plan = queue_plan(
        cpu_share=1.0,
        cores=cores,
        call_cost_s=0.001,
        lock_s=5.0,
        renewers=1,
        renew_after_s=2.5,
        renew_max_s=100.0,
        horizon_s=11.0,
        tables=tables(service=Constant(value=10.0)),
        **at_once(1),
    )
    assert run(engine, plan).deliveries["outcome"][0] == outcome


def test_jitter_takes_a_random_part_of_each_wait(engine: str) -> None:
    """Waits of up to 4 s with a jitter of 50 % are even between 2 and 4 s: 3 s on average, each its own."""
    count = 2000
    plan = queue_plan(
        workers=count,
        poison_steps=1 << 53,
        backoff_s=np.array([4.0]),
        backoff_jitter=0.5,
        max_deliveries=1,
        horizon_s=10.0,
        tables=tables(service=Constant(value=1.0)),
        **at_once(count),
    )
    waits_s = run(engine, plan).deliveries["finished_s"] - 2.0
    assert 2.0 <= waits_s.min() < 2.05
    assert 3.95 < waits_s.max() <= 4.0
    assert np.unique(waits_s).size == count
    assert abs(waits_s.mean() - 3.0) < 5.0 * 2.0 / np.sqrt(12.0 * count)
