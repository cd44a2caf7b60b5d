"""Peer models in cimba, written as its manual does: stores, conditions with a timeout, and one event for each lock.

This is what a user of cimba writes first; ``cimba_lean.py`` is what can be made of it. The model is that of
:class:`plans.MessageModel`, and a run keeps sums and no rows.
"""

from __future__ import annotations

from typing import Final

import cimba as cb
from cimba import random
from plans import RATE_PER_S, SERVICE_S, MessageModel

INSTANCES: Final = 8
WORKERS: Final = 4
BUFFER: Final = 10
BATCH: Final = 10
REFILL_AT: Final = 5
TRIES: Final = 16
"""A delivery is one number: its message's number times 16, and which of the message's deliveries it is."""


class Fleet(cb.Model):
    """The broker and its instances."""

    rate_per_s: cb.Param[float] = 1.0
    horizon_s: cb.Param[float] = 1.0
    lock_s: cb.Param[float] = 30.0
    wait_s: cb.Param[float] = 20.0
    failures: cb.Param[float] = 0.0
    max_deliveries: cb.Param[int] = 3
    service_mu: cb.Param[float] = 0.0
    service_sigma: cb.Param[float] = 1.0
    settle_mu: cb.Param[float] = 0.0
    settle_sigma: cb.Param[float] = 1.0
    call_mu: cb.Param[float] = 0.0
    call_sigma: cb.Param[float] = 1.0

    instances: list[Instance]
    due_s: cb.Array[float] = cb.Array(16)
    tries: cb.Array[int] = cb.Array(16)
    locked: cb.Array[bool] = cb.Array(16)
    ready: cb.Store[int] = cb.Store()
    locks: cb.Store[int] = cb.Store()
    ready_count: int = 0  # cimba counts only stores of models
    arrived: cb.Condition = cb.Condition(observe=ready)

    messages: cb.Output[int]
    completed: cb.Output[int]
    deliveries: cb.Output[int]
    dead: cb.Output[int]
    sojourn_s: cb.Output[float]

    @cb.on_start
    def begin(self) -> None:
        """Outputs begin undefined."""
        self.messages = 0
        self.completed = 0
        self.deliveries = 0
        self.dead = 0
        self.sojourn_s = 0.0

    @cb.process
    def produce(self) -> None:
        """Send messages at exponential distances up to the horizon."""
        while True:
            cb.hold(random.exponential(1.0 / self.rate_per_s))
            if cb.now() > self.horizon_s:
                cb.end_trial()
            message = self.messages
            self.messages += 1
            self.due_s[message] = cb.now()
            self.ready_count += 1
            self.ready.put(message)

    @cb.predicate
    def has_ready(self) -> bool:
        """Whether a poll would find something."""
        return self.ready_count > 0

    @cb.event
    def lock_ends(self) -> None:
        """The oldest lock has run out; its message is free again unless it has been settled."""
        delivery = self.locks.get()
        message = delivery // TRIES
        if self.locked[message] and self.tries[message] == delivery % TRIES:
            self.locked[message] = False
            if self.tries[message] >= self.max_deliveries:
                self.dead += 1
            else:
                self.ready_count += 1
                self.ready.put(message)


class Instance(cb.Model):
    """A buffer, one poller that fills it, and workers that empty it."""

    fleet: cb.Ref[Fleet]
    coming: cb.Array[int] = cb.Array(BATCH)
    buffer: cb.Store[int] = cb.Store()
    buffered: int = 0
    space: cb.Condition

    @cb.predicate
    def has_space(self) -> bool:
        """Whether enough places are free to ask for more."""
        return BUFFER - self.buffered >= REFILL_AT

    @cb.process
    def poll(self) -> None:
        """Ask for messages whenever enough places are free."""
        while True:
            self.space.wait_until(self.has_space)
            asked = min(BUFFER - self.buffered, BATCH)
            half_s = 0.5 * random.lognormal(self.fleet.call_mu, self.fleet.call_sigma)
            cb.hold(half_s)
            count = 0
            self.fleet.arrived.wait_until(self.fleet.has_ready, self.fleet.wait_s)
            while count < asked and self.fleet.ready_count > 0:
                self.fleet.ready_count -= 1
                message = self.fleet.ready.get()
                self.fleet.tries[message] += 1
                self.fleet.locked[message] = True
                delivery = message * TRIES + self.fleet.tries[message]
                self.fleet.locks.put(delivery)
                cb.schedule(self.fleet.lock_ends, self.fleet.lock_s)
                self.coming[count] = delivery
                count += 1
            self.fleet.deliveries += count
            cb.hold(half_s)
            for place in range(count):
                self.buffered += 1
                self.buffer.put(self.coming[place])

    @cb.process(copies=WORKERS)
    def work(self) -> None:
        """Handle one message after the other."""
        fleet = self.fleet
        while True:
            delivery = self.buffer.get()
            self.buffered -= 1
            self.space.signal()
            message = delivery // TRIES
            cb.hold(random.lognormal(fleet.service_mu, fleet.service_sigma))
            if random.bernoulli(fleet.failures):
                continue
            finished_s = cb.now()
            cb.hold(random.lognormal(fleet.settle_mu, fleet.settle_sigma))
            if fleet.locked[message] and fleet.tries[message] == delivery % TRIES:
                fleet.locked[message] = False
                fleet.completed += 1
                fleet.sojourn_s += finished_s - fleet.due_s[message]


def fleet(model: MessageModel, messages: int) -> Fleet:
    """The message model with room for about so many messages."""
    assert (model.workers, model.buffer) == (WORKERS, BUFFER)
    assert (model.batch, model.refill_at) == (BATCH, REFILL_AT)
    made = Fleet()
    made.instances = [Instance() for _ in range(model.instances)]
    for instance in made.instances:
        instance.fleet = made
    room = cb.Array(1 << (2 * messages).bit_length())
    made.due_s, made.tries, made.locked = room, room, room
    return made


class Queue(cb.Model):
    """M/M/8: a store of arrival times and eight servers."""

    horizon_s: cb.Param[float] = 1.0
    line: cb.Store[float] = cb.Store()
    completed: cb.Output[int]
    sojourn_s: cb.Output[float]

    @cb.on_start
    def begin(self) -> None:
        """Outputs begin undefined."""
        self.completed = 0
        self.sojourn_s = 0.0

    @cb.process
    def produce(self) -> None:
        """Customers come at exponential distances up to the horizon."""
        while True:
            cb.hold(random.exponential(1.0 / RATE_PER_S))
            if cb.now() > self.horizon_s:
                cb.end_trial()
            self.line.put(cb.now())

    @cb.process(copies=8)
    def serve(self) -> None:
        """One of the servers."""
        while True:
            due_s = self.line.get()
            cb.hold(random.exponential(SERVICE_S))
            self.completed += 1
            self.sojourn_s += cb.now() - due_s
