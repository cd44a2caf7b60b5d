"""In which order a broker hands out what is ready: by age, or group by group.

The rules are those of :class:`qtune.providers.base.DeliverySemantics`. A line holds the messages that are ready. The
broker tells it what becomes ready, what comes back, what is not in flight any more and what is gone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from heapq import heappop, heappush

from qtune.broker.message import Message


class Line(ABC):
    """What every order of handing out has in common."""

    @abstractmethod
    def add(self, message: Message) -> None:
        """A message has come in, or has become visible."""

    @abstractmethod
    def come_back(self, message: Message) -> None:
        """A message that was in flight is ready again; :meth:`ended` is called after this."""

    @abstractmethod
    def remove(self, message: Message) -> None:
        """A ready message is gone, and its state says so."""

    def ended(self, message: Message) -> None:  # noqa: B027  (an order may have no use for it)
        """A delivery of a message that this line gave has ended."""

    @abstractmethod
    def offers(self) -> bool:
        """Whether there is a message that a receiver could be given now."""

    @abstractmethod
    def take(self, most: int) -> list[Message]:
        """The messages that one receive is given, in order, at most so many."""


class ByAge(Line):
    """Oldest first, whatever is locked; what comes back goes before or behind all that wait."""

    def __init__(self, redelivers_first: bool) -> None:
        self._ready: deque[Message] = deque()
        self._returned: deque[Message] = deque() if redelivers_first else self._ready
        self._count = 0

    def add(self, message: Message) -> None:
        """Behind all others."""
        self._ready.append(message)
        self._count += 1

    def come_back(self, message: Message) -> None:
        """Before all that have not been handed out yet, or behind all others."""
        self._returned.append(message)
        self._count += 1

    def remove(self, message: Message) -> None:
        """Its place is skipped when it comes to the front."""
        self._count -= 1
        for places in (self._returned, self._ready):
            while places and places[0].state != "ready":
                places.popleft()

    def offers(self) -> bool:
        """Whatever is ready can be given."""
        return self._count > 0

    def take(self, most: int) -> list[Message]:
        """The oldest ones."""
        taken: list[Message] = []
        for places in (self._returned, self._ready):
            while places and len(taken) < most:
                message = places.popleft()
                if message.state == "ready":
                    taken.append(message)
        self._count -= len(taken)
        return taken


class ByGroup(Line):
    """A group with a message in flight is closed; of the open ones the group with the oldest message comes first.

    One receive takes as many messages of a group as it can, and then of the next group. A message that comes back is in
    its group at the place of its number. ``_open`` has an entry for each group that is open, and old ones besides.
    """

    def __init__(self) -> None:
        self._ready: dict[str, deque[Message]] = {}
        self._in_flight: Counter[str] = Counter()
        self._open: list[tuple[int, str]] = []

    def add(self, message: Message) -> None:
        """At the place of its number in its group, which is the end unless it was hidden for a while."""
        self._insert(message)

    def come_back(self, message: Message) -> None:
        """At the place of its number in its group."""
        self._insert(message)

    def _insert(self, message: Message) -> None:
        group = group_of(message)
        ready = self._ready.setdefault(group, deque())
        if not ready or ready[-1].number < message.number:
            ready.append(message)
        else:
            older = next(place for place, other in enumerate(ready) if other.number > message.number)
            ready.insert(older, message)
        if ready[0] is message:
            self._may_open(group)

    def remove(self, message: Message) -> None:
        """The next one of its group takes its place."""
        group = group_of(message)
        ready = self._ready[group]
        first = ready[0] is message
        ready.remove(message)
        if first:
            self._may_open(group)

    def ended(self, message: Message) -> None:
        """The group opens when none of its messages is in flight."""
        group = group_of(message)
        self._in_flight[group] -= 1
        if not self._in_flight[group]:
            del self._in_flight[group]
        self._may_open(group)

    def is_closed(self, group: str) -> bool:
        """Whether none of a group may be given now."""
        return group in self._in_flight

    def _may_open(self, group: str) -> None:
        """Let receivers find a group, unless it is empty or closed."""
        ready = self._ready.get(group)
        if not ready:
            self._ready.pop(group, None)
        elif not self.is_closed(group):
            heappush(self._open, (ready[0].number, group))

    def first_open(self) -> str | None:
        """The open group with the oldest message; entries that do not hold any more are dropped."""
        while self._open:
            number, group = self._open[0]
            ready = self._ready.get(group)
            if ready and ready[0].number == number and not self.is_closed(group):
                return group
            heappop(self._open)
        return None

    def offers(self) -> bool:
        """What is behind a message in flight cannot be given."""
        return self.first_open() is not None

    def take(self, most: int) -> list[Message]:
        """As many of one group as possible, then of the next."""
        taken: list[Message] = []
        while len(taken) < most and (group := self.first_open()) is not None:
            heappop(self._open)
            ready = self._ready[group]
            while ready and len(taken) < most:
                taken.append(ready.popleft())
                self._in_flight[group] += 1
        return taken


def group_of(message: Message) -> str:
    """The group of a message in a queue where each has one, which the broker has looked at when it came in."""
    assert message.group is not None
    return message.group
