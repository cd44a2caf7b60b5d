"""The fleet: consumers that start, are told to stop, drain, and end."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

from qtune.engine.plan import DRAINING, GONE, RUNNING, STARTING, STOPPING
from qtune.engine.reference.clients import Client
from qtune.engine.reference.clock import Slot
from qtune.engine.reference.consumer import Consumer
from qtune.result import DELIVERY_LOST, DELIVERY_OPEN

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model


class Member:
    """A place in the fleet: the consumer that has it, or had it last, and what happens to it next."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.phase = GONE
        self.due_s = inf
        self.grace_s = self.back_s = inf
        self.consumer: Consumer | None = None


class Fleet:
    """Starts and ends consumers, when the plan or the scaler says so, and counts the time of those that are paid for.

    A consumer that is told to stop receives no more and drains: it finishes what it has in hand, for at most its grace,
    and is then killed. With a grace of 0 it is killed at once. Each step of each consumer is an event of its own.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.plan, self.clock = model, model.plan, model.clock
        self.slot = Slot(self.clock, model.slots.fleet)
        self.members = [Member(number) for number in range(self.plan.consumers)]
        self.told = 0
        self.seconds, self.paid_until_s = 0.0, 0.0
        for member in self.members[: self.plan.consumers - self.plan.absent_at_start]:
            self.run(member)
        self.look()

    @property
    def consumers(self) -> list[Consumer]:
        """The consumers that have not ended."""
        return [m.consumer for m in self.members if m.consumer is not None and not m.consumer.ended]

    @property
    def running(self) -> int:
        """How many consumers take messages."""
        return sum(member.phase == RUNNING for member in self.members)

    @property
    def instance_s(self) -> float:
        """How long instances have been there so far, from the beginning of their start to their end, all together."""
        now_s: float = self.clock.now
        paid = sum(member.phase != GONE for member in self.members)
        return self.seconds + (now_s - self.paid_until_s) * paid

    def pay_up(self) -> None:
        """Count the time of the instances up to now, before their number changes."""
        self.seconds, self.paid_until_s = self.instance_s, self.clock.now

    def look(self) -> None:
        """Be due when the next consumer is, or the next event of the plan."""
        due_s = min(member.due_s for member in self.members)
        if self.told < self.plan.fleet_at_s.size:
            due_s = min(due_s, float(self.plan.fleet_at_s[self.told]))
        self.slot.cancel()
        if due_s < inf:
            self.slot.ring_at(due_s, self.act)

    def act(self) -> None:
        """One consumer takes its next step, or the plan says who is to stop."""
        due = next((member for member in self.members if member.due_s <= self.clock.now), None)
        if due is None:
            self.tell()
        elif due.phase == STARTING:
            self.run(due)
        elif due.phase == STOPPING and due.grace_s > 0.0:
            due.phase, due.due_s = DRAINING, self.clock.now + due.grace_s
            assert due.consumer is not None
            due.consumer.close()
            self.rest(due.number)
        else:
            self.kill(due)
        self.look()

    def tell(self) -> None:
        """The running consumers with the lowest numbers are told to stop, as many as the plan says."""
        plan, told = self.plan, self.told
        self.told += 1
        running = [member for member in self.members if member.phase == RUNNING]
        for member in running[: int(plan.fleet_count[told])]:
            self.stop(member, float(plan.fleet_grace_s[told]), float(plan.fleet_back_s[told]))

    def start(self, member: Member, after_s: float) -> None:
        """Let a consumer start that is gone; it is paid for from now on."""
        self.pay_up()
        member.phase, member.due_s = STARTING, self.clock.now + after_s

    def cancel(self, member: Member) -> None:
        """A consumer that is starting is not wanted any more."""
        self.pay_up()
        member.phase, member.due_s = GONE, inf

    def stop(self, member: Member, grace_s: float, back_s: float) -> None:
        """Tell a consumer to stop; what follows is an event of its own at this instant."""
        member.phase, member.due_s = STOPPING, self.clock.now
        member.grace_s, member.back_s = grace_s, back_s

    def run(self, member: Member) -> None:
        """A consumer has started: a new process, whose calls and credit are numbered on from the one before."""
        before, number = member.consumer, member.number
        self.model.clients[number] = Client(self.model)
        member.phase, member.due_s = RUNNING, inf
        member.consumer = Consumer(self.model, number, before)

    def rest(self, number: int) -> None:
        """A consumer has less in hand: it ends when it drains and has nothing left."""
        member = self.members[number]
        if member.phase != DRAINING or member.consumer is None or not member.consumer.has_nothing():
            return
        for receiver in member.consumer.receivers:
            receiver.finish()
        self.model.broker.match()
        self.kill(member)
        self.look()

    def kill(self, member: Member) -> None:
        """A consumer ends: what it has in hand is lost, its calls on their way vanish, and it may start again."""
        model, now_s = self.model, self.clock.now
        for row in model.rows.deliveries:
            if row.consumer == member.number and row.outcome == DELIVERY_OPEN:
                row.outcome = DELIVERY_LOST
                if row.started_s > now_s:
                    row.started_s = nan
        assert member.consumer is not None
        model.background.forget(member.consumer)
        member.consumer.end()
        due_s = now_s + member.back_s
        if due_s == inf:
            self.pay_up()
        member.phase, member.due_s = (STARTING if due_s < inf else GONE), due_s
