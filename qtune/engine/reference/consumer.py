"""One consumer process: its cores, receivers, workers and lock renewers."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtune.engine import streams
from qtune.engine.plan import BY_SESSION, LINK_BURST, LINK_SLIDING
from qtune.engine.reference.batches import BatchWorker
from qtune.engine.reference.breaker import CircuitBreaker
from qtune.engine.reference.clients import Tries
from qtune.engine.reference.clock import Slot, earliest
from qtune.engine.reference.links import BurstLink, SlidingLink
from qtune.engine.reference.receivers import Poller, Receiver
from qtune.engine.reference.sessions import SessionLink
from qtune.engine.reference.workers import Worker
from qtune.result import CALL_LOCK_LOST, CALL_OK, OP_RENEW

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model
    from qtune.engine.reference.rows import DeliveryRow

Steps = Generator[Any, Any, None]


class Consumer:
    """What shares one process: cores, and renewers."""

    def __init__(self, model: Model, number: int, before: Consumer | None = None) -> None:
        plan = model.plan
        self.before = before
        self.model, self.number = model, number
        self.client = model.clients[number]
        self.core_free_s = [0.0] * plan.cores
        self.breaker = CircuitBreaker(model)
        self.renewers = [Renewer(self, number * plan.renewers + place) for place in range(plan.renewers)]
        self.idle_renewers: list[Renewer] = []
        self.to_renew: deque[tuple[Worker, int]] = deque()
        self.receivers = [self._receiver(number * plan.receivers + place) for place in range(plan.receivers)]
        kind = BatchWorker if plan.handler_batch > 1 else Worker
        self.workers = [
            kind(receiver, receiver.number * plan.workers + place)
            for receiver in self.receivers
            for place in range(plan.workers)
        ]
        self.ended = False

    def end(self) -> None:
        """The process is killed: nothing of it will ever act again."""
        self.ended, self.before = True, None
        for receiver in self.receivers:
            receiver.end()
        for worker in self.workers:
            worker.end()
        for renewer in self.renewers:
            renewer.slot.cancel()

    def close(self) -> None:
        """The process is told to stop: it receives no more."""
        for receiver in self.receivers:
            receiver.close()
        for worker in self.workers:
            worker.close()

    def has_nothing(self) -> bool:
        """Whether nothing is in hand and nothing on its way."""
        if any(receiver.has_some() for receiver in self.receivers) or any(w.busy for w in self.workers):
            return False
        return not self.model.background.has_some(self)

    def rest(self) -> None:
        """Something is done with: if the process has been told to stop, this may have been the last."""
        self.model.fleet.rest(self.number)

    def _receiver(self, number: int) -> Receiver:
        discipline = self.model.plan.discipline
        if self.model.plan.hands_out == BY_SESSION:
            return SessionLink(self, number)
        if discipline == LINK_SLIDING:
            return SlidingLink(self, number)
        return BurstLink(self, number) if discipline == LINK_BURST else Poller(self, number)

    def compute(self, need_s: float) -> float:
        """When a piece of the client's own work that begins now is done: it holds one of the process's cores."""
        if need_s <= 0.0:
            return self.model.clock.now
        self.model.core_busy_s += need_s
        return earliest(self.core_free_s, self.model.clock.now, need_s)

    def start_renewing(self, worker: Worker) -> None:
        """A worker begins with a delivery: an idle renewer stays with it to its end, or it waits for one."""
        if self.idle_renewers:
            self.idle_renewers.pop().slot.hand(worker)
        else:
            self.to_renew.append((worker, worker.delivery))

    def next_to_renew(self) -> Worker | None:
        """The worker that has waited longest for a renewer and is still with the same delivery."""
        while self.to_renew:
            worker, delivery = self.to_renew.popleft()
            if worker.delivery == delivery:
                return worker
        return None


class Renewer:
    """Keeps the lock of one delivery alive while its worker is with it, and does nothing else in that time."""

    def __init__(self, consumer: Consumer, number: int) -> None:
        self.consumer, self.number = consumer, number
        self.model, self.clock = consumer.model, consumer.model.clock
        self.slot = Slot(self.clock, self.model.slots.renewers + number)
        self.calling = self.wanted = False
        self.clock.process(self.run())

    def run(self) -> Steps:
        """Stay with one worker after the other."""
        consumer = self.consumer
        while True:
            worker = consumer.next_to_renew()
            if worker is None:
                consumer.idle_renewers.append(self)
                worker = yield self.slot.idle()
            worker.renewer, self.wanted = self, True
            yield from self.stay_with(worker)

    def stay_with(self, worker: Worker) -> Steps:
        """Renew when it is time, as long as the worker wants it, the limit allows it and the lock stands."""
        plan, clock, delivery = self.model.plan, self.clock, worker.delivery
        row = self.model.rows.deliveries[delivery]
        due_s = row.lock_end_s - plan.lock_s + plan.renew_after_s
        last_s = worker.started_s + plan.renew_max_s
        renewal = 0
        while due_s <= last_s:
            due_s = max(due_s, clock.now)
            yield self.slot.at(due_s)
            if not self.wanted:
                return
            renewed = yield from self.call(row, delivery, renewal)
            if not self.wanted:
                return
            if not renewed:
                break
            renewal += 1
            due_s = clock.now + plan.renew_after_s
        yield self.slot.idle()

    def call(self, row: DeliveryRow, delivery: int, renewal: int) -> Generator[Any, Any, bool]:
        """Call until the broker takes the call, the client gives up or the worker is through; whether it renewed."""
        plan, clock, model, number = self.model.plan, self.clock, self.model, self.consumer.number
        key = row.delivery_no * streams.ATTEMPTS_MOST + renewal
        tries = Tries(self.consumer.client, OP_RENEW, row.message, key)
        while True:
            start_s = clock.now
            round_trip_s = model.round_trip_s(streams.RENEW, streams.RENEW, row.message, tries.key)
            leaves_s = tries.leaves_s(self.consumer.compute(plan.call_cost_s))
            self.calling = True
            if plan.calls_served_at_once:
                yield self.slot.at(leaves_s + 0.5 * round_trip_s)
                served_s = model.broker.served_at(
                    streams.BROKER, streams.BROKER_RENEW, row.message, tries.key
                )
                yield self.slot.at(served_s + 0.5 * round_trip_s)
            else:
                yield self.slot.at(leaves_s + round_trip_s)
            self.calling = False
            tries.hang_up(start_s)
            outcome = model.broker.ask(OP_RENEW, 1, start_s)
            tries.note(outcome)
            if outcome == CALL_OK:
                break
            model.rows.add_call(start_s, clock.now, number, OP_RENEW, 0, outcome)
            wait_s = tries.next_after_s(outcome) if self.wanted else None
            if wait_s is None:
                return False
            yield self.slot.at(clock.now + wait_s)
            if not self.wanted:
                return False
        tries.answered()
        held = model.broker.renew(delivery)
        model.rows.add_call(start_s, clock.now, number, OP_RENEW, 1, CALL_OK if held else CALL_LOCK_LOST)
        return held

    def let_go(self) -> None:
        """The worker is through: free at once, or when the call on its way is answered."""
        self.wanted = False
        if not self.calling:
            self.slot.hand(None)
