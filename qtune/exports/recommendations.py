"""A recommendation as a report: what to set, what that gives, what else was seen, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qtune.analysis import Estimate
from qtune.exports.quantities import interval_text, plain_number, quantity, value_text
from qtune.exports.report import Report, Section
from qtune.exports.summaries import PERCENTS, binding_lines, model_lines, setup_text
from qtune.figures import cost_picture, cost_points, stage_bars, stage_picture
from qtune.recommendation import Candidate, Check, Headroom, Recommendation
from qtune.records import yaml_name
from qtune.scenario import Scenario
from qtune.units import format_count, format_duration, format_fraction
from qtune.writing import plain

_UNITS = {"s": "s", "per_s": "1/s", "fraction": "share", "usd_per_month": "USD", "per_day": "1"}
_MOST_OTHERS = 6


def describe_recommendation(found: Recommendation) -> Report:
    """The report on a recommendation: what to use and what that gives, then what else was seen and why."""
    return Report(
        title=f"{found.scenario.name}: {setup_text(found.scenario)}",
        verdict=_verdict(found),
        good=True,
        figures=(cost_picture(cost_points(found)), stage_picture(stage_bars(found.summary))),
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
    return f"the cheapest setting found that meets {format_count(len(judged), 'target')}{rest}"


def _sections(found: Recommendation) -> Iterator[Section]:
    yield Section(title="How it was found", notes=_looked_at(found))
    yield Section(title="Use", columns=("", "now", ""), rows=tuple(_setting_rows(found)))
    yield Section(
        title="Targets",
        columns=("", "", "predicted", ""),
        rows=tuple(_check_row(check) for check in found.checks),
    )
    yield _predicted_section(found)
    yield _others_section(found, "Runners-up and near misses, by the runs of the search", found.runners_up)
    seen = [candidate.scenario for candidate in found.runners_up]
    others = tuple(candidate for candidate in found.failed if candidate.scenario not in seen)
    yield _others_section(found, "Tried, and no answer", others)
    yield Section(title="What binds", notes=tuple(binding_lines(found.explanation)))
    yield Section(title="More load, and a pause", notes=(_headroom_text(found.headroom), found.probe.text))
    yield Section(title="What this rests on", notes=(*model_lines(found.scenario), *found.assumptions))


def _looked_at(found: Recommendation) -> tuple[str, ...]:
    effort = found.effort
    looked_at = f"{format_count(effort.candidates, 'setting')} in {format_count(effort.runs, 'run')}"
    took = f"{effort.messages:,} simulated messages in {format_duration(effort.wall_s)}"
    return (f"{looked_at}, {took}", *found.notes)


def _others_section(found: Recommendation, title: str, others: tuple[Candidate, ...]) -> Section:
    rows = tuple(
        (
            value_text(candidate.month_usd) if candidate.month_usd.known else "",
            candidate.fate,
            ": ".join(part for part in (_difference_text(found, candidate), candidate.reason) if part),
        )
        for candidate in others[:_MOST_OTHERS]
    )
    more = others[_MOST_OTHERS:]
    notes = (f"{len(more)} more in --json",) if more else ()
    return Section(
        title=title,
        columns=("a month", "", "where it differs from the answer") if rows else (),
        rows=rows,
        notes=notes if rows else ("none",),
    )


def _difference_text(found: Recommendation, candidate: Candidate) -> str:
    """The settings of a candidate that are not those of the answer."""
    parts = []
    for path in dict.fromkeys([*found.settings, *candidate.settings]):
        ours, its = setting_text(found.scenario, path), setting_text(candidate.scenario, path)
        name = yaml_name(path.split(".")[-1])
        if its != ours:
            parts.append(f"{name}={its}" if its else f"no {name}")
    return ", ".join(parts)


def setting_text(scenario: Scenario, path: str) -> str:
    """The value at a path such as "consumers.receive_wait_s" as a scenario file has it; "" when it is not set."""
    value: object = plain(scenario)
    for name in path.split("."):
        value = value.get(yaml_name(name)) if isinstance(value, dict) else None
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
    return "" if value is None else str(value)


def _headroom_text(headroom: Headroom) -> str:
    takes = f"every target is met up to {plain_number(headroom.factor)} times the load"
    if not math.isfinite(headroom.breaks_at):
        return f"{takes}; none broke in the range that was searched"
    return f"{takes}; at {plain_number(headroom.breaks_at)} times {headroom.breaks}"


def _check_row(check: Check) -> tuple[str, str, str, str]:
    unit = _UNITS[check.target.unit]
    shown = quantity(check.estimate.value, unit) if check.estimate.known else ""
    spare = "to spare" if check.margin >= 0.0 else "over"
    margin = "" if math.isnan(check.margin) else f"{format_fraction(abs(check.margin))} {spare}"
    return str(check.target), check.status, shown, check.reason or margin


def _predicted_section(found: Recommendation) -> Section:
    numbers, cost = found.summary.numbers, found.summary.cost
    shown: tuple[tuple[str, Estimate, str], ...] = (
        *((f"latency p{percent}", numbers[f"latency_s_p{percent}"], "") for percent in PERCENTS),
        ("throughput", numbers["goodput_per_s"], ""),
        ("utilization of the workers", numbers["utilization"], "share"),
        ("duplicates", numbers["duplicates"], "share"),
        ("dead letters in a run", numbers["dead_letters"], ""),
        ("cost a month", cost.month_usd, ""),
    )
    rows = tuple(
        (label, value_text(estimate, unit), interval_text(estimate, unit)) for label, estimate, unit in shown
    )
    runs = f"{format_count(len(found.seeds), 'run')} of {format_duration(found.summary.horizon_s)}"
    return Section(
        title=f"Predicted, by {runs} that did not choose it",
        columns=("", "", f"{format_fraction(found.summary.confidence)} interval"),
        rows=rows,
    )


def _setting_rows(found: Recommendation) -> Iterator[tuple[str, str, str]]:
    for path in found.settings:
        before, now = setting_text(found.asked, path), setting_text(found.scenario, path)
        said = "as it was" if before == now else f"was {before}" if before else "was not set"
        yield ".".join(yaml_name(name) for name in path.split(".")), now, said
