"""The summary of one or more runs: the verdict, the latency with its parts, and what it cost and wasted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from qtune.analysis.capacity import capacity_of
from qtune.analysis.cost import Cost, cost_of
from qtune.analysis.intervals import (
    AT_LEAST_0,
    SHARE,
    Estimate,
    Floats,
    across_replications,
    check_confidence,
    missing,
)
from qtune.analysis.measures import REASONS, SHARES, UNITS, measures_of
from qtune.analysis.quantiles import Lateness, estimate_quantile
from qtune.analysis.setup import STEADY, Setup, setup_of
from qtune.analysis.stability import Load, Verdict, judge
from qtune.analysis.stages import Stage, stages_of
from qtune.analysis.warmup import WarmUp, find_warm_up
from qtune.errors import InputError, Problem, did_you_mean
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

PERCENTS: Final = (50, 95, 99)


@dataclass(frozen=True, kw_only=True)
class Summary(Shown):
    """What replications of one scenario say, each number with its interval.

    verdict: whether the queue keeps up; read it first. Without a steady state a percentile depends on how
    long one looks, so the latency of an unstable or collapsed queue has no value.
    warm_up: what was left out at the start. stages: where the time went. cost: what a month costs.
    numbers: every number by name, an :class:`Estimate` each, which is an attribute of the summary too:

    latency_s_p50, latency_s_p95, latency_s_p99: due to the end of the handler that completed the message.
    Messages
        that are not completed count as slower than any.
    arrivals_per_s, goodput_per_s, throughput_per_s: messages due, messages completed, handlers ended.
    capacity_per_s: the ceiling from theory. offered_load: erlangs by the plan. utilization: measured share
    of worker
        time in handlers. client_core_utilization: the same of the client's cores, for its own and its handlers' work.
    downstream_utilization: the same of a downstream's connections. refusals: attempts per run that it refused.
    breaker_openings, breaker_rejections: how often the circuit breakers of all instances opened in a run, and how many
        attempts they let fail at once.
    amplification: deliveries per message delivered. duplicates: share of messages handled with success
    twice or more. lost_locks, handler_calls, wasted_handler_calls (the lock was lost before they were settled),
    dead_letters, expired, rejected:
        counts per run after the warm-up; dead_letters_deleted: the same of dead letters whose own retention ended.
        error_rate: share of messages dead-lettered, expired or rejected.
    backlog_mean, backlog_most: messages in the broker that no one holds.
    send_s_p50 ... renew_s_p95: call times by operation; a receive includes its wait for a message.
    empty_receives_per_s; batch_efficiency: messages per receive that brought any, over the most allowed;
    calls_per_message: all calls but sends, refused ones too. refused_calls_per_s: attempts that did nothing.

    note: what was said about the number of replications, or "".
    """

    scenario: Scenario
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    horizon_s: float
    confidence: float
    verdict: Verdict
    warm_up: WarmUp
    numbers: Mapping[str, Estimate]
    stages: tuple[Stage, ...]
    cost: Cost
    note: str = ""

    def __getattr__(self, name: str) -> Estimate:
        if name.startswith("_") or name == "numbers":  # while a copy is made there are no numbers yet
            raise AttributeError(name)
        try:
            return self.numbers[name]
        except KeyError:
            hint = did_you_mean(name, self.numbers)
            raise AttributeError(f"a summary has no number {name!r}; see Summary.numbers.{hint}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.numbers]

    @property
    def replications(self) -> int:
        """How many runs were summarized."""
        return len(self.seeds)

    def stage(self, name: str) -> Stage:
        """One stage of the latency: send, queue, buffer, service, or settle, which comes after it."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = [stage.name for stage in self.stages]
        message = f"the stages are {', '.join(known)}.{did_you_mean(name, known)}"
        raise InputError(Problem(where="stage", value=name, message=message))

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON has it: null for what has no value, with the reason beside it."""
        return {
            "scenario": self.scenario.name,
            "sources": list(self.sources),
            "seeds": list(self.seeds),
            "replications": self.replications,
            "horizon_s": self.horizon_s,
            "confidence": self.confidence,
            "verdict": self.verdict.to_dict(),
            "warm_up": self.warm_up.to_dict(),
            "numbers": {name: estimate.to_dict() for name, estimate in self.numbers.items()},
            "stages": [stage.to_dict() for stage in self.stages],
            "cost": self.cost.to_dict(),
            "note": self.note,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a number, in long form: name, value, low, high, unit, method, replications, reason."""
        import pandas as pd

        rows = [{"name": name, **_fields(estimate)} for name, estimate in self.estimates().items()]
        return pd.DataFrame(rows)

    def estimates(self) -> dict[str, Estimate]:
        """All estimates by name, with those of the stages and of the cost."""
        found = dict(self.numbers)
        for stage in self.stages:
            found[f"stage_{stage.name}_s_mean"] = stage.mean_s
            found[f"stage_{stage.name}_s_p95"] = stage.p95_s
            found[f"stage_{stage.name}_s_slowest_mean"] = stage.slowest_mean_s
        found["requests_per_month"] = self.cost.requests_per_month
        found["requests_usd"] = self.cost.requests_usd
        found["capacity_usd"] = Estimate(value=self.cost.capacity_usd, unit="USD")
        found["compute_usd"] = Estimate(value=self.cost.compute_usd, unit="USD")
        found["month_usd"] = self.cost.month_usd
        found["million_messages_usd"] = self.cost.million_messages_usd
        return found


