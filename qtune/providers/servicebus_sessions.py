"""Sessions of Azure Service Bus: what its clients have of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from qtune.consumer import Consumers
from qtune.providers.servicebus_functions import FUNCTIONS
from qtune.providers.sessions import session_fields, sessions_go_with_the_queue
from qtune.records import Complaint

TRY_TIMEOUT_S: Final = 60.0
"""How long a processor asks for a session before it asks again, and by default waits in one for a message."""

_PROCESSOR = "Azure.Messaging.ServiceBus (.NET), ServiceBusSessionProcessorOptions"

sessions_fit_the_queue = sessions_go_with_the_queue(
    lambda queue: queue.requires_session,
    "leave it out, or set requires_session: true",
    "Azure documentation, Service Bus message sessions, as of 2021-04",
)


def processor_fields(consumers: Consumers) -> dict[str, Any]:
    """The part of a ReceiveBehaviour that sessions decide for a processor."""
    return session_fields(consumers, idle_s=TRY_TIMEOUT_S, accept_wait_s=TRY_TIMEOUT_S)


def client_has_sessions(scenario: Any) -> Iterator[Complaint]:
    """The rule that only a processor holds sessions, which gets credit back when a message is settled."""
    consumers = scenario.consumers
    if not scenario.queue.requires_session:
        return
    if consumers.client not in ("azure-processor", FUNCTIONS):
        message = f"of the clients only azure-processor and {FUNCTIONS} are simulated with sessions: set one of them"
        yield Complaint(path="consumers.client", message=message)
    if consumers.credit_returned == "taken":
        message = "in a session credit comes back when a message is settled: leave it out"
        yield Complaint(path="consumers.credit_returned", message=message, source=_PROCESSOR)
