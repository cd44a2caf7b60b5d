"""Rule R11: a message must outlast what goes wrong, whether its handler fails or nobody handles it for a while."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from qtune.analysis.dead_letters import dead_letter_findings
from qtune.analysis.finding import Finding
from qtune.faults import Outage, PauseHandlers
from qtune.scenario import Scenario
from qtune.units import format_duration, format_fraction

LOST_MOST: Final = 0.001
"""Tries are enough when no more than this share of the messages runs out of them."""

_MOST_TRIES: Final = 100


def endurance_findings(scenario: Scenario) -> Iterator[Finding]:
    """R11 for the tries of a message, and for how long it is kept; none where nothing can go wrong."""
    yield from _tries(scenario)
    yield from dead_letter_findings(scenario)
    yield from _retention(scenario)


def _tries(scenario: Scenario) -> Iterator[Finding]:
    """The chance that every try of every delivery fails, against the share that may be lost; poison stands aside."""
    failures, most = scenario.failures, scenario.semantics().max_deliveries
    if not (most and failures.rate):
        return
    attempts = failures.attempts
    lost = float(failures.rate ** (attempts * most))
    text = (
        f"{format_fraction(failures.rate)} of the tries fail: with {attempts} in a delivery and deliveries up to "
        f"{most}, {format_fraction(lost)} of the messages are dead-lettered"
    )
    change, setting, value = "", None, None
    if lost > LOST_MOST:
        enough = (n for n in range(attempts + 1, _MOST_TRIES) if failures.rate ** (n * most) <= LOST_MOST)
        value = next(enough, None)
        change = "fewer failures"
        if value is not None:
            change = f"failures.retry.attempts: {attempts} -> {value}, or more deliveries"
            setting = "failures.retry.attempts" if failures.retry else None
    yield Finding(
        rule="R11",
        subject="tries",
        ratio=lost / LOST_MOST,
        text=text,
        change=change,
        setting=setting,
        value=value if setting else None,
    )


def _retention(scenario: Scenario) -> Iterator[Finding]:
    """The longest time in which nobody takes messages, against how long the broker keeps one."""
    kept_s = scenario.semantics().retention_s
    stops = [fault.for_s for fault in scenario.faults if isinstance(fault, Outage | PauseHandlers)]
    if not stops or math.isinf(kept_s):
        return
    longest_s = max(stops)
    kept = f"the broker keeps one for {format_duration(kept_s)}"
    text = f"for {format_duration(longest_s)} nobody takes messages, and {kept}"
    change = f"keep messages for {format_duration(longest_s)} at least" if longest_s > kept_s else ""
    yield Finding(rule="R11", subject="retention", ratio=longest_s / kept_s, text=text, change=change)
