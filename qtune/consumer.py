"""How messages are consumed: workers, receiving, lock renewal, settling, failing and trying again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from qtune.records import (
    Count,
    CountOrZero,
    Fraction,
    PositiveBytes,
    PositiveSeconds,
    Record,
    Seconds,
    Text,
    YesOrNo,
    number,
    whole,
    wrong_at,
)
from qtune.shapes import RandomTime
from qtune.units import format_duration

MOST_ATTEMPTS = 10_000


class Renewal(Record):
    """Lock renewal while a handler works.

    max_s: a message is renewed for at most so long after the handler got it.
    renewers: most renewal calls at a time in one instance; None: one for each worker.
    """

    max_s: PositiveSeconds
    renewers: Count | None = None


class AdaptiveBatch(Record):
    """Receives that ask for as many messages as are likely to be handled in ``target_duration``.

    The rule is that of the queue-runtime document: the target divided by the mean time a message of the last ten
    batches, from their request to the end of their handling in whole milliseconds, rounded down, and between min and
    max; min at first. A receive that brings nothing is not remembered. (The document keeps a history of 50,
    and reads ten of it.)
    """

    min: Count = 1
    max: Count
    target_duration_s: PositiveSeconds

    @model_validator(mode="after")
    def _in_order(self) -> AdaptiveBatch:
        if self.min > self.max:
            raise wrong_at(("min",), self.min, f"this is more than max ({self.max})")
        if self.target_duration_s < 0.001:
            message = "it is counted in whole milliseconds: use 1ms or more"
            raise wrong_at(("target_duration_s",), self.target_duration_s, message)
        return self


class OtherQueues(Record):
    """Queues that the same poller takes in turn with this one.

    A poller that may ask this queue again first visits each of the ``count`` others once.
    turn: how long it is with one of them: until its receive is answered, and what it does with the messages before it
        goes on. An idle queue that is polled with a wait of 20 s takes 20 s.
    """

    count: Count
    turn: RandomTime


class Consumers(Record):
    """The fleet of consumers: ``instances`` equal processes, each with ``workers`` concurrent handlers.

    Settings that one provider or client does not have stay None there; giving one is an error that says what
    to use instead. A None that applies takes the client's own default, which ``ReceiveBehaviour`` shows
    resolved.

    retry_mode: how the client makes a call again that the broker refused, by the client library's own name for it.
    max_attempts: how often it makes one call at most, the first time included. Producers use the same client.
    max_pool_connections: how many connections a client keeps that are not in use. A call that finds none opens one, and
        waits for its handshake. Producers use the same client, and each instance of them has a pool of its own.
    settle_entry_failures: chance that one entry of a settle batch fails although the call succeeds; it is settled again
        at once, with the others of that call that failed. No provider states a rate.
    keep_group_order: where the queue is ordered by group, whether a receiver's workers keep to that order: one message
        of a group at a time, and after a failure none of that group until it is received again. None: they do.
    memory_limit_bytes, message_memory_bytes: of one instance for messages from a receive to the end of their
        handling, and what one of them takes there (its size, times what the runtime makes of it). Each receiver has
        an equal share, and asks for no more messages than its share still holds: with none left it stops receiving.
    sessions: on a queue with sessions, how many an instance holds at a time, each with workers / sessions calls at
        a time. None: one for each worker. session_idle_timeout: without a message for so long a session is closed.
    """

    instances: Count = 1
    workers: Count
    receivers: Count | None = None
    receive_batch: Count | None = None
    adaptive_batch: AdaptiveBatch | None = None
    receive_wait_s: Seconds | None = None
    polling: Literal["loop", "permits", "buffer"] | None = None
    buffer: Count | None = None
    refill_at: Count | None = None
    idle_pause_s: Seconds | None = None
    other_queues: OtherQueues | None = None
    prefetch: CountOrZero | None = None
    credit_returned: Literal["taken", "settled"] | None = None
    settle: Literal["each", "batch", "concurrent"] = "each"
    settle_batch: Count | None = None
    settle_entry_failures: Fraction = 0.0
    renewal: Renewal | None = None
    client: Text | None = None
    retry_mode: Text | None = None
    max_attempts: Annotated[int, whole(at_least=1, at_most=MOST_ATTEMPTS)] | None = None
    max_pool_connections: Count | None = None
    drop_expired: YesOrNo = False
    keep_group_order: YesOrNo | None = None
    memory_limit_bytes: PositiveBytes | None = None
    message_memory_bytes: PositiveBytes | None = None
    sessions: Count | None = None
    session_idle_timeout_s: PositiveSeconds | None = None
    cores: Count = 1
    instance_price_usd_per_hour: Annotated[float, number(at_least=0.0)] | None = None

    @model_validator(mode="after")
    def _entries_fail_in_batches(self) -> Consumers:
        if self.settle_entry_failures > 0.0 and self.settle != "batch":
            message = "entries fail in batches: use settle: batch, or leave it out"
            raise wrong_at(("settle_entry_failures",), self.settle_entry_failures, message)
        if self.settle_entry_failures == 1.0:
            message = "no message would ever be settled: use less than 100%"
            raise wrong_at(("settle_entry_failures",), 1.0, message)
        return self

    def held_most(self, receivers: int) -> int | None:
        """The most messages that one of so many receivers may have in memory; None: no bound."""
        if self.memory_limit_bytes is None or self.message_memory_bytes is None:
            return None
        return self.memory_limit_bytes // self.message_memory_bytes // receivers


class Retry(Record):
    """Attempts of a handler inside one delivery; the worker keeps the message meanwhile.

    attempts counts the first try. The wait before attempt k + 2 is base * factor^k, at most ceiling, and shorter by a
    random part of the share ``jitter`` of it: 100% is what AWS calls full jitter, 50% equal jitter.
    """

    attempts: Annotated[int, whole(at_least=1, at_most=MOST_ATTEMPTS)]
    base_s: Seconds = 0.0
    factor: Annotated[float, number(at_least=1.0)] = 1.0
    ceiling_s: Seconds | None = None
    jitter: Fraction = 0.0

    @model_validator(mode="after")
    def _ceiling_is_above(self) -> Retry:
        if self.ceiling_s is not None and self.ceiling_s < self.base_s:
            message = f"the first wait (base: {format_duration(self.base_s)}) is already longer than this"
            raise wrong_at(("ceiling_s",), self.ceiling_s, message)
        if self.jitter and not any(self.waits_s()):
            message = "there is no wait that could vary: give a base, or leave jitter out"
            raise wrong_at(("jitter",), self.jitter, message)
        return self

    @property
    def mean_waits_s(self) -> tuple[float, ...]:
        """The same waits on average over their jitter."""
        return tuple(wait_s * (1.0 - 0.5 * self.jitter) for wait_s in self.waits_s())

    def waits_s(self) -> tuple[float, ...]:
        """The longest wait before the second, third, ... attempt, in seconds; computed by repeated multiplication."""
        waits, wait_s = [], self.base_s
        for _ in range(self.attempts - 1):
            capped = wait_s if self.ceiling_s is None else min(wait_s, self.ceiling_s)
            waits.append(capped)
            wait_s = capped * self.factor
        return tuple(waits)


class Failures(Record):
    """How handlers fail.

    rate: chance that one attempt of a handler fails.
    poison: share of the messages of which every attempt fails.
    on_failure: when the last attempt of a delivery has failed, the message is given back at once ("abandon"),
        or nothing is called and it comes back when its lock runs out ("lock_expiry", what a bare boto3 loop
        does).
    """

    rate: Fraction = 0.0
    poison: Fraction = 0.0
    on_failure: Literal["abandon", "lock_expiry"] = "abandon"
    retry: Retry | None = None

    @property
    def attempts(self) -> int:
        """Most attempts of a handler in one delivery."""
        return self.retry.attempts if self.retry else 1
