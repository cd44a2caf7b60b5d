"""Sessions of Azure Service Bus: what a queue and a client with sessions need, and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from qtune.consumer import Consumers
from qtune.providers.servicebus_functions import FUNCTIONS
from qtune.records import Complaint

TRY_TIMEOUT_S: Final = 60.0
"""How long a processor asks for a session before it asks again, and by default waits in one for a message."""

_SESSIONS = "Azure documentation, Service Bus message sessions, as of 2021-04"
_PROCESSOR = "Azure.Messaging.ServiceBus (.NET), ServiceBusSessionProcessorOptions"


def sessions_go_with_the_queue(scenario: Any) -> Iterator[Complaint]:
    """The rule that only a queue with sessions has settings of sessions, and none that contradict them."""
    queue, consumers = scenario.queue, scenario.consumers
    if not queue.requires_session:
        for name in ("sessions", "session_idle_timeout_s"):
            if getattr(consumers, name) is not None:
                message = "this queue has no sessions: leave it out, or set requires_session: true"
                yield Complaint(path=f"consumers.{name}", message=message, source=_SESSIONS)
        return
    if scenario.groups is None:
        message = "each message of a queue with sessions belongs to one: say to which, as in {kind: even, count: 100}"
        yield Complaint(path="groups", message=message, source=_SESSIONS)
    yield from _of_the_client(consumers)
    if scenario.failures.on_failure != "abandon":
        message = "a processor abandons a message whose handler fails: use on_failure: abandon"
        yield Complaint(path="failures.on_failure", message=message, source=_PROCESSOR)


def _of_the_client(consumers: Consumers) -> Iterator[Complaint]:
    if consumers.client not in ("azure-processor", FUNCTIONS):
        message = f"of the clients only azure-processor and {FUNCTIONS} are simulated with sessions: set one of them"
        yield Complaint(path="consumers.client", message=message)
    if consumers.sessions is not None and consumers.workers % consumers.sessions:
        message = f"each session has the same number of calls at a time, so it divides workers ({consumers.workers})"
        yield Complaint(path="consumers.sessions", message=message, source=_PROCESSOR)
    if consumers.credit_returned == "taken":
        message = "in a session credit comes back when a message is settled: leave it out"
        yield Complaint(path="consumers.credit_returned", message=message, source=_PROCESSOR)
    if consumers.renewal is not None and consumers.renewal.renewers is not None:
        message = "a session has one lock, which its receiver renews: leave it out"
        yield Complaint(path="consumers.renewal.renewers", message=message, source=_PROCESSOR)


def session_fields(consumers: Consumers) -> dict[str, Any]:
    """The part of a ReceiveBehaviour that sessions decide: a receiver for each that is held at a time."""
    sessions = consumers.sessions or consumers.workers
    in_hand_limit = consumers.prefetch or consumers.workers // sessions
    return {
        "receivers": sessions,
        "in_hand_limit": in_hand_limit,
        "refill_at": in_hand_limit,
        "credit_returned": "settled",
        "session_idle_s": consumers.session_idle_timeout_s or TRY_TIMEOUT_S,
        "accept_wait_s": TRY_TIMEOUT_S,
        "renews_sessions": consumers.renewal is not None,
        "renewers": 0,
    }
