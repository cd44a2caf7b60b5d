"""The lab as reports: the list of incidents, what one is about, and what came of running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from qtune.exports.recommendations import setting_text
from qtune.exports.report import Report, Section
from qtune.exports.summaries import binding_lines, setup_text
from qtune.lab import MEASURES, RULES, Incident, Observed, Reproduction, Survey, incident_to_dict
from qtune.records import yaml_name
from qtune.units import format_count

_YES = {True: "yes", False: "NO"}


def describe_incidents(found: Sequence[Incident]) -> Report:
    """The list: what can be run, the published figures, and what is not reproduced, with the reason."""
    shown = [incident for incident in found if incident.not_reproduced is None]
    incidents = [incident for incident in shown if incident.kind == "incident"]
    figures = [incident for incident in shown if incident.kind != "incident"]
    missing = [incident for incident in found if incident.not_reproduced is not None]
    sections = [
        _list("Incidents", incidents),
        _list("Published figures", figures),
        Section(
            title="Not reproduced",
            notes=tuple(f"{each.id} {each.title}: {each.not_reproduced}" for each in missing) or ("none",),
        ),
        Section(
            title="Grades",
            notes=(
                "A: the source has every parameter that matters; what is filled in is named",
                "B: one or two are assumed, and named; C: the source has no numbers of its own",
            ),
        ),
    ]
    return Report(
        title=f"{format_count(len(incidents), 'incident')} and {format_count(len(figures), 'published figure')}; "
        "qtune lab NAME runs one",
        sections=tuple(sections),
        data={"incidents": [incident_to_dict(incident) for incident in found]},
    )


def _list(title: str, incidents: Sequence[Incident]) -> Section:
    rows = tuple((each.id, each.grade, " ".join(each.breaks), each.title) for each in incidents)
    return Section(title=title, columns=("", "grade", "rules", ""), rows=rows)


def describe_incident(incident: Incident) -> Report:
    """What is known of one incident, without running it."""
    return Report(
        title=f"{incident.id} {incident.title}",
        verdict="" if incident.not_reproduced is None else f"not reproduced: {incident.not_reproduced}",
        sections=(_told(incident),),
        data=incident_to_dict(incident),
    )


def _told(incident: Incident) -> Section:
    notes = [incident.happened, *(f"assumed here: {each}" for each in incident.assumed)]
    return Section(title=f"What is reported (grade {incident.grade})", notes=(*notes, *incident.source))


def describe_reproduction(found: Reproduction) -> Report:
    """What came of an incident: the symptom, the rule, the fix of its source and the recommender's own answer."""
    incident = found.incident
    return Report(
        title=f"{incident.id} {incident.title}: {setup_text(incident.reported)}",
        verdict=_verdict(found),
        good=found.good,
        sections=tuple(_sections(found)),
        data=found.to_dict(),
    )


def _verdict(found: Reproduction) -> str:
    incident = found.incident
    if incident.kind != "incident":
        return (
            "the published figure comes out" if found.reproduced else "the published figure does not come out"
        )
    parts = ["reproduced" if found.reproduced else "NOT reproduced"]
    parts.append(
        "gone after the fix of the source" if found.cured else "NOT gone after the fix of the source"
    )
    if found.recommendation is not None:
        parts.append(f"{'gone' if found.answered else 'NOT gone'} with the recommended setting")
    elif found.refusal:
        parts.append("the recommender has no answer")
    return ", ".join(parts)


def _sections(found: Reproduction) -> Iterator[Section]:
    incident = found.incident
    yield _told(incident)
    figure = incident.kind != "incident"
    yield _ranges("Published and simulated" if figure else "As reported", found.symptom)
    if figure:
        return
    notes = [f"{rule}: {RULES[rule]}" for rule in incident.breaks]
    notes += [str(incident.why), *(finding.text for finding in found.rules)]
    yield Section(title="Which rule broke", notes=tuple(notes))
    yield Section(title="What binds", notes=tuple(binding_lines(found.explanation)))
    fix = tuple((path, _shown(value), "") for path, value in _paths(incident.fix))
    yield Section(title="The fix of the source", columns=("", "", ""), rows=fix)
    yield _ranges("After that fix", (*found.fixed, *found.after_fix), gone=len(found.fixed))
    yield from _answer(found)


