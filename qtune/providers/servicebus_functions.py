"""The host of Azure Functions as a client of Service Bus: a processor with the defaults of host.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from qtune.consumer import Consumers, Renewal
from qtune.providers.queue import ClientTraits

FUNCTIONS: Final = "azure-functions"
RENEWS_S: Final = 300.0
"""maxAutoLockRenewalDuration of host.json, by default."""

_HOST: Final = "Azure Functions documentation, host.json of Service Bus, extension 5.x"


def with_functions(clients: Mapping[str, ClientTraits]) -> dict[str, ClientTraits]:
    """The clients of Service Bus, and the host, which dispatches single messages, or sessions, by a processor.

    Its maxConcurrentCalls is ``workers`` (16 for each core by default), its prefetchCount ``prefetch`` (0), its
    maxConcurrentSessions ``sessions`` (8), its sessionIdleTimeout ``session_idle_timeout`` (60 s, the try timeout) and
    its maxAutoLockRenewalDuration ``renewal.max`` (5 min, also where no renewal is set). Its clientRetryOptions are
    those of the processor.
    """
    processor = clients["azure-processor"]
    host = replace(
        processor,
        name=FUNCTIONS,
        sources={
            **processor.sources,
            "discipline": f"{_HOST}: prefetchCount 0, maxConcurrentCalls 16 a core; by a processor, which is assumed",
            "renewal": f"{_HOST}: maxAutoLockRenewalDuration 5 min, not for batches",
        },
    )
    return {**clients, FUNCTIONS: host}


def host_defaults(consumers: Consumers) -> Consumers:
    """The same consumers; those of the host renew for five minutes unless they say otherwise."""
    if consumers.client != FUNCTIONS or consumers.renewal is not None:
        return consumers
    return consumers.model_copy(update={"renewal": Renewal(max_s=RENEWS_S)})
