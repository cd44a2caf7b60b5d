"""Bounds without a run: no simulation passes a capacity or beats a floor, and both are near it.

The simulations run on the compiled engine, for speed; both engines have the same rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from capacity_cases import BUS, PYTHON, SETTINGS, SQS
from handmade import scenario_of
from hypothesis import given, settings
from hypothesis import strategies as st

from qtune.analysis import (
    approximate_latency_s,
    capacity_of,
    capacity_per_s,
    floor_s,
    setup_of,
    summarize,
)
from qtune.analysis.floor import lingering_share, poll_gap_s
from qtune.analysis.grids import low_grid, low_sum_quantile, middle_grid
from qtune.analysis.setup import arrival_scv_of, largest_mean, work_of
from qtune.distributions import Constant, Exponential, Lognormal, Uniform
from qtune.providers import load_model
from qtune.scenario import Scenario
from qtune.simulation import simulate


def scenario(name: str, rate_per_s: float, horizon_s: float = 60.0, **changes: Any) -> Scenario:
    """One of the settings under Poisson arrivals, with handlers of 30 ms unless it says otherwise."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": rate_per_s},
        "service_time": {"family": "lognormal", "mean_s": 0.03, "cv": 0.7},
        "horizon_s": horizon_s,
    }
    return Scenario(**{**base, **SETTINGS[name], **changes})


@pytest.mark.parametrize("name", SETTINGS)
def test_no_overloaded_run_passes_the_capacity_and_some_come_near(name: str) -> None:
    """At twice the capacity, no more messages leave than it allows, and at least 75 % of them do.

    The tolerance is five standard errors of the mean of as many handlers as there were.
    """
    ceiling = capacity_per_s(scenario(name, 1.0))
    horizon_s = max(8_000.0 / ceiling, 5.0)
    run = simulate(scenario(name, 2.0 * ceiling, horizon_s), seed=3)
    left = int(np.isfinite(run.messages["left_s"]).sum())
    error = 5.0 / math.sqrt(left)
    start_up = 4.0 * ceiling / horizon_s / ceiling  # what may be in hand at the end
    assert left / horizon_s <= ceiling * (1.0 + error) + start_up
    assert left / horizon_s >= 0.75 * ceiling


def test_what_a_downstream_refuses_may_leave_faster_than_it_could_serve() -> None:
    """With a bound on deliveries refused messages are dead-lettered; no capacity forbids a load for their service."""
    setting = {
        "queue": {**SQS, "max_receive_count": 2},
        "downstream": {"connections": 1, "when_full": "reject", "refusal_s": 0.002},
    }
    tried = scenario("downstream pool", 300.0, **setting)
    run = simulate(tried, seed=3)
    left = int(np.isfinite(run.messages["left_s"]).sum()) / tried.horizon_s
    assert left > 2.0 / 0.03  # more than twice what one connection could serve
    assert left <= capacity_per_s(tried)
    assert setup_of(tried).may_refuse


