"""Whole systems of the textbooks: laws of flow, endless servers, and a closed loop, for both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_agreement import PRECISION, agrees, replications
from engine_plans import Rows, poisson, queue_plan, run, tables

from qtune.analysis.theory import MGInfinity
from qtune.distributions import Constant, Distribution, Exponential, Lognormal
from qtune.engine.plan import Plan

SECOND = Exponential(mean=1.0)
LENGTH_S = {"kernel": 4_000.0, "reference": 350.0}


def sampled_plan(engine: str, **fields: Any) -> Plan:
    """A queue whose state is written down every half second."""
    return queue_plan(horizon_s=LENGTH_S[engine], sample_every_s=0.5, **fields)


def sampled(rows: Rows, warm_up_s: float, *columns: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The sum of these columns of the sampled states after a warm-up."""
    states = rows.states[rows.states["time_s"] >= warm_up_s]
    return np.asarray(sum(states[column] for column in columns), np.int64)


@pytest.mark.parametrize("service", [Lognormal(mean=1.0, cv=1.5), Constant(value=1.0), SECOND])
def test_with_workers_to_spare_the_number_busy_is_poisson(engine: str, service: Distribution) -> None:
    """M/G/infinity: the number busy is Poisson with the offered load, whatever the service time."""
    theory = MGInfinity(arrival_per_s=6.0, service_mean_s=1.0)
    plan = sampled_plan(engine, workers=40, tables=tables(service=service), **poisson(6.0))
    runs = replications(engine, plan)
    busy = [sampled(rows, 50.0, "busy_workers") for rows in runs]
    assert max(int(counts.max()) for counts in busy) < 40
    agrees((counts.mean() for counts in busy), theory.busy_mean, precision=0.3 * PRECISION[engine])
    for count in (3, 6, 10):
        shares = [float((counts > count).mean()) for counts in busy]
        agrees(shares, theory.busy_exceeds(count), precision=2.0 * PRECISION[engine])


def test_the_number_in_the_system_is_rate_times_time(engine: str) -> None:
    """Little's law: the mean number in the system is the sum of the times in it over the run's length."""
    plan = sampled_plan(engine, workers=4, tables=tables(service=SECOND), **poisson(3.0))
    ratios = []
    for rows in replications(engine, plan):
        number = sampled(rows, 0.0, "unsent", "backlog", "in_flight")
        seen = float(np.trapezoid(number, rows.states["time_s"]))
        left_s = np.fmin(rows.messages["left_s"], plan.horizon_s)
        ratios.append(seen / float((left_s - rows.messages["due_s"]).sum()))
    agrees(ratios, 1.0, precision=0.2 * PRECISION[engine])


@pytest.mark.parametrize("settle_s", [0.0, 0.25])
def test_the_number_busy_is_rate_times_work(engine: str, settle_s: float) -> None:
    """Utilization law: the mean number busy is the rate times the work, settlement included.

    It does not depend on how many workers there are, nor on the order in which they serve.
    """
    times = tables(service=SECOND, settle=Exponential(mean=settle_s) if settle_s else Constant(value=0.0))
    for workers in (5, 9):
        plan = sampled_plan(engine, workers=workers, tables=times, **poisson(3.0))
        busy = [float(sampled(rows, 50.0, "busy_workers").mean()) for rows in replications(engine, plan)]
        agrees(busy, 3.0 * (1.0 + settle_s), precision=0.3 * PRECISION[engine])


def closed_loop(customers: int, think_s: float, workers: int) -> tuple[float, float]:
    """Rate and mean time in the system of a closed loop with exponential times of mean ``think_s`` and 1 s.

    The number in the system is a birth and death process: n customers in it are joined at (customers - n) /
    think_s and left at min(n, workers).
    """
    weights = [1.0]
    for number in range(customers):
        weights.append(weights[-1] * (customers - number) / think_s / min(number + 1, workers))
    total = sum(weights)
    rate_per_s = sum(min(number, workers) * weight for number, weight in enumerate(weights)) / total
    return rate_per_s, customers / rate_per_s - think_s


@pytest.mark.parametrize(("customers", "workers"), [(1, 1), (10, 1), (10, 3), (30, 12)])
def test_a_closed_loop_is_the_machine_repair_model(engine: str, customers: int, workers: int) -> None:
    """Customers who think for 4 s and share a few workers have the rate and delay of the exact model."""
    rate_per_s, sojourn_s = closed_loop(customers, 4.0, workers)
    plan = sampled_plan(
        engine,
        workers=workers,
        customers=customers,
        tables=tables(service=SECOND, think=Exponential(mean=4.0)),
    )
    rates, sojourns = [], []
    for rows in replications(engine, plan):
        counted = rows.messages[
            (rows.messages["due_s"] > 50.0) & (rows.messages["due_s"] < plan.horizon_s - 50.0)
        ]
        rates.append(len(counted) / (plan.horizon_s - 100.0))
        sojourns.append(float((counted["settled_s"] - counted["due_s"]).mean()))
    agrees(rates, rate_per_s, precision=PRECISION[engine])
    agrees(sojourns, sojourn_s, precision=PRECISION[engine])


def test_a_closed_loop_without_waiting_turns_at_its_own_pace(engine: str) -> None:
    """With constant times and a worker for each customer a turn takes think time plus service time."""
    plan = queue_plan(
        workers=3,
        customers=3,
        horizon_s=100.5,
        tables=tables(service=Constant(value=1.0), think=Constant(value=4.0)),
    )
    due_s = run(engine, plan).messages["due_s"]
    assert due_s.tolist() == [4.0 + 5.0 * turn for turn in range(20) for _ in range(3)]
