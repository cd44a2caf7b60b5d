"""Settings that a model was not fitted to: predicted, then measured with the very same messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.analysis.quantiles import quantile_s
from qtune.analysis.summary import lateness_of
from qtune.calibration.design import scenario_for
from qtune.calibration.place import Setting
from qtune.calibration.runs import Runs
from qtune.calibration.settings import NOISE_RUNS
from qtune.providers.calibration import HeldOut, HeldOutMetric, HeldOutRun, Noise
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.simulation import read_each, simulate

Floats = NDArray[np.float64]
Numbers = dict[HeldOutMetric, float]

SEEDS: Final = 20
_PERCENTILES: Final[tuple[tuple[HeldOutMetric, float], ...]] = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_ENDS: Final = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One setting as predicted and as measured; latencies in seconds of the messages that were completed, sorted."""

    run: HeldOutRun
    predicted_s: Floats
    measured_s: Floats


def numbers_of(run: Result) -> Numbers:
    """The percentiles that the run reached, in seconds, and completed messages a second, after its warm-up."""
    warm_up_s = float(run.scenario.warm_up_s)
    lateness = lateness_of(run, warm_up_s)
    completed = int(np.count_nonzero(run.messages["completed_s"] >= warm_up_s))
    found: Numbers = {metric: quantile_s(lateness, p)[0] for metric, p in _PERCENTILES}
    found["throughput"] = completed / (run.horizon_s - warm_up_s)
    return {metric: value for metric, value in found.items() if value > 0.0}  # not those without a value


class Examiner:
    """Compares a fitted model, by its name, with settings that it has not seen."""

    def __init__(self, runs: Runs, model: str, *, run_s: float, send_s: float) -> None:
        self.place, self.runs, self.model = runs.place, runs, model
        self.run_s, self.send_s = run_s, send_s

    def compare(self, setting: Setting, seed: int) -> Comparison:
        """Predict a setting, and then measure it."""
        scenario = self._scenario(setting, seed)
        self.runs.tell(f"predicting {setting.name}")
        fitted = scenario.with_(model=self.model)
        predicted = simulate(fitted, seed=seed)
        others = list(read_each(fitted, range(seed + 1, seed + 1 + SEEDS), numbers_of))
        measured = self.runs(scenario)
        return Comparison(
            run=HeldOutRun(
                name=setting.name,
                setting=setting.text,
                load=setting.load,
                machine_busy=measured.conditions.utilization_mean if measured.conditions else None,
                numbers=_compared(numbers_of(predicted), numbers_of(measured), others, setting),
            ),
            predicted_s=_latencies(predicted),
            measured_s=_latencies(measured),
        )

    def noise(self, setting: Setting, seed: int) -> Noise:
        """One setting measured several times, with the same messages."""
        scenario = self._scenario(setting, seed)
        found = [numbers_of(self.runs(scenario.with_(name=f"noise-{n}"))) for n in range(1, NOISE_RUNS + 1)]
        shared = [metric for metric in found[0] if all(metric in numbers for numbers in found)]
        return Noise(
            setting=setting.text,
            runs=NOISE_RUNS,
            spread={metric: _spread([numbers[metric] for numbers in found]) for metric in shared},
        )

    def _scenario(self, setting: Setting, seed: int) -> Scenario:
        """At the setting's load, of what the fitted model says it can do."""
        most_per_s = 2.0 * setting.instances * setting.workers / setting.service_s

        def at(rate_per_s: float) -> Scenario:
            return scenario_for(
                self.place, setting, rate_per_s=rate_per_s, run_s=self.run_s, send_s=self.send_s, seed=seed
            )

        flooded = at(most_per_s).with_(model=self.model)
        possible_per_s = numbers_of(simulate(flooded, seed=seed))["throughput"]
        return at(setting.load * possible_per_s)


def _compared(
    predicted: Numbers, measured: Numbers, others: Sequence[Numbers], setting: Setting
) -> tuple[HeldOut, ...]:
    """Of a saturated setting only the throughput: its latency depends on how long one looks."""
    found = []
    for metric, value in measured.items():
        if metric not in predicted or (setting.load > 1.0 and metric != "throughput"):
            continue
        spread = [numbers[metric] for numbers in others if metric in numbers]
        ends = np.quantile(spread, _ENDS).tolist() if len(spread) == len(others) else (None, None)
        found.append(
            HeldOut(metric=metric, measured=value, predicted=predicted[metric], low=ends[0], high=ends[1])
        )
    return tuple(found)


def _spread(values: Sequence[float]) -> float:
    middle = median(values)
    return max(abs(value / middle - 1.0) for value in values)


def _latencies(run: Result) -> Floats:
    lateness = lateness_of(run, float(run.scenario.warm_up_s))
    return np.sort(lateness.latency_s[np.isfinite(lateness.latency_s)])