def _fields(estimate: Estimate) -> dict[str, object]:
    names = ("value", "low", "high", "unit", "method", "replications", "reason")
    return {name: getattr(estimate, name) for name in names}


def summarize(
    results: Result | Sequence[Result],
    *,
    warm_up: float | Literal["auto"] = "auto",
    confidence: float = 0.95,
) -> Summary:
    """The summary of a run, or of replications of one scenario with different seeds.

    warm_up: seconds to leave out at the start, or "auto": what the scenario says, else MSER-5 for a steady
    load; of a load that has a course of its own (a trace, a backlog, steps, faults) nothing is left out.
    confidence: of the intervals. With one run there are intervals for the latency only.
    InputError for no result, for results of different scenarios or horizons, for one seed simulated twice,
    and for a warm-up or confidence out of range.
    """
    runs = [results] if isinstance(results, Result) else list(results)
    check_confidence(confidence)
    _check_replications(runs)
    scenario = runs[0].scenario
    setup = setup_of(scenario)
    cut = _warm_up(runs, setup, warm_up)
    capacity = capacity_of(setup)
    load = Load(
        kind=setup.arrivals,
        rate_per_s=setup.rate_per_s,
        capacity_per_s=capacity.per_s,
        workers=setup.workers,
        disturbed=setup.disturbed,
    )
    verdict = judge(runs, load, warm_up_s=cut.cut_s, confidence=confidence)
    return Summary(
        scenario=scenario,
        sources=tuple(dict.fromkeys(run.source for run in runs)),
        seeds=tuple(run.seed for run in runs),
        horizon_s=runs[0].horizon_s,
        confidence=confidence,
        verdict=verdict,
        warm_up=cut,
        numbers={
            **_latency(runs, verdict, cut.cut_s, confidence),
            "capacity_per_s": Estimate(value=capacity.per_s, unit="1/s"),
            "offered_load": _offered_load(setup),
            **_measures(runs, setup, cut.cut_s, confidence),
        },
        stages=stages_of(runs, warm_up_s=cut.cut_s, confidence=confidence),
        cost=cost_of(runs, warm_up_s=cut.cut_s, confidence=confidence),
    )


