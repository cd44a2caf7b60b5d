"""An incident run: as reported, after the source's fix, and with the recommender's own answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qtune.analysis import Explanation, Finding, explain, summarize
from qtune.analysis.intervals import json_number
from qtune.errors import AnswerIsNo, InputError, Problem
from qtune.lab.incident import Incident, Range
from qtune.lab.measures import MEASURES
from qtune.recommendation import Recommendation, recommend
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.shown import Shown
from qtune.simulation import Engine, iterate

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str], None]
"""Told what is being done."""

_MOST_THREADS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What the runs of one configuration show of one range: a value for each run."""

    range: Range
    values: tuple[float, ...]

    @property
    def holds(self) -> bool:
        """Whether every run lies in the range."""
        return all(self.range.holds(value) for value in self.values)

    @property
    def fails(self) -> bool:
        """Whether no run does."""
        return not any(self.range.holds(value) for value in self.values)

    @property
    def text(self) -> str:
        """The value, or the smallest and the largest of several runs."""
        known = [value for value in self.values if not math.isnan(value)]
        if not known:
            return "none"
        low, high = self.range.shown(min(known)), self.range.shown(max(known))
        return low if low == high else f"{low} to {high}"

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "measure": self.range.measure,
            "meaning": MEASURES[self.range.measure].meaning,
            "unit": MEASURES[self.range.measure].unit,
            "at_least": json_number(self.range.low),
            "at_most": json_number(self.range.high),
            "basis": self.range.basis,
            "why": self.range.why,
            "values": [json_number(value) for value in self.values],
            "holds": self.holds,
        }


@dataclass(frozen=True, kw_only=True)
class Reproduction(Shown):
    """One incident, run.

    symptom, fixed: the ranges of the symptom, as reported and after the source's fix; fixed is () without one.
    after_fix: what else must hold after that fix.
    rules: the rules that the incident breaks, applied to the reported configuration; those that no formula states
    yet are missing. recommendation: the answer for the same workload; None when none was asked for, or when
    ``refusal`` says why there is none. answer: what must hold of it; answer_symptom: the ranges of the symptom for it.
    """

    incident: Incident
    seeds: tuple[int, ...]
    symptom: tuple[Observed, ...]
    fixed: tuple[Observed, ...]
    after_fix: tuple[Observed, ...]
    explanation: Explanation
    rules: tuple[Finding, ...]
    recommendation: Recommendation | None
    refusal: str
    answer: tuple[Observed, ...]
    answer_symptom: tuple[Observed, ...]

    @property
    def reproduced(self) -> bool:
        """Whether every run shows the whole symptom."""
        return all(observed.holds for observed in self.symptom)

    @property
    def cured(self) -> bool:
        """Whether the source's fix takes every part of the symptom away, in every run, and gives what it should."""
        gone = all(observed.fails for observed in self.fixed)
        return gone and all(observed.holds for observed in self.after_fix)

    @property
    def answered(self) -> bool:
        """Whether the recommender has an answer that shows the symptom no longer."""
        return self.recommendation is not None and all(observed.holds for observed in self.answer)

    @property
    def good(self) -> bool:
        """Whether all of it is as the incident says."""
        asked = self.incident.target is not None
        return self.reproduced and self.cured and (self.answered or not asked)

    def to_frame(self) -> pd.DataFrame:
        """One row a checked range and run: its part, what is measured, the value, and whether it holds."""
        import pandas as pd

        parts = {
            "symptom": self.symptom,
            "after the fix": (*self.fixed, *self.after_fix),
            "the answer": (*self.answer, *self.answer_symptom),
        }
        rows = [
            {"part": part, **observed.to_dict(), "value": value}
            for part, ranges in parts.items()
            for observed in ranges
            for value in observed.values
        ]
        return pd.DataFrame(rows).drop(columns="values", errors="ignore")

    def to_dict(self) -> dict[str, object]:
        """Everything for JSON."""
        return {
            "incident": incident_to_dict(self.incident),
            "seeds": list(self.seeds),
            "reproduced": self.reproduced,
            "cured": self.cured,
            "answered": self.answered if self.incident.target else None,
            "symptom": [observed.to_dict() for observed in self.symptom],
            "fixed": [observed.to_dict() for observed in self.fixed],
            "after_fix": [observed.to_dict() for observed in self.after_fix],
            "rules": [finding.to_dict() for finding in self.rules],
            "explanation": self.explanation.to_dict(),
            "answer": [observed.to_dict() for observed in self.answer],
            "answer_symptom": [observed.to_dict() for observed in self.answer_symptom],
            "recommendation": None if self.recommendation is None else self.recommendation.to_dict(),
            "refusal": self.refusal,
        }


