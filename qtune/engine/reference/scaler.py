"""The scaler: looks at the queue now and then, and changes the number of consumers."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from qtune.engine import scaling
from qtune.engine.plan import GONE, RUNNING, STARTING
from qtune.engine.reference.clock import Slot
from qtune.engine.reference.lines import ByGroup

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model


class Scaler:
    """Acts at the multiples of two periods: to wake or put to sleep the whole fleet, and to set its number.

    It reads the number of messages, or of groups, as it was ``scale_lag_s`` ago, or a little earlier: the newest of its
    own looks that is as old. Before the first of these it does nothing. A look in an outage finds no number, and
    nothing follows from it, unless there is a fallback.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.plan, self.clock = model, model.plan, model.clock
        self.slot = Slot(self.clock, model.slots.scaler)
        self.polls = self.syncs = 1
        self.looks: list[tuple[float, int | None]] = []
        self.failures = 0
        self.active_s = -inf
        self.wants: list[tuple[float, int]] = [(0.0, self.current)]
        self.slot.ring_at(self.next_s, self.act)

    @property
    def poll_s(self) -> float:
        """When it next looks whether the fleet may sleep."""
        return self.polls * self.plan.scale_poll_s if self.plan.scale_poll_s else inf

    @property
    def sync_s(self) -> float:
        """When it next sets the number."""
        return self.syncs * self.plan.scale_every_s

    @property
    def next_s(self) -> float:
        """When it next acts."""
        return min(self.poll_s, self.sync_s)

    @property
    def current(self) -> int:
        """How many consumers run or start."""
        return sum(member.phase in (RUNNING, STARTING) for member in self.model.fleet.members)

    def act(self) -> None:
        """Look; then wake the fleet or put it to sleep, and then set the number."""
        now_s = self.clock.now
        down = self.model.broker.limits.down_until_s(now_s)
        self.looks.append((now_s, None if down else self.count()))
        seen = [messages for at_s, messages in self.looks if at_s <= now_s - self.plan.scale_lag_s]
        polls, syncs = self.poll_s <= now_s, self.sync_s <= now_s
        self.polls, self.syncs = self.polls + polls, self.syncs + syncs
        if seen and polls and seen[-1] is not None:
            self.wake(seen[-1])
        if seen and syncs:
            self.synchronize(seen[-1])
        self.slot.ring_at(self.next_s, self.act)

    def count(self) -> int:
        """What there is to do: messages, or groups that have any."""
        broker, in_flight = self.model.broker, self.plan.scale_in_flight
        if self.plan.scale_groups:
            assert isinstance(broker.line, ByGroup)
            return broker.line.with_messages(in_flight)
        return broker.backlog + (broker.in_flight if in_flight else 0)

    def wake(self, messages: int) -> None:
        """A fleet without work sleeps after a while, and wakes when there is some."""
        plan, current, now_s = self.plan, self.current, self.clock.now
        if messages > plan.scale_activation:
            self.active_s = now_s
        idle_s = now_s - self.active_s
        self.resize(
            scaling.woken(
                messages,
                plan.scale_activation,
                current,
                plan.scale_least,
                plan.scale_asleep,
                idle_s,
                plan.scale_cooldown_s,
            )
        )

    def synchronize(self, messages: int | None) -> None:
        """As many consumers as the messages want, or the fallback when their number is not known for long."""
        plan, current = self.plan, self.current
        if plan.scale_poll_s and not current:
            return
        self.failures = 0 if messages is not None else self.failures + 1
        if messages is not None:
            self.set_number(scaling.wanted(messages, plan.scale_target, current, plan.scale_tolerance))
        elif plan.scale_fallback and self.failures > plan.scale_failures:
            self.set_number(scaling.wanted(plan.scale_fallback, 1.0, current, plan.scale_tolerance))

    def set_number(self, want: int) -> None:
        """As many consumers as are wanted, with respect to what was wanted lately."""
        plan, current, now_s = self.plan, self.current, self.clock.now
        least = max(plan.scale_least, 1) if plan.scale_poll_s else plan.scale_least
        self.wants.append((now_s, want))
        low = [n for at_s, n in self.wants if at_s > now_s - plan.scale_up_window_s] or [want]
        high = [n for at_s, n in self.wants if at_s > now_s - plan.scale_down_window_s] or [want]
        number = scaling.settled(current, min(low), max(high))
        number = scaling.stepped(current, number, plan.scale_up_share, plan.scale_up_count)
        self.resize(scaling.within(least, number, plan.consumers))

    def resize(self, number: int) -> None:
        """Start consumers, or cancel starts and stop consumers, from the highest number down."""
        fleet, change = self.model.fleet, number - self.current
        if change > 0:
            free = [member for member in fleet.members if member.phase == GONE]
            for member in free[:change]:
                fleet.start(member, self.plan.start_up_s)
        elif change < 0:
            downwards = fleet.members[::-1]
            starting = [member for member in downwards if member.phase == STARTING]
            running = [member for member in downwards if member.phase == RUNNING]
            for member in (starting + running)[:-change]:
                if member.phase == STARTING:
                    fleet.cancel(member)
                else:
                    fleet.stop(member, self.plan.scale_grace_s, inf)
        fleet.look()
