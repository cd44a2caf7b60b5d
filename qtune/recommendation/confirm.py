"""Confirmation: the chosen candidate under fresh seeds, so that being chosen by luck does not colour its figures.

The search looks at many candidates and prefers those that look well, partly by luck. So what is reported, and what
the answer is accepted by, comes from runs that no choice has seen. All targets must be met, so each may be tested
at the full level. Several looks and several attempts share the error: at most 5 % of the answers miss a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from qtune.analysis import Summary, summarize
from qtune.analysis.model_error import with_model_error
from qtune.recommendation.objectives import checks_of, guard_text, overall
from qtune.recommendation.recommendation import Check
from qtune.recommendation.trials import CONFIRMING_SEEDS, Laboratory, Trial, why_not
from qtune.result import Result
from qtune.scenario import Scenario

LOOKS: Final = (5, 10, 20)
_ERROR: Final = 0.05
_WIDTH: Final = 0.05
_MOST_KEPT: Final = 4_000_000
_SEEDS_APART: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What fresh runs say of a candidate.

    reason: why it is refused, or "". level: at which it was tested. width: half of the interval of the p95 by chance
    alone, as a share. hopeless: a mean is on the wrong side of its bound, so that more runs are not worth while.
    """

    scenario: Scenario
    summary: Summary
    checks: tuple[Check, ...]
    seeds: tuple[int, ...]
    level: float
    reason: str
    width: float
    hopeless: bool


def confirm(laboratory: Laboratory, trial: Trial, attempt: int) -> Confirmation:
    """Judge a candidate by runs of its own: 5, then 10, then 20, until it is decided and its latency narrow.

    attempt: 1 for the first candidate, which may err in 2.5 % of the cases; each further one may in half of what
    is left. Within an attempt the looks share that evenly. The interval that is reported is an ordinary one of
    95 %.
    """
    level = 1.0 - 2.0 * _ERROR * 0.5**attempt / len(LOOKS)
    first = laboratory.seed + CONFIRMING_SEEDS + _SEEDS_APART * (attempt - 1)
    scenario = trial.scenario.with_(seed=first)
    runs: list[Result] = []
    for look in LOOKS:
        laboratory.tell("confirm")
        runs += laboratory.simulate(scenario, range(first + len(runs), first + look), limited=False)
        found = _judged(laboratory, trial, scenario, runs, level)
        more = look * 2 <= LOOKS[-1] and 2 * sum(len(run.messages) for run in runs) <= _MOST_KEPT
        if not more or found.hopeless or (not found.reason and found.width <= _WIDTH):
            break
    return found


def _judged(
    laboratory: Laboratory, trial: Trial, scenario: Scenario, runs: Sequence[Result], level: float
) -> Confirmation:
    summary = with_model_error(summarize(runs))
    targets, setup = laboratory.question.targets, trial.setup
    figures = [laboratory.meter.figures(run, setup, summary.warm_up.cut_s) for run in runs]
    strict, guard = checks_of(targets, figures, setup, level), guard_text(figures)
    status = overall(strict, guard, figures)
    reason = ""
    if status == "missed":
        reason = guard or why_not(strict)
    elif status == "open" or not summary.verdict.keeps_up:
        reason = why_not(strict) or summary.verdict.text
    by_chance = checks_of(targets, figures, replace(setup, margins={}), level)
    widths = [
        check.estimate.relative_half_width
        for check in by_chance
        if check.target.metric == "p95" and check.estimate.known
    ]
    return Confirmation(
        scenario=scenario,
        summary=summary,
        checks=checks_of(targets, figures, setup),
        seeds=tuple(run.seed for run in runs),
        level=level,
        reason=reason,
        width=max(widths, default=0.0),
        hopeless=(bool(reason) and any(check.margin < 0.0 for check in strict)) or status == "missed",
    )