@dataclass(frozen=True, kw_only=True)
class Survey(Shown):
    """All incidents that can be shown, run one after the other."""

    reproductions: tuple[Reproduction, ...]

    @property
    def good(self) -> bool:
        """Whether each came out as its file says."""
        return all(found.good for found in self.reproductions)

    def to_dict(self) -> dict[str, object]:
        """Everything for JSON."""
        return {"good": self.good, "reproductions": [found.to_dict() for found in self.reproductions]}


def survey(
    incidents: Iterable[Incident], *, answer: bool = True, on_progress: Progress = lambda text: None
) -> Survey:
    """Run every incident that can be shown; the arguments are those of :func:`reproduce`."""
    found = []
    for incident in incidents:
        if incident.not_reproduced is None:
            on_progress(f"{incident.id} {incident.title}")
            found.append(reproduce(incident, answer=answer))
    return Survey(reproductions=tuple(found))


def incident_to_dict(incident: Incident) -> dict[str, object]:
    """What the file of an incident says, for JSON, without the ranges, which stand beside their values."""
    return {
        "id": incident.id,
        "title": incident.title,
        "kind": incident.kind,
        "grade": incident.grade,
        "source": list(incident.source),
        "happened": incident.happened,
        "assumed": list(incident.assumed),
        "not_reproduced": incident.not_reproduced,
        "breaks": list(incident.breaks),
        "why": incident.why,
        "fix": incident.fix,
        "target": incident.target,
        "not_recommended": incident.not_recommended,
        "scenario": None if incident.scenario is None else incident.scenario.model_dump(mode="json"),
    }


def reproduce(
    incident: Incident,
    *,
    engine: Engine = "kernel",
    answer: bool = True,
    on_progress: Progress = lambda text: None,
) -> Reproduction:
    """Run an incident as reported and after its fix, and ask the recommender about the same workload.

    engine: of the first two; the recommender uses the compiled one. answer: whether to ask the recommender, which
    takes most of the time. on_progress: told what is being done.

    The recommender is told the workload, the queue, the client and the target, and never the fix. What it answers is
    run on the incident's own load and for its own time. InputError for an incident that is not reproduced.
    """
    if incident.not_reproduced is not None:
        message = f"this is not reproduced: {incident.not_reproduced}"
        raise InputError(Problem(where="incident", value=incident.id, message=message))
    scenario = incident.reported
    seeds = tuple(range(scenario.seed, scenario.seed + incident.replications))
    on_progress("as reported")
    runs = _runs(scenario, seeds, engine)
    explanation = explain(summarize(runs))
    on_progress("after the fix of the source")
    fixed = incident.fixed
    cured_runs = [] if fixed is None else _runs(fixed, seeds, engine)
    found: Recommendation | None = None
    refusal = ""
    answer_runs: list[Result] = []
    if answer and incident.target is not None:
        on_progress("what the recommender says")
        found, refusal = _answer(incident, incident.target)
        if found is not None:
            recommended = scenario.with_(queue=found.scenario.queue, consumers=found.scenario.consumers)
            answer_runs = _runs(recommended, seeds, "kernel")
    return Reproduction(
        incident=incident,
        seeds=seeds,
        symptom=_observed(incident.symptom, runs),
        fixed=_observed(incident.symptom, cured_runs) if cured_runs else (),
        after_fix=_observed(incident.after_fix, cured_runs) if cured_runs else (),
        explanation=explanation,
        rules=_rules(incident, explanation),
        recommendation=found,
        refusal=refusal,
        answer=_observed(incident.answer, answer_runs) if answer_runs else (),
        answer_symptom=_observed(incident.symptom, answer_runs) if answer_runs else (),
    )


def _runs(scenario: Scenario, seeds: Sequence[int], engine: Engine) -> list[Result]:
    return list(iterate(scenario, seeds, engine=engine, threads=_MOST_THREADS))


def _observed(ranges: Sequence[Range], runs: Sequence[Result]) -> tuple[Observed, ...]:
    return tuple(
        Observed(range=each, values=tuple(MEASURES[each.measure].read(run) for run in runs))
        for each in ranges
    )


def _rules(incident: Incident, explanation: Explanation) -> tuple[Finding, ...]:
    """The tightest finding of each rule that the incident names."""
    found = []
    for rule in incident.breaks:
        of_rule = [finding for finding in explanation.findings if finding.rule == rule]
        found += sorted(of_rule, key=lambda finding: -finding.ratio)[:1]
    return tuple(found)


def _answer(incident: Incident, target: str) -> tuple[Recommendation | None, str]:
    try:
        found = recommend(
            incident.reported,
            target,
            keep=incident.keep,
            most_workers=incident.most_workers,
            most_instances=incident.most_instances,
        )
    except AnswerIsNo as no:
        return None, str(no)
    return found, ""
