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
    for where, value, given, instead in _left_out(scenario):
        if given:
            yield _only_simulated(where, value, instead)
    if adapter.in_process and consumers.instances > 1:
        message = "a queue in memory belongs to one process: use instances: 1 with more workers"
        yield Problem(where="consumers.instances", value=str(consumers.instances), message=message)
    for number, fault in enumerate(scenario.faults):
        if isinstance(fault, KillConsumers) and fault.restart_after_s is not None:
            restart = f"faults[{number}].restart_after"
            yield _only_simulated(restart, f"{fault.restart_after_s:g}s", "a kill without it")
        if isinstance(fault, PauseHandlers) or (isinstance(fault, KillConsumers) and not adapter.in_process):
            continue
        yield _only_simulated(f"faults[{number}].kind", fault.kind, "pause_handlers or kill_consumers")


def _left_out(scenario: Scenario) -> Iterator[tuple[str, str, bool, str]]:
    """Settings that a measured run has no part for: where, their value, whether they are given, and what to use."""
    behaviour, handler, semantics = scenario.behaviour(), scenario.handler, scenario.semantics()
    yield "handler.takes", "batch", handler.takes == "batch", "takes: message"
    yield "handler.circuit_breaker", "given", handler.circuit_breaker is not None, "no circuit breaker"
    yield "downstream", "given", scenario.downstream is not None, "no downstream"
    yield "scaling", "given", scenario.scaling is not None, "a fixed number of instances"
    yield "consumers.adaptive_batch", "given", behaviour.adaptive_least > 0, "receive_batch"
    yield "consumers.other_queues", "given", behaviour.other_queues > 0, "pollers of this queue alone"
    # A receiver with one worker and one message at a time keeps the order by itself.
    alone = behaviour.batch == 1 and scenario.consumers.workers == behaviour.receivers
    ordered = behaviour.keeps_order and not alone
    yield "consumers.keep_group_order", "true", ordered, "receive_batch: 1 and a receiver for each worker"
    chance = behaviour.settle_entry_failures
    yield "consumers.settle_entry_failures", str(chance), chance > 0.0, "the failures of the queue itself"
    yield "queue.delay", f"{semantics.delay_s:g}s", semantics.delay_s > 0.0, "a queue without a delay"
    yield "queue.fair", "true", semantics.hands_out == "by fairness", "fair: false"
    fast = bool(getattr(scenario.queue, "high_throughput", False))
    yield "queue.high_throughput", "true", fast, "high_throughput: false"
    if scenario.producers is not None:
        batch_from, chance = scenario.producers.batch_from, scenario.producers.entry_failures
        yield "producers.batch_from", str(batch_from), batch_from is not None, "batch alone"
        yield "producers.entry_failures", str(chance), chance > 0.0, "the failures of the queue itself"


def _only_simulated(where: str, value: str, instead: str) -> Problem:
    message = f"this is simulated, and not measured yet: use {instead} for a measured run"
    return Problem(where=where, value=value, message=message)
