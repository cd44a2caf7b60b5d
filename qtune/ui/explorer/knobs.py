"""What can be turned in the explorer: the settings of a scenario that its provider has, each with its range."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import qtune

LOAD: Final = "load"
"""The path of the one knob that is no setting: how many times the scenario's load comes."""

_MANTISSAS: Final = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)

_LONGEST_LOCK_S: Final = {"visibility_timeout_s": 43_200.0, "lock_duration_s": 300.0}
"""Twelve hours at SQS and five minutes at Service Bus; a scenario with a longer one widens its slider."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One slider: the setting's path, what it is called with its unit, its range, and its value now.

    whole: it takes whole numbers. is_log: its range spans several powers of ten.
    """

    path: str
    label: str
    low: float
    high: float
    value: float
    whole: bool = False
    is_log: bool = False


def knobs_of(scenario: qtune.Scenario) -> tuple[Knob, ...]:
    """The sliders of a scenario, in the order in which a message meets what they set.

    What a provider's client does not have is left out, and so is what the scenario leaves to its default in a way that
    a number cannot say.
    """
    return tuple(_knobs(scenario))


def steps_of(knob: Knob) -> tuple[float, ...]:
    """Round values from one end of a knob's range to the other, about as far apart in proportion, and its value now."""
    powers = range(math.floor(math.log10(knob.low)), math.ceil(math.log10(knob.high)) + 1)
    found = {float(f"{mantissa}e{power}") for power in powers for mantissa in _MANTISSAS}
    within = {step for step in found if knob.low <= step <= knob.high}
    if knob.whole:
        within = {float(round(step)) for step in within}
    return tuple(sorted(within | {knob.value}))


def turned(scenario: qtune.Scenario, path: str, value: float) -> qtune.Scenario:
    """The scenario with one knob at a value. InputError where it contradicts the other settings."""
    if path == LOAD:
        return scenario.scaled_load(value)
    return scenario.replace(path, value)


def _knobs(scenario: qtune.Scenario) -> Iterator[Knob]:
    consumers, provider = scenario.consumers, scenario.queue.provider
    yield Knob(path=LOAD, label="load, times", low=0.1, high=10.0, value=1.0, is_log=True)
    mean_s = getattr(scenario.service_time, "mean_s", None)
    if mean_s:
        yield Knob(
            path="service_time.mean_s",
            label="service time, s",
            low=1e-3,
            high=100.0,
            value=mean_s,
            is_log=True,
        )
    yield _count("consumers.workers", "workers of an instance", 1, 64, consumers.workers)
    if provider != "memory":
        yield _count("consumers.instances", "instances", 1, 64, consumers.instances)
    # What the scenario leaves to its client is shown as the client does it.
    behaviour = scenario.behaviour()
    if provider == "servicebus":
        yield _count("consumers.prefetch", "prefetch", 0, 1_000, behaviour.prefetch)
    else:
        most = 10 if provider == "sqs" else 100
        yield _count("consumers.receive_batch", "receive batch", 1, most, behaviour.batch)
        yield _count("consumers.receive_wait_s", "receive wait, s", 0, 20, behaviour.wait_s)
    for name, longest_s in _LONGEST_LOCK_S.items():
        lock_s = getattr(scenario.queue, name, None)
        if lock_s is not None:
            yield Knob(
                path=f"queue.{name}",
                label=f"{name.removesuffix('_s').replace('_', ' ')}, s",
                low=min(1.0, lock_s),
                high=max(longest_s, lock_s),
                value=lock_s,
                whole=provider == "sqs",
                is_log=True,
            )
    if consumers.renewal is not None:
        yield Knob(
            path="consumers.renewal.max_s",
            label="renewal, s",
            low=1.0,
            high=3_600.0,
            value=consumers.renewal.max_s,
            is_log=True,
        )


def _count(path: str, label: str, low: float, high: float, value: float) -> Knob:
    """A whole number, unless it is none now; a value beyond the usual range widens it."""
    whole = value == int(value)
    return Knob(path=path, label=label, low=low, high=max(high, value), value=value, whole=whole)
