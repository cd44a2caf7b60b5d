"""A verification as a report: each assertion with its outcome, the rule and the numbers that decided it."""

from __future__ import annotations

from collections import Counter

from qtune.analysis import Estimate
from qtune.exports.quantities import interval_text, value_text
from qtune.exports.report import Report, Section
from qtune.exports.summaries import model_lines, setup_text
from qtune.units import format_count, format_fraction
from qtune.verification import Assertion, Verification

_SHARES = frozenset({"overhead", "lost_locks", "late_receives", "share"})


def describe_verification(found: Verification) -> Report:
    """The report on a verification: the count of outcomes, then each assertion with its evidence."""
    counts = Counter(assertion.outcome for assertion in found.assertions)
    judged = counts["PASS"] + counts["FAIL"]
    verdict = f"{counts['PASS']} of {format_count(judged, 'assertion')} pass, {counts['FAIL']} fail; "
    verdict += f"{counts['NOT APPLICABLE']} do not apply"
    runs = f"{format_count(len(found.seeds), 'replication')} (seeds {found.seeds[0]} to {found.seeds[-1]})"
    notes = (
        f"each is judged by {runs} and intervals of {format_fraction(found.confidence)}; what they leave open fails",
        *model_lines(found.scenario),
    )
    return Report(
        title=f"{found.scenario.name}: {setup_text(found.scenario)}",
        verdict=verdict,
        good=found.holds,
        sections=(
            Section(title="Assertions", rows=tuple(_row(assertion) for assertion in found.assertions)),
            *(_evidence(assertion) for assertion in found.assertions),
            Section(title="What this rests on", notes=notes),
        ),
        data=found.to_dict(),
    )


def _row(assertion: Assertion) -> tuple[str, str, str]:
    return f"{assertion.number}", assertion.outcome, assertion.name


def _evidence(assertion: Assertion) -> Section:
    rows = tuple(
        (name.replace("_", " "), _value(name, estimate), _interval(name, estimate))
        for name, estimate in assertion.evidence.items()
    )
    return Section(
        title=f"{assertion.number} {assertion.outcome}: {assertion.statement}",
        rows=rows,
        notes=(assertion.reason,),
    )


def _unit(name: str) -> str:
    return "share" if name in _SHARES else ""


def _value(name: str, estimate: Estimate) -> str:
    return value_text(estimate, _unit(name))


def _interval(name: str, estimate: Estimate) -> str:
    text = interval_text(estimate, _unit(name))
    return "" if text == f"{_value(name, estimate)} to {_value(name, estimate)}" else text
