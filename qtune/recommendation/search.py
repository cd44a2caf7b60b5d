"""The search for the cheapest candidate that meets the targets: by ascending least bill, so that it can stop.

Of each style with each number of instances, the fewest workers that meet the targets are found by doubling and
halving, from a guess of theory. A style is not simulated when its least bill is above what an answer in hand
costs: it cannot be cheaper. Costs within half a per cent of each other are the same, and then fewer workers
and simpler settings win.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Final

from qtune.recommendation.refusal import COST_SLACK
from qtune.recommendation.screen import Bounds
from qtune.recommendation.space import Style
from qtune.recommendation.trials import Laboratory, Trial
from qtune.units import format_usd

INDIFFERENT: Final = 0.005
"""Bills that differ by less than this share are taken as equal: no forecast of a bill is better."""

_IMPROVES: Final = 0.98


def pick(pool: list[Trial]) -> Trial:
    """The cheapest; of those that cost the same, the one with the fewest workers, then the simplest."""
    least_usd = min(trial.usd for trial in pool)
    same = [trial for trial in pool if trial.usd <= least_usd * (1.0 + INDIFFERENT)]
    return min(same, key=lambda t: (t.instances * t.workers, t.style.rank, t.instances, t.usd))


class Search:
    """The search over all styles. ``comes_back`` is asked of every candidate that may become the answer."""

    def __init__(
        self, laboratory: Laboratory, possible: dict[Style, int], comes_back: Callable[[Trial], bool]
    ) -> None:
        self.laboratory, self.screen = laboratory, laboratory.screen
        self._comes_back = comes_back
        self.least = dict(possible)
        self._order = itertools.count()
        self.pool: list[Trial] = []
        # Usually the least bill, from theory; a style that was simulated once stands with what that run cost.
        self._heap: list[tuple[float, int, int, Style, int, bool]] = []
        self._dropped = list(self._heap)
        self._slowest: dict[Style, float] = {}
        for style, instances in possible.items():
            self._push(style, instances)

    def _push(self, style: Style, instances: int, seen_usd: float | None = None) -> None:
        usd = self.screen.least_usd(style, instances) if seen_usd is None else seen_usd
        cost = self.laboratory.question.targets.get("cost")
        if cost is None or usd <= cost.bound * (1.0 + COST_SLACK) or seen_usd is not None:
            item = (usd, style.rank, next(self._order), style, instances, seen_usd is not None)
            heapq.heappush(self._heap, item)

    @property
    def best_usd(self) -> float:
        """What the cheapest answer in hand costs; infinite without one."""
        return min((trial.usd for trial in self.pool), default=math.inf)

    def explore(self) -> None:
        """Search until nothing that was not simulated can be cheaper than the best in the pool.

        It can be called again when the pool has lost its best: what was dropped as dearer is looked at again.
        """
        again, self._dropped = self._dropped, []
        for item in again:
            heapq.heappush(self._heap, item)
        while self._heap and self._heap[0][0] <= self.best_usd * (1.0 + INDIFFERENT):
            _, _, _, style, instances, seen = heapq.heappop(self._heap)
            bounds = self.screen.bounds(style, instances)
            if bounds.reason:
                continue
            guess = self.screen.guess(style, instances, bounds)
            if not seen:
                peeked = self.laboratory.trial(style, instances, guess, once=True)
                if peeked.figures:  # again when it is the cheapest, by what one run says it costs
                    self._push(style, instances, peeked.usd)
                    continue
            self._settle(style, instances, bounds, guess)
        self._dropped = [item for item in self._heap if item[-1]]
        for usd, _, _, style, instances, _ in self._dropped:
            self._note_dearer(style, instances, usd)
        self._heap = [item for item in self._heap if not item[-1]]
        heapq.heapify(self._heap)

    def _settle(self, style: Style, instances: int, bounds: Bounds, guess: int) -> None:
        """Find what is best of a style with so many instances, and put it into the pool."""
        found = self._fewest(style, instances, bounds, guess)
        met = found is not None
        while found is not None and found.usd <= self.best_usd * (1.0 + INDIFFERENT):
            if self._comes_back(found):
                self.add(found)
                return
            found = self.next_after(found)
        more = instances < self.screen.most_instances(style)
        if more and (met or self._worth_more(style, instances)):
            self._push(style, instances + 1)

    def _note_dearer(self, style: Style, instances: int, usd: float) -> None:
        for trial in self.laboratory.trials.values():
            if (
                trial.style is style
                and trial.instances == instances
                and trial.fate == "open"
                and len(trial.figures) == 1
            ):
                trial.fate, trial.reason = (
                    "dearer",
                    f"one run of it costs {format_usd(usd)}/month: not pursued",
                )

    def present(self) -> Trial | None:
        """The cheapest fleet that meets the targets in the way in which messages are received now, if there is one."""
        own = [(style, self.least[style]) for style in self.least if style.rank == 0]
        for style, instances in own:
            bounds = self.screen.bounds(style, instances)
            if not bounds.reason:
                return self._fewest(style, instances, bounds, self.screen.guess(style, instances, bounds))
        return None

    def add(self, trial: Trial) -> None:
        """Put a candidate that meets everything into the pool."""
        self.pool.append(trial)
        self.laboratory.best_month_usd = self.best_usd

    def next_after(self, trial: Trial) -> Trial | None:
        """The next larger number of workers that meets the targets; None when there is none."""
        most = self.screen.most_workers(trial.style)
        workers = trial.workers
        gap = trial.style.step
        while workers < most:
            workers = min(workers + gap, most)
            gap *= 2
            after = self.laboratory.trial(trial.style, trial.instances, workers)
            if after.passed:
                return after
        return None

    def _worth_more(self, style: Style, instances: int) -> bool:
        """Whether more instances may help: not when they changed next to nothing the last time."""
        most = self.laboratory.trials.get((style, instances, self.screen.most_workers(style)))
        if most is None or not most.figures:
            return most is None
        excess = 1.0 + most.excess
        before, self._slowest[style] = self._slowest.get(style, math.inf), excess
        return math.isinf(excess) or excess < _IMPROVES * before

    def _fewest(self, style: Style, instances: int, bounds: Bounds, guess: int) -> Trial | None:
        """The candidate with the fewest workers that meets the targets; None without one."""

        def tried(workers: int) -> Trial:
            return self.laboratory.trial(style, instances, workers)

        step, most = style.step, self.screen.most_workers(style)
        first = tried(guess)
        low, high = bounds.fewest - step, 0
        workers, good = first.workers, first.passed
        if good:
            high = workers
            for gap in _doubling(step):
                if high - gap <= low:
                    break
                if not tried(high - gap).passed:
                    low = high - gap
                    break
                high -= gap
        else:
            low = workers
            for gap in _doubling(step):
                if low >= most:
                    return None
                workers = min(low + gap, most)
                if tried(workers).passed:
                    high = workers
                    break
                low = workers
        while high - low > step:
            middle = (low + high) // (2 * step) * step
            low, high = (low, middle) if tried(middle).passed else (middle, high)
        return tried(high)


def _doubling(first: int) -> Iterator[int]:
    """first, 2 first, 4 first, ..."""
    while True:
        yield first
        first *= 2
