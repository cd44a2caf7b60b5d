"""Azure Service Bus queues in its own words, with its clients and its quotas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from qtune.consumer import Consumers
from qtune.providers.base import DeliverySemantics, Limit, Op, RateLimit, ReceiveBehaviour, Retries
from qtune.providers.model import Traffic
from qtune.providers.queue import ClientTraits, Provider, QueueSettings, renewal_fields, settle_fields
from qtune.providers.rules import (
    batch_payload,
    batches_are_whole,
    breach,
    groups_go_with_the_queue,
    source_text,
    within,
    without_faults,
)
from qtune.providers.servicebus_credits import CREDITS, credits_fit_tier, credits_of
from qtune.providers.servicebus_functions import host_defaults, with_functions
from qtune.providers.servicebus_rules import RULES
from qtune.providers.servicebus_sessions import client_has_sessions, processor_fields, sessions_fit_the_queue
from qtune.providers.servicebus_size import SIZES, room_of, sizes_fit_tier
from qtune.records import (
    Bytes,
    Complaint,
    Count,
    CountOrZero,
    PerSecond,
    PositivePerSecond,
    PositiveSeconds,
    YesOrNo,
)

_QUOTAS = "Azure documentation, Service Bus quotas"
_PERFORMANCE = "Azure documentation, Best practices for performance improvements using Service Bus"
_PREMIUM = "Azure documentation, Service Bus premium messaging tier"
_PYTHON = "azure-servicebus 7.15.0, source"
_MADE = "when a scenario is made"

MESSAGING_UNITS = (1, 2, 4, 8, 16)


class ServiceBusQueue(QueueSettings):
    """A queue.

    requires_session: True for a queue with sessions; lock_duration is then that of a session.

    max_size_bytes: a send to a queue that holds so much is refused; None: it has room for every message.
    messaging_units: of a premium namespace; None: one. message_ttl_s: None: messages stay.
    credits_per_s: of a standard namespace; None: 1000/s. Azure raises it on request.
    credits_elsewhere_per_s: what all others in the namespace take of them, and always get: other queues, and management
        operations, 10 credits each, such as an autoscaler's questions.
    settle_credits: what a completion, an abandonment or a renewal takes of them. The documentation's table does not
        name these, so the default is 0.
    """

    provider: Literal["servicebus"] = "servicebus"
    tier: Literal["standard", "premium"]
    messaging_units: Count | None = None
    lock_duration_s: PositiveSeconds = 60.0
    max_delivery_count: Count = 10
    requires_session: YesOrNo = False
    message_ttl_s: PositiveSeconds | None = None
    max_size_bytes: Bytes | None = None
    credits_per_s: PositivePerSecond | None = None
    credits_elsewhere_per_s: PerSecond = 0.0
    settle_credits: CountOrZero = 0

    @property
    def plan(self) -> str:
        """The price plan: that of the tier."""
        return self.tier


def _limit(name: str, value: float, unit: str, **rest: Any) -> Limit:
    fields = {"hard": True, "source": _QUOTAS, "as_of": "2022-07", "checked": _MADE, **rest}
    return Limit(name=name, value=value, unit=unit, **fields)


def _unmodelled(name: str, value: float, unit: str, reason: str, **rest: Any) -> Limit:
    return _limit(name, value, unit, checked="nowhere", modelled=False, reason=reason, **rest)


LIMITS: tuple[Limit, ...] = (
    _limit("lock_duration", 300.0, "s", source=_PERFORMANCE, as_of="2025-04"),
    *SIZES,
    _limit("send batch in standard", 262_144.0, "bytes", source=_PYTHON, as_of="2026-10"),
    _limit("send batch in premium", 1_048_576.0, "bytes", source=_PYTHON, as_of="2026-10"),
    _limit("prefetch of azure-servicebus", 50_000.0, "messages", source=_PYTHON, as_of="2026-10"),
    _limit("receive requests on a queue", 5_000.0, "receivers"),
    _limit("AMQP connections of a namespace", 5_000.0, "connections"),
    _limit("messaging_units", 16.0, "messaging units", source=_PREMIUM, as_of="2021"),
    CREDITS,
    _limit(
        "traffic of a messaging unit", 4_000_000.0, "bytes/s",
        hard=False, source=_PERFORMANCE, as_of="2025-04", checked="in a run, each way, as the model in use has it",
    ),
    _unmodelled(
        "batch of sends in standard", 262_144.0, "bytes", "producers send single messages", source=_PYTHON,
        as_of="2026-10",
    ),
    _unmodelled(
        "batch of sends in premium", 1_048_576.0, "bytes", "producers send single messages", source=_PYTHON,
        as_of="2026-10",
    ),
    _unmodelled("messages of a transaction", 100.0, "messages", "transactions are not simulated"),
)  # fmt: skip


_BOUND = {limit.name: limit for limit in LIMITS}


def _units_fit_tier(scenario: Any) -> Iterator[Complaint]:
    queue = scenario.queue
    path, source = "queue.messaging_units", source_text(_BOUND["messaging_units"])
    if queue.messaging_units is None:
        return
    if queue.tier == "standard":
        yield Complaint(
            path=path,
            message="only premium has messaging units: leave it out, or use tier: premium",
            source=source,
        )
    elif queue.messaging_units not in MESSAGING_UNITS:
        yield Complaint(path=path, message="a namespace has 1, 2, 4, 8 or 16 messaging units", source=source)


def _prefetch_fits_client(scenario: Any) -> Iterator[Complaint]:
    client = scenario.consumers.client
    if client != "azure-processor":
        yield from within("consumers.prefetch", _BOUND["prefetch of azure-servicebus"])(scenario)


def _fleet_fits_namespace(scenario: Any) -> Iterator[Complaint]:
    consumers = scenario.consumers
    each = SERVICEBUS.behaviour(scenario.queue, consumers)
    for name in ("receive requests on a queue", "AMQP connections of a namespace"):
        limit = _BOUND[name]
        message = breach(limit, consumers.instances * each.receivers)
        if message is not None:
            held = f"{consumers.instances} instances open {each.receivers} receivers and connections each"
            yield Complaint(
                path="consumers.instances", message=f"{held}, and {message}", source=source_text(limit)
            )


def _python_renews_after(lock_s: float) -> float:
    """When AutoLockRenewer renews, which looks every 0.5 s: as soon as at most 10 s are left.

    A lock of up to 10.5 s is renewed when at most three quarters of its whole seconds are left, counted when
    the
    message has arrived: of a lock of 5 s these are 4, so it is renewed with 3 s left.
    """
    left_s = 10.0 if lock_s > 10.5 else 0.75 * max(0, math.ceil(lock_s) - 1)
    return 0.5 * math.ceil(2.0 * (lock_s - left_s))


def _processor_renews_after(lock_s: float) -> float:
    """When the processor renews: 10 s before the end, and half-way for locks of up to 20 s."""
    return lock_s - min(10.0, 0.5 * lock_s)


_NOT_OFFERED = {
    "polling": "Service Bus pushes messages over a link: leave polling out, and set prefetch",
    "buffer": "Service Bus has its own buffer: set prefetch: {value} instead",
    "settle_batch": "Service Bus settles one message at a time: use settle: concurrent to overlap the round trips",
    "other_queues": "a client of Service Bus has a link for each queue, and none waits for its turn: leave it out",
    "max_pool_connections": "each client of Service Bus has one connection, which stands open: leave this out",
}
_PYTHON_RETRIES = f"{_PYTHON}: _configuration.py and _get_backoff_time, without jitter"
_RETRIES: Mapping[str, Retries] = {
    "exponential": Retries(
        attempts=4, throttled_base_s=1.6, failed_base_s=1.6, ceiling_s=120.0, source=_PYTHON_RETRIES
    ),
    "fixed": Retries(attempts=4, throttled_base_s=0.8, failed_base_s=0.8, factor=1.0, source=_PYTHON_RETRIES),
}
_PROCESSOR_RETRIES: Mapping[str, Retries] = {
    "exponential": Retries(
        attempts=4,
        throttled_base_s=0.8,
        failed_base_s=0.8,
        ceiling_s=60.0,
        throttled_extra_s=10.0,
        source="Azure.Messaging.ServiceBus (.NET), ServiceBusRetryOptions and ServerBusyBaseSleepTime of 10 s; its "
        "jitter of 8 % is left out",
    ),
}
_SETTLES = "azure-sdk: AMQP has no batch settlement (JasperFx/wolverine#3494)"


def _python(name: str, *, newest: bool, source: str) -> ClientTraits:
    """A client for Python; ``newest``: from 7.15.0 on, which waits for settlements and releases its buffer."""
    return ClientTraits(
        name=name,
        discipline="link_burst",
        receivers="worker",
        settle=("each", "concurrent"),
        retries=_RETRIES,
        settlement_waits=newest,
        returns_unstarted=newest,
        renew_after_s=_python_renews_after,
        receive_wait_s=60.0,
        linger_s=0.2,
        keepalive_s=5.0,
        instead={
            **_NOT_OFFERED,
            "refill_at": "azure-servicebus asks again when its credit is used up: leave refill_at out",
            "credit_returned": "only azure-processor has credit_returned: leave it out",
        },
        sources={
            "discipline": f"{source}: credit is granted again when all of it is used up",
            "receivers": f"{source}: a receiver is not thread-safe, so each worker has its own",
            "linger_s": f"{source}: _further_pull_receive_timeout",
            "settle": f"{source}: settlement"
            + (" waits for the broker" if newest else " is sent pre-settled"),
            "returns_unstarted": "azure-servicebus 7.15.0, changelog: a receiver that closes releases its buffer",
            "receive_wait_s": f"{source}: receive_messages returns after 60 s by default",
            "renew_after_s": f"{source}: AutoLockRenewer",
            "settle_batch": _SETTLES,
        },
    )


CLIENTS: Mapping[str, ClientTraits] = {
    "azure-servicebus-7.15": _python("azure-servicebus-7.15", newest=True, source=_PYTHON),
    "azure-servicebus-7.14": _python(
        "azure-servicebus-7.14",
        newest=False,
        source="azure-servicebus 7.14.3, source",
    ),
    "azure-processor": ClientTraits(
        name="azure-processor",
        discipline="link_sliding",
        receivers="one",
        settle=("each", "concurrent"),
        retries=_PROCESSOR_RETRIES,
        renew_after_s=_processor_renews_after,
        receive_wait_s=0.0,
        instead={
            **_NOT_OFFERED,
            "refill_at": "a processor returns credit message by message: leave refill_at out",
            "receive_batch": "a processor is pushed single messages: set prefetch instead",
            "receive_wait_s": "a processor makes no receive calls: leave receive_wait out",
            "idle_pause_s": "a processor makes no receive calls: leave idle_pause out",
        },
        sources={
            "discipline": "assumed from the documentation of ServiceBusProcessor (.NET)",
            "credit_returned": "Azure/azure-sdk-for-net, user reports: assumed, see credit_returned",
            "returns_unstarted": "assumed: what a processor has prefetched stays locked when it stops",
            "settle_batch": _SETTLES,
        },
    ),
}


def _traffic(units: int, traffic: Traffic | None, message_bytes: int) -> tuple[RateLimit, ...]:
    """What messaging units carry in a second, each way."""
    if traffic is None or message_bytes == 0:
        return ()
    ways: dict[Op, str] = {"send": "into", "receive": "out of"}
    return tuple(
        RateLimit(
            name=f"traffic {way} messaging units",
            credits=units * traffic.bytes_per_unit,
            message_cost={op: message_bytes},
            resource="messaging units",
            places=units,
            parameter="traffic",
        )
        for op, way in ways.items()
    )


class ServiceBus(Provider):
    """Azure Service Bus queues, in peek-lock mode."""

    name = "servicebus"
    queue_type = ServiceBusQueue
    limits = LIMITS
    rules = RULES
    clients = with_functions(CLIENTS)
    default_client = "azure-servicebus-7.15"
    default_model = "servicebus"
    checks = (
        within("queue.lock_duration_s", _BOUND["lock_duration"]),
        _units_fit_tier,
        credits_fit_tier,
        sizes_fit_tier,
        batch_payload(lambda scenario: _BOUND[f"send batch in {scenario.queue.tier}"]),
        batches_are_whole(_PYTHON),
        _prefetch_fits_client,
        _fleet_fits_namespace,
        without_faults(drop_connections="the loss of a link is not simulated: use outage, or kill_consumers"),
        groups_go_with_the_queue(lambda queue: False),
        sessions_fit_the_queue,
        client_has_sessions,
    )

    def semantics(self, queue: Any) -> DeliverySemantics:
        """A peek-lock; a message that comes back goes to the front; there always is a dead-letter queue."""
        return DeliverySemantics(
            lock_s=queue.lock_duration_s,
            max_deliveries=queue.max_delivery_count,
            retention_s=math.inf if queue.message_ttl_s is None else queue.message_ttl_s,
            capacity_messages=0,
            rejects_when_full=False,
            redelivers_first=True,
            hands_out="by session" if queue.requires_session else "by age",
        )

    def room(self, queue: Any, message_bytes: int) -> int:
        """As many messages as their bodies fit into the queue's size."""
        return room_of(queue, message_bytes)

    def rate_limits(self, queue: Any, model: Any, message_bytes: int) -> tuple[RateLimit, ...]:
        """A standard namespace has credits, of which each message sent or handed out takes one; a premium one has
        messaging units, which carry so many bytes in, and as many out."""
        if queue.tier != "standard":
            return _traffic(queue.messaging_units or 1, model.broker.traffic, message_bytes)
        return (credits_of(queue),)

    def behaviour(self, queue: Any, consumers: Consumers) -> ReceiveBehaviour:
        """One receiver a worker with bursts of credit (Python), or one sliding link (processor)."""
        traits, consumers = self.clients[consumers.client or self.default_client], host_defaults(consumers)
        shared = {
            "discipline": traits.discipline,
            "prefetch": consumers.prefetch or 0,
            "linger_s": traits.linger_s,
            "returns_unstarted": traits.returns_unstarted,
            "drops_expired": consumers.drop_expired,
            "cores": consumers.cores,
            **settle_fields(consumers, traits),
            **renewal_fields(consumers, traits, queue.lock_duration_s),
        }
        if traits.discipline == "link_burst":
            return _burst_behaviour(consumers, traits, shared)
        if queue.requires_session:
            return ReceiveBehaviour(wait_s=traits.receive_wait_s, **{**shared, **processor_fields(consumers)})
        return _sliding_behaviour(consumers, traits, shared)


