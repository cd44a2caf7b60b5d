"""What a provider is to qtune: settings of a queue, traits of clients, limits, and their translation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from qtune.consumer import Consumers
from qtune.providers.base import (
    CallModel,
    DeliverySemantics,
    Limit,
    RateLimit,
    ReceiveBehaviour,
    Retries,
    Rule,
)
from qtune.records import Complaint, Record

Check = Callable[[Any], Iterator[Complaint]]
"""A rule between settings: reads a scenario, yields what contradicts it. On a scenario with invalid fields it
runs too, and is given up as soon as it reads one of those."""


ONE_ATTEMPT = Retries(source="a client that says nothing of retries makes each call once")


class QueueSettings(Record):
    """The base of a queue's settings, in the provider's own words; ``provider`` says whose they are."""

    provider: str

    @property
    @abstractmethod
    def plan(self) -> str:
        """The name of the price plan that applies: the queue type or tier."""


LOCK_FIELDS = ("session_lock_duration_s", "visibility_timeout_s", "lock_duration_s")
"""What providers call the length of a lock; where sessions have one of their own, it comes before that of messages."""


def lock_field(queue: QueueSettings) -> str | None:
    """The name of the queue's setting for the length of a lock; None if it is not one of the known names."""
    return next((name for name in LOCK_FIELDS if getattr(queue, name, None) is not None), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientTraits:
    """How one client library behaves, as far as its users cannot change it.

    discipline, credit_returned, linger_s, keepalive_s: as in ReceiveBehaviour.
    receivers: "any", "one" per instance, or one per "worker".
    settlement_waits: False if a settlement is sent without waiting for the broker's answer.
    returns_unstarted: as in ReceiveBehaviour.
    renew_after_s: from the lock's length to the time of the renewal call after the lock's start.
    receive_batch, receive_wait_s, polling: the client's defaults.
    settle: the ways of settling it has.
    pool_connections: how many idle connections a client object keeps by default; 0: it has no pool.
    retries: what it does when a call is refused, by the name of its retry mode; the default comes first.
    instead: settings of the consumers that this client does not have, each with what to use instead.
    sources: where a trait or a missing setting is stated, by its name.
    """

    name: str
    discipline: Literal["poll", "link_sliding", "link_burst"]
    receivers: Literal["any", "one", "worker"]
    polling: tuple[str, ...] = ()
    settle: tuple[str, ...]
    retries: Mapping[str, Retries] = field(default_factory=lambda: {"none": ONE_ATTEMPT})
    pool_connections: int = 0
    settlement_waits: bool = True
    returns_unstarted: bool = False
    renew_after_s: Callable[[float], float]
    receive_batch: int = 1
    receive_wait_s: float
    credit_returned: Literal["taken", "settled"] = "settled"
    linger_s: float = 0.0
    keepalive_s: float = float("inf")
    instead: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str]


class Provider(ABC):
    """One provider of queues. A third party adds one as an entry point of the group "qtune.providers".

    The entry point names an instance. ``queue_type`` is the record of the ``queue`` section, ``checks`` are
    the rules that its settings obey together, and the two methods translate the provider's words to the
    neutral records.
    """

    name: ClassVar[str]
    queue_type: ClassVar[type[QueueSettings]]
    limits: ClassVar[tuple[Limit, ...]]
    rules: ClassVar[tuple[Rule, ...]] = ()
    clients: ClassVar[Mapping[str, ClientTraits]]
    default_client: ClassVar[str]
    default_model: ClassVar[str]
    checks: ClassVar[tuple[Check, ...]] = ()

    @abstractmethod
    def semantics(self, queue: Any) -> DeliverySemantics:
        """What the broker does with a message, for these settings."""

    def rate_limits(self, queue: Any, model: Any, message_bytes: int) -> tuple[RateLimit, ...]:
        """The rates above which the broker refuses calls, for messages of so many bytes; none by default.

        model: the :class:`qtune.providers.model.ProviderModel` in use.
        """
        return ()

    def room(self, queue: Any, message_bytes: int) -> int:
        """Above how many messages of so many bytes the broker refuses sends; 0, by default: as ``semantics`` says."""
        return 0

    def calls(self, queue: Any, model: CallModel) -> CallModel:
        """How long calls take with these settings of the queue, from those of the model: as they are, by default."""
        return model

    @abstractmethod
    def behaviour(self, queue: Any, consumers: Consumers) -> ReceiveBehaviour:
        """How an instance gets and settles messages, without the client's CPU costs."""


def renewal_fields(consumers: Consumers, traits: ClientTraits, lock_s: float) -> dict[str, Any]:
    """The renewal part of a ReceiveBehaviour."""
    if consumers.renewal is None:
        return {}
    return {
        "renewers": consumers.renewal.renewers or consumers.workers,
        "renew_after_s": traits.renew_after_s(lock_s),
        "renew_max_s": consumers.renewal.max_s,
    }


def settle_fields(consumers: Consumers, traits: ClientTraits, most_batch: int = 1) -> dict[str, Any]:
    """The settling part of a ReceiveBehaviour; ``most_batch`` is the default size of a batch."""
    if consumers.settle == "batch":
        return {
            "settle": "batch",
            "settle_batch": consumers.settle_batch or most_batch,
            "settle_entry_failures": consumers.settle_entry_failures,
        }
    return {"settle": consumers.settle if traits.settlement_waits else "concurrent"}


def poll_behaviour(
    consumers: Consumers,
    traits: ClientTraits,
    *,
    lock_s: float,
    receivers: int,
    settle_batch: int = 1,
    keeps_order: bool = False,
) -> ReceiveBehaviour:
    """A polling client: what is in hand, and when it asks again, follow from how it polls."""
    polling = consumers.polling or traits.polling[0]
    adaptive, others = consumers.adaptive_batch, consumers.other_queues
    batch = adaptive.max if adaptive else consumers.receive_batch or traits.receive_batch
    if polling == "loop":
        in_hand_limit, refill_at = batch, batch
    elif polling == "permits":
        in_hand_limit, refill_at = consumers.workers // receivers, 1
    else:
        in_hand_limit = consumers.buffer or batch
        refill_at = consumers.refill_at or min(batch, in_hand_limit)
    held = consumers.held_most(receivers)
    if (
        held is not None
    ):  # in a buffer those count that wait; each worker has one more, or a batch: see Scenario
        room = held - consumers.workers // receivers if polling == "buffer" else held
        in_hand_limit, refill_at, batch = (min(count, room) for count in (in_hand_limit, refill_at, batch))
    return ReceiveBehaviour(
        discipline="poll",
        receivers=receivers,
        batch=batch,
        wait_s=traits.receive_wait_s if consumers.receive_wait_s is None else consumers.receive_wait_s,
        in_hand_limit=in_hand_limit,
        refill_at=refill_at,
        credit_returned="taken" if polling == "buffer" else "settled",
        idle_pause_s=consumers.idle_pause_s or 0.0,
        other_queues=others.count if others else 0,
        away_mean_s=others.count * others.turn.distribution().mean if others else 0.0,
        adaptive_least=adaptive.min if adaptive else 0,
        adaptive_target_s=adaptive.target_duration_s if adaptive else 0.0,
        drops_expired=consumers.drop_expired,
        keeps_order=keeps_order,
        pool_connections=consumers.max_pool_connections or traits.pool_connections,
        cores=consumers.cores,
        **settle_fields(consumers, traits, settle_batch),
        **renewal_fields(consumers, traits, lock_s),
    )
