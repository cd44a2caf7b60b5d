"""Candidates under simulation: replications under common seeds, as many as a decision needs.

Every candidate sees the same messages (the same seeds), so that two of them differ by their settings and not by
luck. A candidate is dropped or accepted as soon as each target's interval lies on one side of its bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from qtune.analysis import Estimate, Setup
from qtune.analysis.intervals import AT_LEAST_0, across_replications, missing
from qtune.recommendation.budget import Budget, BudgetSpentError, Progress
from qtune.recommendation.objectives import (
    Figures,
    Meter,
    checks_of,
    guard_text,
    overall,
    worst_excess,
)
from qtune.recommendation.question import Question
from qtune.recommendation.recommendation import Candidate, Check, Fate, Status
from qtune.recommendation.screen import Screen
from qtune.recommendation.styles import Style
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.simulation import read_each

LOOKS: Final = (1, 3, 5, 8)
"""After so many replications a candidate is judged; one that is open after the last is no answer."""

T = TypeVar("T")

PROBE_SEEDS: Final = 1_000_000
HEADROOM_SEEDS: Final = 2_000_000
CONFIRMING_SEEDS: Final = 3_000_000
"""How far the seeds of each purpose lie above the first one, so that none is used for two."""


@dataclass(kw_only=True, eq=False)
class Trial:
    """One candidate, with what its runs have said so far."""

    style: Style
    instances: int
    workers: int
    scenario: Scenario
    setup: Setup
    figures: list[Figures] = field(default_factory=list)
    checks: tuple[Check, ...] = ()
    status: Status = "open"
    fate: Fate = "open"
    reason: str = ""

    @property
    def usd(self) -> float:
        """What a month costs, as far as is known; infinite when it was not simulated."""
        values = [figures.values["cost"] for figures in self.figures]
        return sum(values) / len(values) if values else math.inf

    @property
    def excess(self) -> float:
        """By how much it misses, to sort by."""
        return worst_excess(self.checks) if self.figures else math.inf

    @property
    def passed(self) -> bool:
        """Whether the runs of the search say that it meets everything."""
        return self.fate == "meets"

    def candidate(self, settings: dict[str, object]) -> Candidate:
        """The trial as it stands in an answer."""
        costs = [figures.values["cost"] for figures in self.figures]
        nothing: Estimate = missing("it was not simulated", "USD")
        return Candidate(
            scenario=self.scenario,
            settings=settings,
            month_usd=across_replications(costs, possible=AT_LEAST_0, unit="USD") if costs else nothing,
            checks=self.checks,
            fate=self.fate,
            reason=self.reason,
            runs=len(self.figures),
        )


class Laboratory:
    """Where candidates are simulated: it keeps the seeds, the budget and the count of everything."""

    def __init__(
        self,
        question: Question,
        screen: Screen,
        *,
        seed: int,
        budget: Budget,
        threads: int | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.question, self.screen, self.seed, self.budget = question, screen, seed, budget
        self.meter = Meter(question.scenario, question.targets)
        self.runs = self.messages = 0
        self.trials: dict[tuple[Style, int, int], Trial] = {}
        self.best_month_usd: float | None = None
        self.errors: list[Exception] = []
        self._threads, self._on_progress = threads, on_progress

    def tell(self, stage: str) -> None:
        """Report where the search is."""
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    stage=stage,
                    candidates=len(self.trials),
                    runs=self.runs,
                    messages=self.messages,
                    best_month_usd=self.best_month_usd,
                )
            )

    def simulate(self, scenario: Scenario, seeds: Sequence[int], *, limited: bool = True) -> Iterator[Result]:
        """Runs of a scenario, counted; BudgetSpentError when there is no room for them and they are limited."""
        return self.read(scenario, seeds, lambda run: run, limited=limited)

    def read(
        self, scenario: Scenario, seeds: Sequence[int], read: Callable[[Result], T], *, limited: bool = True
    ) -> Iterator[T]:
        """What ``read`` makes of each run of a scenario, in the thread that made it; else as ``simulate``."""
        if limited and self.messages >= self.budget.most_messages:
            raise BudgetSpentError

        def counted(run: Result) -> tuple[int, T]:
            return len(run.messages), read(run)

        for messages, made in read_each(scenario, seeds, counted, threads=self._threads):
            self.runs += 1
            self.messages += messages
            yield made

    def trial(self, style: Style, instances: int, workers: int, *, once: bool = False) -> Trial:
        """The candidate of these settings, judged; what was judged before is remembered. once: by one run only."""
        key = style, instances, workers
        if key not in self.trials:
            if len(self.trials) >= self.budget.most_candidates:
                raise BudgetSpentError
            scenario = style.scenario(self.question.scenario, instances, workers)
            made = Trial(
                style=style,
                instances=instances,
                workers=workers,
                scenario=scenario,
                setup=self.screen.setup(scenario),
            )
            self.trials[key] = made
            self.tell("search")
        found = self.trials[key]
        self._judge(found, LOOKS[:1] if once else LOOKS)
        return found

    def deepen(self, trial: Trial, runs: int) -> None:
        """Judge a candidate by at least so many runs, when others that looked as well have disappointed."""
        if len(trial.figures) < runs:
            seeds = range(self.seed + len(trial.figures), self.seed + runs)
            trial.figures += self._figures(trial, seeds)
            self.look(trial)

    def _judge(self, trial: Trial, looks: Sequence[int]) -> None:
        """Run a candidate until its targets are decided, or for as long as is looked."""
        if trial.fate == "dearer":
            self.look(trial)
        for look in looks:
            if trial.status != "open" or len(trial.figures) >= look:
                continue
            seeds = range(self.seed + len(trial.figures), self.seed + look)
            try:
                trial.figures += self._figures(trial, seeds)
            except BudgetSpentError:
                raise
            except Exception as error:  # whatever stopped a run, the run is no evidence and no answer
                self.errors.append(error)
                trial.status, trial.fate, trial.figures = "missed", "failed", []
                trial.reason = f"{type(error).__name__}: {error}"
                return
            self.look(trial)
            if len(trial.figures) == 1 and not self._one_run_tells:
                trial.status = "open"

    @property
    def _one_run_tells(self) -> bool:
        """Whether one run shows how runs differ: not if they do by what a burst or a fault happened to meet."""
        scenario = self.question.scenario
        return scenario.arrivals.kind != "bursts" and not scenario.faults and scenario.scaling is None

    def _figures(self, trial: Trial, seeds: Sequence[int]) -> list[Figures]:
        """The figures of runs; the very first one also tells how sure it is by itself."""

        def figures(run: Result) -> Figures:
            within = run.seed == self.seed
            return self.meter.figures(run, trial.setup, self.question.warm_up_s, within=within)

        return list(self.read(trial.scenario, seeds, figures))

    def look(self, trial: Trial) -> None:
        """Judge a candidate by the runs it has."""
        trial.checks = checks_of(self.question.targets, trial.figures, trial.setup)
        guard = guard_text(trial.figures)
        trial.status = overall(trial.checks, guard, trial.figures)
        fates: dict[Status, Fate] = {"met": "meets", "missed": "misses", "open": "open"}
        trial.fate = fates[trial.status]
        trial.reason = guard or why_not(trial.checks)


def why_not(checks: Sequence[Check]) -> str:
    """Which targets are not met, in words; "" when all are."""
    parts = []
    for check in checks:
        if check.status in ("missed", "open"):
            word = "is missed" if check.status == "missed" else "is too close to call"
            parts.append(f"{check.target} {word}: {_found_text(check)}")
    return "; ".join(parts)


def _found_text(check: Check) -> str:
    """The value of a check with its interval, in the unit of its target; why there is none."""
    found, shown = check.estimate, check.target.shown
    if not found.known:
        return check.reason
    if math.isnan(found.low) and math.isnan(found.high):
        return f"{shown(found.value)} by one run"
    if math.isnan(found.high):
        return f"{shown(found.value)} ({shown(found.low)} or more)"
    return f"{shown(found.value)} ({shown(found.low)} to {shown(found.high)})"
