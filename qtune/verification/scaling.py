"""Assertions 13 to 16: more consumers help, too much load does no harm beyond itself, and a pause is overcome."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from qtune.analysis import Estimate
from qtune.errors import InputError
from qtune.recommendation.budget import Budget
from qtune.recommendation.objectives import LATENCIES
from qtune.recommendation.probe import probe
from qtune.recommendation.question import pose
from qtune.recommendation.screen import Screen
from qtune.recommendation.space import space_of
from qtune.recommendation.trials import Laboratory, Trial
from qtune.result import Result
from qtune.targets import Targets
from qtune.units import format_duration, format_fraction, format_rate
from qtune.verification.assertion import Assertion, judged, not_applicable
from qtune.verification.bench import ANY_LOAD, MOST_MESSAGES, Bench, estimate, ratio

OVERLOAD: Final = 1.5
GRACEFUL: Final = 0.8
"""Under one and a half times the load that they can do, consumers still complete so much of what they can."""

_LOCKS: Final = 4.0
_MESSAGES: Final = 2_000


def more_consumers(bench: Bench) -> Assertion:
    """Twice the consumers complete more of the same backlog a second."""
    try:
        scenario = bench.scaled(2)
    except InputError as error:
        return not_applicable(13, f"the provider's limits leave no room: {error.problems[0].message}")
    before, after = bench.throughput_per_s(bench.scenario), bench.throughput_per_s(scenario)
    found = ratio(after, before)
    reason = "before the same backlog, twice the consumers must complete more a second"
    evidence = {
        "throughput": estimate(before, "1/s"),
        "with_twice": estimate(after, "1/s"),
        "quotient": found,
    }
    return judged(13, found.low > 1.0, reason, **evidence)


def shorter_queue(bench: Bench) -> Assertion:
    """When half of a backlog is gone, twice the consumers have left less of it at the same instant."""
    try:
        scenario = bench.scaled(2)
    except InputError as error:
        return not_applicable(14, f"the provider's limits leave no room: {error.problems[0].message}")
    halves_s = [_half_gone_s(run) for run in bench.drain(bench.scenario)]
    before, after = (
        [_left(run, at_s) for run, at_s in zip(bench.drain(tried), halves_s, strict=True)]
        for tried in (bench.scenario, scenario)
    )
    found = ratio(after, before)
    reason = "when half of a backlog is gone, twice the consumers must have left less of it by that instant"
    evidence = {"open": estimate(before), "with_twice": estimate(after), "quotient": found}
    return judged(14, found.high < 1.0, reason, **evidence)


def _half_gone_s(run: Result) -> float:
    return float(np.sort(run.messages["left_s"])[run.messages.size // 2])


def _left(run: Result, at_s: float) -> float:
    return float(np.count_nonzero(~(run.messages["left_s"] <= at_s))) if not math.isnan(at_s) else math.nan


def degradation(bench: Bench) -> Assertion:
    """Under more load than they can do, consumers complete nearly what they can: work is not thrown away."""
    can = estimate(bench.throughput_per_s(bench.scenario), "1/s")
    if not can.known:
        return judged(15, False, f"what the consumers can do is not known: {can.reason}", throughput=can)
    rate_per_s = OVERLOAD * can.value
    horizon_s = float(math.ceil(max(_LOCKS * bench.setup.semantics.lock_s, _MESSAGES / rate_per_s)))
    if rate_per_s * horizon_s > MOST_MESSAGES:
        return not_applicable(15, f"four locks of overload would be more than {MOST_MESSAGES:,} messages")
    arrivals: dict[str, Any] = {"kind": "poisson", "rate_per_s": rate_per_s}
    runs = bench.simulate(bench.loaded(bench.scenario, arrivals, horizon_s))
    found = estimate([_late_goodput_per_s(run) / can.value for run in runs])
    reason = (
        f"under {OVERLOAD:g} times what they can do ({format_rate(rate_per_s)}) for {format_duration(horizon_s)}, "
        f"consumers must still complete {format_fraction(GRACEFUL)} of it in the second half"
    )
    return judged(15, found.low >= GRACEFUL, reason, throughput=can, share=found)


def _late_goodput_per_s(run: Result) -> float:
    half_s = 0.5 * run.horizon_s
    return int(np.count_nonzero(run.messages["completed_s"] >= half_s)) / half_s


def recovery(bench: Bench) -> Assertion:
    """After a pause of all handlers for two lock periods the setting is back within the time that catching up takes."""
    bounds = tuple(t for t in bench.targets or () if t.metric in LATENCIES)
    targets = Targets(items=bounds) if bounds else Targets.parse(ANY_LOAD)
    try:
        question = pose(bench.scenario, targets, MOST_MESSAGES)
    except InputError as error:
        return not_applicable(16, f"this load cannot be paused: {error.problems[0].message}")
    space = space_of(bench.scenario, (), None, None)
    own = next((style for style in space.styles if style.rank == 0), space.styles[0])
    laboratory = Laboratory(
        question,
        Screen(question, space),
        seed=bench.scenario.seed,
        budget=Budget(),
        threads=None,
        on_progress=None,
    )
    consumers = bench.scenario.consumers
    trial = Trial(
        style=own,
        instances=consumers.instances,
        workers=consumers.workers,
        scenario=bench.scenario,
        setup=bench.setup,
    )
    found = probe(laboratory, trial)
    if math.isnan(found.recovery_s):
        return judged(16, found.came_back, found.text)
    slowest = Estimate(value=found.recovery_s, unit="s", replications=len(found.seeds))
    return judged(16, found.came_back, found.text, slowest_recovery=slowest)
