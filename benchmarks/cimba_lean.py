"""Peer models in cimba, written for speed: rings in arrays, and processes that wake each other directly.

cimba compiles these classes with numba and runs their processes as coroutines of its C engine. Nothing of its slower
entities is used, there is one lock keeper for the whole queue (locks have one length, so they end in the order in
which they began), and a run keeps sums and no rows. The model is that of :class:`plans.MessageModel`.
"""

from __future__ import annotations

from typing import Final

import cimba as cb
import numba
from cimba import random
from plans import RATE_PER_S, SERVICE_S, MessageModel

INSTANCES: Final = 8
WORKERS: Final = 4
BUFFER: Final = 10
BATCH: Final = 10
REFILL_AT: Final = 5
RING: Final = 16
TIMED_OUT: Final = -5
TRIES: Final = 16
"""A delivery is one number: its message's number times 16, and which of the message's deliveries it is."""


class Fleet(cb.Model):
    """The message model; the size of the fleet is compiled in, as cimba wants it."""

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

    due_s: cb.Array[float] = cb.Array(RING)
    tries: cb.Array[int] = cb.Array(RING)
    locked: cb.Array[bool] = cb.Array(RING)
    ready: cb.Array[int] = cb.Array(RING)
    lock_end_s: cb.Array[float] = cb.Array(RING)
    lock_delivery: cb.Array[int] = cb.Array(RING)
    line: cb.Array[int] = cb.Array(RING)
    buffer: cb.Array[int] = cb.Array(INSTANCES * RING)
    head: cb.Array[int] = cb.Array(INSTANCES)
    tail: cb.Array[int] = cb.Array(INSTANCES)
    answer: cb.Array[int] = cb.Array(INSTANCES * BATCH)
    answer_count: cb.Array[int] = cb.Array(INSTANCES)
    asked: cb.Array[int] = cb.Array(INSTANCES)
    poller_of: cb.Array[int] = cb.Array(INSTANCES)
    resting: cb.Array[bool] = cb.Array(INSTANCES)
    idle: cb.Array[int] = cb.Array(INSTANCES * WORKERS)
    idle_count: cb.Array[int] = cb.Array(INSTANCES)
    ready_head: int = 0
    ready_tail: int = 0
    lock_head: int = 0
    lock_tail: int = 0
    line_head: int = 0
    line_tail: int = 0
    keeper: int = 0
    keeper_rests: bool = False
    pollers: int = 0
    workers: int = 0

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
            publish(self, message)

    @cb.process
    def keep_locks(self) -> None:
        """Sleep until the first lock ends that still stands, and give its message back."""
        self.keeper = cb.this_process().pointer
        mask = len(self.lock_end_s) - 1
        while True:
            while self.lock_head < self.lock_tail and not stands(
                self, self.lock_delivery[self.lock_head & mask]
            ):
                self.lock_head += 1
            if self.lock_head == self.lock_tail:
                self.keeper_rests = True
                cb.suspend()
                continue
            place = self.lock_head & mask
            delivery = self.lock_delivery[place]
            cb.hold(self.lock_end_s[place] - cb.now())
            self.lock_head += 1
            if stands(self, delivery):
                message = delivery // TRIES
                self.locked[message] = False
                if self.tries[message] >= self.max_deliveries:
                    self.dead += 1
                else:
                    publish(self, message)

    @cb.process(copies=INSTANCES)
    def poll(self) -> None:
        """Ask for messages whenever enough places are free."""
        instance = self.pollers
        self.pollers += 1
        me = cb.this_process()
        self.poller_of[instance] = me.pointer
        while True:
            room = BUFFER - (self.tail[instance] - self.head[instance])
            if room < REFILL_AT:
                self.resting[instance] = True
                cb.suspend()
                continue
            self.asked[instance] = min(room, BATCH)
            self.answer_count[instance] = 0
            half_s = 0.5 * random.lognormal(self.call_mu, self.call_sigma)
            cb.hold(half_s)
            if self.ready_head < self.ready_tail:
                take(self, instance)
            else:
                self.line[self.line_tail & (RING - 1)] = instance
                self.line_tail += 1
                me.timer_set(self.wait_s, TIMED_OUT)
                signal = cb.suspend()
                me.timers_clear()
                if signal == TIMED_OUT:
                    leave_line(self, instance)
            cb.hold(half_s)
            for place in range(self.answer_count[instance]):
                delivery = self.answer[instance * BATCH + place]
                if self.idle_count[instance] > 0:
                    self.idle_count[instance] -= 1
                    idle = self.idle[instance * WORKERS + self.idle_count[instance]]
                    cb.Process(idle).resume(delivery)
                else:
                    self.buffer[instance * RING + (self.tail[instance] & (RING - 1))] = delivery
                    self.tail[instance] += 1

    @cb.process(copies=INSTANCES * WORKERS)
    def work(self) -> None:
        """Handle one message after the other; service and settle are one wait, as nobody looks in between."""
        instance = self.workers // WORKERS
        self.workers += 1
        me = cb.this_process()
        while True:
            if self.head[instance] < self.tail[instance]:
                delivery = self.buffer[instance * RING + (self.head[instance] & (RING - 1))]
                self.head[instance] += 1
                if (
                    self.resting[instance]
                    and BUFFER - (self.tail[instance] - self.head[instance]) >= REFILL_AT
                ):
                    self.resting[instance] = False
                    cb.Process(self.poller_of[instance]).resume(1)
            else:
                self.idle[instance * WORKERS + self.idle_count[instance]] = me.pointer
                self.idle_count[instance] += 1
                delivery = cb.suspend()
            service_s = random.lognormal(self.service_mu, self.service_sigma)
            if random.bernoulli(self.failures):
                cb.hold(service_s)
                continue
            finished_s = cb.now() + service_s
            cb.hold(service_s + random.lognormal(self.settle_mu, self.settle_sigma))
            if stands(self, delivery):
                message = delivery // TRIES
                self.locked[message] = False
                self.completed += 1
                self.sojourn_s += finished_s - self.due_s[message]


