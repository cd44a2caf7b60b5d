"""Receivers: how messages come from the broker into a consumer, by polling or over a link with credit.

A receiver feeds its workers from ``buffer``, oldest first. ``in_hand`` counts what it has and has not yet been rid of;
a place is free again when a worker takes the message, or only when it is done with it (``credit_at_settle``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from math import floor
from typing import TYPE_CHECKING, Any

from qtune.engine import streams
from qtune.engine.plan import BATCHES_REMEMBERED, ROUNDING
from qtune.engine.reference.clients import Tries
from qtune.engine.reference.clock import Slot
from qtune.result import (
    CALL_EMPTY,
    CALL_FAILED,
    CALL_OK,
    CALL_OVER_LIMIT,
    CALL_THROTTLED,
    DELIVERY_LOST,
    DELIVERY_SKIPPED,
    OP_RECEIVE,
)

if TYPE_CHECKING:
    from qtune.engine.reference.consumer import Consumer
    from qtune.engine.reference.workers import Worker

Steps = Generator[Any, Any, None]
TRIED_AGAIN = (CALL_THROTTLED, CALL_FAILED)


class Receiver:
    """What polling receivers and links have in common."""

    def __init__(self, consumer: Consumer, number: int) -> None:
        self.consumer, self.number = consumer, number
        self.model, self.plan, self.clock = consumer.model, consumer.model.plan, consumer.model.clock
        self.broker = self.model.broker
        self.slots = self.model.slots
        self.buffer: deque[int] = deque()
        self.workers: list[Worker] = []
        self.idle_workers: list[Worker] = []
        self.in_hand = self.freed = 0
        self.feeding = self.closed = self.gathering = False
        self.slot = Slot(self.clock, self.slots.requests + number)

    def before(self) -> Any:
        """The same receiver of the consumer that ran here before, or None: its calls are numbered on."""
        before = self.consumer.before
        return None if before is None else before.receivers[self.number % self.plan.receivers]

    def close(self) -> None:
        """The consumer is told to stop: this receiver never asks again."""
        self.leave()

    def leave(self) -> None:
        """The broker forgets this receiver."""
        self.closed = True
        if self in self.broker.demand:
            self.broker.demand.remove(self)

    def finish(self) -> None:
        """The consumer has drained, and ends; only who holds a session has something left to give back."""

    def has_some(self) -> bool:
        """Whether a message is here, or on its way."""
        return bool(self.buffer)

    def end(self) -> None:
        """The consumer is killed: the broker forgets this receiver, and what it had in hand is lost."""
        self.leave()
        self.model.buffered -= len(self.buffer)
        self.slot.cancel()

    def arrived(self, deliveries: list[int]) -> None:
        """Deliveries are in the client: they wait in the buffer, unless a worker is idle."""
        for delivery in deliveries:
            self.model.rows.deliveries[delivery].received_s = self.clock.now
        self.buffer.extend(deliveries)
        self.model.buffered += len(deliveries)
        self.feed()

    def feed(self) -> None:
        """Let idle workers start on what is in the buffer."""
        while self.idle_workers and (delivery := self.take()) is not None:
            self.idle_workers.pop().slot.hand(delivery)

    def take(self) -> int | None:
        """The oldest delivery in the buffer that may start, if handlers may start at all."""
        place = self.next_place(self.workers)
        if place is None or self.gathering or self.model.paused_until_s():
            return None
        self.model.buffered -= 1
        delivery = self.buffer[place]
        del self.buffer[place]
        return delivery

    def next_place(self, workers: list[Worker]) -> int | None:
        """Where in the buffer the oldest delivery is that may start; None when there is none.

        A client that keeps the order of groups starts none of a group while one of these workers is busy with another.
        """
        if not self.plan.keeps_order:
            return 0 if self.buffer else None
        busy = {worker.group for worker in workers}
        return next((place for place, its in enumerate(self.buffer) if self.group_of(its) not in busy), None)

    def group_of(self, delivery: int) -> int:
        """The group of a delivery's message."""
        rows = self.model.rows
        return rows.messages[rows.deliveries[delivery].message].group

    def skip(self, group: int) -> None:
        """A handler has failed: what is in hand of its group is not handled, or would be before what has failed."""
        skipped = [delivery for delivery in self.buffer if self.group_of(delivery) == group]
        self.buffer = deque(delivery for delivery in self.buffer if self.group_of(delivery) != group)
        for delivery in skipped:
            self.model.buffered -= 1
            self.taken()
            if self.plan.abandons:
                self.model.background.settle(delivery, False, self)
            else:
                self.model.rows.deliveries[delivery].outcome = DELIVERY_SKIPPED
                self.done(1)

    def resume(self) -> None:
        """A pause has ended: idle workers start on what has gathered in the buffer."""
        self.feeding = True
        self.feed()
        self.feeding = False
        self.look()

    def taken(self) -> None:
        """A worker has taken a delivery."""
        if not self.plan.credit_at_settle:
            self.freed += 1

    def done(self, count: int) -> None:
        """The client is rid of deliveries: settled, failed or dropped."""
        if self.plan.credit_at_settle:
            self.freed += count

    def look(self) -> None:
        """Workers come first; after them the receiver looks whether to ask for more."""
        if not self.feeding and not self.closed:
            self.ask()

    def ask(self) -> None:
        """Ask for more if there is room; each kind of receiver has its own way."""

    def lost_lock(self) -> None:
        """An answer says that a lock was lost; only who holds a session draws a conclusion from it."""

    def be_served(self) -> None:
        """The broker has a message for this receiver, which waits for one."""
        raise AssertionError("each kind of receiver has its own rule")


