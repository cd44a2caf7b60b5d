"""Amazon SQS standard queues in SQS's words, the boto3 client, and the quotas that bear on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from qtune.consumer import Consumers
from qtune.providers.base import DeliverySemantics, Limit, ReceiveBehaviour
from qtune.providers.queue import Check, ClientTraits, Provider, QueueSettings, poll_behaviour
from qtune.providers.rules import some_lock, within
from qtune.records import Count, Seconds

_MODEL = "botocore 1.44.8, service model of SQS"
_QUOTAS = "Amazon SQS Developer Guide, quotas of standard queues and of messages"
_MADE = "when a scenario is made"


class SqsQueue(QueueSettings):
    """A standard queue. max_receive_count: that of the redrive policy; None: no dead-letter queue."""

    provider: Literal["sqs"] = "sqs"
    type: Literal["standard"] = "standard"
    visibility_timeout_s: Seconds = 30.0
    max_receive_count: Count | None = None
    message_retention_s: Seconds = 345_600.0

    @property
    def plan(self) -> str:
        """The price plan: that of the queue type."""
        return self.type


def _limit(name: str, value: float, unit: str, **rest: Any) -> Limit:
    fields = {"hard": True, "source": _MODEL, "as_of": "2026-11", "checked": _MADE, **rest}
    return Limit(name=name, value=value, unit=unit, **fields)


LIMITS: tuple[Limit, ...] = (
    _limit("visibility_timeout", 43_200.0, "s"),
    _limit("message_retention", 1_209_600.0, "s"),
    _limit("shortest message_retention", 60.0, "s", sense="at least"),
    _limit("receive_batch", 10.0, "messages"),
    _limit("receive_wait", 20.0, "s"),
    _limit("settle_batch", 10.0, "messages"),
    _limit("message_size", 1_048_576.0, "bytes", source=_QUOTAS),
    _limit("smallest message_size", 1.0, "bytes", sense="at least", source=_QUOTAS),
    _limit("messages in flight", 120_000.0, "messages", hard=False, source=_QUOTAS),
    _limit(
        "payload of a send batch", 1_048_576.0, "bytes", checked="nowhere", modelled=False,
        reason="producers send single messages; a batch of sends is not simulated",
    ),
    _limit(
        "delay", 900.0, "s", checked="nowhere", modelled=False,
        reason="delayed messages are not simulated",
    ),
    _limit(
        "servers that a short poll asks", float("nan"), "servers", source="Amazon SQS Developer Guide, short polling",
        as_of="2020-12", checked="nowhere", modelled=False,
        reason="receive_wait: 0s asks a random part of the servers, which may miss messages that are there; "
        "simulated polls never miss, so a simulated short poll is too good on a queue of few messages",
    ),
    _limit(
        "duplicates without a timeout", float("nan"), "messages", source="Amazon SQS API Reference, DeleteMessage",
        as_of="2026-11", checked="nowhere", modelled=False,
        reason="a server that was down can deliver a deleted message again; AWS states no rate, so none is simulated",
    ),
)  # fmt: skip


def _half(lock_s: float) -> float:
    return 0.5 * lock_s


CLIENTS: Mapping[str, ClientTraits] = {
    "boto3": ClientTraits(
        name="boto3",
        discipline="poll",
        receive_calls=True,
        receivers="any",
        polling=("loop", "permits", "buffer"),
        settle=("each", "batch", "concurrent"),
        renew_after_s=_half,
        receive_wait_s=0.0,
        instead={
            "prefetch": "SQS has no prefetch: a client-side buffer does that, polling: buffer with buffer: {value}",
            "credit_returned": "SQS has no link credit: how early a place is free again follows from polling",
        },
        sources={
            "receive_wait_s": f"{_MODEL}: ReceiveMessageWaitTimeSeconds is 0 by default",
            "receive_batch": f"{_MODEL}: MaxNumberOfMessages is 1 by default",
            "renew_after_s": "Amazon SQS Developer Guide: extend by 2 min every 1 min, so after half the timeout",
        },
    ),
}


class Sqs(Provider):
    """Amazon SQS, standard queues."""

    name = "sqs"
    queue_type = SqsQueue
    limits = LIMITS
    clients = CLIENTS
    default_client = "boto3"
    default_model = "sqs"

    def semantics(self, queue: Any) -> DeliverySemantics:
        """A visibility timeout is a lock; a message received max_receive_count times moves to the dead letters."""
        return DeliverySemantics(
            lock_s=queue.visibility_timeout_s,
            max_deliveries=queue.max_receive_count or 0,
            retention_s=queue.message_retention_s,
            capacity_messages=0,
            rejects_when_full=False,
            redelivers_first=False,
        )

    def behaviour(self, queue: Any, consumers: Consumers) -> ReceiveBehaviour:
        """A receive loop for each worker, or one poller that feeds all workers by permits or through a buffer."""
        own_loops = (consumers.polling or "loop") == "loop"
        return poll_behaviour(
            consumers,
            self.clients["boto3"],
            lock_s=queue.visibility_timeout_s,
            receivers=consumers.receivers or (consumers.workers if own_loops else 1),
            settle_batch=10,
        )


SQS = Sqs()

Sqs.checks = (
    some_lock("queue.visibility_timeout_s"),
    within("queue.visibility_timeout_s", SQS.limit("visibility_timeout")),
    within("queue.message_retention_s", SQS.limit("message_retention")),
    within("queue.message_retention_s", SQS.limit("shortest message_retention")),
    within("consumers.receive_batch", SQS.limit("receive_batch")),
    within("consumers.receive_wait_s", SQS.limit("receive_wait")),
    within("consumers.settle_batch", SQS.limit("settle_batch")),
    within("message_size_bytes", SQS.limit("message_size")),
    within("message_size_bytes", SQS.limit("smallest message_size")),
)
