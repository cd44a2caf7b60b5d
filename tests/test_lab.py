"""The lab: each incident shows what its file says, no longer does after the fix, and is well described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qtune
from qtune.errors import InputError
from qtune.lab import (
    MEASURES,
    RULES,
    Incident,
    Range,
    incident_names,
    incidents,
    load_incident,
    reproduce,
    survey,
)
from qtune.shipped import shipped_names
from qtune.simulation import simulate

SHOWN = [incident.id for incident in incidents() if incident.not_reproduced is None]
QUICK = ("A1", "B1", "F3")
"""Those that the recommender is asked about in every run of the suite; the others are marked slow."""

WITHOUT_A_FORMULA = ("C9", "I6", "I10")
"""Cases of which the explanation has no number: a kill, a setting that does something else, a start that takes long."""

MINIMAL = """
id: X1
title: a case
grade: A
source: [https://github.com/owner/repository/issues/1]
happened: a thing
scenario:
  arrivals: {kind: burst_at_once, messages: 20}
  service_time: {family: constant, mean: 45s}
  queue: {provider: servicebus, tier: standard}
  consumers: {workers: 1, client: azure-processor, prefetch: 1000}
  horizon: 9000s
symptom:
  - {measure: dead_letters, equals: 19, basis: derived, why: ten locks}
breaks: [R1]
why: a buffer
fix: {consumers: {prefetch: 0}}
target: p95=16min
answer:
  - {measure: dead_letters, equals: 0, basis: derived, why: no buffer}
"""


@pytest.mark.parametrize("name", SHOWN)
def test_an_incident_shows_its_symptom_until_it_is_fixed(name: str) -> None:
    """Every range of a case holds in every run as reported, and in none after the fix of its source."""
    found = reproduce(load_incident(name), answer=False)
    wrong = [
        f"{each.range.measure}: {each.text}, expected {each.range.text}"
        for each in found.symptom
        if not each.holds
    ]
    wrong += [
        f"after the fix {each.range.measure} is still {each.text}" for each in found.fixed if not each.fails
    ]
    wrong += [
        f"after the fix {each.range.measure}: {each.text}, expected {each.range.text}"
        for each in found.after_fix
        if not each.holds
    ]
    assert wrong == []
    assert found.good or found.incident.target is not None


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SHOWN]
)
def test_the_recommender_takes_the_symptom_away(name: str) -> None:
    """Told only the workload and the target, the recommender finds a setting without the symptom."""
    incident = load_incident(name)
    if incident.target is None:
        assert incident.not_recommended is not None or incident.kind == "published figure"
        return
    found = reproduce(incident)
    assert found.refusal == ""
    assert [(each.range.measure, each.text) for each in found.answer if not each.holds] == []
    assert found.good


@pytest.mark.parametrize("name", SHOWN)
def test_the_broken_rule_is_explained(name: str) -> None:
    """Of each rule that a case names, the explanation has the numbers, and they say that it is broken."""
    found = reproduce(load_incident(name), answer=False)
    broken = [finding.rule for finding in found.rules if finding.broken]
    assert broken == [rule for rule in found.incident.breaks if name not in WITHOUT_A_FORMULA]


@pytest.mark.parametrize("name", ["A1", "C2", "D12", "F3", "G2"])
def test_both_engines_show_the_same(engine: str, name: str) -> None:
    """A case may be run by either engine, with the same outcome."""
    found = reproduce(load_incident(name), engine=engine, answer=False)  # type: ignore[arg-type]
    assert found.reproduced
    assert found.cured
    assert found.explanation.verdict


def test_every_file_is_in_the_list_by_its_id() -> None:
    """The list has each file of the lab once, by the id in it, and A2 comes before A10."""
    ids = [incident.id for incident in incidents()]
    assert tuple(ids) == incident_names()
    assert len(set(ids)) == len(shipped_names("lab"))
    assert ids.index("B2") < ids.index("B11") < ids.index("C1")


def test_every_case_says_from_where_and_every_rule_is_known() -> None:
    """Each case has a link to its source and names rules that are known; one of grade B names what it assumes."""
    for incident in incidents():
        assert all(link.startswith("https://") for link in incident.source)
        assert set(incident.breaks) <= RULES.keys()
        assert incident.grade != "B" or incident.assumed or incident.not_reproduced


def test_an_incident_can_be_a_file(tmp_path: Path) -> None:
    """A case of one's own is a file like the shipped ones, and is run in the same way."""
    file = tmp_path / "mine.yaml"
    file.write_text(MINIMAL, encoding="utf-8")
    found = reproduce(load_incident(file))
    assert found.good
    assert found.recommendation is not None
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "measure: dead_letters, equals: 19",
            "measure: dead_leters, equals: 19",
            'Did you mean "dead_letters"?',
        ),
        ("equals: 19", "at_least: 19, equals: 19", "give either equals, or at_least, at_most or both"),
        ("equals: 19", "within: 5%, at_least: 19", "this belongs to equals"),
        ("equals: 19", "at_least: 20, at_most: 19", "this is more than at_most (19)"),
        ("equals: 19", 'equals: "19"', "this must be a value of dead_letters, such as 19"),
        ("dead_letters, equals: 19", "last_dead_letter_s, equals: 600m", "ambiguous"),
        ("repository/issues/1", "repository issue", "this must be a whole link"),
        ("  service_time: {family: constant, mean: 45s}", "  service_time: {family: constant}", "mean"),
        ("fix: {consumers: {prefetch: 0}}", "fix: {consumers: {prefetch: -1}}", "prefetch"),
        ("fix: {consumers: {prefetch: 0}}", "fix: {consumers: {prefetch: 1000}}", "this changes nothing"),
        ("fix: {consumers: {prefetch: 0}}", "fix: {}", "also needs fix"),
        ("target: p95=16min", "target: p95", "write a target as metric=bound"),
        ("target: p95=16min", "target: p95=16min\nnot_recommended: so", "leave this out, or target"),
        ("breaks: [R1]", "breaks: [R14]", "R13"),
        ("grade: A", "grade: B", "names what is assumed"),
        ("grade: A", "grade: A\nnot_reproduced: so", "leave this out, or scenario"),
    ],
)
def test_a_wrong_file_is_told_at_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Whatever is wrong in a case is an input error with its line."""
    assert old in MINIMAL
    file = tmp_path / "mine.yaml"
    file.write_text(MINIMAL.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_incident(file)
    assert said in str(error.value)
    assert "mine.yaml:" in str(error.value)


def test_a_case_that_cannot_be_shown_says_why() -> None:
    """A case that is not reproduced stands in the list with its reason, and cannot be run."""
    missing = [incident for incident in incidents() if incident.not_reproduced is not None]
    report = qtune.describe(incidents())
    for incident in missing:
        assert any(str(incident.not_reproduced) in note for note in report.section("Not reproduced").notes)
        with pytest.raises(InputError, match="this is not reproduced"):
            reproduce(incident)
        with pytest.raises(ValueError, match="is not reproduced"):
            _ = incident.reported


def test_a_range_holds_its_ends_and_no_nan() -> None:
    """The ends of a range belong to it, a share of its value is allowed with ``within``, and NaN is never in it."""
    about = Range(measure="last_completed_s", equals=600.0, within=0.01, basis="derived", why="so")
    assert (about.holds(594.0), about.holds(606.0), about.holds(593.9)) == (True, True, False)
    least = Range(measure="goodput_per_s", at_least="4.7/s", basis="derived", why="so")
    assert (least.holds(4.7), least.holds(4.6), least.holds(float("nan"))) == (True, False, False)
    assert (about.text, least.text) == ("10min ± 1%", "at least 4.7/s")


def run_of(**changes: Any) -> qtune.Result:
    """Four messages of 10 s at once for two workers that have two more places, under a lock of 15 s."""
    scenario = qtune.load_scenario(
        """
        arrivals: {kind: burst_at_once, messages: 4}
        service_time: {family: constant, mean: 10s}
        queue: {provider: servicebus, tier: premium, lock_duration: 15s}
        consumers: {workers: 2, client: azure-processor, prefetch: 4}
        horizon: 100s
        """
    )
    return simulate(scenario.with_(**changes) if changes else scenario)


def test_measures_count_what_their_names_say() -> None:
    """What a run of four messages shows can be told beforehand, and the measures tell it."""
    run = run_of()
    value = {name: measure.read(run) for name, measure in MEASURES.items()}
    assert value["most_busy"] == 2
    assert value["most_waiting"] == 2
    # The second two are taken after 10 s, with 5 s left; they are done after 20 s, in vain, and come back meanwhile.
    assert value["least_lock_left_s"] == pytest.approx(5.0, abs=0.2)
    assert value["repeated_share"] == 0.5
    assert value["handler_calls_per_message"] == pytest.approx((2 + value["handler_calls"] - 2) / 4)
    assert value["repeated_calls_share"] == pytest.approx(1.0 - 4.0 / value["handler_calls"])
    assert value["wasted_handler_calls"] >= 2
    assert value["completed_share"] * 4 == value["completed"]


def test_a_measure_that_a_run_does_not_show_is_nan() -> None:
    """Without a dead letter there is no instant of the last one, and no lock is overdue."""
    run = run_of(consumers={"prefetch": 0})
    for name in ("last_dead_letter_s", "longest_expired_s", "last_send_s"):
        assert np.isnan(MEASURES[name].read(run))
    assert MEASURES["completed"].read(run) == 4
    assert MEASURES["repeated_share"].read(run) == 0.0
    assert MEASURES["latency_s_p95"].read(run) == pytest.approx(20.0, abs=0.5)


def test_a_report_tells_the_whole_story() -> None:
    """A reproduction is reported with what happened, its source, the rule, the fix and the recommended setting."""
    found = reproduce(load_incident("A1"))
    report = qtune.describe(found)
    assert report.good
    assert report.verdict == "reproduced, gone after the fix of the source, gone with the recommended setting"
    titles = [section.title for section in report.sections]
    assert titles == [
        "What is reported (grade A)",
        "As reported",
        "Which rule broke",
        "What binds",
        "The fix of the source",
        "After that fix",
        "What qtune recommends",
        "With that setting",
    ]
    assert found.incident.source[0] in report.sections[0].notes
    assert ("consumers.prefetch", "0", "") in report.section("The fix of the source").rows
    json.dumps(report.data, allow_nan=False)


def test_the_lab_is_loaded_when_it_is_asked_for() -> None:
    """`qtune.lab` needs no import of its own, and is no public name beside the others."""
    assert qtune.lab.load_incident("a1").id == "A1"
    assert "lab" not in qtune.__all__
    assert isinstance(qtune.lab.incidents()[0], Incident)


def test_a_survey_has_a_row_for_every_measure() -> None:
    """All cases together are a table of what is expected and simulated, and one of what is left after the fixes."""
    cases = [load_incident(name) for name in ("A1", "C11", "G9", "T3")]
    found = survey(cases)
    assert [each.incident.id for each in found.reproductions] == ["A1", "G9", "T3"]
    assert found.good
    report = qtune.describe(found)
    assert report.verdict == "3 cases, all as expected"
    reported = report.section("As reported").rows
    assert len(reported) == sum(len(each.symptom) for each in found.reproductions)
    assert reported[0] == ("A1", "completed", "1", "1")
    after = {row[0]: row[2:] for row in report.sections[1].rows if row[0]}
    assert after == {"A1": ("20", "20"), "G9": ("0", "")}  # no answer is asked for G9, and T3 needs no fix
    json.dumps(report.data, allow_nan=False)
