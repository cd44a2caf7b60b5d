"""Workers whose handler takes several messages in one call."""

from __future__ import annotations

from collections import deque

from qtune.engine import streams
from qtune.engine.plan import SETTLE_BATCH, SETTLE_CONCURRENT
from qtune.engine.reference.workers import Steps, Worker
from qtune.result import DELIVERY_DROPPED, DELIVERY_FAILED


class BatchWorker(Worker):
    """Takes what its receiver has, up to ``handler_batch`` messages, and calls the handler once for all of them."""

    def take_on(self, delivery: int) -> Steps:
        """Handle a delivery together with what waits behind it in the buffer."""
        batch = [delivery]
        while len(batch) < self.plan.handler_batch and (another := self.receiver.take()) is not None:
            batch.append(another)
        yield from self.handle_batch(batch)

    def take_on_read(self, answer: deque[int]) -> Steps:
        """Handle as many messages of what a receive call has returned as the handler takes."""
        batch = [answer.popleft() for _ in range(min(self.plan.handler_batch, len(answer)))]
        self.model.buffered -= len(batch)
        yield from self.handle_batch(batch)

    def handle_batch(self, batch: list[int]) -> Steps:
        """Call the handler with those that the client does not drop, and settle them."""
        plan, clock, rows = self.plan, self.clock, self.rows.deliveries
        taken: list[int] = []
        for delivery in batch:
            self.receiver.taken()
            if plan.drops_expired and clock.now >= rows[delivery].lock_end_s:
                rows[delivery].outcome = DELIVERY_DROPPED
                self.receiver.done(1)
            else:
                taken.append(delivery)
        if not taken:
            return
        self.model.busy_workers += 1
        self.busy = True
        self.started_s = self.consumer.compute(plan.message_cost_s * len(taken))
        for delivery in taken:
            rows[delivery].worker, rows[delivery].started_s = self.number, self.started_s
        self.receiver.look()
        served = let_through = True
        end_s = self.started_s
        if plan.attempt_waits:
            yield self.slot.at(self.started_s)
            let_through = served = self.consumer.breaker.lets_through()
            if let_through:
                served, end_s = yield from self.serve(self.batch_s(taken))
        else:
            end_s = self.started_s + self.batch_s(taken)
        yield self.slot.at(end_s)
        for delivery in taken:
            rows[delivery].attempts, rows[delivery].finished_s = int(served), clock.now
        succeeded = self.which_succeed(taken, served)
        if let_through:
            self.consumer.breaker.note(served and (all(succeeded) or not plan.batch_fails_whole))
        yield from self.finish_batch(taken, succeeded)
        self.busy = False
        self.model.busy_workers -= 1

    def batch_s(self, batch: list[int]) -> float:
        """How long one call works: a part for the call, and the sum of its messages' work or the longest of it."""
        work_s = 0.0
        for delivery in batch:
            message, key = self.key_of(delivery)
            each_s = self.service_s(message, key)
            work_s = max(work_s, each_s) if self.plan.batch_longest else work_s + each_s
        return self.plan.batch_call_s + work_s

    def which_succeed(self, batch: list[int], served: bool) -> list[bool]:
        """Which messages of a call succeed: if one fails, all do, unless the handler tells them apart."""
        good = [served and not self.fails(*self.key_of(delivery)) for delivery in batch]
        return [all(good)] * len(good) if self.plan.batch_fails_whole else good

    def key_of(self, delivery: int) -> tuple[int, int]:
        """What a delivery's draws belong to."""
        row = self.rows.deliveries[delivery]
        return row.message, row.delivery_no * streams.ATTEMPTS_MOST

    def finish_batch(self, batch: list[int], succeeded: list[bool]) -> Steps:
        """Settle what succeeded, by ``settle_batch`` where the client can, and what failed, one by one if at all."""
        plan = self.plan
        together: list[int] = []
        alone: list[tuple[int, bool]] = []
        for delivery, good in zip(batch, succeeded, strict=True):
            if not good and not plan.abandons:
                self.rows.deliveries[delivery].outcome = DELIVERY_FAILED
                self.receiver.done(1)
            elif plan.settle_mode == SETTLE_CONCURRENT:
                self.model.background.settle(delivery, good, self.receiver)
            elif plan.settle_mode == SETTLE_BATCH and good:
                together.append(delivery)
            else:
                alone.append((delivery, good))
        for first in range(0, len(together), plan.settle_batch):
            yield from self.settle(together[first : first + plan.settle_batch], True)
        for delivery, good in alone:
            yield from self.settle([delivery], good)
