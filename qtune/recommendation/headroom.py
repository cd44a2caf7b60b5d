"""Headroom: how much more load a setting takes, under the same messages at every load."""

from __future__ import annotations

import math
from typing import Final

from qtune.analysis import setup_of
from qtune.arrivals import BurstAtOnce, ClosedLoop
from qtune.errors import InputError
from qtune.recommendation.budget import BudgetSpentError
from qtune.recommendation.objectives import Figures, checks_of, guard_text
from qtune.recommendation.recommendation import Headroom
from qtune.recommendation.trials import HEADROOM_SEEDS, Laboratory, Trial
from qtune.result import Result
from qtune.scenario import Scenario

_RUNS: Final = 3
_MOST_FACTOR: Final = 16.0
_FIRST_STEP: Final = 1.1
_FINE: Final = 1.02


def headroom(laboratory: Laboratory, trial: Trial) -> Headroom:
    """Double the extra load until a target breaks, then halve the bracket until it is within 2 %.

    A target breaks when its mean over three runs is on the wrong side of its bound, or the queue does not keep
    up. Each load has the same seeds. The answer is a bracket: met at ``factor``, broken at ``breaks_at``.
    """
    first = laboratory.seed + HEADROOM_SEEDS
    seeds = tuple(range(first, first + _RUNS))
    low, high, why = 1.0, math.inf, ""
    factor = _FIRST_STEP
    try:
        while math.isinf(high) and factor <= _MOST_FACTOR:
            factor = whole(trial.scenario, factor)
            broken = _breaks(laboratory, trial, factor, seeds)
            if broken:
                high, why = factor, broken
            else:
                low, factor = factor, 1.0 + 2.0 * (factor - 1.0)
        while math.isfinite(high) and high > _FINE * low:
            middle = whole(trial.scenario, 0.5 * (low + high))
            if not low < middle < high:
                break
            broken = _breaks(laboratory, trial, middle, seeds)
            if broken:
                high, why = middle, broken
            else:
                low = middle
    except BudgetSpentError:
        why = why or "the budget was spent"
    if math.isinf(high):
        why = why or f"nothing broke up to {low:.3g} times the load"
    return Headroom(factor=low, breaks_at=high, breaks=why, seeds=seeds)


def whole(scenario: Scenario, factor: float) -> float:
    """The factor itself, or for a number of customers or messages the next larger one that leaves it whole."""
    arrivals = scenario.arrivals
    if isinstance(arrivals, ClosedLoop):
        return math.ceil(factor * arrivals.customers - 1e-9) / arrivals.customers
    if isinstance(arrivals, BurstAtOnce):
        return math.ceil(factor * arrivals.messages - 1e-9) / arrivals.messages
    return factor


def _breaks(laboratory: Laboratory, trial: Trial, factor: float, seeds: tuple[int, ...]) -> str:
    """What breaks at so many times the load; "" when every target is met on average."""
    question = laboratory.question
    laboratory.tell("headroom")
    try:
        scenario = trial.scenario.scaled_load(factor)
    except InputError as error:
        return f"this load cannot be simulated: {error.problems[0].message}"
    if question.steady and scenario.warm_up_s == "auto":
        # As many messages at every load: a higher one needs less time for the same precision.
        scenario = scenario.with_(horizon_s=scenario.horizon_s / factor)
    setup = setup_of(scenario)
    warm_up_s = question.warm_up_s if question.warm_up_s < scenario.horizon_s else 0.0

    def figures(run: Result) -> Figures:
        return laboratory.meter.figures(run, setup, warm_up_s)

    found = list(laboratory.read(scenario, seeds, figures))
    guard = guard_text(found)
    if guard:
        return guard
    for check in checks_of(question.targets, found, setup):
        value = check.estimate
        if check.status != "not evaluated" and (not value.known or not check.target.is_met(value.value)):
            return (
                f"{check.target}: {check.target.shown(value.value)}"
                if value.known
                else f"{check.target}: {value.reason}"
            )
    return ""
