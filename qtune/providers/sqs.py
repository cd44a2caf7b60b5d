"""Amazon SQS queues in SQS's words, the boto3 client, and the quotas that bear on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from qtune.consumer import Consumers
from qtune.errors import did_you_mean
from qtune.providers.base import DeliverySemantics, Limit, Op, RateLimit, ReceiveBehaviour, Retries
from qtune.providers.files import load_model
from qtune.providers.queue import ClientTraits, Provider, QueueSettings, poll_behaviour
from qtune.providers.rules import (
    batch_payload,
    breach,
    groups_go_with_the_queue,
    some_lock,
    source_text,
    within,
)
from qtune.providers.sessions import sessions_go_with_the_queue
from qtune.providers.sqs_lambda import LAMBDA_CHECKS, LAMBDA_LIMITS
from qtune.providers.sqs_regions import AS_OF, CALLS_PER_S, QUOTAS
from qtune.providers.sqs_regions import SOURCE as REGIONS_SOURCE
from qtune.providers.sqs_rules import FAIR, RULES
from qtune.records import Complaint, Count, Seconds, Text, YesOrNo
from qtune.units import format_duration

_MODEL = "botocore 1.44.8, service model of SQS"
_QUOTAS = "Amazon SQS Developer Guide, quotas of standard queues and of messages"
_TIMEOUT = "Amazon SQS Developer Guide, visibility timeout"
_LOOK_AHEAD = "Amazon SQS Developer Guide, avoiding large backlogs with the same message group ID"
_MADE = "when a scenario is made"


RETENTION_S = 345_600.0
"""What a queue keeps its messages for by default: 4 d."""

LOOK_AHEAD = 120_000
"""Among so many of its oldest messages a FIFO queue looks for groups."""

FIFO_CALLS = 300
"""Of each action in a second, on a FIFO queue that is not in high-throughput mode."""


class SqsQueue(QueueSettings):
    """A standard or a FIFO queue.

    fair: messages are sent with a MessageGroupId, by which a standard queue puts off the tenants (``groups``) that have
    more than a tenth of the messages in flight. It costs more for each request.
    type: a FIFO queue hands out each message group in order. It answers 300 calls a second of each action, or with
    high_throughput (deduplication scope and throughput limit for each message group) as many as its region allows.
    max_receive_count: that of the redrive policy; None: no dead-letter queue. in_flight_limit: messages that can be
    received and not yet deleted at once; AWS raises it on request. delay_s: how long after it was sent a message can be
    received first, for each message of the queue. dead_letter_retention_s: the message retention of the dead-letter
    queue, counted from the first send on a standard queue; None: as long as any queue's by default. Make it longer than
    message_retention.
    """

    provider: Literal["sqs"] = "sqs"
    type: Literal["standard", "fifo"] = "standard"
    high_throughput: YesOrNo = False
    region: Text | None = None
    fair: YesOrNo = False
    visibility_timeout_s: Seconds = 30.0
    max_receive_count: Count | None = None
    message_retention_s: Seconds = RETENTION_S
    delay_s: Seconds = 0.0
    dead_letter_retention_s: Seconds | None = None
    in_flight_limit: Count = 120_000

    @property
    def plan(self) -> str:
        """The price plan: that of the queue type, or of a fair queue."""
        return "fair" if self.fair else self.type


def _limit(name: str, value: float | None, unit: str, **rest: Any) -> Limit:
    fields = {"hard": True, "source": _MODEL, "as_of": "2026-11", "checked": _MADE, **rest}
    return Limit(name=name, value=value, unit=unit, **fields)


LIMITS: tuple[Limit, ...] = (
    _limit("visibility_timeout", 43_200.0, "s"),
    _limit("message_retention", 1_209_600.0, "s"),
    _limit("shortest message_retention", 60.0, "s", sense="at least"),
    _limit("dead_letter_retention", 1_209_600.0, "s"),
    _limit("shortest dead_letter_retention", 60.0, "s", sense="at least"),
    _limit("receive_batch", 10.0, "messages"),
    _limit("receive_wait", 20.0, "s"),
    _limit("settle_batch", 10.0, "messages"),
    _limit("message_size", 1_048_576.0, "bytes", source=_QUOTAS),
    _limit("smallest message_size", 1.0, "bytes", sense="at least", source=_QUOTAS),
    _limit(
        "messages in flight", 120_000.0, "messages", hard=False, source=_QUOTAS,
        checked="when a scenario is made, and in a run",
    ),
    _limit(
        "calls of a FIFO queue", float(FIFO_CALLS), "calls/s of each action", hard=False, source=_QUOTAS,
        checked="in a run, where calls above it are throttled",
    ),
    *(
        _limit(
            f"calls of a high-throughput FIFO queue in {regions}", float(calls), "calls/s of each action",
            hard=False, source=REGIONS_SOURCE, as_of=AS_OF, checked="in a run, where calls above it are throttled",
        )
        for regions, calls in QUOTAS.items()
    ),
    _limit(
        "messages among which a FIFO queue looks for groups", float(LOOK_AHEAD), "messages", source=_LOOK_AHEAD,
        checked="in a run",
    ),
    _limit("longest lock with renewals", 43_200.0, "s", source=_TIMEOUT, as_of="2022-09"),
    _limit("send_batch", 10.0, "messages"),
    _limit("payload of a send batch", 1_048_576.0, "bytes"),
    _limit("delay", 900.0, "s"),
    _limit(
        "servers that a short poll asks", None, "servers", source="Amazon SQS Developer Guide, short polling",
        as_of="2020-12", checked="in a run, by a share that is assumed",
    ),
    _limit(
        "duplicates without a timeout", None, "messages", source="Amazon SQS API Reference, DeleteMessage",
        as_of="2026-11", checked="nowhere", modelled=False,
        reason="a server that was down can deliver a deleted message again; AWS states no rate",
    ),
    *LAMBDA_LIMITS,
)  # fmt: skip


_BOUND = {limit.name: limit for limit in LIMITS}


def _half(lock_s: float) -> float:
    return 0.5 * lock_s


def _high_throughput_has_a_region(scenario: Any) -> Iterator[Complaint]:
    queue, source = scenario.queue, f"{REGIONS_SOURCE}, as of {AS_OF}"
    if queue.high_throughput and queue.type != "fifo":
        message = (
            "only FIFO queues have this mode, and a standard queue answers any number of calls: leave it out"
        )
        yield Complaint(path="queue.high_throughput", message=message, source=source)
    if queue.high_throughput and queue.region is None:
        message = "its calls a second differ by region: say which, as in region: eu-west-1"
        yield Complaint(path="queue.region", message=message, source=source)
    elif queue.region is not None and not queue.high_throughput:
        message = "only the calls of a queue with high_throughput differ by region: leave it out"
        yield Complaint(path="queue.region", message=message, source=source)
    elif queue.region is not None and queue.region not in CALLS_PER_S:
        message = f"no region of which the quota is known.{did_you_mean(queue.region, CALLS_PER_S)}"
        yield Complaint(path="queue.region", message=message, source=source)


def _fair_queues_have_tenants(scenario: Any) -> Iterator[Complaint]:
    if not scenario.queue.fair:
        return
    if scenario.queue.type == "fifo":
        message = (
            "a FIFO queue hands out by message group and not fairly: leave it out, or use type: standard"
        )
        yield Complaint(path="queue.fair", message=message, source=FAIR)
    if scenario.groups is None:
        message = "its tenants are groups: say who sends how much, as in {kind: zipf, count: 20, exponent: 1}"
        yield Complaint(path="groups", message=message, source=FAIR)


def _some_dead_letter_queue(scenario: Any) -> Iterator[Complaint]:
    queue = scenario.queue
    if queue.dead_letter_retention_s is not None and queue.max_receive_count is None:
        message = "there is no dead-letter queue: set max_receive_count too, or leave it out"
        yield Complaint(path="queue.dead_letter_retention_s", message=message)


def _delay_ends_before_retention(scenario: Any) -> Iterator[Complaint]:
    queue = scenario.queue
    if 0.0 < queue.message_retention_s <= queue.delay_s:
        kept, source = format_duration(queue.message_retention_s), f"{_MODEL}, as of 2026-11"
        message = f"messages are deleted after {kept}, before anyone can receive them: use less"
        yield Complaint(path="queue.delay_s", message=message, source=source)


def _fleet_fits_in_flight(scenario: Any) -> Iterator[Complaint]:
    consumers = scenario.consumers
    limit = replace(_BOUND["messages in flight"], value=float(scenario.queue.in_flight_limit))
    each, in_windows = SQS.behaviour(scenario.queue, consumers), scenario.handler.window_s is not None
    holds = each.receivers * (scenario.handler.most_of(each.batch) if in_windows else each.in_hand_limit)
    message = breach(limit, consumers.instances * holds)
    if message is not None:
        held = f"{consumers.instances} instances can hold {holds} messages each"
        yield Complaint(
            path="consumers.instances", message=f"{held}, and {message}", source=source_text(limit)
        )


def _connections_take_time(scenario: Any) -> Iterator[Complaint]:
    model = load_model(scenario.model or SQS.default_model)
    if scenario.consumers.max_pool_connections is not None and model.latency.connect is None:
        message = (
            f"the model {model.name} says nothing of handshakes: give it latency.connect, or leave this out"
        )
        yield Complaint(path="consumers.max_pool_connections", message=message)


def _dead_letter_retention_s(queue: SqsQueue) -> float:
    """How long a dead letter is kept; without a dead-letter queue there is none."""
    if queue.max_receive_count is None:
        return math.inf
    return RETENTION_S if queue.dead_letter_retention_s is None else queue.dead_letter_retention_s


def _order(queue: SqsQueue) -> dict[str, Any]:
    """In which order the queue hands out."""
    if queue.type == "fifo":
        return {"hands_out": "by group", "group_window": LOOK_AHEAD}
    if not queue.fair:
        return {"hands_out": "by age"}
    return {"hands_out": "by fairness", "fair_share": 0.1, "fair_least": 30, "fair_quiet_s": 300.0}


_ACTIONS: Mapping[str, tuple[Op, ...]] = {
    "SendMessage": ("send",),
    "ReceiveMessage": ("receive",),
    "DeleteMessage": ("settle",),
    "ChangeMessageVisibility": ("abandon", "renew"),
}

_STANDARD = Retries(
    attempts=3,
    throttled_base_s=1.0,
    failed_base_s=0.05,
    ceiling_s=20.0,
    jitter=True,
    tokens=500,
    throttled_tokens=5,
    failed_tokens=14,
    source="botocore 1.44.0, source of retries/standard.py; the default mode since that version",
)

RETRIES: Mapping[str, Retries] = {
    "standard": _STANDARD,
    "legacy": Retries(
        attempts=5,
        throttled_base_s=1.0,
        failed_base_s=1.0,
        jitter=True,
        source="botocore 1.43.127, _retry.json and retryhandler.py; the default mode before 1.44.0",
    ),
    "adaptive": replace(
        _STANDARD,
        paces=True,
        source="botocore 1.44.0, source of retries/adaptive.py, throttling.py and bucket.py; experimental",
    ),
}
"""boto3's retry modes; adaptive is standard, and its client slows all its calls down after a throttled one."""

