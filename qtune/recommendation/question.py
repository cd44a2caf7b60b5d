"""The question as it is simulated: the load that a throughput asks for, and as long a run as it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from qtune.analysis import STEADY, Setup, capacity_of, setup_of
from qtune.arrivals import Bursts, ClosedLoop
from qtune.errors import InputError, Problem
from qtune.recommendation.objectives import LATENCIES
from qtune.scenario import Scenario
from qtune.targets import Targets
from qtune.units import format_duration, format_rate

_MESSAGES: Final = 60_000
_MOST_MESSAGES: Final = 240_000
_LATENCIES: Final = 100.0
_LOCKS: Final = 4.0
_CYCLES: Final = 200.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is searched for: a scenario, which is the asked one at the load and for the time simulated; targets.

    setup: of the scenario, from which that of each candidate is made. notes: what was changed, and why.
    """

    scenario: Scenario
    setup: Setup
    targets: Targets
    notes: tuple[str, ...]

    @property
    def steady(self) -> bool:
        """Whether every part of a run is like every other but for chance."""
        return is_steady(self.scenario)

    @property
    def warm_up_s(self) -> float:
        """What the search leaves out at the start: the scenario's own, or a twentieth of a steady run."""
        if self.scenario.warm_up_s != "auto":
            return self.scenario.warm_up_s
        return 0.05 * self.scenario.horizon_s if self.steady else 0.0


def is_steady(scenario: Scenario) -> bool:
    """Whether the load has no course of its own, nothing goes wrong on purpose, and the fleet stays as it is."""
    return scenario.arrivals.kind in STEADY and not scenario.faults and scenario.scaling is None


def pose(scenario: Scenario, targets: Targets, most_messages: int) -> Question:
    """The question to search; InputError when nothing can be judged, or one run is more than the budget."""
    if not targets.evaluated():
        why = "; ".join(f"{target.metric}: {target.not_evaluated}" for target in targets.not_evaluated())
        message = "give a target that a run can be judged by, such as p95=500ms" + (
            f" ({why})" if why else ""
        )
        raise InputError(Problem(where="targets", value=str(targets) or "none", message=message))
    notes: list[str] = []
    loaded = _at_throughput(scenario, targets, notes)
    posed = _as_long_as_needed(loaded, targets, notes)
    setup = setup_of(posed)
    rate_per_s = rate_of(posed, setup)
    expected = rate_per_s * posed.horizon_s
    if expected > most_messages:
        message = (
            f"one run would have about {expected:.3g} messages and the budget is {most_messages:,}: "
            "use a shorter horizon, a part of the load, or a larger budget"
        )
        raise InputError(Problem(where="horizon", value=format_duration(posed.horizon_s), message=message))
    return Question(scenario=posed, setup=setup, targets=targets, notes=tuple(notes))


def rate_of(scenario: Scenario, setup: Setup) -> float:
    """Messages a second: as planned, or for a closed loop at most as many as customers and capacity allow."""
    if setup.rate_per_s is not None:
        return setup.rate_per_s
    arrivals = scenario.arrivals
    assert isinstance(arrivals, ClosedLoop)
    cycle_s = arrivals.think_time.distribution().mean + setup.work.handler_s
    unhindered = arrivals.customers / cycle_s if cycle_s > 0.0 else math.inf
    return min(unhindered, capacity_of(setup).per_s)


def _at_throughput(scenario: Scenario, targets: Targets, notes: list[str]) -> Scenario:
    """The load raised to a throughput that is above it: no queue completes more than it is given."""
    target, setup = targets.get("throughput"), setup_of(scenario)
    if target is None or setup.rate_per_s is None:
        return scenario
    lost = least_dead_share(scenario)
    needed_per_s = (
        target.bound if lost == 0.0 else 1.01 * target.bound / (1.0 - lost) if lost < 1.0 else math.inf
    )
    if setup.rate_per_s >= needed_per_s or math.isinf(needed_per_s):
        return scenario
    factor = needed_per_s / setup.rate_per_s
    if scenario.arrivals.kind == "burst_at_once":
        return scenario
    raised = scenario.scaled_load(factor)
    notes.append(
        f"the scenario offers {format_rate(setup.rate_per_s)} and {format_rate(target.bound)} are asked for: its "
        f"load was multiplied by {factor:.4g}, with the same course"
    )
    return raised


def least_dead_share(scenario: Scenario) -> float:
    """The share of messages that are dead-lettered however the consumers are set."""
    most, failures = scenario.semantics().max_deliveries, scenario.failures
    if not most:
        return 0.0
    by_chance: float = failures.rate ** (failures.attempts * most)
    return failures.poison + (1.0 - failures.poison) * by_chance


def _as_long_as_needed(scenario: Scenario, targets: Targets, notes: list[str]) -> Scenario:
    """A steady load for as long as quantiles within a few per cent take; any other for as long as it lasts."""
    if not is_steady(scenario):
        return scenario
    setup = setup_of(scenario)
    rate_per_s = rate_of(scenario, setup)
    bounds_s = [t.bound for t in targets if t.metric in LATENCIES]
    wanted_s = [_MESSAGES / rate_per_s, _LATENCIES * max([*bounds_s, setup.service.mean])]
    wanted_s.append(min(_LOCKS * setup.semantics.lock_s, _MOST_MESSAGES / rate_per_s))
    if isinstance(scenario.arrivals, Bursts):
        wanted_s.append(_CYCLES * (scenario.arrivals.on_mean_s + scenario.arrivals.off_mean_s))
    needed_s = float(math.ceil(max(wanted_s)))
    if scenario.warm_up_s != "auto":
        needed_s += scenario.warm_up_s
    if needed_s >= scenario.horizon_s:
        return scenario
    notes.append(
        f"the load is steady, so each run lasts {format_duration(needed_s)} instead of "
        f"{format_duration(scenario.horizon_s)}: more time is given by more runs, where the decision needs it"
    )
    return scenario.with_(horizon_s=needed_s)