@numba.njit  # type: ignore[untyped-decorator]
def stands(w, delivery):  # type: ignore[no-untyped-def]
    """Whether the lock of a delivery still stands."""
    message = delivery // TRIES
    return w.locked[message] and w.tries[message] == delivery % TRIES


@numba.njit  # type: ignore[untyped-decorator]
def publish(w, message):  # type: ignore[no-untyped-def]
    """A message is ready; the poll that has waited longest gets it."""
    w.ready[w.ready_tail & (len(w.ready) - 1)] = message
    w.ready_tail += 1
    if w.line_head < w.line_tail:
        instance = w.line[w.line_head & (RING - 1)]
        w.line_head += 1
        take(w, instance)
        cb.Process(w.poller_of[instance]).resume(1)


@numba.njit  # type: ignore[untyped-decorator]
def take(w, instance):  # type: ignore[no-untyped-def]
    """Hand out what an instance has asked for, as far as it is there, each message with a lock."""
    count = 0
    while count < w.asked[instance] and w.ready_head < w.ready_tail:
        message = w.ready[w.ready_head & (len(w.ready) - 1)]
        w.ready_head += 1
        w.tries[message] += 1
        w.locked[message] = True
        delivery = message * TRIES + w.tries[message]
        w.answer[instance * BATCH + count] = delivery
        place = w.lock_tail & (len(w.lock_end_s) - 1)
        w.lock_end_s[place] = cb.now() + w.lock_s
        w.lock_delivery[place] = delivery
        w.lock_tail += 1
        count += 1
    w.answer_count[instance] = count
    w.deliveries += count
    if w.keeper_rests:
        w.keeper_rests = False
        cb.Process(w.keeper).resume(1)


@numba.njit  # type: ignore[untyped-decorator]
def leave_line(w, instance):  # type: ignore[no-untyped-def]
    """A poll has waited in vain; it is taken out of the line."""
    kept = w.line_head
    for place in range(w.line_head, w.line_tail):
        other = w.line[place & (RING - 1)]
        if other != instance:
            w.line[kept & (RING - 1)] = other
            kept += 1
    w.line_tail = kept


def fleet(model: MessageModel, messages: int) -> Fleet:
    """The message model with room for about so many messages."""
    made = Fleet()
    assert (model.instances, model.workers, model.buffer) == (INSTANCES, WORKERS, BUFFER)
    assert (model.batch, model.refill_at) == (BATCH, REFILL_AT)
    room = cb.Array(1 << (2 * messages).bit_length())
    made.due_s, made.tries, made.locked = room, room, room
    made.ready, made.lock_end_s, made.lock_delivery = room, room, room
    return made


class Queue(cb.Model):
    """M/M/8 with a ring for the line and direct wake-ups."""

    horizon_s: cb.Param[float] = 1.0
    line: cb.Array[float] = cb.Array(1 << 16)
    idle: cb.Array[int] = cb.Array(8)
    head: int = 0
    tail: int = 0
    idle_count: int = 0
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
        mask = len(self.line) - 1
        while True:
            cb.hold(random.exponential(1.0 / RATE_PER_S))
            if cb.now() > self.horizon_s:
                cb.end_trial()
            self.line[self.tail & mask] = cb.now()
            self.tail += 1
            if self.idle_count > 0:
                self.idle_count -= 1
                cb.Process(self.idle[self.idle_count]).resume(1)

    @cb.process(copies=8)
    def serve(self) -> None:
        """One of the servers."""
        me = cb.this_process()
        mask = len(self.line) - 1
        while True:
            while self.head == self.tail:
                self.idle[self.idle_count] = me.pointer
                self.idle_count += 1
                cb.suspend()
            due_s = self.line[self.head & mask]
            self.head += 1
            cb.hold(random.exponential(SERVICE_S))
            self.completed += 1
            self.sojourn_s += cb.now() - due_s
