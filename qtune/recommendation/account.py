"""The account of a search: what was tried in vain, what the answer rests on, and what to say without one."""

from __future__ import annotations

from typing import Final

from qtune.analysis.intervals import missing
from qtune.errors import Infeasible
from qtune.recommendation.confirm import Confirmation
from qtune.recommendation.objectives import LOST_LOCKS_MOST
from qtune.recommendation.recommendation import Candidate
from qtune.recommendation.styles import Style
from qtune.recommendation.trials import Laboratory, Trial
from qtune.units import format_count

_MOST_FAILED: Final = 60
_ORDER: Final = {"does not come back": 0, "failed": 1, "open": 2, "misses": 2}


def failures(laboratory: Laboratory, possible: dict[Style, int]) -> tuple[Candidate, ...]:
    """What is no answer, and why: of each style the nearest miss, every failed probe, and what bounds forbid."""
    screen, space = laboratory.screen, laboratory.screen.space
    nearest: dict[object, Trial] = {}
    for trial in laboratory.trials.values():
        if trial.fate not in _ORDER:
            continue
        key: object = (trial.style, trial.fate) if _ORDER[trial.fate] == 2 else trial
        if key not in nearest or trial.excess < nearest[key].excess:
            nearest[key] = trial
    ordered = sorted(nearest.values(), key=lambda trial: (_ORDER[trial.fate], trial.excess, trial.usd))
    found = [trial.candidate(space.settings(trial.scenario)) for trial in ordered]
    found += [
        _impossible(laboratory, style, screen.forbidden(style, max(screen.most_instances(style), 1)))
        for style in space.styles
        if style not in possible
    ]
    return tuple(found[:_MOST_FAILED])


def _impossible(laboratory: Laboratory, style: Style, reason: str) -> Candidate:
    screen, space = laboratory.screen, laboratory.screen.space
    workers = screen.most_workers(style) or style.step
    scenario = laboratory.question.scenario
    if screen.most_workers(style):
        scenario = style.scenario(scenario, screen.most_instances(style), workers)
    return Candidate(
        scenario=scenario,
        settings=space.settings(scenario),
        month_usd=missing("it was not simulated", "USD"),
        checks=(),
        fate="impossible",
        reason=reason,
        runs=0,
    )


def nothing_found(laboratory: Laboratory, budget_spent: bool) -> Exception:
    """The error for a search without an answer: the first failure if nothing ran at all, else Infeasible."""
    trials = list(laboratory.trials.values())
    ran = [trial for trial in trials if trial.figures]
    if not ran and laboratory.errors:
        return laboratory.errors[0]
    space = laboratory.screen.space
    nearest = sorted(ran, key=lambda trial: (trial.fate != "does not come back", trial.excess, trial.usd))[:5]
    data: dict[str, object] = {
        "targets": [str(target) for target in laboratory.question.targets],
        "candidates": len(trials),
        "runs": laboratory.runs,
        "budget_spent": budget_spent,
        "nearest": [trial.candidate(space.settings(trial.scenario)).to_dict() for trial in nearest],
    }
    text = f"infeasible: none of the {len(trials)} settings that were simulated meets every target"
    if budget_spent:
        text += ", and the budget ended the search before all were: a larger one may find an answer"
    for trial in nearest[:3]:
        settings = ", ".join(f"{path}={value}" for path, value in space.settings(trial.scenario).items())
        text += f"\n  {settings}: {trial.reason}"
    return Infeasible(text, data)


def assumptions_of(laboratory: Laboratory, found: Confirmation) -> tuple[str, ...]:
    """What the answer rests on, a sentence each."""
    scenario, space = found.scenario, laboratory.screen.space
    model, priors = scenario.provider_model(), scenario.priors()
    lines = [f"call times and client costs are those of the model {model.name} {model.version}"]
    if priors and model.calibration is None:
        lines.append(
            f"nobody has measured these of its parameters, so calibrate: {', '.join(sorted(priors))}"
        )
    lines.append(
        f"handlers wait rather than compute: up to {format_count(space.workers[1], 'worker')} fit into an instance of "
        f"{format_count(scenario.consumers.cores, 'core')}, whose time only the client's own work takes"
    )
    lines.append("handlers are as fast with many workers as with few: what they call is not a bottleneck")
    lines.append(
        f"a setting that loses more than {100.0 * LOST_LOCKS_MOST:g} % of its locks, or does not come back from a "
        "pause of two lock periods, is no answer, whatever its latency"
    )
    if scenario.arrivals.kind == "trace":
        lines.append(
            "the future is like the trace: intervals are over everything but the arrivals, which are given"
        )
    return (*lines, *found.summary.cost.assumptions)
