"""A recommendation as a report: what to set, what that gives, what else was seen, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qtune.analysis import Estimate
from qtune.exports.quantities import interval_text, plain_number, quantity, value_text
from qtune.exports.report import Report, Section
from qtune.exports.summaries import binding_lines, latency_section, number_text, prior_lines, setup_text
from qtune.recommendation import Candidate, Check, Headroom, Recommendation
from qtune.units import format_duration, format_fraction

_UNITS = {"s": "s", "per_s": "1/s", "fraction": "share", "usd_per_month": "USD", "per_day": "1"}
_MOST_OTHERS = 6


def describe_recommendation(found: Recommendation) -> Report:
    """The report on a recommendation; what to use, and what that is predicted to give, stand at its end."""
    return Report(
        title=f"{found.scenario.name}: {setup_text(found.scenario)}",
        verdict=_verdict(found),
        good=True,
        sections=tuple(_sections(found)),
        data=found.to_dict(),
    )


def _verdict(found: Recommendation) -> str:
    judged = [check for check in found.checks if check.status != "not evaluated"]
    unjudged = len(found.checks) - len(judged)
    rest = f"; {unjudged} cannot be judged by a run" if unjudged else ""
    open_checks = [check for check in judged if check.status == "open"]
    if open_checks:
        names = ", ".join(str(check.target) for check in open_checks)
        return f"the cheapest setting found; {names} lies within the uncertainty of the runs{rest}"
    return f"the cheapest setting found that meets {_count(len(judged), 'target')}{rest}"


def _sections(found: Recommendation) -> Iterator[Section]:
    yield Section(title="Looked at", notes=_looked_at(found))
    yield _others_section("Runners-up, by the runs of the search", found.runners_up)
    yield _others_section("Tried, and no answer", found.failed)
    yield Section(title="What binds", notes=tuple(binding_lines(found.explanation)))
    yield Section(title="More load, and a pause", notes=(_headroom_text(found.headroom), found.probe.text))
    yield Section(title="What this rests on", notes=tuple(_rests_on(found)))
    yield Section(
        title="Targets",
        columns=("", "status", "predicted", "margin or reason"),
        rows=tuple(_check_row(check) for check in found.checks),
    )
    yield latency_section(found.summary)
    yield _predicted_section(found)
    yield Section(title="Use", columns=("", "now", ""), rows=tuple(_setting_rows(found)))


def _looked_at(found: Recommendation) -> tuple[str, ...]:
    effort = found.effort
    looked_at = f"{_count(effort.candidates, 'setting')} in {_count(effort.runs, 'run')}"
    took = f"{effort.messages:,} simulated messages in {format_duration(effort.wall_s)}"
    return (f"{looked_at}, {took}", *found.notes)


def _others_section(title: str, others: tuple[Candidate, ...]) -> Section:
    rows = tuple(
        (
            value_text(candidate.month_usd) if candidate.month_usd.known else "",
            candidate.fate,
            ": ".join(part for part in (_settings_text(candidate), candidate.reason) if part),
        )
        for candidate in others[:_MOST_OTHERS]
    )
    more = others[_MOST_OTHERS:]
    notes = (f"{len(more)} more in --json",) if more else ()
    return Section(
        title=title,
        columns=("month", "", "") if rows else (),
        rows=rows,
        notes=notes if rows else ("none",),
    )


def _settings_text(candidate: Candidate) -> str:
    return ", ".join(f"{path.split('.')[-1]}={value}" for path, value in candidate.settings.items())


def _headroom_text(headroom: Headroom) -> str:
    takes = f"every target is met up to {plain_number(headroom.factor)} times the load"
    if not math.isfinite(headroom.breaks_at):
        return f"{takes}; none broke in the range that was searched"
    return f"{takes}; at {plain_number(headroom.breaks_at)} times {headroom.breaks}"


def _rests_on(found: Recommendation) -> list[str]:
    priors = prior_lines(found.scenario)
    return [*priors, *(line for line in found.assumptions if line not in priors)]


def _check_row(check: Check) -> tuple[str, str, str, str]:
    unit = _UNITS[check.target.unit]
    shown = quantity(check.estimate.value, unit) if check.estimate.known else ""
    margin = "" if math.isnan(check.margin) else f"{format_fraction(check.margin)} to spare"
    return str(check.target), check.status, shown, check.reason or margin


def _predicted_section(found: Recommendation) -> Section:
    numbers, cost = found.summary.numbers, found.summary.cost
    shown: tuple[tuple[str, Estimate, str], ...] = (
        ("throughput", numbers["goodput_per_s"], ""),
        ("utilization of the workers", numbers["utilization"], "share"),
        ("duplicates", numbers["duplicates"], "share"),
        ("dead letters in a run", numbers["dead_letters"], ""),
        ("cost a month", cost.month_usd, ""),
    )
    rows = tuple(
        (label, value_text(estimate, unit), _interval(estimate, unit)) for label, estimate, unit in shown
    )
    return Section(title="Predicted beside it", rows=rows)


def _interval(estimate: Estimate, unit: str) -> str:
    return interval_text(estimate, unit) if estimate.known else number_text(estimate, unit)


def _setting_rows(found: Recommendation) -> Iterator[tuple[str, str, str]]:
    for path, value in found.settings.items():
        before = _at(found.asked, path)
        yield path, str(value), "as it was" if before == str(value) else f"was {before}"


def _at(scenario: object, path: str) -> str:
    value = scenario
    for name in path.split("."):
        value = getattr(value, name, None)
    return "not set" if value is None else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
