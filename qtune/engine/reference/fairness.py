"""Handing out fairly: a group that takes up much of what is in flight waits behind all others."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from qtune.engine.reference.lines import Line
from qtune.result import MESSAGE_READY

if TYPE_CHECKING:
    from qtune.engine.reference.broker import Broker


class ByFairness(Line):
    """Oldest first, but for the messages of noisy groups, which are set aside when their turn comes.

    Those of groups that are quiet again are next, oldest first; then all others; and when there is none, of the noisy
    groups the one with the fewest messages in flight is next. Whether a group is noisy is decided when one of its
    messages would be handed out. What comes back goes behind all that wait.
    """

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.ready: deque[int] = deque()
        self.aside: dict[int, deque[tuple[int, int]]] = {}
        self.aside_so_far = self.in_flight_total = 0
        self.waiting: Counter[int] = Counter()
        self.in_flight: Counter[int] = Counter()
        self.sent_s: dict[int, float] = {}
        self.noisy: set[int] = set()

    def add(self, message: int) -> None:
        """Behind all others; its group has sent something."""
        row = self.messages[message]
        self.sent_s[row.group] = row.sent_s
        self.come_back(message)

    def come_back(self, message: int) -> None:
        """Behind all others."""
        self.waiting[self.messages[message].group] += 1
        self.ready.append(message)

    def ended(self, message: int) -> None:
        """The share of its group is smaller."""
        self.in_flight[self.messages[message].group] -= 1
        self.in_flight_total -= 1

    def withdraw(self, message: int) -> None:
        """It does not wait any more; in ``ready`` its state tells that."""
        group = self.messages[message].group
        for place, (_, its) in enumerate(self.aside.get(group, ())):
            if its == message:
                del self.aside[group][place]
                if not self.aside[group]:
                    del self.aside[group]
                break
        self._one_less(group)

    def expire(self, message: int) -> None:
        """It is withdrawn."""
        self.withdraw(message)

    def offers(self) -> bool:
        """Whatever is ready can be given."""
        return self.broker.backlog > 0

    def take(self, most: int) -> list[int]:
        """The next ones."""
        return [self._next() for _ in range(min(most, self.broker.backlog))]

    def is_noisy(self, group: int) -> bool:
        """Whether other groups come before this one now."""
        if group in self.noisy and self.broker.clock.now >= self.sent_s[group] + self.plan.fair_quiet_s:
            self.noisy.discard(group)
        own, least = self.in_flight[group], self.plan.fair_least
        if own >= least and own > self.plan.fair_share * self.in_flight_total:
            self.noisy.add(group)
        return group in self.noisy

    def _next(self) -> int:
        message = self._next_of_quiet()
        if message is None:
            message = self._from_aside(
                min(self.aside, key=lambda group: (self.in_flight[group], self.aside[group][0]))
            )
        group = self.messages[message].group
        self._one_less(group)
        self.in_flight[group] += 1
        self.in_flight_total += 1
        return message

    def _next_of_quiet(self) -> int | None:
        """The oldest message of a group that is not noisy; those of noisy groups before it are set aside."""
        quiet = [group for group in self.aside if not self.is_noisy(group)]
        if quiet:
            return self._from_aside(min(quiet, key=lambda group: self.aside[group][0]))
        while self.ready:
            message = self.ready.popleft()
            row = self.messages[message]
            if row.state != MESSAGE_READY:
                continue
            if not self.is_noisy(row.group):
                return message
            self.aside.setdefault(row.group, deque()).append((self.aside_so_far, message))
            self.aside_so_far += 1
        return None

    def _from_aside(self, group: int) -> int:
        message = self.aside[group].popleft()[1]
        if not self.aside[group]:
            del self.aside[group]
        return message

    def _one_less(self, group: int) -> None:
        """One message less of a group waits; with its backlog gone it is quiet."""
        self.waiting[group] -= 1
        if not self.waiting[group]:
            self.noisy.discard(group)