def _burst_behaviour(
    consumers: Consumers, traits: ClientTraits, shared: Mapping[str, Any]
) -> ReceiveBehaviour:
    batch = consumers.receive_batch or traits.receive_batch
    burst = consumers.prefetch + 1 if consumers.prefetch else batch
    return ReceiveBehaviour(
        receivers=consumers.workers,
        batch=batch,
        wait_s=traits.receive_wait_s if consumers.receive_wait_s is None else consumers.receive_wait_s,
        in_hand_limit=burst,
        refill_at=burst,
        credit_returned=traits.credit_returned,
        keepalive_s=30.0 if consumers.prefetch else traits.keepalive_s,
        idle_pause_s=consumers.idle_pause_s or 0.0,
        **shared,
    )


def _sliding_behaviour(
    consumers: Consumers, traits: ClientTraits, shared: Mapping[str, Any]
) -> ReceiveBehaviour:
    credit_returned = consumers.credit_returned or traits.credit_returned
    in_hand_limit = consumers.prefetch or (consumers.workers if credit_returned == "settled" else 0)
    return ReceiveBehaviour(
        receivers=1,
        batch=1,
        wait_s=traits.receive_wait_s,
        in_hand_limit=in_hand_limit,
        refill_at=in_hand_limit,
        credit_returned=credit_returned,
        **shared,
    )


SERVICEBUS = ServiceBus()
