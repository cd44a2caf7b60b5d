"""A queue in the memory of the process, in the words of the queue-runtime crate, for development and tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from qtune.consumer import Consumers
from qtune.providers.base import DeliverySemantics, Limit, ReceiveBehaviour
from qtune.providers.queue import ClientTraits, Provider, QueueSettings, poll_behaviour
from qtune.providers.rules import within
from qtune.records import Complaint, Count, PositiveSeconds

_CRATE = "queue-runtime 0.1.0, in-memory provider, source"
_MADE = "when a scenario is made"


class MemoryQueue(QueueSettings):
    """A bounded queue in memory. when_full: a send waits for room, or is refused; message_ttl_s: None = for ever."""

    provider: Literal["memory"] = "memory"
    max_queue_size: Count = 10_000
    when_full: Literal["block", "reject"] = "block"
    lock_duration_s: PositiveSeconds = 30.0
    max_delivery_count: Count = 3
    message_ttl_s: PositiveSeconds | None = None

    @property
    def plan(self) -> str:
        """The price plan: memory has one, which costs nothing."""
        return "memory"


LIMITS: tuple[Limit, ...] = (
    Limit(
        name="receive_batch", value=100.0, unit="messages", hard=True, source=_CRATE, as_of="2026-01", checked=_MADE
    ),
    Limit(
        name="message_size", value=10_485_760.0, unit="bytes", hard=True, source=_CRATE, as_of="2026-01", checked=_MADE
    ),
)  # fmt: skip


def _half(lock_s: float) -> float:
    return 0.5 * lock_s


CLIENTS: Mapping[str, ClientTraits] = {
    "in-process": ClientTraits(
        name="in-process",
        discipline="poll",
        receive_calls=True,
        receivers="one",
        polling=("permits", "buffer"),
        settle=("each", "concurrent"),
        renew_after_s=_half,
        receive_wait_s=1.0,
        instead={
            "prefetch": "the memory queue has no prefetch: use polling: buffer with buffer: {value}",
            "credit_returned": "the memory queue has no link credit: how early a place is free follows from polling",
            "settle_batch": "the memory queue completes one message at a time: use settle: concurrent",
        },
        sources={"receive_batch": _CRATE, "settle_batch": _CRATE},
    ),
}


class Memory(Provider):
    """A queue in the memory of one process."""

    name = "memory"
    queue_type = MemoryQueue
    limits = LIMITS
    clients = CLIENTS
    default_client = "in-process"
    default_model = "memory"

    def semantics(self, queue: Any) -> DeliverySemantics:
        """A lock with a delivery count; a message whose lock ran out goes to the back of the queue."""
        return DeliverySemantics(
            lock_s=queue.lock_duration_s,
            max_deliveries=queue.max_delivery_count,
            retention_s=math.inf if queue.message_ttl_s is None else queue.message_ttl_s,
            capacity_messages=queue.max_queue_size,
            rejects_when_full=queue.when_full == "reject",
            redelivers_first=False,
        )

    def behaviour(self, queue: Any, consumers: Consumers) -> ReceiveBehaviour:
        """One poller in the process, which feeds all workers."""
        return poll_behaviour(consumers, self.clients["in-process"], lock_s=queue.lock_duration_s, receivers=1)


MEMORY = Memory()

Memory.checks = (
    within("consumers.receive_batch", MEMORY.limit("receive_batch")),
    within("message_size_bytes", MEMORY.limit("message_size")),
)
