"""A measured run as a report, beside the simulation of the same messages where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qtune.analysis import Estimate, Summary, summarize
from qtune.exports.quantities import value_text
from qtune.exports.report import Report, Section
from qtune.exports.summaries import title_of
from qtune.figures import result_pictures
from qtune.result import Result
from qtune.units import format_duration, format_fraction

_ROWS: Final = (
    ("latency_s_p50", "latency p50", ""),
    ("latency_s_p95", "latency p95", ""),
    ("latency_s_p99", "latency p99", ""),
    ("throughput_per_s", "completed", ""),
    ("send_s_p50", "send p50", ""),
    ("send_s_p95", "send p95", ""),
    ("receive_s_p95", "receive p95", ""),
    ("settle_s_p95", "settle p95", ""),
    ("utilization", "workers busy", "share"),
    ("client_core_utilization", "cores busy", "share"),
    ("amplification", "deliveries a message", ""),
    ("duplicates", "duplicates", "share"),
    ("dead_letters", "dead letters", ""),
)


def describe_measurement(runs: Sequence[Result]) -> Report:
    """The report on a measured run, or on one and the simulated run of the same scenario and seed.

    good is None when the machine was too busy for the figures to be the queue's.
    """
    measured, simulated = runs[0], runs[1] if len(runs) > 1 else None
    summary = summarize([measured])
    beside = summarize([simulated]) if simulated is not None else None
    believable = measured.conditions is None or not measured.conditions.too_busy
    columns = ("", "measured", "simulated", "simulated is") if beside else ("", "measured")
    rows = tuple(_row(name, label, unit, summary, beside) for name, label, unit in _ROWS)
    notes = ("a receive includes what it waited for a message",)
    return Report(
        title=title_of(summary),
        verdict=summary.verdict.text,
        good=(summary.verdict.kind == "stable") if believable else None,
        sections=(
            Section(title="What was measured", columns=columns, rows=rows, notes=notes),
            conditions_section(measured),
        ),
        figures=tuple(result_pictures(measured, warm_up_s=summary.warm_up.cut_s)),
        data={
            "measured": summary.to_dict(),
            "simulated": beside and beside.to_dict(),
            "conditions": measured.conditions and measured.conditions.to_dict(),
            "versions": dict(measured.versions),
        },
    )


def _row(name: str, label: str, unit: str, summary: Summary, beside: Summary | None) -> tuple[str, ...]:
    seen = summary.numbers[name]
    if beside is None:
        return label, value_text(seen, unit)
    predicted = beside.numbers[name]
    return label, value_text(seen, unit), value_text(predicted, unit), _difference(seen, predicted)


def _difference(seen: Estimate, predicted: Estimate) -> str:
    """By how much the prediction is off, as a share of what was seen."""
    if not (seen.known and predicted.known) or seen.value <= 0.0:
        return ""
    off = predicted.value / seen.value - 1.0
    if abs(off) < 5e-4:
        return "equal"
    return f"{format_fraction(round(abs(off), 3))} {'above' if off > 0.0 else 'below'}"


def conditions_section(measured: Result) -> Section:
    """The machine, the versions and the account of a measured run."""
    its = measured.conditions
    rows = [(name, version) for name, version in measured.versions.items()]
    notes: list[str] = []
    if its is not None:
        busy = format_fraction(round(its.utilization_mean, 3))
        rows += [
            ("machine", its.machine),
            ("all cores busy", f"{busy} of the time"),
            ("clocks agree to", format_duration(its.clock_error_s)),
            ("sends begun late, p95", format_duration(its.late_s_p95)),
            ("messages sent", str(its.account.sent)),
            ("completed twice", str(its.account.completed_twice)),
            ("lost", "the provider does not say" if its.account.lost is None else str(its.account.lost)),
        ]
        if its.too_busy:
            notes.append(
                "the machine was too busy: these are its figures more than the queue's; use fewer messages a second, "
                "or another machine for the server"
            )
    return Section(title="Under which conditions", columns=(), rows=tuple(rows), notes=tuple(notes))
