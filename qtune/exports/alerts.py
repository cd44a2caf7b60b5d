"""Prometheus rules that say when a real system leaves its prediction, by the metrics of the queue-runtime crate.

The four alerts and their factors are those of "Performance Alerting" of its performance page (0.2.0), and so are the
metrics and the bounds of their histogram. Nothing else is measured by them: there is none of the end-to-end latency, so
the latency that is watched is the time of processing; and none of the utilization, so it is made of the sum of that
time. One observation for each message is taken for granted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from qtune.analysis import STEADY, Estimate, Setup, Summary, setup_of
from qtune.distributions import Distribution
from qtune.errors import AnswerIsNo
from qtune.exports.files import write_new
from qtune.exports.quantities import quantity
from qtune.exports.summaries import setup_text
from qtune.scenario import Scenario
from qtune.units import format_count

PROCESSED: Final = "queue_runtime_messages_processed_total"
DURATION: Final = "queue_runtime_processing_duration_seconds"
ERRORS: Final = "queue_runtime_errors_total"
SLOW: Final = "QueueProcessingSlow"
BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
"""The upper ends of the buckets of the processing time, in the crate."""

THROUGHPUT_LEFT: Final = 0.8
LATENCY_TIMES: Final = 2.0
ERROR_TIMES: Final = 5.0
UTILIZATION_MOST: Final = 0.8

_LEAST_WINDOW_S: Final = 600.0
_SIGMAS: Final = 4.0
_SUSTAINED_S: Final = 1800.0
_OBSERVATIONS: Final = 1_000.0
_POINTS: Final = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertRule:
    """One alerting rule.

    expr: in PromQL. for_s: how long it must hold before it fires. baseline: the prediction behind it, in words.
    note: what to know before trusting it, or "".
    """

    alert: str
    expr: str
    for_s: float
    summary: str
    baseline: str
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """The rule as a rule file has it."""
        description = f"predicted: {self.baseline}" + (f"; {self.note}" if self.note else "")
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": prometheus_time(self.for_s),
            "labels": {"severity": "warning"},
            "annotations": {"summary": self.summary, "description": description},
        }


def alert_rules(summary: Summary) -> tuple[AlertRule, ...]:
    """The rules for a system that is set up as the summary's scenario: throughput, latency, errors, utilization.

    There is no rule of the latency where the histogram ends before its threshold, because it could never fire.
    AnswerIsNo when the queue does not keep up, because then there is no baseline to compare with.
    """
    if not summary.verdict.keeps_up:
        text = f"there is no baseline to alert on: {summary.verdict.text}"
        raise AnswerIsNo(text, {"verdict": summary.verdict.to_dict()})
    scenario = summary.scenario
    setup = setup_of(scenario)
    rate_per_s = summary.goodput_per_s.value
    if not rate_per_s > 0.0:
        raise AnswerIsNo("there is no baseline to alert on: no message was completed")
    enough_s = max(_LEAST_WINDOW_S, _OBSERVATIONS / rate_per_s)
    latency = _latency(scenario.service_distribution(), enough_s)
    return (
        _throughput(summary, window_of(setup, rate_per_s)),
        *(() if latency is None else (latency,)),
        _errors(scenario, rate_per_s, enough_s),
        _utilization(summary, setup, enough_s),
    )


def export_alerts(summary: Summary, path: str | Path) -> Path:
    """Write the rules as a file for Prometheus, and return its path; a file that exists is never overwritten."""
    import yaml

    rules = alert_rules(summary)
    group = {"name": f"qtune {summary.scenario.name}", "rules": [rule.to_dict() for rule in rules]}
    name = " ".join(summary.scenario.name.split())
    runs = f"{format_count(summary.replications, 'run')} (seeds {summary.seeds[0]} to {summary.seeds[-1]})"
    header = (
        f"# Made by qtune {version('qtune')} from a prediction of {name}: {setup_text(summary.scenario)};\n"
        f"# {runs}. Check with: promtool check rules\n"
    )
    if all(rule.alert != SLOW for rule in rules):
        header += (
            f"# {SLOW} is left out: twice the predicted p95 is beyond {BOUNDS_S[-1]:g} s, where the histogram of the\n"
            "# processing time ends, so it could never fire. Give the histogram wider buckets, and write it yourself.\n"
        )
    text: str = yaml.safe_dump({"groups": [group]}, sort_keys=False, allow_unicode=True, width=110)
    return write_new(header + text, path)


def window_of(setup: Setup, rate_per_s: float) -> float:
    """Over how long the throughput is taken, in seconds: 10 min, or until chance alone does not take a fifth away.

    The count of arrivals in a window of w has about the variance c rate w, where c is that of the arrivals (1 for
    Poisson). A fifth is four standard deviations when w is 16 c / (0.04 rate). A load with a course of its own is
    watched over the whole course.
    """
    scatter = max(setup.arrival_scv, 1.0)
    needed_s = scatter * (_SIGMAS / (1.0 - THROUGHPUT_LEFT)) ** 2 / rate_per_s
    course_s = 0.0 if setup.arrivals in STEADY and not setup.disturbed else setup.horizon_s
    return max(_LEAST_WINDOW_S, needed_s, course_s)


def prometheus_time(time_s: float) -> str:
    """A time as Prometheus writes it, in whole minutes, rounded up."""
    return f"{math.ceil(time_s / 60.0 - 1e-9)}m"


def _rate(metric: str, window_s: float) -> str:
    return f"rate({metric}[{prometheus_time(window_s)}])"


def _said(estimate: Estimate, unit: str = "") -> str:
    value, low, high = (
        quantity(x, unit or estimate.unit) for x in (estimate.value, estimate.low, estimate.high)
    )
    return value if math.isnan(estimate.low) else f"{value} ({low} to {high})"


def _throughput(summary: Summary, window_s: float) -> AlertRule:
    predicted = summary.goodput_per_s
    return AlertRule(
        alert="QueueThroughputDown",
        expr=f"sum({_rate(PROCESSED, window_s)}) < {THROUGHPUT_LEFT * predicted.value:.6g}",
        for_s=_LEAST_WINDOW_S,
        summary="more than 20 % fewer messages are processed than predicted",
        baseline=f"{_said(predicted)} of completed messages",
        note="a load below the predicted one fires it too",
    )


def _latency(service: Distribution, window_s: float) -> AlertRule | None:
    shown_s = shown_quantile_s(service, 0.95)
    threshold_s = LATENCY_TIMES * shown_s
    if threshold_s >= BOUNDS_S[-1]:
        return None  # no quantile of the histogram is shown beyond its last bound
    true_s = service.quantile(0.95)
    buckets = f"sum by (le) ({_rate(DURATION + '_bucket', window_s)})"
    return AlertRule(
        alert=SLOW,
        expr=f"histogram_quantile(0.95, {buckets}) > {threshold_s:.6g}",
        for_s=_LEAST_WINDOW_S,
        summary="the p95 of the processing time is above twice the predicted one",
        baseline=f"a p95 of {quantity(true_s, 's')}, which the histogram shows as {quantity(shown_s, 's')}",
    )


def shown_quantile_s(service: Distribution, p: float) -> float:
    """What ``histogram_quantile`` shows of a distribution: straight lines between the bounds of the buckets."""
    ranks = (np.arange(_POINTS) + 0.5) / _POINTS
    samples_s = np.array([service.quantile(float(rank)) for rank in ranks])
    below = np.searchsorted(samples_s, BOUNDS_S, side="right") / _POINTS
    bucket = int(np.searchsorted(below, p))
    if bucket == len(BOUNDS_S):
        return BOUNDS_S[-1]  # in the last bucket, which is open, it shows the bound before
    low_s, share = (BOUNDS_S[bucket - 1], float(below[bucket - 1])) if bucket else (0.0, 0.0)
    return low_s + (BOUNDS_S[bucket] - low_s) * (p - share) / (float(below[bucket]) - share)


def failed_share(scenario: Scenario) -> float:
    """The share of processings that end in an error: every attempt of a delivery fails, by chance or by poison."""
    failures = scenario.failures
    by_chance: float = failures.rate**failures.attempts
    return failures.poison + (1.0 - failures.poison) * by_chance


def _errors(scenario: Scenario, rate_per_s: float, window_s: float) -> AlertRule:
    share = failed_share(scenario)
    single = ERROR_TIMES * share * rate_per_s * window_s < 1.0
    failed, done = (f"sum({_rate(metric, window_s)})" for metric in (ERRORS, PROCESSED))
    threshold = ERROR_TIMES * share
    return AlertRule(
        alert="QueueErrorsUp",
        expr=f"{failed} / ({failed} + {done}) > {threshold:.6g}",
        for_s=_LEAST_WINDOW_S,
        summary="the error rate is above five times the predicted one",
        baseline=f"{quantity(share, 'share')} of the processings fail",
        note="so few errors are predicted that a single one fires it" if single else "",
    )


def _utilization(summary: Summary, setup: Setup, window_s: float) -> AlertRule:
    predicted = summary.utilization
    busy = f"sum({_rate(DURATION + '_sum', window_s)})"
    high = predicted.known and predicted.value > UTILIZATION_MOST
    return AlertRule(
        alert="QueueWorkersBusy",
        expr=f"{busy} / {setup.workers} > {UTILIZATION_MOST:g}",
        for_s=_SUSTAINED_S,
        summary="the workers are busy for more than 80 % of the time",
        baseline=f"{_said(predicted, 'share')} of {setup.workers} workers",
        note="the prediction itself is above 80 %: this fires from the start" if high else "",
    )
