"""SimPy with a written order at equal times and with hand-overs that happen at once.

SimPy's own priorities decide what comes first among equal instants, so a slot's number is used as one. A hand-over
resumes the waiting process inside the call, instead of through a zero-delay event: nobody can look at a buffer in
between and see it unsettled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappush
from typing import Any

import simpy


class Clock(simpy.Environment):
    """A SimPy environment whose events carry an absolute time and a rank."""

    def put(self, event: simpy.Event, time_s: float, rank: int) -> None:
        """Let ``event`` happen at ``time_s``; smaller ranks first among equal times.

        SimPy schedules by delay, and ``now + (time - now)`` is not ``time`` in floating point; the queue's entry is
        therefore made here. Ranks begin at -1, and SimPy starts processes with priority 0.
        """
        queue: Any = self._queue
        heappush(queue, (time_s, rank + 2, next(self._eid), event))


class Slot:
    """One actor's place in the calendar: at most one pending instant, with a rank among equal times.

    A process yields :meth:`at` or :meth:`idle` and gets None when the time came, or whatever :meth:`hand` gave it.
    """

    __slots__ = ("_event", "_queued", "clock", "rank")

    def __init__(self, clock: Clock, rank: int) -> None:
        self.clock = clock
        self.rank = rank
        self._event: simpy.Event | None = None
        self._queued = False

    def at(self, time_s: float) -> simpy.Event:
        """The event of this time; what the slot had pending before is forgotten."""
        event = self._event = simpy.Event(self.clock)
        event._ok = True
        event._value = None
        self._queued = True
        self.clock.put(event, time_s, self.rank)
        return event

    def idle(self) -> simpy.Event:
        """An event without a time: only :meth:`hand` ends it."""
        event = self._event = simpy.Event(self.clock)
        self._queued = False
        return event

    def ring_at(self, time_s: float, action: Callable[[], None]) -> None:
        """Call ``action`` at this time, for an actor that is no process; what was pending before is forgotten."""
        self.cancel()
        self.at(time_s).callbacks = [lambda _: action()]

    def cancel(self) -> None:
        """Forget what is pending."""
        if self._event is not None and self._event.callbacks is not None:
            self._forget()

    def hand(self, value: Any) -> None:
        """Resume the waiting process now, with ``value``; its pending instant is forgotten."""
        event = self._event
        callbacks = self._forget()
        assert event is not None
        event._ok = True
        event._value = value
        for callback in callbacks:
            callback(event)

    def _forget(self) -> list[Any]:
        """Take the waiting process off its event; what is queued stays queued, and does nothing."""
        event = self._event
        assert event is not None, "nobody waits at this slot"
        callbacks: list[Any] | None = event.callbacks
        assert callbacks is not None, "nobody waits at this slot any more"
        left: Any = [] if self._queued else None
        event.callbacks = left
        self._event = None
        return callbacks


class Pipe:
    """Things on their way that cannot overtake each other; ``action`` gets each when it arrives."""

    __slots__ = ("_action", "_last_s", "_slot", "_things")

    def __init__(self, slot: Slot, action: Callable[[int], None]) -> None:
        self._slot, self._action = slot, action
        self._things: deque[tuple[float, int]] = deque()
        self._last_s = 0.0

    def put(self, time_s: float, thing: int) -> None:
        """Let a thing arrive at this time, or right after the one before it if that is later."""
        self._last_s = max(self._last_s, time_s)
        self._things.append((self._last_s, thing))
        if len(self._things) == 1:
            self._slot.ring_at(self._last_s, self._arrive)

    def things(self) -> list[tuple[float, int]]:
        """What is on its way, and when it arrives."""
        return list(self._things)

    def cancel(self) -> None:
        """Nothing that is on its way arrives."""
        self._things.clear()
        self._slot.cancel()

    def _arrive(self) -> None:
        thing = self._things.popleft()[1]
        if self._things:
            self._slot.ring_at(self._things[0][0], self._arrive)
        self._action(thing)


def earliest(free_s: list[float], now_s: float, need_s: float) -> float:
    """When a task of ``need_s`` ends on the server that is free first; tasks are served in the order of asking.

    ``free_s`` holds the time at which each server is free, and is updated. Because the need is known when the task
    asks, its end is known too, and no event is needed.
    """
    server = 0
    for other in range(1, len(free_s)):
        if free_s[other] < free_s[server]:
            server = other
    start_s = free_s[server] if free_s[server] > now_s else now_s
    free_s[server] = start_s + need_s
    return free_s[server]