def test_what_a_circuit_breaker_rejects_may_leave_faster_than_workers_could_serve() -> None:
    """A rejected message is dead-lettered without work, so no capacity forbids a load for its handlers' time."""
    setting = {
        "queue": {**SQS, "max_receive_count": 1},
        "consumers": {"workers": 2, "receive_wait_s": 20.0},
        "failures": {"rate": 0.5},
        "handler": {"circuit_breaker": {"window": 4, "open_for_s": 10.0, "half_open_calls": 1}},
    }
    tried = scenario("downstream pool", 100.0, downstream=None, **setting)
    run = simulate(tried, seed=3)
    left = int(np.isfinite(run.messages["left_s"]).sum()) / tried.horizon_s
    assert left > 1.2 * 2 / 0.03  # more than two workers could serve
    assert left <= capacity_per_s(tried)
    numbers = summarize(run).numbers
    assert numbers["breaker_openings"].value > 0.0
    assert numbers["breaker_rejections"].value > 0.5 * numbers["dead_letters"].value


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("share", [0.05, 0.6])
def test_no_run_beats_the_floor(name: str, share: float) -> None:
    """At any load the median, the p95 and the p99 are above their floors, and at a low load near them.

    The tolerance is that of the quantile: five standard errors of the share below it.
    """
    rate = share * capacity_per_s(scenario(name, 1.0))
    tried = scenario(name, rate, max(4_000.0 / rate, 20.0))
    run = simulate(tried, seed=5)
    completed_s = run.messages["completed_s"]
    latency_s = np.sort(np.where(np.isnan(completed_s), np.inf, completed_s) - run.messages["due_s"])
    for p in (0.5, 0.95, 0.99):
        error = 5.0 * math.sqrt(p * (1.0 - p) / latency_s.size)
        highest = latency_s[min(math.ceil((p + error) * latency_s.size), latency_s.size) - 1]
        assert floor_s(tried, p) <= highest
        if p == 0.5 and share == 0.05 and name not in ("failures", "bus, batches", "bus, batches at once"):
            assert floor_s(tried, p) >= 0.4 * float(latency_s[latency_s.size // 2])


def test_the_ceilings_are_places_over_time_held() -> None:
    """SQS with two instances of eight workers: every ceiling is its number of places over the time held."""
    tried = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 1.0},
        service_time={"family": "constant", "mean_s": 0.1},
        queue=SQS,
        consumers={"instances": 2, "workers": 8, "receive_wait_s": 20.0, "receive_batch": 1},
        horizon_s=60.0,
    )
    setup, capacity = setup_of(tried), capacity_of(setup_of(tried))
    settle_s = setup.calls.settle.mean + setup.behaviour.call_cost_s
    receive_s = setup.calls.receive.mean + setup.behaviour.call_cost_s
    own_s = setup.behaviour.message_cost_s
    workers, places = capacity.of("workers"), capacity.of("places in hand")
    assert workers is not None
    assert places is not None
    assert workers.per_s == pytest.approx(16 / (own_s + 0.1 + settle_s))
    assert places.per_s == pytest.approx(16 / (receive_s + own_s + 0.1 + settle_s))
    assert capacity.per_s == min(ceiling.per_s for ceiling in capacity.ceilings)
    assert capacity.of("senders") is None
    batched = capacity_of(setup_of(tried.with_(consumers={"settle": "batch", "settle_batch": 10})))
    shared = batched.of("workers")
    assert shared is not None
    assert shared.per_s == pytest.approx(16 / (own_s + 0.1 + settle_s / 10))


@pytest.mark.parametrize(
    ("client", "prefetch", "batch", "cycle_ms"),
    [
        (PYTHON, 0, 1, 5.0 + 20.0 + 20.0),
        (PYTHON, 0, 10, 5.0 + 20.0 + 20.0 / 10),
        (PYTHON, 9, 1, 5.0 + 20.0 + 20.0 / 10),
        (PYTHON, 99, 1, 5.0 + 20.0 + 20.0 / 100),
        ("azure-servicebus-7.14", 0, 1, 5.0 + 20.0),
        ("azure-servicebus-7.14", 9, 1, 5.0 + 20.0 / 10),
    ],
)
def test_the_credit_cycle_of_azure_servicebus(
    client: str, prefetch: int, batch: int, cycle_ms: float, tmp_path: Any
) -> None:
    """A worker's cycle is work + settle + round trip / credit of a burst, as measured with the SDK at 20 ms.

    Settling costs nothing in 7.14, and a burst is prefetch + 1 messages, or the batch without prefetch.
    """
    import yaml

    from qtune.providers import dump_model

    model = yaml.safe_load(dump_model(load_model("servicebus")))
    for call in model["latency"].values():
        call["time"] = {"family": "constant", "mean": "20ms"}
    for cost in model["clients"].values():
        cost["call_cost"] = cost["message_cost"] = "0s"
    path = tmp_path / "round_trip_of_20_ms.yaml"
    path.write_text(yaml.safe_dump(model))
    tried = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 1.0},
        service_time={"family": "constant", "mean_s": 0.005},
        queue=BUS,
        consumers={"workers": 1, "client": client, "prefetch": prefetch, "receive_batch": batch},
        horizon_s=10.0,
        model=str(path),
    )
    assert 1000.0 / capacity_per_s(tried) == pytest.approx(cycle_ms)


