"""From a scenario to the adapter that runs it for real."""

from __future__ import annotations

from qtune.adapters.base import QueueAdapter
from qtune.adapters.memory import MemoryAdapter
from qtune.errors import InputError, Problem
from qtune.scenario import Scenario


def adapter_of(
    scenario: Scenario, *, endpoint: str | None = None, queue: str | None = None, takes_over: bool = False
) -> QueueAdapter:
    """The adapter for the scenario's queue.

    endpoint: where the provider is; None: where its SDK looks by itself. queue: a queue that is there already, to use
    instead of one of the run's own; takes_over: although it holds messages, which are deleted.
    InputError for a provider without an adapter, and for an endpoint of a queue that is in memory.
    """
    provider = scenario.queue.provider
    if provider != "memory":
        message = "this provider has no adapter here: measure a queue of memory"
        raise InputError(Problem(where="queue.provider", value=provider, message=message))
    if endpoint is not None:
        message = "a queue in memory is nowhere else: leave the endpoint out"
        raise InputError(Problem(where="endpoint", value=endpoint, message=message))
    return MemoryAdapter(queue=scenario.queue, existing=queue, takes_over=takes_over)  # type: ignore[arg-type]
