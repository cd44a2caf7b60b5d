"""What targets ask of runs: the numbers of one run, and the judgement of targets over several.

A judgement never says more than the interval does: a bound inside the interval leaves the target open. Where the
provider model is calibrated, the interval of a latency allows for the model's error on held-out settings as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qtune.analysis import Estimate, Setup, capacity_of
from qtune.analysis.cost import HOURS_PER_MONTH, billed_requests, instance_usd_per_hour, provider_usd_of
from qtune.analysis.instances import instances_mean
from qtune.analysis.intervals import AT_LEAST_0, SHARE, across_replications, missing
from qtune.analysis.measures import batch_efficiency, ended_calls, of_deliveries, of_messages, of_states
from qtune.analysis.model_error import possible, throughput, widened
from qtune.analysis.quantiles import estimate_quantile, quantile_s
from qtune.analysis.stability import Load, judge
from qtune.analysis.summary import lateness_of
from qtune.recommendation.recommendation import Check, Status
from qtune.result import DELIVERY_ABANDONED, DELIVERY_FAILED, MESSAGE_DEAD_LETTERED, OP_RECEIVE, Result
from qtune.scenario import Scenario
from qtune.targets import Target, Targets

LATENCIES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
LOST_LOCKS_MOST: Final = 0.001
"""A setting that loses more of its locks than this share of handler calls is no answer."""

_SHARES: Final = ("duplicates", "dead_letters", "error_rate")
_PARTS: Final = ("dead_letters", "error_rate", "utilization", "cpu", "batch_efficiency")
_CLEARLY: Final = 0.1
_REASONS: Final = {
    "batch_efficiency": "this client makes no receive calls whose fullness could be told",
    "error_rate": "no handler ended",
    "duplicates": "no message was delivered",
    "dead_letters": "no message fell due",
    "utilization": "the start or the end of handlers was not seen",
    "cpu": "the client's processor time was not seen",
    "api_call": "no call but receives was made",
    **dict.fromkeys(LATENCIES, "not reached"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """The numbers of one run that targets and guards read; NaN for what the run does not show.

    values: by metric, those of the targets and the cost.
    within: intervals from within the run, by latency metric; empty unless asked for.
    verdict: whether the queue kept up, by this run alone. messages: how many fell due after the warm-up.
    lost: share of locks lost.
    """

    values: dict[str, float]
    within: dict[str, Estimate]
    verdict: str
    verdict_text: str
    messages: int
    lost: float


class Meter:
    """Reads figures from runs of the candidates of one question, which share their prices."""

    def __init__(self, scenario: Scenario, targets: Targets) -> None:
        self.targets = targets
        self.price = scenario.provider_model().prices.plans[scenario.queue.plan].requests
        self.instance_usd_per_hour = instance_usd_per_hour(scenario)

    def figures(self, run: Result, setup: Setup, warm_up_s: float, *, within: bool = False) -> Figures:
        """The figures of one run; with ``within`` also intervals of the latency from this run alone."""
        measured = {**of_messages(run, warm_up_s), **of_deliveries(run, setup, warm_up_s)}
        lateness = lateness_of(run, warm_up_s)
        asked = [metric for metric in LATENCIES if self.targets.get(metric) is not None]
        values = {metric: quantile_s(lateness, LATENCIES[metric])[0] for metric in asked}
        load = Load(
            kind=setup.arrivals,
            rate_per_s=setup.rate_per_s,
            capacity_per_s=capacity_of(setup).per_s,
            workers=setup.workers,
            disturbed=setup.disturbed,
        )
        verdict = judge([run], load, warm_up_s=warm_up_s, confidence=0.95)
        due = run.messages["due_s"] >= warm_up_s
        count = int(np.count_nonzero(due))
        dead = int(np.count_nonzero(due & (run.messages["state"] == MESSAGE_DEAD_LETTERED)))
        calls = measured["handler_calls"]
        values.update(
            cost=self._month_usd(run, setup, warm_up_s),
            throughput=_throughput_per_s(verdict.keeps_up, setup, measured),
            duplicates=measured["amplification"] - 1.0,
            dead_letters=dead / count if count else math.nan,
            utilization=measured["utilization"],
        )
        values.update(self._dearer_to_read(run, setup, warm_up_s))
        return Figures(
            values=values,
            within={m: estimate_quantile([lateness], LATENCIES[m], 0.95) for m in asked} if within else {},
            verdict=verdict.kind,
            verdict_text=verdict.text,
            messages=count,
            lost=measured["lost_locks"] / calls if calls else 0.0,
        )

    def _dearer_to_read(self, run: Result, setup: Setup, warm_up_s: float) -> dict[str, float]:
        """What takes a look at every call or delivery, where a target asks for it."""
        readers: dict[str, Callable[[], float]] = {
            "error_rate": lambda: _failed_share(run, warm_up_s),
            "cpu": lambda: of_states(run, setup, warm_up_s)["client_core_utilization"],
            "api_call": lambda: _call_mean_s(run, warm_up_s),
            "batch_efficiency": lambda: batch_efficiency(ended_calls(run, warm_up_s), setup),
        }
        return {metric: read() for metric, read in readers.items() if self.targets.get(metric) is not None}

    def _month_usd(self, run: Result, setup: Setup, warm_up_s: float) -> float:
        """What a month costs at the load of this run: what a summary of the run says, without its detail."""
        count = billed_requests(run, self.price, setup.message_bytes, warm_up_s)
        monthly = count / (run.horizon_s - warm_up_s) * (HOURS_PER_MONTH * 3600.0)
        requests_usd = self.price.usd(monthly) if self.price else 0.0
        compute_usd = self.instance_usd_per_hour * instances_mean(run, warm_up_s) * HOURS_PER_MONTH
        return requests_usd + provider_usd_of(run.scenario) + compute_usd


def _throughput_per_s(keeps_up: bool, setup: Setup, measured: dict[str, float]) -> float:
    """What is completed: of a queue that keeps up, all that is planned to fall due but for what is lost.

    The planned rate stands for the one that chance gave this run, which no setting can change.
    """
    if not keeps_up or setup.rate_per_s is None:
        return measured["goodput_per_s"]
    return setup.rate_per_s * (1.0 - measured["error_rate"])


def _failed_share(run: Result, warm_up_s: float) -> float:
    ended = run.deliveries["outcome"][run.deliveries["finished_s"] >= warm_up_s]
    if not ended.size:
        return math.nan
    return int(np.count_nonzero((ended == DELIVERY_ABANDONED) | (ended == DELIVERY_FAILED))) / ended.size


def _call_mean_s(run: Result, warm_up_s: float) -> float:
    calls = ended_calls(run, warm_up_s)
    calls = calls[calls["op"] != OP_RECEIVE]
    return float((calls["end_s"] - calls["start_s"]).mean()) if calls.size else math.nan


def checks_of(
    targets: Targets, figures: Sequence[Figures], setup: Setup, confidence: float = 0.95
) -> tuple[Check, ...]:
    """Every target, judged by the runs that these figures are of."""
    return tuple(_check(target, figures, setup, confidence) for target in targets)


def _check(target: Target, figures: Sequence[Figures], setup: Setup, confidence: float) -> Check:
    metric, why = target.metric, target.not_evaluated
    if why is not None:
        return Check(
            target=target, status="not evaluated", estimate=missing(why), margin=math.nan, reason=why
        )
    kept = [figure.verdict in ("stable", "undecided") for figure in figures]
    if metric in LATENCIES and 2 * sum(kept) <= len(kept):
        text = next(f.verdict_text for f, good in zip(figures, kept, strict=True) if not good)
        return Check(
            target=target, status="missed", estimate=missing(text, "s"), margin=math.nan, reason=text
        )
    estimate, reason = _estimate(target, figures, setup, confidence)
    if not estimate.known:
        status: Status = "not evaluated" if metric in ("batch_efficiency", "api_call", "cpu") else "missed"
        return Check(target=target, status=status, estimate=estimate, margin=math.nan, reason=estimate.reason)
    error = setup.margins.get(metric, 0.0)
    if metric == "throughput":
        estimate = throughput(estimate, capacity_of(setup).per_s, error, 2 * sum(kept) > len(kept))
    status = _status(target, estimate, error if metric in LATENCIES else 0.0)
    if status == "open" and metric in _SHARES and estimate.value == 0.0:
        count = sum(figure.messages for figure in figures)
        status, reason = "met", f"none in {count:,} messages, which shows a share below {estimate.high:.2g}"
    if metric in LATENCIES:
        estimate = widened(estimate, error)
    return Check(
        target=target, status=status, estimate=estimate, margin=_margin(target, estimate.value), reason=reason
    )


def _estimate(
    target: Target, figures: Sequence[Figures], setup: Setup, confidence: float
) -> tuple[Estimate, str]:
    metric = target.metric
    values = [figure.values[metric] for figure in figures]
    if len(figures) == 1 and metric in figures[0].within:
        return figures[0].within[metric], ""
    unit = {"s": "s", "per_s": "1/s", "usd_per_month": "USD"}.get(target.unit, "1")
    estimate = across_replications(
        values,
        possible=SHARE if metric in _PARTS else AT_LEAST_0,
        unit=unit,
        confidence=confidence,
        reason=_REASONS.get(metric, "no value"),
    )
    reason = ""
    if metric in _SHARES and estimate.known and not any(values):
        # Nothing seen in n messages: at this confidence the share is below the solution of (1 - x)^n = 1 - c.
        count = max(sum(figure.messages for figure in figures), 1)
        high = 1.0 - (1.0 - confidence) ** (1.0 / count)
        method = f"no occurrence in {count} messages"
        estimate = Estimate(value=0.0, low=0.0, high=high, method=method, replications=len(figures))
    if metric == "batch_efficiency" and setup.behaviour.batch == 1:
        reason = "a receive of one message is always full"
    return estimate, reason


def _status(target: Target, estimate: Estimate, error: float) -> Status:
    """By the interval; with none (a single run), only what is clear by a tenth of the bound is decided.

    error: of the model, for which the interval must leave room too.
    """
    low, high = estimate.low, estimate.high
    if math.isnan(low) and math.isnan(high):
        slack = _CLEARLY * abs(target.bound)
        low, high = estimate.value - slack, estimate.value + slack
    low, high = possible(low, high, error)
    good, bad = (high, low) if target.sense == "at most" else (low, high)
    if target.is_met(good):
        return "met"
    return "missed" if target.is_met(bad) is False else "open"


def _margin(target: Target, value: float) -> float:
    if target.bound == 0.0 or math.isinf(target.bound):
        return math.nan
    room = target.bound - value if target.sense == "at most" else value - target.bound
    return room / target.bound


def guard_text(figures: Sequence[Figures]) -> str:
    """What forbids a setting although its targets may be met, such as lost locks; "" if nothing."""
    fallen = next((figure for figure in figures if figure.verdict == "collapsed"), None)
    if fallen is not None:
        return fallen.verdict_text
    lost = sum(figure.lost for figure in figures) / len(figures)
    if lost > LOST_LOCKS_MOST:
        return f"{100.0 * lost:.2g} % of the locks run out before the message is settled"
    late = [figure for figure in figures if figure.verdict == "unstable"]
    return late[0].verdict_text if 2 * len(late) > len(figures) else ""


def overall(checks: Sequence[Check], guard: str, figures: Sequence[Figures]) -> Status:
    """One status for all targets: missed if any is, met if all are that could be evaluated.

    It stays open while most runs leave it undecided whether the queue keeps up.
    """
    statuses = {check.status for check in checks}
    if guard or "missed" in statuses:
        return "missed"
    undecided = 2 * sum(figure.verdict != "stable" for figure in figures) > len(figures)
    return "open" if "open" in statuses or undecided else "met"


def worst_excess(checks: Sequence[Check]) -> float:
    """By how much the most broken target is broken, as a share of its bound; infinite without a value."""
    found = [
        -check.margin if check.estimate.known else math.inf
        for check in checks
        if check.status != "not evaluated"
    ]
    return max((excess for excess in found if not math.isnan(excess)), default=0.0)