def test_a_full_batch_waits_for_its_slowest_message() -> None:
    """Ten messages in a round of ten workers take as long as the slowest, so exponential ones 2.93 means.

    The sum of 1/1 to 1/10 is 2.929; the bound may be a few per cent below, never above.
    """
    harmonic = sum(1.0 / k for k in range(1, 11))
    assert 0.95 * harmonic <= largest_mean(Exponential(1.0), 10) <= harmonic
    assert largest_mean(Constant(2.0), 10) == 2.0
    assert largest_mean(Lognormal(1.0, 1.0), 1) == 1.0


def test_work_counts_every_attempt_and_delivery() -> None:
    """At a failure rate of 1/2 with two attempts and three deliveries, sums over all cases give the work."""
    tried = scenario_of(
        failures={"rate": 0.5, "retry": {"attempts": 2, "base_s": 0.3}},
        queue={"provider": "memory", "max_queue_size": 10, "when_full": "block", "max_delivery_count": 3},
    )
    work = work_of(tried, 0.1)
    fails = 0.25  # both attempts of a delivery
    deliveries = 1.0 + fails + fails**2
    assert work.deliveries == pytest.approx(deliveries)
    assert work.settles == pytest.approx(deliveries)
    assert work.handler_s == pytest.approx(deliveries * ((1.0 + 0.5) * 0.1 + 0.5 * 0.3))
    poisoned = work_of(tried.with_(failures={"rate": 0.0, "poison": 1.0}), 0.1)
    assert poisoned.deliveries == pytest.approx(3.0)
    assert poisoned.handler_s == pytest.approx(3.0 * (2 * 0.1 + 0.3))
    left = work_of(tried.with_(failures={"on_failure": "lock_expiry"}), 0.1)
    assert left.settles == pytest.approx(1.0 - fails**3)


def test_poison_that_is_never_dead_lettered_counts_once() -> None:
    """A message that would come back for ever has no mean cost; a bound may only count what is certain."""
    tried = scenario("sqs loop", 1.0, failures={"poison": 0.5})
    assert tried.semantics().max_deliveries == 0
    assert work_of(tried, 0.1).deliveries == pytest.approx(1.0)


@settings(max_examples=25)  # a grid takes 128 quantiles
@given(
    p=st.floats(0.01, 0.999),
    mean=st.floats(0.001, 10.0),
    cv=st.floats(0.1, 3.0),
)
def test_a_low_grid_is_below_its_distribution(p: float, mean: float, cv: float) -> None:
    """A quantile read from a low grid is never above the true one, alone or with a constant added."""
    distribution = Lognormal(mean, cv)
    assert low_sum_quantile([low_grid(distribution)], p) <= distribution.quantile(p) * (1.0 + 1e-12)
    shifted = low_sum_quantile([low_grid(distribution), low_grid(Constant(1.0))], p)
    assert shifted <= (distribution.quantile(p) + 1.0) * (1.0 + 1e-12)


def test_the_quantile_of_a_sum_is_below_and_near() -> None:
    """The p95 of two uniform times in [0, 1] is 2 - sqrt(0.1); its bound is at most 2 % lower."""
    found = low_sum_quantile([low_grid(Uniform(0.0, 1.0)), low_grid(Uniform(0.0, 1.0))], 0.95)
    exact = 2.0 - math.sqrt(0.1)
    assert 0.98 * exact <= found <= exact
    assert middle_grid(Exponential(1.0)).mean() == pytest.approx(1.0, rel=0.01)


def test_polls_that_do_not_wait_cost_half_their_gap() -> None:
    """Without waiting at the broker a message waits for the next poll; long polls are there already."""
    consumers = {"workers": 4, "receive_wait_s": 0.0, "idle_pause_s": 1.0}
    short = setup_of(scenario("sqs loop", 2.0, consumers=consumers))
    receive_s = short.calls.receive.mean + short.behaviour.call_cost_s
    assert poll_gap_s(short) == pytest.approx((receive_s + 1.0) / (4 + 2.0 * 1.0))
    assert poll_gap_s(setup_of(scenario("sqs loop", 2.0))) == 0.0


