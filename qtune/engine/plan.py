"""The plan: a scenario flattened to numbers, which is all that an engine reads.

Time is a float64 of seconds from the start of the run. What happens at equal times is decided in slots.py.

A sender that is free takes the messages that have waited longest, in one call, once there are enough of them or the
oldest has lingered. Entries of a call that fail are sent again at once, in a call of their own.

A call costs one draw of its round trip. The broker acts on a receive and on a send half-way, because the lock starts
there and a message can be received from there on; settles and renewals take effect when they are confirmed, which errs
by at most half a round trip and to the safe side: a lock that ends within that half counts as lost.

Rate limits are looked at where a call takes effect. Each limit has a number of credits for every period, which begin
at 0 and last equally long; what a period leaves over is lost. A call is refused when one of the limits that count it
has no credit left; otherwise all of them are charged. So the last call of a period may overdraw. Messages that go to a
waiting poll or down a link are no calls: a limit that counts received messages holds them up until its next period.
A refused call is a row of its own. The client waits and makes the call again, with a new round trip, until it has made
``retries`` more: then it gives up, and a poll goes on as after finding nothing, a delivery is left to its lock, a
renewer stays idle, and a message is lost to its sender.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.engine import streams
from qtune.result import CALL_OPS, OP_RECEIVE

POLL: Final = 0
LINK_SLIDING: Final = 1
LINK_BURST: Final = 2

SETTLE_EACH: Final = 0
SETTLE_BATCH: Final = 1
SETTLE_CONCURRENT: Final = 2

BATCHES_REMEMBERED: Final = 10
"""The size of an adaptive batch follows from so many of the last ones."""

ROUNDING: Final = 1e-6
"""A time in seconds may be so many milliseconds short of the whole number that it stands for."""

CONSTANT: Final = 0
SMOOTH: Final = 1
STEPS: Final = 2

# What a consumer does; GONE: nothing, and nobody pays for it.
GONE: Final = 0
STARTING: Final = 1
RUNNING: Final = 2
STOPPING: Final = 3
DRAINING: Final = 4

NO_GROUPS: Final = 0
OWN_GROUPS: Final = 1
DRAWN_GROUPS: Final = 2
GIVEN_GROUPS: Final = 3

BY_AGE: Final = 0
BY_GROUP: Final = 1
BY_SESSION: Final = 2
BY_FAIRNESS: Final = 3

CLOSE: Final = -1
ACCEPT: Final = -2
"""What a receiver of sessions tells the broker besides its credit."""

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
NO_FLOATS: Final[Floats] = np.empty(0)
NO_NUMBERS: Final[Numbers] = np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything one run needs, in numbers.

    ``workers`` are handlers of one receiver, ``receivers`` belong to one consumer, ``cores`` too; totals are derived.
    A count of 0 means "none" or "no bound" where the comment says so; an absent instant is infinity. Tables are
    (kind, values) as :class:`qtune.distributions.QuantileTable` has them, one for each of the first streams and those
    for handshakes and turns (:data:`qtune.engine.streams.TABLES`).
    """

    seed: int
    horizon_s: float
    sample_every_s: float

    # Arrivals: explicit instants; a unit-rate renewal process mapped through a piecewise-constant rate; or customers.
    due_s: Floats = field(default_factory=lambda: NO_FLOATS)
    explicit: bool = False
    segment_start_s: Floats = field(default_factory=lambda: NO_FLOATS)
    segment_rate_per_s: Floats = field(default_factory=lambda: NO_FLOATS)
    customers: int = 0
    messages_most: int = 0  # 0: no bound

    # Groups: none; each message its own, with its number; drawn, the first group whose cumulated share is above a
    # uniform number of the message; or given for each message.
    grouping: int = NO_GROUPS
    group_ends: Floats = field(default_factory=lambda: NO_FLOATS)  # cumulated shares; the last one is 1
    group_of: Numbers = field(default_factory=lambda: NO_NUMBERS)

    # Work and failure.
    service_s: Floats = field(
        default_factory=lambda: NO_FLOATS
    )  # one for each message (a trace's hints), or empty: drawn
    fail_steps: int = 0
    poison_steps: int = 0
    abandons: bool = False  # a failed delivery is given back; otherwise its lock is left to run out
    backoff_s: Floats = field(
        default_factory=lambda: NO_FLOATS
    )  # wait before the 2nd, 3rd ... attempt inside one delivery

    backoff_jitter: float = 0.0  # a wait is shorter by a random part of this share of it

    # The part of an attempt's service that needs one of the consumer's cores: first that, in the order of asking and
    # without being interrupted, and then the rest without a core.
    cpu_share: float = 0.0

    # A handler takes up to so many of the messages that its receiver has, in one call; 1: single messages. It works on
    # them for a time of its own and the sum of theirs, or the longest.
    handler_batch: int = 1
    batch_call_s: float = 0.0
    batch_longest: bool = False
    batch_fails_whole: bool = False  # one message that fails makes all of its call fail

    # The downstream of all handlers: each attempt holds a connection, and begins no earlier than the pace allows. That
    # is GCRA's (ITU-T I.371), a token bucket: each start moves the next due one on by a gap, and may be so far ahead.
    downstream_connections: int = 0  # 0: no bound
    downstream_gap_s: float = 0.0  # 0: no bound
    downstream_ahead_s: float = 0.0
    downstream_rejects: bool = False
    refusal_s: float = 0.0

    # A circuit breaker in each consumer, round every attempt: it opens for ``breaker_open_s`` when of the last
    # outcomes, at least ``breaker_least``, this share failed; then so many attempts may pass, and the first decide.
    breaker_window: int = 0  # 0: none
    breaker_least: int = 0
    breaker_failures: float = 0.0
    breaker_open_s: float = 0.0
    breaker_trials: int = 0
    breaker_trials_least: int = 0

    # Producers: 0 senders means that the broker has a message at its due instant.
    senders: int = 0
    send_batch: int = 1  # messages that one call takes, or any number from the next one on, drawn for each
    send_batch_from: int = 1
    send_linger_s: float = 0.0  # what the oldest message that waits for a sender waits for others
    entry_fail_steps: int = 0  # one entry of a batch fails though its call succeeds; at most 62 entries

    # Broker.
    lock_s: float = 30.0
    max_deliveries: int = 0  # 0: no bound
    retention_s: float = np.inf
    delay_s: float = 0.0  # from the send until a message can be received; shorter than ``retention_s``
    capacity_messages: int = 0  # 0: no bound
    rejects_when_full: bool = False
    redelivers_first: bool = False
    accepts_late: bool = False  # a handler that succeeds after its lock ran out still completes the message

    # What is handed out next: by age; by group, and then none of a group while one of it is in flight; or by session.
    # Neither of the latter two knows ``redelivers_first`` and ``accepts_late``. By session: sliding links whose
    # receivers hold a group each, with credit that comes back when a message is settled; ``lock_s`` locks the group,
    # and ``renew_after_s`` and ``renew_max_s`` are about that lock.
    hands_out: int = BY_AGE
    group_window: int = (
        0  # by group: a group is found by one of so many oldest messages that are there; 0: by any
    )
    # By fairness: by age, but a group is put off that has at least ``fair_least`` messages in flight and more than this
    # share of all, until it has none waiting or has sent none for a while. ``redelivers_first`` is not known here.
    fair_share: float = 0.0
    fair_least: int = 0
    fair_quiet_s: float = 0.0
    session_idle_s: float = 0.0  # nothing in hand for so long: the receiver closes its session
    accept_wait_s: float = 0.0  # how long the broker holds the wish for a session when there is none
    renews_sessions: bool = False
    calls_served_at_once: int = 0  # 0: no bound
    serves_any_receiver: bool = (
        False  # of those that wait, all equally likely; else the one that has waited longest
    )
    in_flight_most: int = 0  # 0: no bound; above it nothing is handed out
    over_limit_fails: bool = False  # a poll that does not wait is then an error; otherwise it finds nothing
    short_poll_steps: int = (
        0  # 0: a poll that does not wait sees every message; otherwise each with this chance
    )

    # Consumers.
    consumers: int = 1
    receivers: int = 1
    workers: int = 1
    cores: int = 1
    discipline: int = POLL
    batch: int = 1
    adaptive_least: int = 0  # 0: a poll always asks for all that there is room for, up to ``batch``
    adaptive_target_s: float = 0.0  # read in whole milliseconds
    gather_s: float = (
        0.0  # polls go on until there is no room, or until then with something; 0: one poll is enough
    )
    wait_s: float = 0.0
    look_every_s: float = (
        0.0  # 0: a poll that waits is answered as soon as something is ready; else looked after so often
    )
    in_hand_limit: int = 1
    refill_at: int = 1
    credit_at_settle: bool = True
    prefetch: int = 0
    linger_s: float = 0.0
    keepalive_s: float = 0.0
    idle_pause_s: float = 0.0
    other_queues: int = 0  # a poller that may ask again first visits so many others, one turn for each
    settle_mode: int = SETTLE_EACH
    settle_batch: int = 1
    settle_entry_fail_steps: int = 0  # one entry of a batch fails though its call succeeds
    drops_expired: bool = False
    keeps_order: bool = False  # a receiver handles one of a group at a time, and none of it after a failure
    renewers: int = 0
    renew_after_s: float = 0.0
    renew_max_s: float = 0.0
    call_cost_s: float = 0.0
    message_cost_s: float = 0.0

    # Rate limits, one entry each; costs have one entry for each limit and kind of call, in the order of their codes.
    limit_credits: Floats = field(default_factory=lambda: NO_FLOATS)
    limit_period_s: Floats = field(default_factory=lambda: NO_FLOATS)
    limit_start_s: Floats = field(default_factory=lambda: NO_FLOATS)
    limit_end_s: Floats = field(default_factory=lambda: NO_FLOATS)
    limit_call_cost: Floats = field(default_factory=lambda: NO_FLOATS)
    limit_message_cost: Floats = field(default_factory=lambda: NO_FLOATS)

    # What a client does after a refusal: the wait before the 2nd, 3rd ... try of a call, all of it or a random part.
    throttled_wait_s: Floats = field(default_factory=lambda: NO_FLOATS)
    failed_wait_s: Floats = field(default_factory=lambda: NO_FLOATS)  # as many
    retry_jitter: bool = False
    retry_tokens: int = 0  # 0: no bound; otherwise what each client may spend on tries, and gets back
    throttled_tokens: int = 0
    failed_tokens: int = 0
    senders_each: int = 1  # senders that share one client
    paces_calls: bool = False  # a client that was throttled slows its calls down, by qtune.engine.pacing

    # Connections of calls: each try of a call has one to itself, from its begin to its answer. A client keeps so many
    # that are idle; a call that finds none opens one, and one that comes back to a full pool is closed. Links stand
    # open, and what they tell each other needs none.
    pool_connections: int = 0  # 0: calls need no connection

    # Faults of the broker: it fails every call that would take effect in [start, end), and hands nothing out; the round
    # trips of calls that begin in [start, end) last ``factor`` times as long, and so much longer.
    outage_start_s: Floats = field(default_factory=lambda: NO_FLOATS)
    outage_end_s: Floats = field(default_factory=lambda: NO_FLOATS)
    slow_start_s: Floats = field(default_factory=lambda: NO_FLOATS)
    slow_end_s: Floats = field(default_factory=lambda: NO_FLOATS)
    slow_factor: Floats = field(default_factory=lambda: NO_FLOATS)
    slow_extra_s: Floats = field(default_factory=lambda: NO_FLOATS)

    # At these instants all connections of calls break, those that wait in a pool as well. Who has made a call notices
    # when the answer should be there: the call has failed, and what a poll would have brought is locked for nobody. A
    # send that has come to the broker stands.
    drop_s: Floats = field(default_factory=lambda: NO_FLOATS)

    # Faults: no handler starts in [pause_start_s, pause_end_s).
    pause_start_s: Floats = field(default_factory=lambda: NO_FLOATS)
    pause_end_s: Floats = field(default_factory=lambda: NO_FLOATS)

    # The fleet. All consumers run at the start but the last ``absent_at_start``. Orders, in the order of time: as many
    # running consumers as ``fleet_count``, those with the lowest numbers, are to stop. Each drains for at most
    # ``fleet_grace_s`` (0: it is killed at once) and starts again ``fleet_back_s`` after its end (infinity: never).
    absent_at_start: int = 0
    fleet_at_s: Floats = field(default_factory=lambda: NO_FLOATS)
    fleet_count: Numbers = field(default_factory=lambda: NO_NUMBERS)
    fleet_grace_s: Floats = field(default_factory=lambda: NO_FLOATS)
    fleet_back_s: Floats = field(default_factory=lambda: NO_FLOATS)
    returns_unstarted: bool = (
        False  # a link that closes gives back what no worker has begun with, or leaves it locked
    )
    start_up_s: float = 0.0  # from the scaler's order to a running consumer

    # The scaler, which acts every ``scale_every_s`` (0: there is none). It wants one consumer for each ``scale_target``
    # of the messages that it sees, at least ``scale_least`` and at most all; see qtune.engine.scaling. With
    # ``scale_poll_s`` it also wakes the fleet and puts it to sleep, and then it lets a fleet of none be. In an outage
    # it sees nothing: then it does nothing, or wants ``scale_fallback`` consumers after more than ``scale_failures``
    # such looks in a row, of those that come every ``scale_every_s``.
    scale_every_s: float = 0.0
    scale_poll_s: float = 0.0
    scale_lag_s: float = 0.0
    scale_in_flight: bool = False  # messages in flight count, too
    scale_groups: bool = False  # not messages count, but groups that have any
    scale_target: float = 1.0
    scale_tolerance: float = 0.0
    scale_least: int = 0
    scale_up_window_s: float = 0.0
    scale_down_window_s: float = 0.0
    scale_up_share: float = 0.0
    scale_up_count: int = 0
    scale_activation: float = 0.0
    scale_cooldown_s: float = 0.0
    scale_asleep: int = 0  # consumers of a fleet that sleeps
    scale_fallback: int = 0  # 0: none
    scale_failures: int = 0
    scale_grace_s: float = 0.0

    tables: tuple[tuple[int, Floats], ...] = field(
        default_factory=lambda: ((CONSTANT, np.zeros(1)),) * streams.TABLES
    )

    @property
    def receivers_total(self) -> int:
        """Receivers of the whole fleet."""
        return self.consumers * self.receivers

    @property
    def workers_total(self) -> int:
        """Workers of the whole fleet."""
        return self.consumers * self.receivers * self.workers

    @property
    def fleet_changes(self) -> bool:
        """Whether consumers come and go."""
        return self.fleet_at_s.size > 0 or self.scale_every_s > 0.0

    @property
    def groups_most(self) -> int:
        """How many groups there are; 0: as many as messages."""
        given = int(self.group_of.max(initial=0)) + 1
        return {OWN_GROUPS: 0, DRAWN_GROUPS: self.group_ends.size, GIVEN_GROUPS: given}.get(self.grouping, 1)

    @property
    def refuses(self) -> bool:
        """Whether a call can be refused at all."""
        return self.limit_credits.size + self.outage_start_s.size + self.drop_s.size > 0

    @property
    def breaks(self) -> bool:
        """Whether connections break at some time."""
        return self.drop_s.size > 0

    @property
    def holds_calls(self) -> bool:
        """Whether a call may have to wait in its client until it can leave."""
        return self.pool_connections > 0 or self.paces_calls

    @property
    def slows(self) -> bool:
        """Whether the broker is slow for a while."""
        return self.slow_start_s.size > 0

    @property
    def holds_up(self) -> bool:
        """Whether an outage, or a limit that counts the messages received, can hold up what is ready."""
        counted = bool((self.limit_message_cost[OP_RECEIVE :: len(CALL_OPS)] > 0.0).any())
        return counted or self.outage_start_s.size > 0

    @property
    def clients(self) -> int:
        """Client objects of consumers and, after them, of senders: what shares retry tokens."""
        return self.consumers + -(-self.senders // self.senders_each)

    @property
    def attempt_waits(self) -> bool:
        """Whether an attempt of a handler may have to wait for what handlers share, or is kept from it."""
        return self.has_downstream or self.cpu_share > 0.0 or self.has_breaker

    @property
    def has_breaker(self) -> bool:
        """Whether a circuit breaker may make attempts fail at once."""
        return self.breaker_window > 0

    @property
    def has_downstream(self) -> bool:
        """Whether attempts need a downstream."""
        return self.downstream_connections > 0 or self.downstream_gap_s > 0.0

    @property
    def samples(self) -> int:
        """How many times the state is written down, the start included."""
        return int(self.horizon_s / self.sample_every_s) + 1

    @property
    def expected_messages(self) -> float:
        """About how many messages fall due up to the horizon; 0 for a closed loop, whose rate is an outcome."""
        if self.explicit:
            return float(np.count_nonzero(self.due_s <= self.horizon_s))
        ends_s = np.append(self.segment_start_s[1:], self.horizon_s)
        lengths_s = np.minimum(ends_s, self.horizon_s) - np.minimum(self.segment_start_s, self.horizon_s)
        expected = float((lengths_s * self.segment_rate_per_s).sum())
        return min(expected, self.messages_most) if self.messages_most else expected
