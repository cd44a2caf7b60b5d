"""What falls due in a broker, in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Final

BECOMES_VISIBLE, LOCK_ENDS, SESSION_LOCK_ENDS, EXPIRES = range(4)
"""What can fall due, in the order in which it is done at equal times."""

_FEWEST_TO_TIDY: Final = 1024


class Deadlines:
    """A heap of instants. What was put off or is void stays in it until it comes to the front or is tidied away.

    is_live: whether something of a kind still falls due at exactly that instant.
    """

    def __init__(self, is_live: Callable[[int, Any, float], bool]) -> None:
        self._is_live = is_live
        self._heap: list[tuple[float, int, int, Any]] = []
        self._order = count()
        self._tidied_at = _FEWEST_TO_TIDY

    def add(self, due_s: float, kind: int, what: object) -> None:
        """Note that something falls due; never (inf) is not noted."""
        if due_s == math.inf:
            return
        heappush(self._heap, (due_s, kind, next(self._order), what))
        if len(self._heap) > self._tidied_at:
            self._heap = [entry for entry in self._heap if self._is_live(entry[1], entry[3], entry[0])]
            heapify(self._heap)
            self._tidied_at = max(_FEWEST_TO_TIDY, 2 * len(self._heap))

    def next_s(self) -> float:
        """When something falls due next; inf: nothing will."""
        heap = self._heap
        while heap and not self._is_live(heap[0][1], heap[0][3], heap[0][0]):
            heappop(heap)
        return heap[0][0] if heap else math.inf

    def earliest_s(self) -> float:
        """An instant before which nothing falls due; cheap, and too early when the first entry is void."""
        return self._heap[0][0] if self._heap else math.inf

    def take(self) -> tuple[int, Any]:
        """The kind and the thing that :meth:`next_s` has told of."""
        _, kind, _, what = heappop(self._heap)
        return kind, what
