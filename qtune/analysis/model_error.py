"""What a calibrated model adds to the interval of a prediction: how far it was off on settings it had not seen.

An interval over replications knows chance and nothing of the model. The error of n held-out settings without its sign
has a largest one, E; of settings like them n in n + 1 are off by no more. A prediction v with an error within E of what
is true stands for a truth from v / (1 + E) to v / (1 - E), and the interval's ends are moved by that.

Throughput is another matter. A queue that keeps up completes what comes in, whatever its model says. What the model can
be wrong about is how much it could complete, so that the throughput may be as low as that, less its error.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from qtune.analysis.intervals import Estimate
from qtune.analysis.summary import Summary
from qtune.units import format_fraction

LATENCIES: Final = {"latency_s_p50": "p50", "latency_s_p95": "p95", "latency_s_p99": "p99"}
THROUGHPUTS: Final = ("goodput_per_s", "throughput_per_s")


def with_model_error(summary: Summary) -> Summary:
    """The summary of simulations with what their model adds to the intervals of latency, throughput and capacity.

    As it is when the model is not calibrated, and so says nothing of its error, or when any run was measured.
    """
    margins = summary.scenario.provider_model().margins
    if not margins or any(not source.startswith("simulated") for source in summary.sources):
        return summary
    numbers = dict(summary.numbers)
    capacity = numbers["capacity_per_s"]
    for name, metric in LATENCIES.items():
        numbers[name] = widened(numbers[name], margins[metric])
    for name in THROUGHPUTS:
        numbers[name] = throughput(
            numbers[name], capacity.value, margins["throughput"], summary.verdict.keeps_up
        )
    numbers["capacity_per_s"] = widened(capacity, margins["throughput"], whole=True)
    return replace(summary, numbers=numbers)


def widened(estimate: Estimate, error: float, *, whole: bool = False) -> Estimate:
    """The estimate with an interval that allows for the model's error as well.

    whole: also for a number that has no interval of its own, which then is that of the model's error alone.
    """
    low, high = estimate.low, estimate.high
    if whole:
        low, high = (estimate.value if math.isnan(end) else end for end in (low, high))
    if not error or not estimate.known or (math.isnan(low) and math.isnan(high)):
        return estimate
    low, high = possible(low, high, error)
    return replace(estimate, low=low, high=high, method=_method(estimate, error))


def possible(low: float, high: float, error: float) -> tuple[float, float]:
    """The truths for which a model that is off by at most ``error`` predicts between low and high; NaN stays NaN."""
    return low / (1.0 + error), high / (1.0 - error) if error < 1.0 else math.nan


def throughput(estimate: Estimate, capacity_per_s: float, error: float, keeps_up: bool) -> Estimate:
    """The same of a throughput, which is what comes in as long as the queue keeps up."""
    if not keeps_up:
        return widened(estimate, error, whole=True)
    least_per_s = capacity_per_s / (1.0 + error)
    low = estimate.value if math.isnan(estimate.low) else estimate.low
    if not error or not estimate.known or not least_per_s < low:
        return estimate
    return replace(estimate, low=least_per_s, method=_method(estimate, error))


def _method(estimate: Estimate, error: float) -> str:
    added = f"and the model's held-out error of {format_fraction(round(error, 4))}"
    return f"{estimate.method} {added}" if estimate.method else added.removeprefix("and ")
