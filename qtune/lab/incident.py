"""An incident as a file: what was reported, the scenario that shows it, and what must be gone after the fix."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from qtune.errors import InputError, UnitError, did_you_mean
from qtune.lab.measures import MEASURES, Measure
from qtune.records import Count, Record, Text, read_text, refuse, refuse_again, wrong_at
from qtune.scenario import Scenario
from qtune.shown import Shown
from qtune.targets import Targets
from qtune.units import (
    format_duration,
    format_fraction,
    format_rate,
    format_usd,
    parse_duration,
    parse_fraction,
    parse_rate,
)

RULES: Final[Mapping[str, str]] = {
    "R1": "what waits in a client's buffer must be handled before its lock runs out",
    "R2": "a handler must be done, or its lock renewed, before the lock runs out",
    "R3": "a batch that is handled in turn must be done before its locks run out",
    "R4": "the load must fit through every resource: workers, calls, cores, senders",
    "R5": "places in hand must cover the round trip to the broker",
    "R6": "sessions let through at most slots / (idle timeout + work of a visit)",
    "R7": "ordered groups let through no more than one message each at a time",
    "R8": "receives that find nothing are paid for like all others",
    "R9": "connections and renewers must be as many as the work that needs them at once",
    "R10": "limit the poller and not the function, and allow for the rounds that a burst needs",
    "R11": "retries must end before anyone looks, and dead letters must last until someone does",
    "R12": "scaling must be quicker than the backlog that the targets allow, and slower than a handler",
    "R13": "consumers together must not ask more of a downstream than it has",
}
"""The rules by which incidents are explained."""

Grade = Literal["A", "A/B", "B", "C"]
Kind = Literal["incident", "published figure"]
RuleName = Literal["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13"]

_LINK = re.compile(r"https://[\w.-]+(/\S*)?")


def _read_link(value: object) -> str:
    text = read_text(value)
    if not _LINK.fullmatch(text):
        raise refuse("this must be a whole link, such as https://github.com/owner/repository/issues/1")
    return text


Link = Annotated[str, BeforeValidator(_read_link)]


class Range(Record):
    """Where a measure must lie, ends included.

    equals: exactly this, or about this when ``within`` says by how much of it. at_least, at_most: the ends.
    basis: whether the source reports it, or it was derived; ``why`` gives the report's words or the derivation.
    Values are read in the measure's unit: "600s", "10.97/s", "3%", "19".
    """

    measure: Text
    equals: float | None = None
    within: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    basis: Literal["reported", "derived"]
    why: Text

    @field_validator("measure")
    @classmethod
    def _known(cls, measure: str) -> str:
        if measure not in MEASURES:
            hint = did_you_mean(measure, MEASURES)
            raise refuse(f"there is no such measure; there are {', '.join(MEASURES)}.{hint}")
        return measure

    @model_validator(mode="before")
    @classmethod
    def _in_its_unit(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        found = dict(data)
        measure = MEASURES.get(str(found.get("measure")))
        for key in ("equals", "at_least", "at_most"):
            if measure is not None and found.get(key) is not None:
                found[key] = _read(measure, key, found[key])
        if found.get("within") is not None:
            found["within"] = _fraction("within", found["within"])
        return found

    @model_validator(mode="after")
    def _has_ends(self) -> Range:
        ends = [end for end in (self.at_least, self.at_most) if end is not None]
        if (self.equals is None) == (not ends):
            raise refuse("give either equals, or at_least, at_most or both")
        if self.within is not None and self.equals is None:
            raise wrong_at(
                ("within",), self.within, "this belongs to equals: give the ends themselves instead"
            )
        if len(ends) == 2 and ends[0] > ends[1]:
            raise wrong_at(("at_least",), ends[0], f"this is more than at_most ({ends[1]:g})")
        return self

    @property
    def low(self) -> float:
        """The lower end; minus infinity when there is none."""
        if self.equals is not None:
            return self.equals - (self.within or 0.0) * abs(self.equals)
        return -math.inf if self.at_least is None else self.at_least

    @property
    def high(self) -> float:
        """The upper end; infinity when there is none."""
        if self.equals is not None:
            return self.equals + (self.within or 0.0) * abs(self.equals)
        return math.inf if self.at_most is None else self.at_most

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range; NaN lies in none. What rounding takes away is not missed."""
        slack = 1e-9 * abs(value)
        return self.low - slack <= value <= self.high + slack

    @property
    def text(self) -> str:
        """The range in words."""
        show = self.shown
        if self.equals is not None:
            return show(self.equals) + (f" ± {format_fraction(self.within)}" if self.within else "")
        if self.at_most is None:
            return f"at least {show(self.low)}"
        if self.at_least is None:
            return f"at most {show(self.high)}"
        return f"{show(self.low)} to {show(self.high)}"

    def shown(self, value: float) -> str:
        """A value of the measure as text, in its unit."""
        if math.isnan(value):
            return "none"
        return _FORMATS[MEASURES[self.measure].unit](value)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


