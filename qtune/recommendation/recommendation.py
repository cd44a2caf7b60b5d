"""The answer: what to set, what that achieves and costs, how sure it is, and on what it rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qtune.analysis import Estimate, Explanation, Summary
from qtune.analysis.intervals import json_number
from qtune.scenario import Scenario
from qtune.shown import Shown
from qtune.targets import Target, Targets
from qtune.units import format_usd

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["met", "missed", "open", "not evaluated"]
Fate = Literal["meets", "misses", "open", "dearer", "impossible", "does not come back", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One target, judged.

    status: "met" or "missed" when the whole interval lies on one side; "open" when the bound lies
    inside it; "not evaluated" when no run can tell, and then ``reason`` says why.
    estimate: the measured value with its interval, without a value when it was not evaluated.
    margin: the distance from the value to the bound as a share of the bound, above 0 on the good side; NaN
    without a value or at the bound 0.
    """

    target: Target
    status: Status
    estimate: Estimate
    margin: float
    reason: str = ""

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "target": str(self.target),
            "metric": self.target.metric,
            "sense": self.target.sense,
            "bound": self.target.bound,
            "unit": self.target.unit,
            "status": self.status,
            "estimate": self.estimate.to_dict(),
            "margin": json_number(self.margin),
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One setting that was looked at.

    settings: what was chosen, by path (``consumers.workers``). month_usd: NaN when it was not simulated.
    checks: by the runs of the search, not those that confirm. fate: what became of it; ``reason`` says why.
    "dearer" is one that was not pursued, because a single run of it costs more than the answer.
    runs: replications spent on it; 0 when a bound from theory was enough.
    """

    scenario: Scenario
    settings: Mapping[str, object]
    month_usd: Estimate
    checks: tuple[Check, ...]
    fate: Fate
    reason: str
    runs: int

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "settings": dict(self.settings),
            "month_usd": self.month_usd.to_dict(),
            "checks": [check.to_dict() for check in self.checks],
            "fate": self.fate,
            "reason": self.reason,
            "runs": self.runs,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What happened when all handlers stood still for two lock periods, at the expected load.

    pause_s: how long. allowed_s: by when, counted from the end of the pause, the targets must be met again.
    recovery_s: when the queue was as short as before the pause, the slowest of the runs; NaN: never.
    wasted_handler_calls, dead_letters: means per run. came_back: whether all runs did; ``text`` says it.
    scenario, seeds: to run it again.
    """

    scenario: Scenario
    seeds: tuple[int, ...]
    pause_s: float
    allowed_s: float
    recovery_s: float
    wasted_handler_calls: float
    dead_letters: float
    came_back: bool
    text: str

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "seeds": list(self.seeds),
            "pause_s": self.pause_s,
            "allowed_s": self.allowed_s,
            "recovery_s": json_number(self.recovery_s),
            "wasted_handler_calls": self.wasted_handler_calls,
            "dead_letters": self.dead_letters,
            "came_back": self.came_back,
            "text": self.text,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Headroom:
    """How much more load the setting takes before a target breaks.

    factor: the largest load tried, as a multiple of the given one, at which every target was met on average.
    breaks_at: the smallest at which one was not; infinite when none broke in the searched range.
    breaks: what broke there, in words. seeds: of the runs, the same for all factors.
    """

    factor: float
    breaks_at: float
    breaks: str
    seeds: tuple[int, ...]

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "factor": self.factor,
            "breaks_at": json_number(self.breaks_at),
            "breaks": self.breaks,
            "seeds": list(self.seeds),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """What the answer took: candidates looked at, runs, simulated messages, and seconds on the clock."""

    candidates: int
    runs: int
    messages: int
    wall_s: float

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "candidates": self.candidates,
            "runs": self.runs,
            "messages": self.messages,
            "wall_s": self.wall_s,
        }


@dataclass(frozen=True, kw_only=True)
class Recommendation(Shown):
    """The cheapest setting found that meets every target, with its evidence.

    scenario: what to set; ``predict(scenario, seeds=seeds)`` gives ``summary`` again to the digit.
    asked: the scenario as it was given. settings: by path, what was chosen.
    checks: every target, judged by the summary's runs, which were not used to choose.
    runners_up: the next cheapest that meet everything, and near misses, by the runs of the search.
    failed: what was tried and is no answer, with the reason. seeds: of the summary's runs.
    probe, headroom, explanation: whether it comes back from a pause, how much more it takes, and what binds.
    assumptions: what the answer rests on. notes: what was done to the question, and how sure the choice is.
    """

    scenario: Scenario
    asked: Scenario
    settings: Mapping[str, object]
    targets: Targets
    checks: tuple[Check, ...]
    summary: Summary
    probe: Probe
    headroom: Headroom
    explanation: Explanation
    runners_up: tuple[Candidate, ...]
    failed: tuple[Candidate, ...]
    seeds: tuple[int, ...]
    effort: Effort
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def month_usd(self) -> Estimate:
        """What a month of it costs."""
        return self.summary.cost.month_usd

    def check(self, metric: str) -> Check | None:
        """The check of the target for a metric, or None if there is no such target."""
        return next((check for check in self.checks if check.target.metric == metric), None)

    def to_frame(self) -> pd.DataFrame:
        """One row a setting that was looked at, the answer first: its fate, USD a month, and each target's metric.

        Settings have columns of their own, by path; a metric that was not evaluated is NaN.
        """
        import pandas as pd

        answer = {
            **self.settings,
            "fate": "the answer",
            "reason": "",
            "runs": len(self.seeds),
            "month_usd": self.month_usd.value,
            **_metrics(self.checks),
        }
        others = (*self.runners_up, *self.failed)
        return pd.DataFrame([answer, *(_row(candidate) for candidate in others)])

    def __repr__(self) -> str:
        settings = ", ".join(f"{path.split('.')[-1]}={value}" for path, value in self.settings.items())
        return f"<Recommendation {settings}: {format_usd(self.month_usd.value)}/month, meets {self.targets}>"

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON has it: null for what has no value, with the reason beside it."""
        return {
            "scenario": self.scenario.model_dump(mode="json"),
            "asked": self.asked.model_dump(mode="json"),
            "settings": dict(self.settings),
            "targets": [str(target) for target in self.targets],
            "profile": self.targets.profile,
            "checks": [check.to_dict() for check in self.checks],
            "month_usd": self.month_usd.to_dict(),
            "summary": self.summary.to_dict(),
            "probe": self.probe.to_dict(),
            "headroom": self.headroom.to_dict(),
            "explanation": self.explanation.to_dict(),
            "runners_up": [candidate.to_dict() for candidate in self.runners_up],
            "failed": [candidate.to_dict() for candidate in self.failed],
            "seeds": list(self.seeds),
            "effort": self.effort.to_dict(),
            "assumptions": list(self.assumptions),
            "notes": list(self.notes),
        }


def _row(candidate: Candidate) -> dict[str, object]:
    return {
        **candidate.settings,
        "fate": candidate.fate,
        "reason": candidate.reason,
        "runs": candidate.runs,
        "month_usd": candidate.month_usd.value,
        **_metrics(candidate.checks),
    }


def _metrics(checks: Sequence[Check]) -> dict[str, float]:
    """Values by metric and unit, such as p95_s."""
    return {f"{check.target.metric}_{check.target.unit}": check.estimate.value for check in checks}
