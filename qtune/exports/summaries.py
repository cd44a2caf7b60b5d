"""A summary as a report: the verdict first, then how late, where the time went, what it wasted and costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from qtune.analysis import Estimate, Explanation, Summary, explain
from qtune.exports.calibrations import calibration_line
from qtune.exports.quantities import interval_text, plain_number, quantity, value_text
from qtune.exports.report import Report, Section
from qtune.figures import stage_bars, stage_picture
from qtune.providers import client_name
from qtune.scenario import Scenario
from qtune.units import format_count, format_duration, format_fraction

PERCENTS: Final = (50, 95, 99)

_WORK: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("goodput_per_s", "goodput", "", "messages completed"),
    ("amplification", "amplification", "", "deliveries a message"),
    ("duplicates", "duplicates", "share", "of the messages, handled with success twice or more"),
    ("lost_locks", "lost locks", "", "in a run"),
    ("wasted_handler_calls", "wasted handler calls", "", "in a run, done after the lock was lost"),
    ("dead_letters", "dead letters", "", "in a run"),
    ("expired", "expired", "", "in a run"),
    ("rejected", "rejected", "", "in a run"),
    ("error_rate", "error rate", "share", "of the messages, dead-lettered, expired or rejected"),
    ("backlog_most", "largest backlog", "", "messages that no one holds"),
)
_USE: Final = (
    ("utilization", "workers", "share", "of the time in handlers"),
    (
        "client_core_utilization",
        "cores",
        "share",
        "of the time, for the client library and what handlers need of them",
    ),
    ("batch_efficiency", "batches", "share", "of the largest receive, when one brings messages"),
    ("empty_receives_per_s", "empty receives", "", "calls that bring nothing"),
    ("refused_calls_per_s", "refused calls", "", "attempts that were throttled or failed"),
    ("calls_per_message", "calls", "", "a completed message, without sends"),
)


def describe_summary(summary: Summary) -> Report:
    """The report on replications of one scenario; good is None when they leave open whether it keeps up."""
    explanation = explain(summary)
    good = {"stable": True, "undecided": None}.get(summary.verdict.kind, False)
    return Report(
        title=title_of(summary),
        verdict=summary.verdict.text,
        good=good,
        figures=(stage_picture(stage_bars(summary)),),
        sections=(
            latency_section(summary),
            _stages_section(summary),
            _numbers_section("Beside the percentiles", _work_of(summary.scenario), summary.numbers),
            _numbers_section("Utilization", _use_of(summary.scenario), summary.numbers),
            _cost_section(summary),
            Section(title="What binds", notes=tuple(binding_lines(explanation))),
            Section(title="What this rests on", notes=tuple(_assumptions(summary))),
        ),
        data={
            **summary.to_dict(),
            "explanation": explanation.to_dict(),
            "priors": priors_of(summary.scenario),
        },
    )


def _work_of(scenario: Scenario) -> Iterable[tuple[str, str, str, str]]:
    """What became of the messages of a scenario."""
    for row in _WORK:
        yield row
        if row[0] == "dead_letters" and math.isfinite(scenario.semantics().dead_letter_retention_s):
            yield (
                "dead_letters_deleted",
                "deleted dead letters",
                "",
                "in a run, when their own retention ended",
            )


def _use_of(scenario: Scenario) -> Iterable[tuple[str, str, str, str]]:
    """What is used of the things that a scenario has."""
    yield from _USE
    if scenario.downstream is not None:
        if scenario.downstream.connections is not None:
            yield "downstream_utilization", "downstream", "share", "of the time of its connections"
        if scenario.downstream.rejects:
            yield "refusals", "refused attempts", "", "in a run, by the downstream"
    if scenario.handler.circuit_breaker is not None:
        yield "breaker_openings", "circuit breaker", "", "openings in a run, of all instances"
        yield "breaker_rejections", "rejected attempts", "", "in a run, by an open circuit breaker"


def setup_text(scenario: Scenario) -> str:
    """Queue, client and fleet in a few words."""
    consumers = scenario.consumers
    words = dict.fromkeys((scenario.queue.provider, scenario.queue.plan))
    fleet = f"{format_count(consumers.instances, 'instance')} of {format_count(consumers.workers, 'worker')}"
    if scenario.scaling is not None:
        fleet = f"up to {fleet}"
    return f"{' '.join(words)}, {client_name(scenario)}, {fleet}"


def title_of(summary: Summary) -> str:
    """What was run: the scenario's name, its setting, and how often and how long."""
    seeds = [str(seed) for seed in (summary.seeds[0], summary.seeds[-1])]
    runs = format_count(summary.replications, "replication")
    said = f"seed {seeds[0]}" if summary.replications == 1 else f"seeds {seeds[0]} to {seeds[1]}"
    return (
        f"{summary.scenario.name}: {setup_text(summary.scenario)}; "
        f"{runs} of {format_duration(summary.horizon_s)} ({said}, {', '.join(summary.sources)})"
    )


