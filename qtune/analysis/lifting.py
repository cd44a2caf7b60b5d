"""Ceilings of the throughput as findings, each with the smallest change of a setting that lifts it."""

from __future__ import annotations

import math
from typing import Final

from qtune.analysis.capacity import Ceiling, Resource, capacity_of
from qtune.analysis.finding import Finding
from qtune.analysis.setup import Setup, setup_of
from qtune.errors import InputError
from qtune.records import yaml_name
from qtune.scenario import Scenario
from qtune.units import format_duration, format_fraction, format_rate

ROOM: Final = 0.8
"""A ceiling is called lifted when the load uses no more than this share of it."""

_TRIES: Final = 32

CEILINGS: Final = ("R4", "R5", "R6", "R7", "R13")
"""The rules that compare the load with what a resource lets through."""

_RULES: Final = {
    "places in hand": "R5",
    "groups": "R7",
    "sessions": "R6",
    "downstream connections": "R13",
    "downstream turns": "R13",
}


def ceiling_findings(scenario: Scenario, setup: Setup, demand_per_s: float) -> list[Finding]:
    """R4 for every resource, R5 for places in hand, R6 and R7 for groups, R13 for a downstream, at a rate."""
    return [_finding(ceiling, scenario, setup, demand_per_s) for ceiling in capacity_of(setup).ceilings]


def _finding(ceiling: Ceiling, scenario: Scenario, setup: Setup, demand_per_s: float) -> Finding:
    ratio = demand_per_s / ceiling.per_s
    held, most = format_duration(ceiling.held_s), format_rate(ceiling.per_s)
    asked = f"{format_rate(demand_per_s)} is {format_fraction(ratio)} of that"
    text = f"{ceiling.places:g} {ceiling.resource}, held {held} by each message, let {most} through; {asked}"
    change, setting, value = "", None, None
    if ratio > ROOM:
        change, setting, value = _change(ceiling, scenario, setup, demand_per_s)
    return Finding(
        rule=_RULES.get(ceiling.resource, "R4"),
        subject=ceiling.resource,
        ratio=ratio,
        text=text,
        change=change,
        setting=setting,
        value=value,
    )


def _change(
    ceiling: Ceiling, scenario: Scenario, setup: Setup, demand_per_s: float
) -> tuple[str, str | None, float | None]:
    """The smallest change of one setting that gives a ceiling room for the demand, in words and as data."""
    if ceiling.resource == "sessions":
        # Each is held for the idle timeout beside the work, so that much less of it makes room.
        idle_s = setup.behaviour.session_idle_s - (ceiling.held_s - ROOM * ceiling.places / demand_per_s)
        if idle_s >= 1.0:
            setting, now = "consumers.session_idle_timeout_s", format_duration(setup.behaviour.session_idle_s)
            shorter_s = float(math.floor(idle_s))
            return f"{yaml_name(setting)}: {now} -> {format_duration(shorter_s)}", setting, shorter_s
    for candidate, at_present in _settings_of(ceiling.resource, setup):
        value = _smallest_value(scenario, candidate, at_present, ceiling.resource, demand_per_s)
        if value is not None:
            return f"{candidate}: {at_present} -> {value}", candidate, value
    return "no single setting gives it more room", None, None


def _settings_of(resource: Resource, setup: Setup) -> list[tuple[str, int]]:
    """The settings that may give a resource more places, the most fitting first, and what they are now."""
    behaviour, polls = setup.behaviour, setup.behaviour.discipline == "poll"
    workers = ("consumers.workers", setup.workers_each)
    instances = ("consumers.instances", setup.instances)
    batch = ("consumers.receive_batch", behaviour.batch)
    if resource == "client cores":
        return [instances]
    if resource == "senders" and setup.producers is not None:
        return [("producers.senders", setup.producers.senders)]
    if resource == "credits":
        return []
    if resource == "groups":
        return [batch] if polls else []
    if resource == "sessions":
        return [("consumers.sessions", behaviour.receivers), workers, instances]
    if resource == "messaging units":
        return [("queue.messaging_units", max(limit.places for limit in setup.rate_limits))]
    if resource == "broker calls":
        return [batch] if polls else []
    if setup.downstream is not None and resource in ("downstream connections", "downstream turns"):
        connections = setup.downstream.connections
        return [("downstream.connections", connections)] if connections is not None else []
    if resource == "workers":
        return [workers, instances]
    if not polls:
        prefetch = [("consumers.prefetch", behaviour.prefetch)] if behaviour.prefetch else []
        return [*prefetch, workers, instances]
    receivers = ("consumers.receivers", behaviour.receivers)
    if behaviour.credit_returned == "taken":
        return [("consumers.buffer", behaviour.in_hand_limit), receivers, instances]
    return [receivers, workers, batch, instances]


def _smallest_value(
    scenario: Scenario, setting: str, now: int, resource: Resource, demand_per_s: float
) -> int | None:
    """The least larger value of a setting that gives the resource room for the demand; None if none is near.

    Values that the scenario's rules forbid are passed over, such as receivers that do not divide the workers.
    """

    def used(value: int) -> float:
        try:
            ceiling = capacity_of(setup_of(scenario.replace(setting, value))).of(resource)
        except InputError:
            return math.inf
        return 0.0 if ceiling is None else demand_per_s / ceiling.per_s

    # A resource gains no more than in proportion to its places, so nothing below this is enough.
    least = max(math.ceil(now * used(now) / ROOM - 1e-9), now + 1)
    return next((value for value in range(least, least + _TRIES) if used(value) <= ROOM), None)


def lifted(scenario: Scenario, setup: Setup, finding: Finding) -> Scenario | None:
    """The scenario with the change that a finding asks for; None when no single setting makes it.

    A ceiling with room asks for none: it is then given twice the places.
    """
    tries: list[tuple[str, float]] = []
    if finding.setting is not None and finding.value is not None:
        tries = [(finding.setting, finding.value)]
    elif finding.rule in CEILINGS:
        ceilings = capacity_of(setup).ceilings
        resource = next((each.resource for each in ceilings if each.resource == finding.subject), None)
        tries = [(path, 2 * now) for path, now in _settings_of(resource, setup)] if resource else []
    for setting, value in tries:
        whole = float(value).is_integer() and not setting.endswith("_s")
        try:
            return scenario.replace(setting, int(value) if whole else value)
        except InputError:
            continue  # a limit of the provider, or receivers that do not divide the workers
    return None