CLIENTS: Mapping[str, ClientTraits] = {
    "boto3": ClientTraits(
        name="boto3",
        discipline="poll",
        receivers="any",
        polling=("loop", "permits", "buffer"),
        settle=("each", "batch", "concurrent"),
        retries=RETRIES,
        pool_connections=10,
        renew_after_s=_half,
        receive_wait_s=0.0,
        instead={
            "prefetch": "SQS has no prefetch: use a client-side buffer, polling: buffer with buffer: {value}",
            "credit_returned": "SQS has no link credit: how early a place is free again follows from polling",
        },
        sources={
            "receive_wait_s": f"{_MODEL}: ReceiveMessageWaitTimeSeconds is 0 by default",
            "receive_batch": f"{_MODEL}: MaxNumberOfMessages is 1 by default",
            "pool_connections": "botocore 1.44.8, endpoint.py: MAX_POOL_CONNECTIONS; urllib3 2.8, connectionpool.py",
            "renew_after_s": f"{_TIMEOUT}: extend by 2 min every 1 min, so after half the timeout",
        },
    ),
}


class Sqs(Provider):
    """Amazon SQS."""

    name = "sqs"
    queue_type = SqsQueue
    limits = LIMITS
    rules = RULES
    clients = CLIENTS
    default_client = "boto3"
    default_model = "sqs"

    checks = (
        some_lock("queue.visibility_timeout_s"),
        within("queue.visibility_timeout_s", _BOUND["visibility_timeout"]),
        within("queue.message_retention_s", _BOUND["message_retention"]),
        within("queue.message_retention_s", _BOUND["shortest message_retention"]),
        within("queue.dead_letter_retention_s", _BOUND["dead_letter_retention"]),
        within("queue.dead_letter_retention_s", _BOUND["shortest dead_letter_retention"]),
        _some_dead_letter_queue,
        within("queue.delay_s", _BOUND["delay"]),
        _delay_ends_before_retention,
        within("consumers.receive_batch", _BOUND["receive_batch"]),
        within("consumers.adaptive_batch.max", _BOUND["receive_batch"]),
        within("consumers.receive_wait_s", _BOUND["receive_wait"]),
        within("consumers.settle_batch", _BOUND["settle_batch"]),
        within("producers.batch", _BOUND["send_batch"]),
        batch_payload(lambda _: _BOUND["payload of a send batch"]),
        within("message_size_bytes", _BOUND["message_size"]),
        within("message_size_bytes", _BOUND["smallest message_size"]),
        within("consumers.renewal.max_s", _BOUND["longest lock with renewals"]),
        _fleet_fits_in_flight,
        _connections_take_time,
        sessions_go_with_the_queue(
            lambda queue: False, "leave it out; message groups of a FIFO queue are no sessions"
        ),
        _fair_queues_have_tenants,
        _high_throughput_has_a_region,
        groups_go_with_the_queue(lambda queue: queue.type == "fifo"),
        *LAMBDA_CHECKS,
    )

    def semantics(self, queue: Any) -> DeliverySemantics:
        """A visibility timeout is a lock; after max_receive_count receives a message is dead-lettered.

        A FIFO queue has no error for the quota in flight, and a delete after the timeout fails there.

        A delete with the handle of a receive that has timed out succeeds on a standard queue. AWS says that it "might
        not" delete the message when that was received again since; here it does.
        """
        return DeliverySemantics(
            lock_s=queue.visibility_timeout_s,
            max_deliveries=queue.max_receive_count or 0,
            retention_s=queue.message_retention_s,
            dead_letter_retention_s=_dead_letter_retention_s(queue),
            dead_letters_age="from its dead-lettering" if queue.type == "fifo" else "from the send",
            delay_s=queue.delay_s,
            capacity_messages=0,
            rejects_when_full=False,
            redelivers_first=False,
            accepts_late=queue.type != "fifo",
            in_flight_most=queue.in_flight_limit,
            over_limit_fails=queue.type != "fifo",
            **_order(queue),
        )

    def rate_limits(self, queue: Any, model: Any, message_bytes: int) -> tuple[RateLimit, ...]:
        """A FIFO queue answers so many calls of each action a second; a standard queue any number."""
        if queue.type != "fifo":
            return ()
        each_s, where = FIFO_CALLS, "a FIFO queue"
        if queue.high_throughput:
            each_s, where = CALLS_PER_S[queue.region], f"a high-throughput FIFO queue in {queue.region}"
        return tuple(
            RateLimit(name=f"{action} calls of {where}", credits=each_s, call_cost=dict.fromkeys(ops, 1))
            for action, ops in _ACTIONS.items()
        )

    def behaviour(self, queue: Any, consumers: Consumers) -> ReceiveBehaviour:
        """A receive loop for each worker, or one poller that feeds all by permits or through a buffer."""
        own_loops = (consumers.polling or "loop") == "loop"
        return poll_behaviour(
            consumers,
            self.clients["boto3"],
            lock_s=queue.visibility_timeout_s,
            receivers=consumers.receivers or (consumers.workers if own_loops else 1),
            settle_batch=10,
            keeps_order=queue.type == "fifo" and consumers.keep_group_order is not False,
        )


SQS = Sqs()