_FORMATS = {
    "s": format_duration,
    "1/s": format_rate,
    "share": format_fraction,
    "USD": format_usd,
    "1": _plain,
}


def _read(measure: Measure, key: str, value: object) -> float:
    """The value of an end in the measure's unit; a text must carry it, and so must a value of seconds or a rate."""
    parsers = {"s": parse_duration, "1/s": parse_rate}
    if measure.unit == "share":
        return _fraction(key, value)
    try:
        if measure.unit in parsers and isinstance(value, str):
            return parsers[measure.unit](value)
    except UnitError as error:
        raise wrong_at((key,), value, error.problems[0].message) from None
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        example = {"s": '"600s"', "1/s": '"10.97/s"'}.get(measure.unit, "19")
        raise wrong_at((key,), value, f"this must be a value of {measure.name}, such as {example}")
    return float(value)


def _fraction(key: str, value: object) -> float:
    try:
        return parse_fraction(value)
    except UnitError as error:
        raise wrong_at((key,), value, error.problems[0].message) from None


class Incident(Record, Shown):
    """One case of the lab.

    id: its name in lists. grade: A: every parameter is in the source; B: one or two are assumed, and ``assumed``
    names them; C: the source tells no numbers. source: where it is reported. happened: what the source tells.
    scenario: the configuration as reported. replications: how many runs with different seeds show it; 1 where
    nothing is random. symptom: what every run must show. breaks: the rules that are broken; why: how.
    fix: what the source did, as changes to the scenario; with it no range of the symptom holds any more, and those of
    ``after_fix`` do.
    target, keep, most_workers, most_instances: what the recommender is told beside the workload. answer: what must
    hold of its answer. not_recommended: why no answer of it can help, in place of a target.
    not_reproduced: why the simulator cannot show the incident; then there is no scenario.
    """

    id: Text
    title: Text
    kind: Kind = "incident"
    grade: Grade
    source: Annotated[tuple[Link, ...], Field(min_length=1)]
    happened: Text
    assumed: tuple[Text, ...] = ()
    not_reproduced: Text | None = None
    scenario: Scenario | None = None
    replications: Count = 1
    symptom: tuple[Range, ...] = ()
    breaks: tuple[RuleName, ...] = ()
    why: Text | None = None
    fix: dict[str, Any] = Field(default_factory=dict)
    after_fix: tuple[Range, ...] = ()
    target: Text | None = None
    not_recommended: Text | None = None
    keep: tuple[Text, ...] = ()
    most_workers: Count | None = None
    most_instances: Count | None = None
    answer: tuple[Range, ...] = ()

    @field_validator("target")
    @classmethod
    def _readable(cls, target: str | None) -> str | None:
        if target is not None:
            try:
                Targets.parse(target)
            except InputError as error:
                raise refuse_again(error) from None
        return target

    @model_validator(mode="after")
    def _whole(self) -> Incident:
        if self.not_reproduced is not None:
            given = [name for name in ("scenario", "target") if getattr(self, name) is not None]
            if given:
                raise wrong_at(("not_reproduced",), self.not_reproduced, f"leave this out, or {given[0]}")
            return self
        wanted = ["scenario", "symptom"]
        if self.kind == "incident":
            wanted += ["breaks", "why", "fix"]
            wanted += ["target", "answer"] if self.not_recommended is None else []
        if self.not_recommended is not None and self.target is not None:
            raise wrong_at(("not_recommended",), self.not_recommended, "leave this out, or target")
        missing = [name for name in wanted if not getattr(self, name)]
        if missing:
            message = f"a case that is shown also needs {', '.join(missing)}"
            raise wrong_at(("id",), self.id, message)
        if self.grade == "B" and self.kind == "incident" and not self.assumed:
            raise wrong_at(("grade",), self.grade, "a case of grade B names what is assumed in it")
        if self.fix:
            _check_fix(self)
        return self

    @property
    def reported(self) -> Scenario:
        """The configuration as reported; ValueError for a case that is not reproduced."""
        if self.scenario is None:
            raise ValueError(f"{self.id} is not reproduced: {self.not_reproduced}")
        return self.scenario

    @property
    def fixed(self) -> Scenario | None:
        """The configuration after the fix of the source; None for a published figure, which needs none."""
        return self.reported.with_(**self.fix) if self.fix else None


def _check_fix(incident: Incident) -> None:
    try:
        changed = incident.reported.with_(**incident.fix)
    except InputError as error:
        raise wrong_at(("fix",), incident.fix, str(error)) from None
    if changed == incident.scenario:
        raise wrong_at(("fix",), incident.fix, "this changes nothing")
