"""Reports on a scenario and on one run: what was asked, and what its rows show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from qtune.analysis import summarize
from qtune.exports.measurements import conditions_section
from qtune.exports.report import Report, Section
from qtune.exports.summaries import latency_section, setup_text, title_of
from qtune.figures import result_pictures
from qtune.result import MESSAGE_STATES, Result
from qtune.scenario import Scenario
from qtune.units import format_duration
from qtune.writing import plain


def describe_scenario(scenario: Scenario) -> Report:
    """The report on a scenario: every setting that it has, as a file would have it."""
    written = plain(scenario)
    rows = tuple(_rows(written))
    return Report(
        title=f"{scenario.name}: {setup_text(scenario)}; {format_duration(scenario.horizon_s)}, seed {scenario.seed}",
        sections=(Section(title="Scenario", rows=rows),),
        data=written,
    )


def _rows(written: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """A line for each setting; what is written as a mapping is opened, and a list stays together."""
    for key, value in written.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", _short(value)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def describe_result(result: Result) -> Report:
    """The report on one run: what became of its messages, how long they took, and pictures of its rows."""
    summary = summarize(result)
    counts = np.bincount(result.messages["state"], minlength=len(MESSAGE_STATES))
    states = tuple((name, f"{count:,}") for name, count in zip(MESSAGE_STATES, counts, strict=True) if count)
    tables = tuple(
        (name, f"{len(result.table(name)):,}") for name in ("messages", "deliveries", "calls", "states")
    )
    sections = [
        latency_section(summary),
        Section(title="Messages at the end", rows=states),
        Section(title="Rows", rows=tables, notes=("as tables: .frame('messages') and so on",)),
    ]
    if result.conditions is not None:
        sections.append(conditions_section(result))
    return Report(
        title=title_of(summary),
        verdict=summary.verdict.text,
        good={"stable": True, "undecided": None}.get(summary.verdict.kind, False),
        figures=tuple(result_pictures(result, warm_up_s=summary.warm_up.cut_s)),
        sections=tuple(sections),
        data=summary.to_dict(),
    )
