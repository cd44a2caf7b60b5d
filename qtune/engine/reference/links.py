"""Links: receivers that give the broker credit, and are pushed messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from math import floor
from typing import TYPE_CHECKING, Any

from qtune.engine import streams
from qtune.engine.reference.clock import Pipe, Slot
from qtune.engine.reference.receivers import Receiver
from qtune.result import CALL_EMPTY, CALL_OK, DELIVERY_LOST, OP_RECEIVE

if TYPE_CHECKING:
    from qtune.engine.reference.consumer import Consumer

Steps = Generator[Any, Any, None]


class Link(Receiver):
    """Gives the broker credit and is pushed messages, in order; how credit comes back is up to the kind of link.

    Credit is told as AMQP does: a limit on the messages ever pushed, so that what is on its way is never counted twice.
    """

    def __init__(self, consumer: Consumer, number: int) -> None:
        super().__init__(consumer, number)
        before = self.before()
        self.pushed = before.pushed if before else 0
        self.flow_count = before.flow_count if before else 0
        self.limit = self.known_limit = self.pushed
        self.flows = Pipe(self.slot, self.credit_arrives)
        self.pushes = Pipe(Slot(self.clock, self.slots.landings + number), self.landed)

    def close(self) -> None:
        """What is here or on its way, and no worker has begun with, is given back or left to its lock."""
        super().close()
        here = self.unstarted()
        self.model.buffered -= len(here)
        now_s: float = self.clock.now
        self.give_back([(now_s, delivery) for delivery in here] + self.pushes.things())
        self.flows.cancel()
        self.pushes.cancel()

    def end(self) -> None:
        """What is on its way, in either direction, is lost."""
        super().end()
        self.flows.cancel()
        self.pushes.cancel()

    def unstarted(self) -> list[int]:
        """Take away all that is here and no worker has begun with, oldest first."""
        here = list(self.buffer)
        self.buffer.clear()
        return here

    def give_back(self, unstarted: list[tuple[float, int]]) -> None:
        """Send deliveries back as soon as they are here, if this client does so."""
        for lands_s, delivery in unstarted:
            if self.plan.returns_unstarted:
                self.model.background.release(delivery, self, lands_s)
            else:
                self.model.rows.deliveries[delivery].outcome = DELIVERY_LOST

    def flow(self, limit: int) -> None:
        """Tell the broker a new limit."""
        self.limit = limit
        half_s = 0.5 * self.model.round_trip_s(streams.RECEIVE, streams.RECEIVE, self.number, self.flow_count)
        self.flow_count += 1
        self.flows.put(self.clock.now + half_s, limit)

    def credit_arrives(self, limit: int) -> None:
        """What is ready is pushed, and the rest of the credit waits in line."""
        waited = self.pushed < self.known_limit
        self.known_limit = limit
        if self.pushed < limit and not waited:
            self.broker.demand.append(self)
            self.broker.match()

    def be_served(self) -> None:
        """Take one message, and wait in line again while there is credit."""
        self.push()
        if self.pushed < self.known_limit:
            self.broker.demand.append(self)

    def push(self) -> None:
        """The broker sends one message down the link."""
        [delivery] = self.broker.hand_out(self, 1)
        self.push_delivery(delivery)

    def push_delivery(self, delivery: int) -> None:
        """A delivery goes down the link."""
        half_s = 0.5 * self.model.round_trip_s(streams.RECEIVE, streams.PUSH, self.number, self.pushed)
        self.pushed += 1
        self.pushes.put(self.clock.now + half_s, delivery)

    def landed(self, delivery: int) -> None:
        """One message is in the client."""
        self.arrived([delivery])
        self.look()


class SlidingLink(Link):
    """Gives one credit back for every place that is free again, at once."""

    def __init__(self, consumer: Consumer, number: int) -> None:
        super().__init__(consumer, number)
        self.flow(self.limit + self.plan.in_hand_limit)

    def ask(self) -> None:
        """One more message may come for each place that is free."""
        if self.freed:
            freed, self.freed = self.freed, 0
            self.flow(self.limit + freed)


class BurstLink(Link):
    """The link of a client that reads only inside a call, as azure-servicebus for Python does; one worker a link.

    With a prefetch count of P, credit for P + 1 messages is given when the last one of it is used up, and only inside
    a receive call. Without, each call gives credit for what it asks, what is left of it stays with the broker, and
    what then comes outside a call lies unread until a settle or the keep-alive reads it, and releases it.
    """

    def __init__(self, consumer: Consumer, number: int) -> None:
        super().__init__(consumer, number)
        self.timer = Slot(self.clock, self.slots.timers + number)
        self.unread: deque[int] = deque()
        self.received = self.pushed
        self.answer: deque[int] = deque()
        self.calling = self.in_call = self.lingers = False
        self.deadline_s = 0.0
        self.caller: Slot | None = None

    def close(self) -> None:
        """A call under way returns nothing; what one has returned before is in its worker's hands."""
        super().close()
        self.timer.cancel()
        self.in_call = False

    def unstarted(self) -> list[int]:
        """Take away all that is here and no worker has begun with, oldest first."""
        here: list[int] = []
        for part in (self.answer if self.calling else deque(), self.buffer, self.unread):
            here.extend(part)
            part.clear()
        return here

    def has_some(self) -> bool:
        """Whether a message is here, or on its way."""
        return bool(self.answer)

    def end(self) -> None:
        """What a call has answered, and what lies unread, is lost too."""
        super().end()
        self.model.buffered -= len(self.answer) + len(self.unread)
        self.timer.cancel()

    def receive(self, caller: Slot) -> Steps:
        """One receive call for up to ``batch`` messages, made by the process of this slot: fills ``answer``."""
        plan, clock, start_s = self.plan, self.clock, self.clock.now
        self.calling = True
        self.collect(plan.batch)
        if len(self.answer) < plan.batch:
            free_s = self.consumer.compute(plan.call_cost_s)
            if free_s > clock.now:
                yield caller.at(free_s)
            self.caller = caller
            self.open_call(start_s, plan.batch - len(self.answer))
            if not self.is_over():
                yield caller.idle()
            self.in_call = False
            self.timer.cancel()
            self.collect(plan.batch - len(self.answer))
        self.calling = False
        count = len(self.answer)
        outcome = CALL_OK if count else CALL_EMPTY
        self.model.rows.add_call(start_s, clock.now, self.consumer.number, OP_RECEIVE, count, outcome)

    def collect(self, most: int) -> None:
        """Take what has been read into the call's answer, oldest first."""
        self.answer.extend(self.buffer.popleft() for _ in range(min(most, len(self.buffer))))

    def open_call(self, start_s: float, wanted: int) -> None:
        """Give credit as this client does, and read what lies there."""
        self.in_call, self.lingers = True, False
        self.deadline_s = start_s + self.plan.wait_s
        if not self.plan.prefetch:
            self.flow(self.received + wanted)
        if self.unread:
            self.received += len(self.unread)
            self.buffer.extend(self.unread)
            self.unread.clear()
            self.linger()
        if not self.is_over():
            self.refill()
            self.timer.ring_at(self.deadline_s, self.end_call)

    def refill(self) -> None:
        """Credit comes back all at once, when none is left."""
        if self.limit <= self.received:
            self.flow(self.received + self.plan.prefetch + 1)

    def is_over(self) -> bool:
        """Whether a call returns: a full batch has been read since it began, or its time is up."""
        return len(self.buffer) >= self.plan.batch or self.clock.now >= self.deadline_s

    def linger(self) -> None:
        """After the first message that is read in a call, wait only a little for more."""
        if not self.lingers:
            self.lingers = True
            self.deadline_s = min(self.deadline_s, self.clock.now + self.plan.linger_s)

    def landed(self, delivery: int) -> None:
        """A message is there: read by the call or into the client's buffer, or left lying."""
        self.model.rows.deliveries[delivery].received_s = self.clock.now
        self.model.buffered += 1
        if not self.in_call and not self.plan.prefetch:
            self.unread.append(delivery)
            if len(self.unread) == 1:
                ticks = floor(self.clock.now / self.plan.keepalive_s) + 1
                self.timer.ring_at(ticks * self.plan.keepalive_s, self.release_unread)
            return
        self.received += 1
        self.buffer.append(delivery)
        if self.in_call:
            self.linger()
            if self.is_over():
                self.end_call()
                return
            self.refill()
            self.timer.ring_at(self.deadline_s, self.end_call)

    def end_call(self) -> None:
        """Let the caller go on."""
        assert self.caller is not None
        self.caller.hand(None)

    def release_unread(self) -> None:
        """Give back, uncounted, what came while no call was there to take it."""
        self.timer.cancel()
        self.received += len(self.unread)
        while self.unread:
            self.model.buffered -= 1
            self.model.background.release(self.unread.popleft(), self)
