"""The message model as lean SimPy with the standard library's random numbers: what a careful user of SimPy writes.

It is here so that nobody has to take qtune's own reference for a measure of SimPy. It does less than the reference: no
table of deliveries or calls, no keyed draws, no order at equal times, and only the features that this model has.
Hand-offs are made at once (no ``simpy.Store``), which is quicker and leaves no buffer unsettled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from random import Random
from typing import Any

import simpy
from plans import MessageModel, lognormal_parameters

Steps = Generator[simpy.Event, Any, Any]
Delivery = tuple[int, int]
"""A message's number and which of its deliveries this is."""


@dataclass(kw_only=True)
class Outcome:
    """What a run counted."""

    messages: int = 0
    completed: int = 0
    deliveries: int = 0
    dead: int = 0
    sojourn_s: float = 0.0

    @property
    def mean_sojourn_s(self) -> float:
        """From a message's arrival to the end of its completing handler."""
        return self.sojourn_s / max(self.completed, 1)


class Broker:
    """The queue: what is ready, who waits for it, and which locks run."""

    def __init__(self, env: simpy.Environment, model: MessageModel, random: Random) -> None:
        self.env, self.model, self.random = env, model, random
        self.ready: deque[int] = deque()
        self.waiting: deque[tuple[simpy.Event, int]] = deque()
        self.due_s: list[float] = []
        self.locked_by: list[int] = []  # the delivery that holds the lock; 0 when none does
        self.tries: list[int] = []
        self.outcome = Outcome()

    def produce(self) -> Steps:
        """Send messages at exponential distances."""
        while True:
            yield self.env.timeout(self.random.expovariate(self.model.rate_per_s))
            self.due_s.append(self.env.now)
            self.locked_by.append(0)
            self.tries.append(0)
            self.outcome.messages += 1
            self.publish(len(self.due_s) - 1)

    def publish(self, message: int) -> None:
        """A message is ready; the poll that has waited longest gets it."""
        self.ready.append(message)
        if self.waiting:
            event, count = self.waiting.popleft()
            event.succeed(self.take(count))

    def take(self, count: int) -> list[Delivery]:
        """Hand out up to so many messages, each with a lock."""
        taken: list[Delivery] = []
        while self.ready and len(taken) < count:
            message = self.ready.popleft()
            self.tries[message] += 1
            self.locked_by[message] = self.tries[message]
            taken.append((message, self.tries[message]))
            self.env.process(self.lock(message, self.tries[message]))
        self.outcome.deliveries += len(taken)
        return taken

    def lock(self, message: int, number: int) -> Steps:
        """The lock of one delivery runs out; nothing happens if it has been settled."""
        yield self.env.timeout(self.model.lock_s)
        if self.locked_by[message] == number:
            self.locked_by[message] = 0
            if number >= self.model.max_deliveries:
                self.outcome.dead += 1
            else:
                self.publish(message)

    def receive(self, count: int) -> Steps:
        """A long poll."""
        if self.ready:
            return self.take(count)
        event = self.env.event()
        entry = (event, count)
        self.waiting.append(entry)
        yield event | self.env.timeout(self.model.wait_s)
        if event.triggered:
            return event.value
        self.waiting.remove(entry)
        return []

    def settle(self, message: int, number: int, finished_s: float) -> None:
        """A message is done, if the lock of this delivery still stands."""
        if self.locked_by[message] == number:
            self.locked_by[message] = 0
            self.outcome.completed += 1
            self.outcome.sojourn_s += finished_s - self.due_s[message]


class Instance:
    """A buffer, one poller that fills it, and workers that empty it."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.model, self.env, self.random = broker, broker.model, broker.env, broker.random
        self.buffer: deque[Delivery] = deque()
        self.idle: deque[simpy.Event] = deque()
        self.resting: simpy.Event | None = None
        self.call = lognormal_parameters(self.model.call_mean_s, self.model.call_cv)
        self.service = lognormal_parameters(self.model.service_mean_s, self.model.service_cv)
        self.settling = lognormal_parameters(self.model.settle_mean_s, self.model.settle_cv)
        self.env.process(self.poll())
        for _ in range(self.model.workers):
            self.env.process(self.work())

    def room(self) -> int:
        """For how many messages a poll would ask now; 0 while too few places are free."""
        free = self.model.buffer - len(self.buffer)
        return min(free, self.model.batch) if free >= self.model.refill_at else 0

    def poll(self) -> Steps:
        """Ask for messages whenever enough places are free."""
        while True:
            if not (room := self.room()):
                self.resting = self.env.event()
                room = yield self.resting
            half_s = 0.5 * self.random.lognormvariate(*self.call)
            yield self.env.timeout(half_s)
            deliveries = yield from self.broker.receive(room)
            yield self.env.timeout(half_s)
            for delivery in deliveries:
                if self.idle:
                    self.idle.popleft().succeed(delivery)
                else:
                    self.buffer.append(delivery)

    def work(self) -> Steps:
        """Handle one message after the other."""
        env, random, broker, failures = self.env, self.random, self.broker, self.model.failures
        while True:
            if self.buffer:
                message, number = self.buffer.popleft()
                if self.resting is not None and (room := self.room()):
                    self.resting.succeed(room)
                    self.resting = None
            else:
                event = env.event()
                self.idle.append(event)
                message, number = yield event
            yield env.timeout(random.lognormvariate(*self.service))
            if random.random() < failures:
                continue
            finished_s = env.now
            yield env.timeout(random.lognormvariate(*self.settling))
            broker.settle(message, number, finished_s)


def run(model: MessageModel, messages: int, seed: int) -> Outcome:
    """Simulate about so many messages."""
    env = simpy.Environment()
    broker = Broker(env, model, Random(seed))
    for _ in range(model.instances):
        Instance(broker)
    env.process(broker.produce())
    env.run(until=model.horizon_s(messages))
    return broker.outcome