def latency_section(summary: Summary) -> Section:
    """The percentiles of the end-to-end latency, each with its interval."""
    estimates = {percent: summary.numbers[f"latency_s_p{percent}"] for percent in PERCENTS}
    heading = f"{format_fraction(summary.confidence)} interval"
    reasons = dict.fromkeys(
        "a queue that does not keep up has no percentile" if reason == summary.verdict.text else reason
        for reason in (estimate.reason for estimate in estimates.values() if not estimate.known)
    )
    rows = tuple(
        (f"p{percent}", value_text(estimate), interval_text(estimate) if estimate.known else "")
        for percent, estimate in estimates.items()
    )
    return Section(
        title="Latency, from the due time to the end of the handler",
        columns=("", "", heading),
        rows=rows,
        notes=tuple(f"no value: {reason}" for reason in reasons),
    )


def _stages_section(summary: Summary) -> Section:
    names = {"settle": "settle (after it)"}
    rows = tuple(
        (
            names.get(stage.name, stage.name),
            value_text(stage.mean_s),
            interval_text(stage.mean_s) if stage.mean_s.known else "",
            value_text(stage.p95_s),
            value_text(stage.slowest_mean_s),
        )
        for stage in summary.stages
    )
    heading = f"{format_fraction(summary.confidence)} interval"
    unknown = dict.fromkeys(stage.mean_s.reason for stage in summary.stages if not stage.mean_s.known)
    return Section(
        title="The latency by stage",
        columns=("", "mean", heading, "p95", "in slowest 5%"),
        rows=rows,
        notes=tuple(f"no value: {reason}" for reason in unknown),
    )


def _numbers_section(
    title: str, rows: Iterable[tuple[str, str, str, str]], numbers: Mapping[str, Estimate]
) -> Section:
    shown = tuple((label, number_text(numbers[name], unit), said) for name, label, unit, said in rows)
    return Section(title=title, rows=shown)


def number_text(estimate: Estimate, unit: str = "") -> str:
    """A value with its interval in brackets where it has one that is wider than what is shown of it."""
    value = value_text(estimate, unit)
    if not estimate.known:
        return f"{value}: {estimate.reason}"
    interval = interval_text(estimate, unit)
    plain = not interval or interval == estimate.reason or interval == f"{value} to {value}"
    return value if plain else f"{value} ({interval})"


def _cost_section(summary: Summary) -> Section:
    cost, instances = summary.cost, summary.scenario.consumers.instances
    running = f"{instances} running"
    if summary.scenario.fleet_varies:
        running = f"up to {instances}, as they come and go"
    billed = f"{plain_number(cost.requests_per_month.value)} billed"
    each = f"{value_text(cost.million_messages_usd)} a million messages"
    return Section(
        title="Cost a month",
        rows=(
            ("requests", number_text(cost.requests_usd), billed),
            *(
                (f"  {kind}", "", f"{plain_number(count.value)} billed")
                for kind, count in cost.by_kind.items()
                if count.value > 0.0
            ),
            ("capacity", quantity(cost.capacity_usd, "USD"), "namespaces or messaging units"),
            (
                "instances",
                quantity(cost.compute_usd, "USD"),
                running,
            ),
            ("total", number_text(cost.month_usd), each),
        ),
    )


def binding_lines(explanation: Explanation) -> list[str]:
    """The explanation without its verdict, a line each."""
    return explanation.text.splitlines()[1:]


def _assumptions(summary: Summary) -> list[str]:
    lines = [f"warm-up: {format_duration(summary.warm_up.cut_s)} left out ({summary.warm_up.reason})"]
    if summary.note:
        lines.append(summary.note)
    return [*lines, *model_lines(summary.scenario), *(f"cost: {line}" for line in summary.cost.assumptions)]


def priors_of(scenario: Scenario) -> list[str]:
    """The parameters in use that nobody has measured for this provider, sorted."""
    return sorted(scenario.priors())


def model_lines(scenario: Scenario) -> list[str]:
    """What the provider model is worth: how far it was off, and what nobody has measured, a line each."""
    names = priors_of(scenario)
    model = scenario.provider_model()
    lines = [] if model.calibration is None else [calibration_line(model.name, model.calibration)]
    if not names:
        return lines
    if model.calibration is not None:
        return [*lines, f"its runs did not tell {', '.join(names)}: assumed, as `qtune models` says"]
    return [
        f"priors: {', '.join(names)} of the model {model.name} {model.version}: assumed, as nobody has "
        f"measured them; `qtune models {model.name}` says from what",
    ]
