"""From a scenario to the adapter that runs it for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from qtune.adapters.base import QueueAdapter
from qtune.adapters.memory import MemoryAdapter
from qtune.adapters.servicebus import ServiceBusAdapter
from qtune.adapters.sqs import SqsAdapter
from qtune.errors import InputError, Problem, did_you_mean
from qtune.scenario import Scenario


def _memory(scenario: Scenario, endpoint: str | None, fields: dict[str, Any]) -> QueueAdapter:
    if endpoint is not None:
        message = "a queue in memory is nowhere else: leave the endpoint out"
        raise InputError(Problem(where="endpoint", value=endpoint, message=message))
    return MemoryAdapter(**{name: fields[name] for name in ("queue", "existing", "takes_over")})


def _sqs(scenario: Scenario, endpoint: str | None, fields: dict[str, Any]) -> QueueAdapter:
    pool = scenario.behaviour().pool_connections or None
    return SqsAdapter(endpoint_url=endpoint, max_pool_connections=pool, **fields)


def _servicebus(scenario: Scenario, endpoint: str | None, fields: dict[str, Any]) -> QueueAdapter:
    """A namespace has no port in its name, and an emulator has."""
    if endpoint is None or ":" in endpoint:
        return ServiceBusAdapter(emulator=endpoint, **fields)
    return ServiceBusAdapter(namespace=endpoint, **fields)


_ADAPTERS: Final[Mapping[str, Callable[[Scenario, str | None, dict[str, Any]], QueueAdapter]]] = {
    "memory": _memory,
    "sqs": _sqs,
    "servicebus": _servicebus,
}


def adapter_of(
    scenario: Scenario, *, endpoint: str | None = None, queue: str | None = None, takes_over: bool = False
) -> QueueAdapter:
    """The adapter for the scenario's queue.

    endpoint: where the provider is. SQS: the URL of a server; None: AWS, as boto3 is configured. Service Bus: the name
        of a namespace, whose identity azure-identity finds, or "host:port" of `qtune emulator servicebus`; None: the
        connection string in the environment variable SERVICEBUS_CONNECTION_STRING. Memory: None.
    queue: the name of a queue that is there already, to use instead of one of the run's own; takes_over: although it
        holds messages, which are deleted.
    InputError for a provider without an adapter.
    """
    provider = scenario.queue.provider
    if provider not in _ADAPTERS:
        message = f"there are adapters for {', '.join(_ADAPTERS)}.{did_you_mean(provider, _ADAPTERS)}"
        raise InputError(Problem(where="queue.provider", value=provider, message=message))
    consumers = scenario.consumers
    return _ADAPTERS[provider](
        scenario,
        endpoint,
        {
            "queue": scenario.queue,
            "existing": queue,
            "takes_over": takes_over,
            "retry_mode": consumers.retry_mode,
            "max_attempts": consumers.max_attempts,
        },
    )