def _answer(found: Reproduction) -> Iterator[Section]:
    incident, recommendation = found.incident, found.recommendation
    title = "What qtune recommends"
    if incident.not_recommended is not None:
        yield Section(title=title, notes=(f"nothing: {incident.not_recommended}",))
    elif recommendation is None:
        yield Section(title=title, notes=(found.refusal or "it was not asked",))
    else:
        rows = tuple(
            (".".join(map(yaml_name, path.split("."))), setting_text(recommendation.scenario, path))
            for path in recommendation.settings
        )
        asked = f"told the workload, the queue, the client and {recommendation.targets}"
        yield Section(title=title, rows=rows, notes=(asked,))
        yield _ranges("With that setting", found.answer)


def describe_survey(found: Survey) -> Report:
    """The tables of all incidents: each measure of a symptom as expected and simulated, then after both fixes."""
    wrong = [each.incident.id for each in found.reproductions if not each.good]
    count = format_count(len(found.reproductions), "case")
    return Report(
        title="The lab: what is reported, what a simulation shows, and what it shows after the fix",
        verdict=f"{count}, of which not as expected: {', '.join(wrong)}"
        if wrong
        else f"{count}, all as expected",
        good=found.good,
        sections=(
            Section(
                title="As reported",
                columns=("", "", "expected", "simulated"),
                rows=tuple(
                    _rows_of(found, lambda each, n: (each.symptom[n].range.text, each.symptom[n].text))
                ),
            ),
            Section(
                title="After the fix of the source, and with what qtune recommends",
                columns=("", "", "fixed", "recommended"),
                rows=tuple(
                    _rows_of(found, lambda each, n: (_text(each.fixed, n), _text(each.answer_symptom, n)))
                ),
            ),
        ),
        data=found.to_dict(),
    )


def _rows_of(
    found: Survey, cells: Callable[[Reproduction, int], tuple[str, str]]
) -> Iterator[tuple[str, str, str, str]]:
    """A row for each measure of a symptom that has any of these cells, with the id before the first of a case."""
    for each in found.reproductions:
        name = each.incident.id
        for number, observed in enumerate(each.symptom):
            if any(texts := cells(each, number)):
                yield name, yaml_name(observed.range.measure).replace("_", " "), *texts
                name = ""


def _text(observed: Sequence[Observed], number: int) -> str:
    return observed[number].text if observed else ""


def _ranges(title: str, observed: Sequence[Observed], gone: int = 0) -> Section:
    """Ranges with what the runs show; of the first ``gone`` none should hold any more."""
    rows = []
    notes = []
    for number, each in enumerate(observed):
        right = each.fails if number < gone else each.holds
        expected = f"not {each.range.text}" if number < gone else each.range.text
        name = yaml_name(each.range.measure).replace("_", " ")
        rows.append((name, expected, each.text, _YES[right], "" if number < gone else each.range.basis))
        if number >= gone:
            notes.append(f"{name}: {each.range.why} ({MEASURES[each.range.measure].meaning})")
    return Section(
        title=title, columns=("", "expected", "simulated", "so", ""), rows=tuple(rows), notes=tuple(notes)
    )


def _paths(changes: object, before: str = "") -> Iterator[tuple[str, object]]:
    """The changes of a fix by path; what belongs together, such as a renewal, is one of them."""
    if isinstance(changes, dict) and before.count(".") < 2:
        for key, value in changes.items():
            yield from _paths(value, f"{before}{key}.")
    else:
        yield before.rstrip("."), changes


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