class Poller(Receiver):
    """Asks for up to ``batch`` messages whenever it has room for ``refill_at`` more, one call at a time.

    With ``gather_s`` a window begins when it has nothing in hand and asks. It then asks again as long as there is any
    room, and no worker takes anything, until the window is over and something is there. No poll waits beyond that end.
    """

    def __init__(self, consumer: Consumer, number: int) -> None:
        super().__init__(consumer, number)
        self.resting = self.answered = False
        self.asked = self.brought = 0
        self.began_s = self.gathers_until_s = 0.0
        self.message_ms: deque[float] = deque(maxlen=BATCHES_REMEMBERED)
        self.calls = self.visited = self.before().calls + 1 if self.before() else 0
        self.clock.process(self.run())

    def room(self) -> int:
        """How many messages to ask for now; 0 when there is too little room."""
        self.in_hand -= self.freed
        self.freed = 0
        room = self.plan.in_hand_limit - self.in_hand
        return min(room, self.plan.batch) if self.gathering or room >= self.plan.refill_at else 0

    def gather(self) -> None:
        """A window begins with the first poll, and with each that comes after its end and still has nothing."""
        if self.plan.gather_s and not self.in_hand and self.clock.now >= self.gathers_until_s:
            self.gathering, self.gathers_until_s = True, self.clock.now + self.plan.gather_s

    def gathered(self) -> None:
        """A poll is through: if there is no more room, or the window is over, what there is goes to the workers."""
        full = self.in_hand >= self.plan.in_hand_limit
        if self.gathering and (full or (self.in_hand and self.clock.now >= self.gathers_until_s)):
            self.gathering, self.gathers_until_s = False, 0.0
            self.feed()

    def close(self) -> None:
        """A call under way vanishes, unless its answer brings messages; what was gathered is handled."""
        super().close()
        if not self.answered:
            self.slot.cancel()
        self.gathering = False
        self.feed()

    def has_some(self) -> bool:
        """Whether a message is here, or on its way."""
        return self.answered or super().has_some()

    def ask(self) -> None:
        """Poll, if the poller was waiting for room."""
        if self.resting and self.room():
            self.resting = False
            self.slot.hand(None)

    def run(self) -> Steps:
        """Wait for room, call, wait at the broker, and bring the answer home."""
        while not self.closed:
            if not self.room():
                self.resting = True
                yield self.slot.idle()
            if self.plan.other_queues and self.visited < self.calls and not self.gathering:
                self.visited = self.calls
                yield self.slot.at(self.clock.now + self.away_s())
            self.gather()
            self.asked = self.room()
            if self.plan.adaptive_least:
                self.asked = min(self.asked, self.fitting_batch())
            tries = Tries(self.consumer.client, OP_RECEIVE, self.number, self.calls)
            while (outcome := (yield from self.call(tries))) in TRIED_AGAIN and not self.closed:
                wait_s = tries.next_after_s(outcome)
                if wait_s is None:
                    break
                yield self.slot.at(self.clock.now + wait_s)
            self.calls += 1
            self.gathered()
            self.consumer.rest()
            if outcome != CALL_OK and self.plan.idle_pause_s > 0.0:
                yield self.slot.at(self.clock.now + self.plan.idle_pause_s)

    def away_s(self) -> float:
        """How long the poller is with its other queues, before the next call here."""
        away_s = 0.0
        for queue in range(self.plan.other_queues):
            a = self.number + queue * streams.NEXT_QUEUE
            away_s = away_s + self.model.draws.value(streams.TURN_TABLE, streams.TURN, a, self.calls)
        return away_s

    def fitting_batch(self) -> int:
        """Note how long the last batch took, and find how many messages are likely to fill the time for the next.

        The mean time a message of the last batches, from their request to the end of their handling in whole
        milliseconds, the newest first.
        """
        plan, now_s = self.plan, self.clock.now
        if self.brought:
            took_ms = floor((now_s - self.began_s) * 1000.0)
            self.message_ms.appendleft(took_ms / self.brought)
        self.brought, self.began_s = 0, now_s
        if not self.message_ms:
            return plan.adaptive_least
        sum_ms = 0.0
        for each_ms in self.message_ms:
            sum_ms = sum_ms + each_ms
        if sum_ms <= 0.0:
            return plan.batch
        fits = floor(plan.adaptive_target_s * 1000.0 + ROUNDING) / (sum_ms / len(self.message_ms))
        return plan.batch if fits >= plan.batch else max(plan.adaptive_least, floor(fits))

    def call(self, tries: Tries) -> Generator[Any, Any, int]:
        """One request and its answer; the outcome."""
        plan, clock, slot, broker = self.plan, self.clock, self.slot, self.broker
        start_s = clock.now
        half_s = 0.5 * self.model.round_trip_s(streams.RECEIVE, streams.RECEIVE, self.number, tries.key)
        yield slot.at(tries.leaves_s(self.consumer.compute(plan.call_cost_s)) + half_s)
        if plan.calls_served_at_once:
            yield slot.at(broker.served_at(streams.BROKER, streams.BROKER_RECEIVE, self.number, tries.key))
        deliveries: list[int] = []
        outcome = broker.ask(OP_RECEIVE, 0, start_s)
        if outcome == CALL_OK:
            tries.answered()
            if plan.over_limit_fails and plan.wait_s <= 0.0 and broker.is_full_of_locks():
                outcome = CALL_OVER_LIMIT
            else:
                deliveries = yield from self.get(tries.key)
                outcome = CALL_OK if deliveries else CALL_EMPTY
        self.answered = bool(deliveries)
        yield slot.at(clock.now + half_s)
        tries.hang_up(start_s)
        self.answered = False
        if self.model.broke_since(start_s):
            for delivery in deliveries:
                self.model.rows.deliveries[delivery].outcome = DELIVERY_LOST
            deliveries, outcome = [], CALL_FAILED
        tries.note(outcome)
        self.in_hand += len(deliveries)
        self.brought = len(deliveries)
        self.arrived(deliveries)
        self.model.rows.add_call(
            start_s, clock.now, self.consumer.number, OP_RECEIVE, len(deliveries), outcome
        )
        return outcome

    def get(self, key: int) -> Generator[Any, Any, list[int]]:
        """What the broker has for a request that reached it, at once or when it has waited."""
        if self.broker.line.offers() and self.broker.may_hand_out():
            return self.fetch(key)
        if self.plan.wait_s <= 0.0:
            return []
        ends_s = self.clock.now + self.plan.wait_s
        if self.gathering:
            ends_s = min(ends_s, max(self.clock.now, self.gathers_until_s))
        if self.plan.look_every_s:
            return (yield from self.look_again(key, ends_s))
        self.broker.demand.append(self)
        deliveries = (yield self.slot.at(ends_s)) or []
        if not deliveries:
            self.broker.demand.remove(self)
        return deliveries

    def look_again(self, key: int, ends_s: float) -> Generator[Any, Any, list[int]]:
        """The broker looks for a poll that waits now and then, and does not tell it when something comes."""
        clock = self.clock
        while clock.now < ends_s:
            yield self.slot.at(min(clock.now + self.plan.look_every_s, ends_s))
            if self.broker.line.offers() and self.broker.may_hand_out():
                return self.fetch(key)
        return []

    def fetch(self, key: int) -> list[int]:
        """Lock what is ready, up to what was asked for, may be in flight, and is seen by a poll that does not wait."""
        plan, broker = self.plan, self.broker
        count = min(self.asked, broker.backlog)
        if plan.in_flight_most:
            count = min(count, plan.in_flight_most - broker.in_flight)
        if plan.short_poll_steps and plan.wait_s <= 0.0:
            count = min(count, self.seen(key))
        return broker.hand_out(self, count)

    def seen(self, key: int) -> int:
        """How many of the ready messages a poll sees that asks only some of the servers, up to what it asks for."""
        seen, happens = 0, self.model.draws.happens
        for place in range(self.broker.backlog):
            a = self.number + place * streams.NEXT_SEEN
            seen += happens(streams.SHORT_POLL, a, key, self.plan.short_poll_steps)
            if seen == self.asked:
                break
        return seen

    def be_served(self) -> None:
        """The long poll ends: something is ready."""
        self.slot.hand(self.fetch(0))