def test_a_lingering_client_has_a_higher_floor() -> None:
    """With batches of ten, one message in ten waits 0.2 s for others: the p95 cannot be below 0.2 s."""
    batches = scenario("bus, batches", 200.0, consumers={"workers": 4, "client": PYTHON, "receive_batch": 10})
    one = scenario("bus, one at a time", 200.0)
    assert lingering_share(setup_of(one)) == 0.0
    assert 0.09 < lingering_share(setup_of(batches)) < 0.1
    assert floor_s(one, 0.95) < 0.15
    assert floor_s(batches, 0.95) > 0.15
    assert floor_s(batches, 0.5) == pytest.approx(floor_s(one, 0.5))


def test_workers_for_the_worked_example_of_the_manual() -> None:
    """At 250 messages a second no exponential handlers of 180 ms reach a p95 of 500 ms; 44 are too few."""
    consumers = {"workers": 47, "receive_wait_s": 1.0, "polling": "permits"}
    tried = scenario_of(
        arrivals={"kind": "poisson", "rate_per_s": 250.0},
        service_time={"family": "exponential", "mean_s": 0.18},
        consumers=consumers,
    )
    assert floor_s(tried, 0.95) == pytest.approx(-0.18 * math.log(0.05), rel=0.001)
    assert floor_s(tried, 0.95) > 0.5
    lognormal = {"family": "lognormal", "mean_s": 0.18, "cv": 0.5}
    assert approximate_latency_s(tried.with_(service_time=lognormal), 0.95) == pytest.approx(0.417, rel=0.05)
    few = {**consumers, "workers": 44}
    assert approximate_latency_s(tried.with_(service_time=lognormal, consumers=few), 0.95) == math.inf


def test_the_approximation_is_near_a_simulation() -> None:
    """At 80 % load the approximate p95 is within 15 % of the simulated one for a queue without batches."""
    for name in ("sqs loop", "memory", "bus, one at a time", "bus, settled ahead", "bus, processor"):
        rate = 0.8 * capacity_per_s(scenario(name, 1.0))
        tried = scenario(name, rate, 40_000.0 / rate)
        simulated = summarize(simulate(tried, seed=1))
        assert approximate_latency_s(tried, 0.95) == pytest.approx(simulated.latency_s_p95.value, rel=0.15)


def test_a_closed_loop_has_no_approximation() -> None:
    """Without an arrival rate there is nothing to approximate, and the answer is NaN and not 0."""
    closed = {"kind": "closed_loop", "customers": 9, "think_time": {"family": "constant", "mean_s": 0.1}}
    tried = scenario("memory", 1.0, arrivals=closed)
    assert math.isnan(approximate_latency_s(tried, 0.95))
    assert setup_of(tried).offered_load is None
    assert capacity_per_s(tried) > 0.0


def test_bursts_are_more_irregular_than_poisson() -> None:
    """The irregularity of bursts is the limit of variance over mean of their counts, here by simulation."""
    bursts = {
        "kind": "bursts",
        "on_rate_per_s": 40.0,
        "off_rate_per_s": 5.0,
        "on_mean_s": 2.0,
        "off_mean_s": 6.0,
    }
    tried = scenario("memory", 1.0, arrivals=bursts, horizon_s=4_000.0)
    expected = arrival_scv_of(tried)
    assert arrival_scv_of(scenario("memory", 1.0)) == 1.0
    ratios = []
    for seed in range(12):
        due_s = simulate(tried, seed=seed).messages["due_s"]
        counts = np.histogram(due_s, bins=np.arange(0.0, 4_001.0, 100.0))[0]
        ratios.append(float(counts.var(ddof=1) / counts.mean()))
    error = np.std(ratios, ddof=1) / math.sqrt(len(ratios))
    assert abs(float(np.mean(ratios)) - expected) <= 4.0 * error + 0.05 * expected


def test_bounds_are_cheap_enough_to_screen_with() -> None:
    """A capacity and a floor take a few thousand function calls, so thousands of settings can be screened."""
    import cProfile
    import pstats

    tried = scenario("bus, batches", 20.0)
    capacity_per_s(tried), floor_s(tried, 0.95)
    profile = cProfile.Profile()
    profile.enable()
    capacity_per_s(tried), floor_s(tried, 0.95)
    profile.disable()
    assert pstats.Stats(profile).total_calls < 5_000  # type: ignore[attr-defined]
