"""Many fits to runs with known parameters: how often the intervals hold what is true.

The nightly ones print a table; to see it: pytest -m nightly -s tests/calibration/test_recovery.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from calibration_truth import BUS, CALL_COST_S, MESSAGE_COST_S, SQS, TIMES, run, truth, with_a_real_clock
from scipy import stats

from qtune.analysis.intervals import Estimate
from qtune.calibration.fitting import fit
from qtune.providers import load_model
from qtune.providers.model import Latency, Looking
from qtune.result import Result
from qtune.shapes import ConstantTime, FittedTime

TRIALS = 200
LOOK_S = 0.05
SERVICE_S = 0.002


def true_values(client: str) -> dict[str, float]:
    """What is true of every provider of these tests, by the name of the parameter."""
    found = {f"clients.{client}.call_cost": CALL_COST_S, f"clients.{client}.message_cost": MESSAGE_COST_S}
    for op in ("send", "receive", "settle"):
        family, mean_s, cv = TIMES[op]
        shape = FittedTime(family=family, mean_s=mean_s, cv=cv).distribution()  # type: ignore[arg-type]
        found |= {f"latency.{op}": shape.mean, f"latency.{op}.p95": shape.quantile(0.95)}
    return found


def sqs_trial(folder: Path) -> tuple[Callable[[int], list[Result]], Mapping[str, float]]:
    """Runs on a queue that is looked at now and then, by their trial's number; and what is true."""
    looking = Looking(every_s=LOOK_S, prior=False, source="known", as_of=date(2026, 11, 25))
    _, path = truth("sqs", folder, long_poll=looking)

    def runs(trial: int) -> list[Result]:
        waits = {"receive_batch": 1, "receive_wait_s": 5.0}
        many = {
            "arrivals": {"rate_per_s": 100.0},
            "service_time": {"mean_s": 0.005},
            "consumers": {"receive_batch": 10, "settle": "batch"},
        }
        return [
            run(SQS, path, 10 * trial + 1, name="idle", consumers=waits),
            run(SQS, path, 10 * trial + 2, name="busy", consumers=waits, arrivals={"rate_per_s": 20.0}),
            run(SQS, path, 10 * trial + 3, name="batches", **many),
        ]

    return runs, true_values("boto3") | {"broker.long_poll.every": LOOK_S}


def bus_trial(folder: Path) -> tuple[Callable[[int], list[Result]], Mapping[str, float]]:
    """Runs on a queue that pushes, by their trial's number; and what is true."""
    _, path = truth("servicebus", folder)

    def runs(trial: int) -> list[Result]:
        many = {
            "arrivals": {"rate_per_s": 60.0},
            "service_time": {"mean_s": 0.005},
            "consumers": {"receive_batch": 10},
        }
        return [
            run(BUS, path, 10 * trial + 1, name="idle"),
            run(BUS, path, 10 * trial + 2, name="busy", arrivals={"rate_per_s": 20.0}),
            run(BUS, path, 10 * trial + 3, name="batches", **many),
        ]

    return runs, true_values("azure-servicebus-7.15")


def limited_trial(folder: Path) -> tuple[Callable[[int], list[Result]], Mapping[str, float]]:
    """Runs on a broker that serves one call at a time, by their trial's number; and what is true.

    The fit simulates other messages than the runs had, as it must where the latencies of calls are another matter.
    """
    service = Latency(
        time=ConstantTime(mean_s=SERVICE_S), prior=False, source="known", as_of=date(2026, 11, 25)
    )
    _, path = truth("sqs", folder, calls_served_at_once=1, call_service=service)
    busy = {"receive_batch": 1, "workers": 10, "instances": 1}

    def runs(trial: int) -> list[Result]:
        seed = 10 * trial
        found = [
            run(SQS, path, seed + 1, consumers={"receive_batch": 1}, arrivals={"rate_per_s": 15.0}),
            run(
                SQS,
                path,
                seed + 2,
                consumers=busy,
                arrivals={"rate_per_s": 150.0},
                producers={"senders": 30},
                service_time={"mean_s": 0.005},
                horizon_s=10.0,
            ),
        ]
        return [replace(each, seed=each.seed + 5) for each in found]

    return runs, {"broker.call_service": SERVICE_S, "broker.calls_per_s": 1.0 / SERVICE_S}


