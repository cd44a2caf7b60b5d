"""Receivers and the workers behind them: who receives when, and what a worker does with a delivery."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from qtune.adapters.base import Received, Receiver
from qtune.measurement.handlers import handle
from qtune.measurement.held import Held
from qtune.measurement.logs import clock_s
from qtune.result import (
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_DROPPED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    DELIVERY_UNSETTLED,
    OP_ABANDON,
    OP_RECEIVE,
    OP_SETTLE,
)

if TYPE_CHECKING:
    from qtune.measurement.client import Client

AFTER_FAILURE_S: Final = 0.1
"""A client that cannot reach the broker does not ask again at once, however soon its SDK gives up."""


class Loop:
    """One receiver of a consumer process, and the workers that it feeds."""

    def __init__(self, client: Client, receiver: Receiver, first_worker: int, workers: int) -> None:
        self.client, self.receiver, self.behaviour = client, receiver, client.behaviour
        self.buffer: deque[Held] = deque()
        self.in_hand = 0
        self.changed = threading.Condition()
        self.workers = [Worker(self, first_worker + place) for place in range(workers)]

    def targets(self) -> list[Callable[[], None]]:
        """A thread's work for each worker and for receiving; a worker alone that asks when it is idle does both."""
        if len(self.workers) == 1 and not self.asks_early():
            return [self.receive_and_handle]
        return [self.receive, *(worker.run for worker in self.workers)]

    def asks_early(self) -> bool:
        """Whether the next receive may be made while a message is handled."""
        limit = self.behaviour.in_hand_limit
        polls = self.behaviour.discipline == "poll"
        return polls and (self.behaviour.refill_at < limit or self.behaviour.credit_returned == "taken")

    def receive_and_handle(self) -> None:
        """One thread does everything, one thing after the other."""
        worker = self.workers[0]
        while not self.client.stopping.is_set():
            self.client.wait_for_pause()
            held = self.ask(self.behaviour.batch)
            self.buffer.extend(held)
            while self.buffer:
                self.client.wait_for_pause()
                worker.take_on(self.buffer.popleft())

    def receive(self) -> None:
        """Ask for more whenever there is room for enough."""
        while (room := self.wait_for_room()) > 0:
            held = self.ask(min(room, self.behaviour.batch))
            with self.changed:
                self.in_hand += len(held)
                self.buffer.extend(held)
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def wait_for_room(self) -> int:
        """How many more messages there is room for, once there are enough; 0 when the client stops."""
        behaviour = self.behaviour
        with self.changed:
            while not self.client.stopping.is_set():
                room = behaviour.in_hand_limit - self.in_hand
                if room >= behaviour.refill_at:
                    return room
                self.changed.wait()
        return 0

    def ask(self, most: int) -> list[Held]:
        """Make one receive call."""
        wait_s = self.behaviour.wait_s
        answer = self.client.calls.make(OP_RECEIVE, 0, lambda: self.receiver.receive(most, wait_s))
        received_s = clock_s()
        held = [self.hold(received, received_s) for received in answer or ()]
        pause_s = self.behaviour.idle_pause_s
        if answer is None:
            pause_s = max(pause_s, AFTER_FAILURE_S)
        if not held and pause_s:
            self.client.stopping.wait(pause_s)
        return held

    def hold(self, received: Received, received_s: float) -> Held:
        """Write down a delivery that has come."""
        lock_end_s = received_s + self.client.orders.lock_s
        row = self.client.recorder.received(
            received.number, received_s, lock_end_s, received.delivery_no or 0
        )
        return Held(self.receiver, received, row, lock_end_s)

    def take(self) -> Held | None:
        """The oldest delivery in the buffer, when there is one; None when the client stops and there is none left."""
        with self.changed:
            while not self.buffer:
                if self.client.stopping.is_set():
                    return None
                self.changed.wait()
            if self.behaviour.credit_returned == "taken":
                self.free(1)
            return self.buffer.popleft()

    def free(self, count: int) -> None:
        """So many places are free again; the caller holds ``changed``."""
        self.in_hand -= count
        self.changed.notify_all()

    def done(self, count: int) -> None:
        """The client is rid of deliveries."""
        if self.behaviour.credit_returned == "settled":
            with self.changed:
                self.free(count)

    def wake(self) -> None:
        """Let everyone see that the client stops."""
        with self.changed:
            self.changed.notify_all()


class Worker:
    """One handler, which handles one delivery at a time."""

    def __init__(self, loop: Loop, number: int) -> None:
        self.loop, self.client, self.number = loop, loop.client, number
        self.handled: list[Held] = []

    def run(self) -> None:
        """Take from the receiver's buffer until the client stops and nothing is left."""
        while (held := self.loop.take()) is not None:
            self.client.wait_for_pause()
            self.take_on(held)

    def take_on(self, held: Held) -> None:
        """Handle a delivery to its end: dropped, failed or settled."""
        orders, behaviour = self.client.orders, self.client.behaviour
        if behaviour.drops_expired and clock_s() >= held.lock_end_s:
            held.end(DELIVERY_DROPPED)
            self.loop.done(1)
            return
        started_s = clock_s()
        held.row.number("worker", self.number)
        held.row.time("started_s", started_s)
        if self.client.renewals is not None:
            self.client.renewals.begin(held, started_s)
        its = held.received
        succeeded, attempts = handle(orders.workload, its.number, its.delivery_no or 1, orders.cpu_share)
        held.row.number("attempts", attempts)
        held.row.time("finished_s", clock_s())
        self.finish(held, succeeded)

    def finish(self, held: Held, succeeded: bool) -> None:
        """What follows the handler: nothing, a settlement at once, with others, or beside the worker."""
        behaviour = self.client.behaviour
        if not succeeded and not self.client.orders.abandons:
            held.end(DELIVERY_FAILED)
            self.loop.done(1)
        elif self.client.settlers is not None:
            self.client.settlers.submit(self.settle, [held], succeeded)
            return
        elif behaviour.settle == "batch" and succeeded:
            held.done.set()
            self.handled.append(held)
        else:
            self.settle([held], succeeded)
        if self.handled and (len(self.handled) >= behaviour.settle_batch or not self.loop.buffer):
            self.settle(self.handled, True)
            self.handled = []

    def settle(self, deliveries: list[Held], succeeded: bool) -> None:
        """Settle these deliveries with one call."""
        receiver, received = self.loop.receiver, [held.received for held in deliveries]
        op, call = (OP_SETTLE, receiver.complete) if succeeded else (OP_ABANDON, receiver.abandon)
        answer = self.client.calls.make(op, len(deliveries), lambda: call(received))
        settled_s = clock_s()
        right, wrong = (
            (DELIVERY_COMPLETED, DELIVERY_LATE) if succeeded else (DELIVERY_ABANDONED, DELIVERY_FAILED)
        )
        for held, held_still in zip(deliveries, answer or [None] * len(deliveries), strict=True):
            if held_still is None:
                held.end(DELIVERY_UNSETTLED)
                continue
            if held_still:  # one that was refused has settled nothing
                held.row.time("settled_s", settled_s)
            held.end(right if held_still else wrong)
        self.loop.done(len(deliveries))
