"""The neutral vocabulary: what an engine must know of a broker and a client, without a word of any provider.

Each provider's module translates its own words to these records; the engines read nothing else. All of them
are frozen; times are in seconds. ``Limit``, ``Rule`` and ``Price`` are the provider's numbers as data, with their
source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from qtune.distributions import Distribution

Op = Literal["send", "receive", "settle", "abandon", "renew"]
"""The kinds of calls that a broker answers, and so may refuse."""

CALLS: tuple[Op, ...] = ("send", "receive", "settle", "abandon", "renew")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliverySemantics:
    """What the broker does with a message.

    lock_s: how long a delivery is exclusive, from the hand-out or the last renewal.
    max_deliveries: after so many deliveries without completion the message is dead-lettered when it would be
        handed out again; 0 = never.
    retention_s: a message this long in the broker (from sent_s) is deleted unread; inf = never.
    dead_letter_retention_s: a dead letter is deleted so long after ``dead_letters_age``, which is "from the send" of
        the message or "from its dead-lettering"; inf = never.
    delay_s: from sent_s until a message can be received.
    capacity_messages: most messages the broker holds at once, waiting or locked; 0 = unbounded.
    rejects_when_full: a send to a full queue is refused (True) or waits for room (False).
    redelivers_first: a message that comes back is handed out before all that wait (True: it keeps its place
        by age) or after them (False).
    accepts_late: a settlement after the lock has run out still completes a message that has not left the broker
        (True), although it may be delivered again meanwhile, or is refused (False).
    in_flight_most: most messages locked at once, above which nothing is handed out; 0 = unbounded.
    over_limit_fails: a receive that does not wait is then an error (True), or finds nothing, as one that waits does.
    hands_out: "by age", whatever else is locked; or "by group": none of a group while one of its messages is locked,
        the group with the oldest message first, and as many of it to one receive as that takes. A message that comes
        back is the first of its group then, whatever redelivers_first says. "by session": a group is locked for one
        receiver, with all its messages that are there and that come, until that gives it up or the lock ends. "by
        fairness": by age, but a noisy group waits while any other has a message. A group is noisy from when it has at
        least ``fair_least`` messages locked and more than ``fair_share`` of all that are, until none of it waits or
        none of it was sent for ``fair_quiet_s``; of several the one with the fewest messages locked comes first.
    group_window: by group: groups are looked for among so many of the oldest messages that have not left; 0 = all.
    """

    lock_s: float
    max_deliveries: int
    retention_s: float
    capacity_messages: int
    rejects_when_full: bool
    redelivers_first: bool
    accepts_late: bool = False
    dead_letter_retention_s: float = math.inf
    dead_letters_age: Literal["from the send", "from its dead-lettering"] = "from the send"
    delay_s: float = 0.0
    in_flight_most: int = 0
    over_limit_fails: bool = False
    hands_out: Literal["by age", "by group", "by session", "by fairness"] = "by age"
    group_window: int = 0
    fair_share: float = 0.0
    fair_least: int = 0
    fair_quiet_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiveBehaviour:
    """How one consumer instance gets, holds, renews and settles messages.

    discipline:
        "poll": each receiver asks for up to ``batch`` messages and waits up to ``wait_s`` for the first.
        "link_sliding": credit stands at the broker, which pushes; a place freed is credited at once.
        "link_burst": credit is granted in one burst, and again only inside a receive call when all is used
        up.
    receivers: receive loops or links per instance; each serves its own ``workers // receivers`` workers.
    batch: most messages one receive call asks for.
    wait_s: how long the broker holds a receive call that finds nothing; 0 answers at once.
    in_hand_limit: per receiver. poll: most messages in hand, waiting or handled. link_sliding: with credit
        returned "settled" most messages received and unsettled; with "taken" most messages waiting in the
        buffer, where 0 means that only an idle worker has credit. link_burst: the size of a burst.
    refill_at: poll: the next receive starts when at least so many places are free. The other disciplines do
        not read it (it equals in_hand_limit there).
    credit_returned: a place is free again when a worker has "taken" the message, or when it is "settled".
    prefetch: messages that the client lets wait in its buffer, as the user set it; 0 = none.
    linger_s: a receive call that has got fewer than ``batch`` waits this much longer after its first message.
    keepalive_s: how often an idle link reads its socket; unread messages beyond what was asked for are then
        given back, uncounted. inf = never.
    idle_pause_s: pause after an empty receive.
    other_queues, away_mean_s: poll: how many other queues a poller visits before it asks again, and its mean time with
        all of them.
    adaptive_least, adaptive_target_s: poll: a receive asks for as many messages as are likely to be handled in that
        time, at least so many and up to ``batch``; 0: for all that there is room for.
    gather_s: poll: receives go on until there is no room for more, or so long with something in hand, before any of it
        is handled; 0: it is handled as it comes.
    settle: "each": the worker waits for the settlement; "concurrent": it goes on at once and the call runs
        beside it; "batch": settlements are collected until there are ``settle_batch`` and sent in one call.
    settle_batch: 1 unless settle is "batch".
    settle_entry_failures: chance that one entry of a batch is not settled although the call succeeds; those that failed
        are settled again at once, in a call of their own.
    renewers: most renewal calls at the same time per instance; 0 = locks are not renewed.
    renew_after_s: from the start of a lock (or of its last renewal) to the renewal call.
    renew_max_s: no renewal is made later than this after the handler got the message; inf = no such bound.
    returns_unstarted: a link that closes gives back, uncounted, what no handler has begun with; otherwise that stays
        locked until its lock runs out. A polling client handles what it has received before it ends.
    drops_expired: a message whose lock has run out before its turn is dropped unhandled.
    keeps_order: a receiver's workers handle one message of a group at a time, in order, and after a failure none of
        what the receiver has in hand of that group: it is given back too, or left until its lock runs out.
    session_idle_s: by session: a receiver gives its session up when it has had nothing in hand for so long.
    accept_wait_s: how long the broker holds the wish for a session; then the receiver asks again.
    renews_sessions: the lock of a session is renewed, by renew_after_s and renew_max_s, and those of messages are not.
    pool_connections: how many connections an instance keeps that no call has at the time; a call that finds none opens
        one. 0: calls need no connection.
    cores: CPU cores of an instance, shared by its workers for the client's own work.
    call_cost_s, message_cost_s: CPU time of the client per call, and per message in that call.
    """

    discipline: Literal["poll", "link_sliding", "link_burst"]
    receivers: int
    batch: int
    wait_s: float
    in_hand_limit: int
    refill_at: int
    credit_returned: Literal["taken", "settled"]
    prefetch: int = 0
    linger_s: float = 0.0
    keepalive_s: float = math.inf
    idle_pause_s: float = 0.0
    other_queues: int = 0
    away_mean_s: float = 0.0
    adaptive_least: int = 0
    adaptive_target_s: float = 0.0
    gather_s: float = 0.0
    settle: Literal["each", "batch", "concurrent"] = "each"
    settle_batch: int = 1
    settle_entry_failures: float = 0.0
    renewers: int = 0
    renew_after_s: float = math.inf
    renew_max_s: float = math.inf
    returns_unstarted: bool = False
    drops_expired: bool = False
    keeps_order: bool = False
    session_idle_s: float = 0.0
    accept_wait_s: float = 0.0
    renews_sessions: bool = False
    pool_connections: int = 0
    cores: int = 1
    call_cost_s: float = 0.0
    message_cost_s: float = 0.0

    def in_room(self, most: int) -> ReceiveBehaviour:
        """The same with no more than so many messages in hand at a receiver."""
        counts = {name: min(getattr(self, name), most) for name in ("in_hand_limit", "refill_at", "batch")}
        return replace(self, **counts)

    @property
    def most_together(self) -> int:
        """The most messages that a receiver has for one handler that takes batches."""
        return self.in_hand_limit if self.gather_s else self.batch

    def calls_at_once(self, workers: int) -> int:
        """The most calls that an instance with so many workers makes at a time: a worker settles or has a lock renewed.

        Where a receiver asks again only when all of its last batch is settled, it and its workers take turns.
        Settlements that nobody waits for are counted as one for each worker.
        """
        in_turns = self.credit_returned == "settled" and self.refill_at == self.in_hand_limit
        return max(self.receivers, workers) if in_turns else self.receivers + workers


@dataclass(frozen=True, kw_only=True, slots=True)
class CallModel:
    """How long calls to the broker take.

    send, receive, settle, renew: round trips in seconds; of a receive that waits, the part that is not
        waiting.
    connect: how long a new connection takes to be open; None: a call needs no connection.
    hands_out_to: which of the receivers that wait gets the next message: the one that has waited longest, or any of
        them, all equally likely.
    look_every_s: how often the broker looks for messages for a receive that waits; 0: one is handed out when it comes.
    short_poll_share: chance that a receive that does not wait sees any one of the messages that are ready.
    calls_served_at_once: calls that the broker works on at the same time; 0 = unlimited.
    call_service: the broker's time per call in seconds; matters only when calls_served_at_once is not 0.
    """

    send: Distribution
    receive: Distribution
    settle: Distribution
    renew: Distribution
    connect: Distribution | None = None
    calls_served_at_once: int = 0
    call_service: Distribution
    short_poll_share: float = 1.0
    look_every_s: float = 0.0
    hands_out_to: Literal["longest_waiting", "any"] = "longest_waiting"


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimit:
    """So many credits for every period, which the calls that it counts share; what is left of a period is lost.

    call_cost, message_cost: credits of a call, and of each message in it, by the kind of call; a kind that is in
        neither is not counted. Messages that the broker hands out count as received.
    period_s: of every period, the first of which begins at 0. start_s, end_s: when the limit applies.
    A call is refused when nothing is left of the period's credits.
    resource, places: what gives the credits, in the provider's words, and how many of it there are.
    parameter: the parameter of the provider model on which the credits rest; "" if they are documented or set.
    """

    name: str
    credits: int
    period_s: float = 1.0
    call_cost: Mapping[Op, int] = field(default_factory=dict)
    message_cost: Mapping[Op, int] = field(default_factory=dict)
    start_s: float = 0.0
    end_s: float = math.inf
    resource: Literal["credits", "messaging units"] = "credits"
    places: int = 0
    parameter: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How a client makes a call again that the broker refused.

    attempts: of one call, the first included; after the last the call has failed.
    throttled_base_s, failed_base_s, factor, ceiling_s: the wait after refusal k (from 0) is base * factor^k, at most
        the ceiling; after throttling, and after a call that failed because the broker is down.
    throttled_extra_s: what the client waits in addition after throttling, whatever k is.
    jitter: the wait is a random part of that, all parts equally likely, or all of it.
    tokens: a quota of the client object; 0: none. A retry takes ``throttled_tokens`` or ``failed_tokens`` and is not
        made when fewer are left; a call that succeeds gives back what its last retry took, or 1 if it had none.
    paces: after a throttled call the client object makes all its calls more slowly, and returns to its rate with time.
    source: where this is stated.
    """

    attempts: int = 1
    throttled_base_s: float = 0.0
    failed_base_s: float = 0.0
    factor: float = 2.0
    ceiling_s: float = math.inf
    throttled_extra_s: float = 0.0
    jitter: bool = False
    tokens: int = 0
    throttled_tokens: int = 0
    failed_tokens: int = 0
    paces: bool = False
    source: str

    def throttled_waits_s(self) -> tuple[float, ...]:
        """The longest wait before the second, third, ... attempt of a call that was throttled."""
        return tuple(wait_s + self.throttled_extra_s for wait_s in self._waits_s(self.throttled_base_s))

    def failed_waits_s(self) -> tuple[float, ...]:
        """The same of a call that failed."""
        return self._waits_s(self.failed_base_s)

    def _waits_s(self, base_s: float) -> tuple[float, ...]:
        """By repeated multiplication, which gives the same bits everywhere."""
        waits, wait_s = [], base_s
        for _ in range(self.attempts - 1):
            waits.append(min(wait_s, self.ceiling_s))
            wait_s = waits[-1] * self.factor
        return tuple(waits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One quota or range of a provider, as data.

    name: the setting or quantity in the provider's words. value, unit: the bound ("s", "bytes", "messages",
        ...); None: the provider says that there is one, and not what it is.
    sense: "at most" or "at least". hard: True if the provider does not raise it on request.
    source, as_of: where it is stated, and the date of that text. checked: where qtune looks at it, or
        "nowhere".
    modelled: False for a limit that is known but not simulated; ``reason`` then says why and what it would
        do.
    """

    name: str
    value: float | None
    unit: str
    hard: bool
    source: str
    as_of: str
    checked: str
    sense: Literal["at most", "at least"] = "at most"
    modelled: bool = True
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule of a provider or its client that changes throughput, latency, loss, order or cost.

    rule: what it says, in the provider's words. modelled: whether runs obey it.
    setting: where a scenario sets it, such as "queue.visibility_timeout"; "" for what nobody can change.
    reason: of a rule that is not modelled, why, and what that does to a result. source, as_of: as in a Limit.
    """

    rule: str
    modelled: bool
    source: str
    as_of: str
    setting: str = ""
    reason: str = ""


def modelled(rule: str, source: str, setting: str = "", as_of: str = "2026-11") -> Rule:
    """A rule that runs obey."""
    return Rule(rule=rule, modelled=True, setting=setting, source=source, as_of=as_of)


def not_modelled(rule: str, reason: str, source: str, as_of: str = "2026-11") -> Rule:
    """A rule that runs do not obey, with the reason."""
    return Rule(rule=rule, modelled=False, reason=reason, source=source, as_of=as_of)


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """One line of a price list: ``usd`` for one ``per``, as stated in ``source`` on the date ``as_of``."""

    item: str
    usd: float
    per: str
    source: str
    as_of: str
