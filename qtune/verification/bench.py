"""The runs that assertions are judged by: the scenario itself, its backlog worked off, and both with more consumers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from qtune.analysis import STEADY, Estimate, Setup, Summary, capacity_of, setup_of, summarize
from qtune.analysis.intervals import AT_LEAST_0, across_replications
from qtune.errors import InputError, Problem
from qtune.recommendation.probe import drawn_service
from qtune.recommendation.question import is_steady, rate_of
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.simulation import iterate
from qtune.targets import Targets
from qtune.units import format_duration

REPLICATIONS: Final = 5
CONFIDENCE: Final = 0.95
HOUR_S: Final = 3600.0
MOST_MESSAGES: Final = 4_000_000
"""The most messages of one run whose rows are read at once and let go: an hour at 1,000 a second, and some."""

_MOST_KEPT: Final = 1_000_000
_ENOUGH: Final = 200_000

ANY_LOAD: Final = "utilization=100%"
"""A target that no run misses, for what must be given one."""

_EACH_WORKER: Final = 400
_SLACK: Final = 4.0


class Bench:
    """One setting under test, with every run that was made of it: no run is made twice.

    targets: what thresholds mean, or None. InputError when one run would be more than memory should hold.
    """

    def __init__(self, scenario: Scenario, targets: Targets | None) -> None:
        self.scenario, self.targets = scenario, targets
        self.setup: Setup = setup_of(scenario)
        self.seeds = tuple(range(scenario.seed, scenario.seed + REPLICATIONS))
        self.rate_per_s = rate_of(scenario, self.setup)
        self._usual = self._as_long_as_needed()
        self._summary: Summary | None = None
        self._runs: tuple[Result, ...] = ()
        self._drained: dict[Scenario, tuple[Result, ...]] = {}

    def _as_long_as_needed(self) -> Scenario:
        """The scenario; of a steady load that is simulated for long, the first 200,000 messages."""
        scenario, messages = self.scenario, self.rate_per_s * self.scenario.horizon_s
        if is_steady(scenario) and scenario.warm_up_s == "auto" and messages > _ENOUGH:
            return scenario.with_(horizon_s=float(math.ceil(_ENOUGH / self.rate_per_s)))
        if messages > _MOST_KEPT:
            message = (
                f"each of {REPLICATIONS} runs would have about {messages:.3g} messages, and {_MOST_KEPT:,} are "
                "held in memory: verify a shorter horizon or a part of the load"
            )
            where, value = "horizon", format_duration(scenario.horizon_s)
            raise InputError(Problem(where=where, value=value, message=message))
        return scenario

    @property
    def long(self) -> Scenario:
        """The scenario for an hour or more, where its load goes on for as long as one looks."""
        if self.scenario.arrivals.kind not in STEADY or self.scenario.horizon_s >= HOUR_S:
            return self.scenario
        return self.scenario.with_(horizon_s=HOUR_S)

    def runs(self) -> tuple[Result, ...]:
        """Replications of the scenario."""
        if not self._runs:
            self._runs = self.simulate(self._usual)
        return self._runs

    def summary(self) -> Summary:
        """What they say."""
        if self._summary is None:
            self._summary = summarize(self.runs(), confidence=CONFIDENCE)
        return self._summary

    def simulate(self, scenario: Scenario) -> tuple[Result, ...]:
        """Replications of any scenario, under the same seeds."""
        return tuple(iterate(scenario, self.seeds))

    def scaled(self, factor: int) -> Scenario:
        """The setting with so many times the consumers; ScenarioError when a limit of the provider forbids it.

        Instances are added, and to a queue in the memory of one process workers, with a share of cores each as before.
        """
        consumers = self.scenario.consumers
        if self.scenario.queue.provider == "memory":
            changes = {"workers": consumers.workers * factor, "cores": consumers.cores * factor}
        else:
            changes = {"instances": consumers.instances * factor}
        return self.scenario.with_(consumers=changes)

    def drain(self, scenario: Scenario) -> tuple[Result, ...]:
        """Replications in which these consumers find a backlog and nothing else arrives: as fast as they can.

        Every setting finds the same messages, as many as keep four times the consumers busy.
        """
        if scenario not in self._drained:
            messages = _EACH_WORKER * self.setup.workers
            if self.setup.semantics.capacity_messages:
                messages = min(messages, self.setup.semantics.capacity_messages)
            setup = setup_of(scenario)
            took_s = messages * setup.work.handler_s / min(setup.workers, messages)
            most_s = max(messages / capacity_of(setup).per_s, took_s)
            horizon_s = float(
                math.ceil(_SLACK * (most_s + setup.semantics.lock_s) + 10.0 * setup.service.mean + 1.0)
            )
            self._drained[scenario] = self.simulate(
                self.loaded(scenario, {"kind": "burst_at_once", "messages": messages}, horizon_s)
            )
        return self._drained[scenario]

    def loaded(self, scenario: Scenario, arrivals: dict[str, Any], horizon_s: float) -> Scenario:
        """The setting under another load, with nothing going wrong, and handlers as quick as before.

        Where instances come and go there are as many as there may be.
        """
        changes: dict[str, Any] = {
            "arrivals": arrivals,
            "faults": (),
            "scaling": None,
            "horizon_s": horizon_s,
            "warm_up_s": 0.0,
            "producers": None,
        }
        return scenario.with_(**changes, **drawn_service(scenario))

    def throughput_per_s(self, scenario: Scenario) -> list[float]:
        """What these consumers complete a second before a backlog, in each replication."""
        return [_middle_rate_per_s(run) for run in self.drain(scenario)]


def _middle_rate_per_s(run: Result) -> float:
    """Completions a second between the first tenth of all messages and the last, NaN when they are not reached."""
    completed_s = np.sort(run.messages["completed_s"])  # NaN comes last
    first, last = int(0.1 * completed_s.size), int(0.9 * completed_s.size)
    took_s = float(completed_s[last] - completed_s[first])
    return (last - first) / took_s if took_s > 0.0 else math.nan


def estimate(
    values: Sequence[float], unit: str = "1", reason: str = "the backlog was not worked off"
) -> Estimate:
    """The mean of a non-negative number over the replications, with its interval."""
    return across_replications(values, possible=AT_LEAST_0, unit=unit, confidence=CONFIDENCE, reason=reason)


def ratio(values: Sequence[float], to: Sequence[float]) -> Estimate:
    """The mean of the quotients of what the same seeds gave two settings."""
    return estimate([one / other if other else math.nan for one, other in zip(values, to, strict=True)])
