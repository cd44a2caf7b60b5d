"""One view of the explorer: a setting, simulated for a moment, and what there is to say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import qtune
from qtune.ui.explorer.knobs import turned

MESSAGES: Final = 20_000
"""A view has about so many messages: enough for its p95, and quick enough to follow a slider."""

SHORTEST_S: Final = 20.0

SECTIONS: Final = (
    "Latency, from the due time to the end of the handler",
    "Beside the percentiles",
    "What binds",
)


@dataclass(frozen=True, kw_only=True)
class View:
    """A scenario with knobs turned, one run of it, and its summary. p95_s: NaN when there is none."""

    scenario: qtune.Scenario
    result: qtune.Result
    summary: qtune.Summary

    @property
    def p95_s(self) -> float:
        """The 95th percentile of the latency."""
        return self.summary.numbers["latency_s_p95"].value

    @property
    def month_usd(self) -> float:
        """What a month costs."""
        return self.summary.cost.month_usd.value

    def words(self) -> str:
        """The verdict, the percentiles, what stands beside them, and what binds, as HTML."""
        report = qtune.describe(self.summary)
        wanted = tuple(section for section in report.sections if section.title in SECTIONS)
        return type(report)(
            title=report.title, verdict=report.verdict, good=report.good, sections=wanted
        ).to_html()


def scenario_at(base: qtune.Scenario, values: Mapping[str, float]) -> qtune.Scenario:
    """The scenario with knobs at these values; only those that differ are turned.

    InputError, with what contradicts what, when they cannot be set together.
    """
    found = base
    for path, value in values.items():
        found = turned(found, path, value)
    return found


def target_s(target: str) -> float:
    """The bound on p95 among the targets, in seconds; NaN when there is none."""
    bounds = [one.bound for one in qtune.Targets.parse(target) if one.metric == "p95"]
    return bounds[0] if bounds else math.nan


def view_of(scenario: qtune.Scenario, seed: int | None = None) -> View:
    """Simulate a scenario for long enough to see it, and no longer.

    A load with a course of its own (a trace, faults, a backlog) runs to the scenario's horizon.
    """
    result = qtune.simulate(shortened(scenario), seed=seed)
    return View(scenario=scenario, result=result, summary=qtune.summarize(result))


def shortened(scenario: qtune.Scenario) -> qtune.Scenario:
    """The scenario up to about 20,000 messages, if its load is steady."""
    rate_per_s = getattr(scenario.arrivals, "rate_per_s", None)
    if not rate_per_s or scenario.faults or not math.isfinite(rate_per_s):
        return scenario
    horizon_s = max(SHORTEST_S, MESSAGES / rate_per_s)
    if horizon_s >= scenario.horizon_s:
        return scenario
    changes: dict[str, object] = {"horizon_s": horizon_s}
    if scenario.warm_up_s != "auto" and scenario.warm_up_s >= horizon_s:
        changes["warm_up_s"] = "auto"
    return scenario.with_(**changes)
