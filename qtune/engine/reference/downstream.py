"""What all handlers share behind the queue: connections, and a pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtune.engine.plan import Plan
from qtune.engine.reference.clock import Clock

if TYPE_CHECKING:
    from qtune.engine.reference.consumer import Consumer


class Downstream:
    """Serves attempts in the order of asking; each says how long it takes, and so it is known when it will begin."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan, self.clock = plan, clock
        self.free_s = [0.0] * plan.downstream_connections
        self.next_s = 0.0
        self.busy_s = 0.0
        self.refusals = 0

    def ask(self, need_s: float) -> float | None:
        """When an attempt of ``need_s`` that asks now begins; None: it is refused."""
        plan, now_s = self.plan, self.clock.now
        start_s = max(now_s, self.next_s - plan.downstream_ahead_s)
        connection = min(range(len(self.free_s)), key=self.free_s.__getitem__, default=-1)
        if connection >= 0:
            start_s = max(start_s, self.free_s[connection])
        if plan.downstream_rejects and start_s > now_s:
            self.refusals += 1
            return None
        self.next_s = max(self.next_s, start_s) + plan.downstream_gap_s
        self.busy_s += need_s
        if connection >= 0:
            self.free_s[connection] = start_s + need_s
        return start_s

    def abandon(self, attempt_s: tuple[float, float]) -> None:
        """An attempt is served for nobody: its connection stays taken, and the rest does not count as work."""
        (start_s, end_s), now_s = attempt_s, self.clock.now
        if end_s > now_s:
            self.busy_s = self.busy_s - (end_s - max(start_s, now_s))

    def worked_s(self, consumers: list[Consumer]) -> float:
        """How long attempts have been served so far: all that were taken on, less what is left of them."""
        worked_s, now_s = self.busy_s, self.clock.now
        for consumer in consumers:
            for worker in consumer.workers:
                start_s, end_s = worker.attempt_s
                if end_s > now_s:
                    worked_s = worked_s - (end_s - max(start_s, now_s))
        return worked_s
