"""In which order a broker hands out what is ready: by age, or group by group.

A line holds the ready messages. The broker tells it what becomes ready, what comes back, what is not in flight any more
and what has outlived its retention, and takes from it what goes to a receiver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from qtune.result import MESSAGE_LOCKED, MESSAGE_READY

if TYPE_CHECKING:
    from qtune.engine.reference.broker import Broker


class Line(ABC):
    """What every order of handing out has in common."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.plan, self.messages = broker, broker.plan, broker.rows.messages

    @abstractmethod
    def add(self, message: int) -> None:
        """A message has come in."""

    @abstractmethod
    def come_back(self, message: int) -> None:
        """A message that was in flight is ready again."""

    def ended(self, message: int) -> None:  # noqa: B027  (an order may have no use for it)
        """A delivery of a message has ended: it has left, or has come back before this is called."""

    def expire(self, message: int) -> None:  # noqa: B027
        """A ready message has outlived its retention, which all that were sent before it did too."""

    def left(self, message: int) -> None:  # noqa: B027
        """A message is gone for good."""

    def withdraw(self, message: int) -> None:  # noqa: B027
        """A ready message is completed by a delivery that has lost its lock."""

    @abstractmethod
    def offers(self) -> bool:
        """Whether there is a message that a receiver could be given now."""

    def match(self) -> None:
        """Give what is ready to those who wait, longest waiting first."""
        broker = self.broker
        while self.offers() and broker.demand and broker.may_hand_out():
            broker.next_in_line().be_served()

    @abstractmethod
    def take(self, most: int) -> list[int]:
        """The messages that one receive is given, in order, at most so many."""


class ByAge(Line):
    """Oldest first, whatever is locked; what comes back goes before or behind all that wait."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.ready: deque[int] = deque()
        self.returned: deque[int] = deque()

    def add(self, message: int) -> None:
        """Behind all others."""
        self.ready.append(message)

    def come_back(self, message: int) -> None:
        """Before or behind all others."""
        (self.returned if self.plan.redelivers_first else self.ready).append(message)

    def offers(self) -> bool:
        """Whatever is ready can be given."""
        return self.broker.backlog > 0

    def take(self, most: int) -> list[int]:
        """The oldest ones."""
        return [self._next() for _ in range(min(most, self.broker.backlog))]

    def _next(self) -> int:
        """The oldest one; entries of messages that are gone are dropped."""
        for queue in (self.returned, self.ready):
            while queue:
                message = queue.popleft()
                if self.messages[message].state == MESSAGE_READY:
                    return message
        raise AssertionError("nothing is ready")


class ByGroup(Line):
    """A group with a message in flight is closed; of the open ones the group with the oldest message comes first.

    One receive takes as many messages of a group as it can, and then of the next group. A message that comes back is at
    the front of its group again, among others of them by age. Age is the order in which the broker got the messages.

    A broker may look for groups among the oldest messages only: those before ``window`` in ``by_age``, of which
    ``inside`` are still there. A group whose first message is behind them is not found, although it is open.
    """

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.age: dict[int, int] = {}
        self.by_age: list[int] = []
        self.window = self.inside = 0
        self.ready: defaultdict[int, deque[int]] = defaultdict(deque)
        self.in_flight: Counter[int] = Counter()
        self.open: list[tuple[int, int]] = []

    def add(self, message: int) -> None:
        """At the end of its group."""
        group = self.messages[message].group
        self.age[message] = len(self.by_age)
        self.by_age.append(message)
        self._widen()
        self.ready[group].append(message)
        if len(self.ready[group]) == 1:
            self._open(group)

    def come_back(self, message: int) -> None:
        """By its age, which is before all that have not been in flight with it."""
        ready = self.ready[self.messages[message].group]
        older = 0
        while older < len(ready) and self.age[ready[older]] < self.age[message]:
            older += 1
        ready.insert(older, message)

    def ended(self, message: int) -> None:
        """The group opens when none of its messages is in flight."""
        group = self.messages[message].group
        self.in_flight[group] -= 1
        self._open(group)

    def is_closed(self, group: int) -> bool:
        """Whether none of a group may be given now."""
        return self.in_flight[group] > 0

    def is_in_flight(self, group: int) -> bool:
        """Whether a message of a group is in flight."""
        return self.in_flight[group] > 0

    def with_messages(self, in_flight: bool) -> int:
        """How many groups have a message that is ready, or one in flight where these count."""
        return sum(
            bool(ready) or (in_flight and self.is_in_flight(group)) for group, ready in self.ready.items()
        )

    def left(self, message: int) -> None:
        """There is a place for another one among the oldest."""
        if self.age[message] < self.window:
            self.inside -= 1
            self._widen()

    def _widen(self) -> None:
        """Let as many messages be looked at as may be."""
        while self.window < len(self.by_age) and (
            not self.plan.group_window or self.inside < self.plan.group_window
        ):
            state = self.messages[self.by_age[self.window]].state
            self.inside += state in (MESSAGE_READY, MESSAGE_LOCKED)
            self.window += 1

    def _open(self, group: int) -> None:
        """Let receivers find a group, unless it is empty or closed."""
        if self.ready[group] and not self.is_closed(group):
            heappush(self.open, (self.age[self.ready[group][0]], group))

    def expire(self, message: int) -> None:
        """It is the oldest of all that are ready, so it is the first of its group, and an open group is the first."""
        group = self.messages[message].group
        self.ready[group].popleft()
        if not self.is_closed(group):
            heappop(self.open)
            self._open(group)

    def offers(self) -> bool:
        """What is behind a message in flight cannot be given, and what is behind the oldest is not found."""
        return bool(self.open) and self.open[0][0] < self.window

    def take(self, most: int) -> list[int]:
        """As many of one group as possible, then of the next."""
        taken: list[int] = []
        while self.offers() and len(taken) < most:
            group = heappop(self.open)[1]
            while self.ready[group] and len(taken) < most:
                taken.append(self.ready[group].popleft())
                self.in_flight[group] += 1
        return taken
