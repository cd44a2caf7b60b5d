"""A queue in the memory of the process, in the words of the queue-runtime crate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from qtune.consumer import Consumers
from qtune.distributions import Constant
from qtune.providers.base import CallModel, DeliverySemantics, Limit, ReceiveBehaviour, Retries
from qtune.providers.files import load_model
from qtune.providers.memory_rules import RULES
from qtune.providers.queue import (
    ClientTraits,
    Provider,
    QueueSettings,
    poll_behaviour,
    renewal_fields,
    settle_fields,
)
from qtune.providers.rules import batches_are_whole, groups_go_with_the_queue, within, without_faults
from qtune.providers.sessions import session_fields, sessions_go_with_the_queue
from qtune.records import Complaint, Count, PositiveSeconds

_CRATE = "queue-runtime 0.1.0, in-memory provider, source"
_MADE = "when a scenario is made"


class MemoryQueue(QueueSettings):
    """A bounded queue in memory.

    when_full: a send waits for room ("block") or is refused ("reject"). message_ttl_s: None: messages stay.
    session_lock_duration_s: of a queue with sessions, which it is where this is given (5min in the crate); its messages
        have no locks of their own.
    persistence_s: what it takes to write one call (a send, a receive, a settlement, a renewal) to the queue's file;
        calls write one after the other. None: the queue is in memory alone, and lost with its process.
    """

    provider: Literal["memory"] = "memory"
    max_queue_size: Count = 10_000
    when_full: Literal["block", "reject"] = "block"
    lock_duration_s: PositiveSeconds = 30.0
    max_delivery_count: Count = 3
    message_ttl_s: PositiveSeconds | None = None
    persistence_s: PositiveSeconds | None = None
    session_lock_duration_s: PositiveSeconds | None = None

    @property
    def plan(self) -> str:
        """The price plan: memory has one, which costs nothing."""
        return "memory"


def _limit(name: str, value: float, unit: str) -> Limit:
    return Limit(name=name, value=value, unit=unit, hard=True, source=_CRATE, as_of="2026-01", checked=_MADE)


LIMITS: tuple[Limit, ...] = (
    _limit("receive_batch", 100.0, "messages"),
    _limit("message_size", 10_485_760.0, "bytes"),
)
_BOUND = {limit.name: limit for limit in LIMITS}


def _half(lock_s: float) -> float:
    return 0.5 * lock_s


CLIENTS: Mapping[str, ClientTraits] = {
    "in-process": ClientTraits(
        name="in-process",
        discipline="poll",
        receivers="one",
        polling=("permits", "buffer"),
        settle=("each", "concurrent"),
        retries={"none": Retries(source=f"{_CRATE}: a call that fails is an error of its caller")},
        renew_after_s=_half,
        receive_wait_s=1.0,
        instead={
            "prefetch": "the memory queue has no prefetch: use polling: buffer with buffer: {value}",
            "credit_returned": "the memory queue has no link credit: use polling instead",
            "other_queues": "the poller of the memory queue has no other queues: leave it out",
            "max_pool_connections": "calls stay in the process and need no connection: leave it out",
            "settle_batch": "the memory queue completes one message at a time: use settle: concurrent",
        },
        sources={"receive_batch": _CRATE, "settle_batch": _CRATE},
    ),
}


def _one_writer(scenario: Any) -> Iterator[Complaint]:
    served = load_model(scenario.model or MEMORY.default_model).broker.calls_served_at_once
    if scenario.queue.persistence_s is not None and served:
        message = (
            f"the model already serves {served} calls at once, with a time for each: leave one of them out"
        )
        yield Complaint(path="queue.persistence_s", message=message)


_NOT_IN_SESSIONS = (
    *("receivers", "receive_batch", "adaptive_batch", "receive_wait_s", "polling"),
    *("buffer", "refill_at", "idle_pause_s"),
)


def _one_message_of_a_session(scenario: Any) -> Iterator[Complaint]:
    """The rule that sessions are received message by message, under one lock, and not from a file."""
    queue = scenario.queue
    if queue.session_lock_duration_s is None:
        return
    for name in _NOT_IN_SESSIONS:
        if getattr(scenario.consumers, name) is not None:
            message = (
                "a session is received message by message: leave it out, or leave session_lock_duration out"
            )
            yield Complaint(path=f"consumers.{name}", message=message, source=_CRATE)
    if "lock_duration_s" in queue.model_fields_set:
        message = (
            "the lock of a session is that of its messages: leave it out, or leave session_lock_duration out"
        )
        yield Complaint(path="queue.lock_duration_s", message=message, source=_CRATE)
    if queue.persistence_s is not None:
        message = (
            "what a session writes to a file is not known: leave it out, or leave session_lock_duration out"
        )
        yield Complaint(path="queue.persistence_s", message=message, source=_CRATE)


class Memory(Provider):
    """A queue in the memory of one process."""

    name = "memory"
    queue_type = MemoryQueue
    limits = LIMITS
    rules = RULES
    clients = CLIENTS
    default_client = "in-process"
    default_model = "memory"
    checks = (
        within("consumers.receive_batch", _BOUND["receive_batch"]),
        within("message_size_bytes", _BOUND["message_size"]),
        batches_are_whole(_CRATE),
        _one_writer,
        without_faults(
            network="calls stay in the process: use slow_broker",
            drop_connections="calls stay in the process, and have no connections: use outage",
        ),
        groups_go_with_the_queue(lambda queue: False),
        sessions_go_with_the_queue(
            lambda queue: queue.session_lock_duration_s is not None,
            "leave it out, or set session_lock_duration: 5min",
            _CRATE,
        ),
        _one_message_of_a_session,
    )

    def semantics(self, queue: Any) -> DeliverySemantics:
        """A lock with a delivery count; a message whose lock ran out goes to the back of the queue.

        In a session, which has one lock, it is the next one again.
        """
        session_lock_s = queue.session_lock_duration_s
        return DeliverySemantics(
            lock_s=queue.lock_duration_s if session_lock_s is None else session_lock_s,
            hands_out="by age" if session_lock_s is None else "by session",
            max_deliveries=queue.max_delivery_count,
            retention_s=math.inf if queue.message_ttl_s is None else queue.message_ttl_s,
            capacity_messages=queue.max_queue_size,
            rejects_when_full=queue.when_full == "reject",
            redelivers_first=False,
        )

    def calls(self, queue: Any, model: CallModel) -> CallModel:
        """A file is written by one call at a time."""
        if queue.persistence_s is None:
            return model
        return replace(model, calls_served_at_once=1, call_service=Constant(value=queue.persistence_s))

    def behaviour(self, queue: Any, consumers: Consumers) -> ReceiveBehaviour:
        """One poller in the process, which feeds all workers; or a receiver for each session that is held."""
        traits = self.clients["in-process"]
        lock_s = self.semantics(queue).lock_s
        if queue.session_lock_duration_s is None:
            return poll_behaviour(consumers, traits, lock_s=lock_s, receivers=1)
        wait_s = traits.receive_wait_s
        held = session_fields(consumers, idle_s=wait_s, accept_wait_s=wait_s)
        return ReceiveBehaviour(
            wait_s=wait_s,
            drops_expired=consumers.drop_expired,
            cores=consumers.cores,
            **settle_fields(consumers, traits),
            **{**renewal_fields(consumers, traits, lock_s), **held},
        )


MEMORY = Memory()
