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

_LOCKS: Final = {"sqs": "visibility_timeout_s", "servicebus": "lock_duration_s", "memory": "lock_duration_s"}
_LONGEST_LOCK_S: Final = {"sqs": 43_200.0, "servicebus": 300.0, "memory": 3_600.0}


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
    if provider == "servicebus":
        yield _count("consumers.prefetch", "prefetch", 0, 1_000, consumers.prefetch or 0)
    else:
        yield _count(
            "consumers.receive_batch",
            "receive batch",
            1,
            10 if provider == "sqs" else 100,
            consumers.receive_batch or 1,
        )
        wait_s = 20.0 if consumers.receive_wait_s is None else consumers.receive_wait_s
        yield _count("consumers.receive_wait_s", "receive wait, s", 0, 20, wait_s)
    yield Knob(
        path=f"queue.{_LOCKS[provider]}",
        label="lock, s" if provider != "sqs" else "visibility timeout, s",
        low=1.0,
        high=_LONGEST_LOCK_S[provider],
        value=getattr(scenario.queue, _LOCKS[provider]),
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
    """A whole number; a value beyond the usual range widens it."""
    return Knob(path=path, label=label, low=low, high=max(high, value), value=value, whole=True)