def fits(runs: Callable[[int], list[Result]], provider: str, trials: int) -> Iterator[Mapping[str, Estimate]]:
    """The estimates of one trial after the other."""
    for trial in range(trials):
        seen = [with_a_real_clock(each, 10 * trial + place) for place, each in enumerate(runs(trial))]
        yield {each.name: each.estimate for each in fit(seen, load_model(provider)).parameters}


@pytest.mark.parametrize("of", [sqs_trial, bus_trial, limited_trial])
def test_intervals_are_near_what_is_true(
    of: Callable[[Path], tuple[Callable[[int], list[Result]], Mapping[str, float]]], tmp_path: Path
) -> None:
    """Every parameter is identified in a trial, and within four standard errors of what is true."""
    runs, true = of(tmp_path)
    provider = runs(0)[0].scenario.queue.provider
    for estimates in fits(runs, provider, 1):
        for name, value in true.items():
            estimate = estimates[name]
            assert estimate.known, f"{name}: {estimate.reason}"
            assert abs(estimate.value - value) <= estimate.high - estimate.low, f"{name}: {estimate}"


@pytest.mark.nightly
@pytest.mark.parametrize("of", [sqs_trial, bus_trial])
def test_intervals_hold_what_is_true_as_often_as_they_say(
    of: Callable[[Path], tuple[Callable[[int], list[Result]], Mapping[str, float]]], tmp_path: Path
) -> None:
    """Of 200 fits, the 95 % interval of each parameter holds the truth in a share that chance explains.

    The bounds are those of a binomial share of 95 %, at a level at which none of so many parameters fails by chance in
    95 of 100 such tables.
    """
    runs, true = of(tmp_path)
    rates, bounds = table_of(runs, true, TRIALS)
    assert all(bounds[0] <= rate <= bounds[1] for rate in rates.values()), (rates, bounds)


@pytest.mark.nightly
def test_intervals_of_a_brokers_limit_are_never_too_narrow(tmp_path: Path) -> None:
    """Of 60 fits of what a broker serves, the 95 % interval holds the truth at least as often as it says.

    More often: no statistic of a run is trusted to better than 2 %, because a machine is not a model.
    """
    runs, true = limited_trial(tmp_path)
    rates, bounds = table_of(runs, true, 60)
    assert all(bounds[0] <= rate for rate in rates.values()), (rates, bounds)


def table_of(
    runs: Callable[[int], list[Result]], true: Mapping[str, float], trials: int
) -> tuple[dict[str, float], tuple[float, float]]:
    """How often the interval of each parameter holds the truth, and the bounds of chance; printed as a table."""
    found = {name: [] for name in true}  # type: dict[str, list[Estimate]]
    for estimates in fits(runs, runs(0)[0].scenario.queue.provider, trials):
        for name in true:
            found[name].append(estimates[name])
    tail = 0.025 / len(true)
    bounds = tuple(float(stats.binom.ppf(p, trials, 0.95)) / trials for p in (tail, 1.0 - tail))
    rates: dict[str, float] = {}
    print(f"\n{'parameter':40} {'truth':>10} {'mean':>10} {'half':>7} {'held':>6}  of {trials} fits")
    for name, estimates_of in found.items():
        value = true[name]
        held = [each.low <= value <= each.high for each in estimates_of]
        rates[name] = float(np.mean(held))
        mean, half = (
            np.mean([each.value for each in estimates_of]),
            np.mean([each.half_width for each in estimates_of]),
        )
        print(f"{name:40} {value:10.6f} {mean:10.6f} {half / value:7.1%} {rates[name]:6.1%}")
    print(f"binomial bounds for 95 %: {bounds[0]:.1%} to {bounds[1]:.1%}, for all parameters together")
    return rates, (bounds[0], bounds[1])
