"""Rule R6 for sessions that come back: how many are held at the same time, and whether there are as many receivers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from qtune.analysis.capacity import handling_s
from qtune.analysis.finding import Finding
from qtune.analysis.intervals import Floats
from qtune.analysis.setup import Setup
from qtune.records import yaml_name
from qtune.scenario import Scenario
from qtune.units import format_duration


def session_findings(scenario: Scenario, setup: Setup, demand_per_s: float) -> Iterator[Finding]:
    """R6 for the receivers that open sessions want; none where each message is one of its own, or all come at once.

    With fewer receivers sessions wait for one to be closed. That costs time and not throughput: what has waited is then
    handled together.
    """
    shares = _shares(scenario)
    if setup.semantics.hands_out != "by session" or shares is None or setup.arrivals == "burst_at_once":
        return
    idle_s = setup.behaviour.session_idle_s
    wanted = held_at_once(setup, shares * demand_per_s, idle_s)
    change, setting, value = "", None, None
    if wanted > setup.receivers:
        setting = "consumers.session_idle_timeout_s"
        value = _shorter_s(setup, shares * demand_per_s)
        change = f"{setup.receivers} -> {math.ceil(wanted)} sessions at a time"
        if value is None:
            setting = None
        else:
            change = (
                f"{yaml_name(setting)}: {format_duration(idle_s)} -> {format_duration(value)}, or {change}"
            )
    yield Finding(
        rule="R6",
        subject="open sessions",
        ratio=wanted / setup.receivers,
        text=f"sessions are held {format_duration(idle_s)} beyond their last message, so that {wanted:.0f} are held at "
        f"a time; there is room for {setup.receivers}",
        change=change,
        setting=setting,
        value=value,
    )


def held_at_once(setup: Setup, rates_per_s: Floats, idle_s: float) -> float:
    """How many sessions of Poisson messages at these rates are held at a time, on average, when none has to wait.

    Let one have a messages a second, and work on them for the share r of its time. It is closed after a busy period
    when none comes within the timeout T, with the chance exp(-a T), and open again after 1 / a: so it is held for the
    share 1 - (1 - r) exp(-a T) of the time (a regenerative process with the busy periods of M/G/1).
    """
    calls = setup.workers_each // setup.behaviour.receivers
    busy = np.minimum(rates_per_s * handling_s(setup) / calls, 1.0)
    return float((1.0 - (1.0 - busy) * np.exp(-rates_per_s * idle_s)).sum())


def _shorter_s(setup: Setup, rates_per_s: Floats) -> float | None:
    """The longest timeout of whole seconds with which all open sessions are held; None if 1 s is too long."""
    if held_at_once(setup, rates_per_s, 1.0) > setup.receivers:
        return None
    low, high = 1, math.ceil(setup.behaviour.session_idle_s)
    while high - low > 1:
        middle = (low + high) // 2
        fits = held_at_once(setup, rates_per_s, float(middle)) <= setup.receivers
        low, high = (middle, high) if fits else (low, middle)
    return float(low)


def _shares(scenario: Scenario) -> Floats | None:
    """The share of the messages that each session has; None where each message is one of its own."""
    if scenario.groups is None:
        return None
    given = scenario.group_by_message()
    if given is None:
        return scenario.groups.shares()
    counts = np.bincount(given)
    return counts / counts.sum() if counts.any() else None
