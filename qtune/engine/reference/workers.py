"""Workers: take a delivery, handle it, settle it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtune.engine import streams
from qtune.engine.plan import LINK_BURST, SETTLE_BATCH, SETTLE_CONCURRENT
from qtune.engine.reference.clients import Tries
from qtune.engine.reference.clock import Slot
from qtune.engine.reference.links import BurstLink
from qtune.engine.reference.receivers import Receiver
from qtune.engine.reference.settling import Failed, failed_entries
from qtune.result import (
    CALL_LOCK_LOST,
    CALL_OK,
    DELIVERY_DROPPED,
    DELIVERY_FAILED,
    DELIVERY_UNSETTLED,
    OP_ABANDON,
    OP_SETTLE,
)

if TYPE_CHECKING:
    from qtune.engine.reference.consumer import Renewer

Steps = Generator[Any, Any, None]

NO_GROUP = -2
"""The group of a worker that is with no delivery; -1 is that of messages without a group."""


class Worker:
    """One handler: a thread, task or process that handles one delivery at a time."""

    def __init__(self, receiver: Receiver, number: int) -> None:
        self.receiver, self.number = receiver, number
        self.consumer, self.model = receiver.consumer, receiver.model
        self.plan, self.clock, self.rows = self.model.plan, self.model.clock, self.model.rows
        self.slot = Slot(self.clock, self.model.slots.workers + number)
        self.handled: list[int] = []
        self.started_s = 0.0
        self.attempt_s = (0.0, 0.0)
        self.delivery = -1
        self.busy = False
        self.group = NO_GROUP
        self.renewer: Renewer | None = None
        receiver.workers.append(self)
        self.clock.process(self.run_calls() if self.plan.discipline == LINK_BURST else self.run())

    def close(self) -> None:
        """The consumer is told to stop: a worker that waits in a receive call, or to make one, waits no more."""
        link = self.receiver
        if isinstance(link, BurstLink) and not self.busy and not link.answer:
            self.slot.cancel()

    def end(self) -> None:
        """The consumer is killed: whatever this worker does ends here."""
        self.model.busy_workers -= self.busy
        self.model.downstream.abandon(self.attempt_s)
        self.attempt_s = (0.0, 0.0)
        self.slot.cancel()

    def run(self) -> Steps:
        """Take from the receiver's buffer, or be handed a delivery when there is one."""
        receiver = self.receiver
        while True:
            delivery = receiver.take()
            if delivery is None:
                receiver.idle_workers.append(self)
                receiver.look()
                self.consumer.rest()
                delivery = yield self.slot.idle()
            yield from self.take_on(delivery)

    def run_calls(self) -> Steps:
        """Make receive calls and handle what each returns, one after the other."""
        link = self.receiver
        assert isinstance(link, BurstLink)
        while not link.closed:
            yield from self.wait_for_pause()
            yield from link.receive(self.slot)
            while link.answer:
                yield from self.wait_for_pause()
                yield from self.take_on_read(link.answer)
        self.consumer.rest()

    def take_on(self, delivery: int) -> Steps:
        """Handle a delivery that has been taken from the buffer."""
        yield from self.handle(delivery)

    def take_on_read(self, answer: deque[int]) -> Steps:
        """Handle the first of what a receive call has returned."""
        self.model.buffered -= 1
        yield from self.handle(answer.popleft())

    def wait_for_pause(self) -> Steps:
        """Wait while no handler may start."""
        while pause_end_s := self.model.paused_until_s():
            yield self.slot.at(pause_end_s)

    def handle(self, delivery: int) -> Steps:
        """Handle one delivery to its end: dropped, failed, or settled."""
        plan, clock, row = self.plan, self.clock, self.rows.deliveries[delivery]
        if plan.drops_expired and clock.now >= row.lock_end_s:
            row.outcome = DELIVERY_DROPPED
            self.receiver.taken()
            self.receiver.done(1)
            return
        self.model.busy_workers += 1
        self.busy = True
        self.group = self.receiver.group_of(delivery)
        self.delivery, row.worker = delivery, self.number
        self.started_s = row.started_s = self.consumer.compute(plan.message_cost_s)
        self.receiver.taken()
        if plan.renewers:
            self.consumer.start_renewing(self)
        self.receiver.look()
        if plan.attempt_waits:
            yield self.slot.at(self.started_s)
            succeeded, attempts = yield from self.attempt_in_turn(row.message, row.delivery_no)
        else:
            succeeded, attempts, finished_s = self.attempt(row.message, row.delivery_no, self.started_s)
            yield self.slot.at(finished_s)
        row.attempts, row.finished_s = attempts, clock.now
        if plan.keeps_order and not succeeded:
            self.receiver.skip(self.group)
        yield from self.finish(delivery, succeeded)
        self.busy = False
        self.group = NO_GROUP
        self.model.busy_workers -= 1

    def attempt(self, message: int, delivery_no: int, started_s: float) -> tuple[bool, int, float]:
        """Whether the handler succeeds, after how many attempts, and when it is through with them."""
        time_s, attempt = started_s, 0
        while True:
            key = delivery_no * streams.ATTEMPTS_MOST + attempt
            time_s = time_s + self.service_s(message, key)
            fails = self.fails(message, key)
            attempt += 1
            if not fails or attempt > self.plan.backoff_s.size:
                return not fails, attempt, time_s
            time_s = time_s + self.backoff_s(message, key, attempt)

    def attempt_in_turn(self, message: int, delivery_no: int) -> Generator[Any, Any, tuple[bool, int]]:
        """The same where attempts share something: each asks when it begins, and some are refused or do not pass."""
        attempt = served = 0
        while True:
            key = delivery_no * streams.ATTEMPTS_MOST + attempt
            succeeded = False
            if self.consumer.breaker.lets_through():
                taken_on, end_s = yield from self.serve(self.service_s(message, key))
                served += taken_on
                succeeded = taken_on and not self.fails(message, key)
                yield self.slot.at(end_s)
                self.consumer.breaker.note(succeeded)
            attempt += 1
            if succeeded or attempt > self.plan.backoff_s.size:
                return succeeded, served
            yield self.slot.at(self.clock.now + self.backoff_s(message, key, attempt))

    def serve(self, need_s: float) -> Generator[Any, Any, tuple[bool, float]]:
        """Work on a core first, then ask the downstream for the rest: whether it is taken on, and when this is over."""
        plan, downstream = self.plan, self.model.downstream
        if plan.cpu_share > 0.0:
            cpu_s = plan.cpu_share * need_s
            need_s = need_s - cpu_s
            yield self.slot.at(self.consumer.compute(cpu_s))
        if not plan.has_downstream:
            return True, self.clock.now + need_s
        start_s = downstream.ask(need_s)
        if start_s is None:
            return False, self.clock.now + plan.refusal_s
        self.attempt_s = start_s, start_s + need_s
        return True, start_s + need_s

    def backoff_s(self, message: int, key: int, attempt: int) -> float:
        """The wait after so many attempts have failed, of which the last has this key."""
        wait_s, plan = float(self.plan.backoff_s[attempt - 1]), self.plan
        if plan.backoff_jitter > 0.0:
            part = self.model.draws.uniform(streams.BACKOFF, message, key)
            wait_s = wait_s * (1.0 - plan.backoff_jitter * part)
        return wait_s

    def service_s(self, message: int, key: int) -> float:
        """How long one attempt works."""
        if self.plan.service_s.size:
            return self.model.service_s[message]
        return self.model.draws.value(streams.SERVICE, streams.SERVICE, message, key)

    def fails(self, message: int, key: int) -> bool:
        """Whether one attempt fails, although it is served."""
        plan, draws = self.plan, self.model.draws
        if draws.happens(streams.POISON, message, 0, plan.poison_steps):
            return True
        return draws.happens(streams.FAIL, message, key, plan.fail_steps)

    def finish(self, delivery: int, succeeded: bool) -> Steps:
        """What follows the handler: nothing, a settle at once, with others, or in the background."""
        plan = self.plan
        if not succeeded and not plan.abandons:
            self.rows.deliveries[delivery].outcome = DELIVERY_FAILED
            self.stop_renewing()
            self.receiver.done(1)
            if self.handled and self.nothing_to_do():
                yield from self.settle(self.handled, True)
        elif plan.settle_mode == SETTLE_CONCURRENT:
            self.model.background.settle(delivery, succeeded, self.receiver)
            self.stop_renewing()
        elif plan.settle_mode == SETTLE_BATCH and succeeded:
            self.stop_renewing()
            self.handled.append(delivery)
            if len(self.handled) >= plan.settle_batch or self.nothing_to_do():
                yield from self.settle(self.handled, True)
        else:
            yield from self.settle([delivery], succeeded)
            if self.handled and self.nothing_to_do():
                yield from self.settle(self.handled, True)

    def nothing_to_do(self) -> bool:
        """Whether no delivery is there that this worker could take next."""
        others = [worker for worker in self.receiver.workers if worker is not self]
        return self.receiver.next_place(others) is None or self.model.paused_until_s() > 0.0

    def settle(self, deliveries: list[int], succeeded: bool) -> Steps:
        """Settle these deliveries with one call, and entries of a batch that fail again; the worker waits for it."""
        rounds, left = 0, list(deliveries)
        while left:
            left = yield from self.settle_once(left, succeeded, rounds)
            rounds += 1
        deliveries.clear()
        self.stop_renewing()
        if isinstance(self.receiver, BurstLink) and self.receiver.unread:
            self.receiver.release_unread()

    def settle_once(self, deliveries: list[int], succeeded: bool, rounds: int) -> Failed:
        """Make one call until the broker takes it or the client gives up; the entries that failed."""
        broker, count = self.model.broker, len(deliveries)
        op = OP_SETTLE if succeeded else OP_ABANDON
        first, failed = self.rows.deliveries[deliveries[0]], list[int]()
        b = first.delivery_no + rounds * streams.NEXT_ROUND
        tries = Tries(self.consumer.client, op, first.message, b)
        while True:
            start_s = self.clock.now
            yield from self.reach_broker_and_back(tries)
            outcome = broker.ask(op, count, start_s)
            tries.note(outcome)
            if outcome == CALL_OK:
                tries.answered()
                failed = failed_entries(self.model, deliveries, rounds) if succeeded else []
                taken = [delivery for delivery in deliveries if delivery not in failed]
                lost = [delivery for delivery in taken if not broker.settle(delivery, succeeded)]
                if lost:
                    self.receiver.lost_lock()
                broker.match()
                self.note(start_s, op, len(taken), CALL_LOCK_LOST if lost else CALL_OK)
                break
            self.note(start_s, op, 0, outcome)
            wait_s = tries.next_after_s(outcome)
            if wait_s is None:
                for delivery in deliveries:
                    self.rows.deliveries[delivery].outcome = DELIVERY_UNSETTLED
                break
            yield self.slot.at(self.clock.now + wait_s)
        self.receiver.done(count - len(failed))
        return failed

    def reach_broker_and_back(self, tries: Tries) -> Steps:
        """The round trip of one settle, with the client's work before and the broker's in the middle."""
        plan, model, slot, start_s = self.plan, self.model, self.slot, self.clock.now
        round_trip_s = model.round_trip_s(streams.SETTLE, streams.SETTLE, tries.a, tries.key)
        leaves_s = tries.leaves_s(self.consumer.compute(plan.call_cost_s))
        if plan.calls_served_at_once:
            yield slot.at(leaves_s + 0.5 * round_trip_s)
            served_s = model.broker.served_at(streams.BROKER, streams.BROKER_SETTLE, tries.a, tries.key)
            yield slot.at(served_s + 0.5 * round_trip_s)
        else:
            yield slot.at(leaves_s + round_trip_s)
        tries.hang_up(start_s)

    def note(self, start_s: float, op: int, count: int, outcome: int) -> None:
        """Write a call down that is answered now."""
        self.rows.add_call(start_s, self.clock.now, self.consumer.number, op, count, outcome)

    def stop_renewing(self) -> None:
        """The worker is through with its delivery."""
        self.delivery = -1
        if self.renewer is not None:
            renewer, self.renewer = self.renewer, None
            renewer.let_go()
