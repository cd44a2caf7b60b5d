"""What of a scenario can be measured on a real queue: an error for all else, never a run that leaves it out."""

from __future__ import annotations

from collections.abc import Iterator

from qtune.adapters.base import QueueAdapter
from qtune.errors import InputError, Problem
from qtune.faults import KillConsumers, PauseHandlers
from qtune.scenario import Scenario


def check_measurable(scenario: Scenario, adapter: QueueAdapter) -> None:
    """InputError with everything in the scenario that a run on this queue would not do."""
    problems = list(_problems(scenario, adapter))
    if problems:
        raise InputError(problems)


def _problems(scenario: Scenario, adapter: QueueAdapter) -> Iterator[Problem]:
    behaviour, consumers = scenario.behaviour(), scenario.consumers
    if adapter.provider != scenario.queue.provider:
        message = f"the scenario's queue is one of {scenario.queue.provider}: use its adapter"
        yield Problem(where="adapter", value=adapter.provider, message=message)
    if behaviour.discipline == "link_sliding":
        message = (
            "this client is of another language: measure with one for Python, such as azure-servicebus-7.15"
        )
        yield Problem(where="consumers.client", value=str(consumers.client), message=message)
    if scenario.handler.takes == "batch":
        yield _only_simulated("handler.takes", "batch", "takes: message")
    if scenario.downstream is not None:
        yield _only_simulated("downstream", "given", "no downstream")
    if scenario.scaling is not None:
        yield _only_simulated("scaling", scenario.scaling.kind, "a fixed number of instances")
    if behaviour.adaptive_least:
        yield _only_simulated("consumers.adaptive_batch", "given", "receive_batch")
    if adapter.in_process and consumers.instances > 1:
        message = "a queue in memory belongs to one process: use instances: 1 with more workers"
        yield Problem(where="consumers.instances", value=str(consumers.instances), message=message)
    for number, fault in enumerate(scenario.faults):
        if isinstance(fault, PauseHandlers) or (isinstance(fault, KillConsumers) and not adapter.in_process):
            continue
        yield _only_simulated(f"faults[{number}].kind", fault.kind, "pause_handlers or kill_consumers")


def _only_simulated(where: str, value: str, instead: str) -> Problem:
    message = f"this is simulated, and not measured yet: use {instead} for a measured run"
    return Problem(where=where, value=value, message=message)