def _check_replications(runs: Sequence[Result]) -> None:
    problems = []
    if not runs:
        problem = Problem(where="results", value="[]", message="there is nothing to summarize: give a Result")
        raise InputError(problem)
    first = runs[0]
    for number, run in enumerate(runs):
        where = f"results[{number}]"
        same = run.scenario is first.scenario
        if not same and run.scenario.model_copy(update={"seed": first.scenario.seed}) != first.scenario:
            message = "replications are runs of one scenario; compare() takes two scenarios"
            problems.append(Problem(where=where, value=run.scenario.name, message=message))
        elif run.horizon_s != first.horizon_s:
            message = f"replications have one horizon, here {first.horizon_s:g} s"
            problems.append(Problem(where=where, value=f"{run.horizon_s:g} s", message=message))
    simulated = [run.seed for run in runs if run.source.startswith("simulated")]
    for seed in sorted({seed for seed in simulated if simulated.count(seed) > 1}):
        message = "the same seed gives the same rows, which are no new evidence: give each run its own seed"
        problems.append(Problem(where="results", value=f"seed {seed}", message=message))
    if problems:
        raise InputError(problems)


def _warm_up(runs: Sequence[Result], setup: Setup, asked: float | Literal["auto"]) -> WarmUp:
    given, horizon_s = runs[0].scenario.warm_up_s if asked == "auto" else asked, runs[0].horizon_s
    if given != "auto":
        if not 0.0 <= given < horizon_s:
            message = f"a warm-up is at least 0 s and ends before the horizon of {horizon_s:g} s"
            raise InputError(Problem(where="warm_up", value=repr(given), message=message))
        whose = "the scenario's own" if asked == "auto" else "given"
        return WarmUp(cut_s=float(given), method="given", found=True, reason=f"{whose} warm-up")
    if setup.arrivals not in STEADY or setup.disturbed:
        why = "the load has a course of its own, which belongs to the answer: nothing was cut"
        return WarmUp(cut_s=0.0, method="none", found=True, reason=why)
    return find_warm_up([_due_and_lateness(run) for run in runs])


def _due_and_lateness(run: Result) -> tuple[Floats, Floats]:
    """Due times and latencies; of a message that is not completed, the age at the end."""
    due_s, completed_s = run.messages["due_s"], run.messages["completed_s"]
    return due_s, np.where(np.isnan(completed_s), run.horizon_s, completed_s) - due_s


def _latency(
    runs: Sequence[Result], verdict: Verdict, warm_up_s: float, confidence: float
) -> dict[str, Estimate]:
    names = {percent: f"latency_s_p{percent}" for percent in PERCENTS}
    if verdict.kind in ("unstable", "collapsed"):
        return {name: missing(verdict.text, "s", len(runs)) for name in names.values()}
    lateness = [lateness_of(run, warm_up_s) for run in runs]
    return {name: estimate_quantile(lateness, p / 100.0, confidence) for p, name in names.items()}


def lateness_of(run: Result, warm_up_s: float) -> Lateness:
    """The messages of one run that fell due from ``warm_up_s`` on, with their latencies."""
    first = int(np.searchsorted(run.messages["due_s"], warm_up_s))
    due_s = run.messages["due_s"][first:]
    latency_s = run.messages["completed_s"][first:] - due_s
    latency_s[np.isnan(latency_s)] = np.inf
    return Lateness(due_s=due_s, latency_s=latency_s, horizon_s=run.horizon_s)


def _offered_load(setup: Setup) -> Estimate:
    if setup.offered_load is None:
        return missing("the load of a closed loop is an outcome: see utilization")
    return Estimate(value=setup.offered_load)


def _measures(
    runs: Sequence[Result], setup: Setup, warm_up_s: float, confidence: float
) -> dict[str, Estimate]:
    found = [measures_of(run, setup, warm_up_s) for run in runs]
    return {
        name: across_replications(
            [values[name] for values in found],
            possible=SHARE if name in SHARES else AT_LEAST_0,
            unit=unit,
            confidence=confidence,
            reason=REASONS.get(name, ""),
        )
        for name, unit in UNITS.items()
    }
