"""The search for the cheapest candidate that meets the targets: by ascending least bill, so that it can stop.

Of each style with each number of instances, the fewest workers that meet the targets are found by doubling and
halving, from a guess of theory. A style is not simulated when its least bill is above what an answer in hand
costs: it cannot be cheaper. A bill that depends on the calls made is looked at by one run first, and a style that
has shown to be dearer is not pursued. Costs within half a per cent of each other are the same, and then fewer
workers and simpler settings win.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Final

from qtune.recommendation.refusal import COST_SLACK
from qtune.recommendation.screen import Bounds
from qtune.recommendation.styles import Style
from qtune.recommendation.trials import Laboratory, Trial
from qtune.units import format_usd

Item = tuple[float, int, int, Style, int, bool]
"""US dollars a month, rank, a number that makes it unique, style, instances, and whether it was simulated."""

INDIFFERENT: Final = 0.005
"""Bills that differ by less than this share are taken as equal: no forecast of a bill is better."""

_IMPROVES: Final = 0.98


def pick(pool: list[Trial]) -> Trial:
    """The cheapest; of those that cost the same, the one with the fewest workers, then the simplest."""
    least_usd = min(trial.usd for trial in pool)
    same = [trial for trial in pool if trial.usd <= least_usd * (1.0 + INDIFFERENT)]
    return min(same, key=lambda t: (t.instances * t.workers, t.style.rank, t.instances, t.usd))


class Search:
    """The search over all styles, which fills a pool of candidates that meet the targets."""

    def __init__(self, laboratory: Laboratory, possible: dict[Style, int]) -> None:
        self.laboratory, self.screen = laboratory, laboratory.screen
        self._possible = possible
        self._gaps: dict[Style, int] = {}
        self._refused = False
        self._order = itertools.count()
        self.pool: list[Trial] = []
        # Usually the least bill, from theory; a style that was simulated once stands with what that run cost.
        self._heap: list[Item] = []
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
            item = heapq.heappop(self._heap)
            _, _, _, style, instances, seen = item
            bounds = self.screen.bounds(style, instances)
            if bounds.reason:
                continue
            guess = self.screen.guess(style, instances, bounds)
            if not seen and not self.screen.bill_is_known:
                peeked = self.laboratory.trial(style, instances, guess, once=True)
                if peeked.figures:  # again when it is the cheapest, by what one run says it costs
                    self._push(style, instances, peeked.usd)
                    continue
            most = self._most_to_win(item, bounds)
            if most and self.laboratory.trial(style, instances, most).passed:
                self._settle(style, instances, bounds, min(guess, most))
            elif most is None:
                self._settle(style, instances, bounds, guess)
            else:
                self._dropped.append(item)
        dearer = [item for item in self._heap if item[-1]]
        self._dropped += dearer
        for usd, _, _, style, instances, _ in dearer:
            self._note_dearer(style, instances, usd)
        self._heap = [item for item in self._heap if not item[-1]]
        heapq.heapify(self._heap)

    def _most_to_win(self, item: Item, bounds: Bounds) -> int | None:
        """The most workers with which a style that costs the same as the best can still replace it.

        None: it may be cheaper, so any number will do. 0: none.
        """
        usd, rank, _, style, instances, _ = item
        if usd < self.best_usd * (1.0 - INDIFFERENT) or not self.pool:
            return None
        if self._refused:
            return 0  # fewer workers would be asked for by runs that have misled
        best = pick(self.pool)
        total = best.instances * best.workers - (0 if rank < best.style.rank else 1)
        most = min(total // instances // style.step * style.step, self.screen.most_workers(style))
        return most if most >= bounds.fewest else 0

    def _settle(self, style: Style, instances: int, bounds: Bounds, guess: int) -> None:
        """Find what is best of a style with so many instances, and put it into the pool."""
        found = self._fewest(style, instances, bounds, guess)
        if found is not None and found.usd <= self.best_usd * (1.0 + INDIFFERENT):
            self.add(found)
        more = instances < self.screen.most_instances(style)
        if more and (found is not None or self._worth_more(style, instances)):
            self._push(style, instances + 1)

    def _note_dearer(self, style: Style, instances: int, usd: float) -> None:
        why = f"one run of it costs {format_usd(usd)}/month: not pursued"
        for trial in self.laboratory.trials.values():
            if (trial.style, trial.instances, trial.fate) == (style, instances, "open"):
                trial.fate, trial.reason = "dearer", why

    def present(self) -> Trial | None:
        """The fewest workers that meet the targets in the present way to receive, if any do."""
        for style, instances in self._possible.items():
            bounds = self.screen.bounds(style, instances) if style.rank == 0 else None
            if bounds is not None and not bounds.reason:
                return self._fewest(style, instances, bounds, self.screen.guess(style, instances, bounds))
        return None

    def add(self, trial: Trial) -> None:
        """Put a candidate that meets everything into the pool."""
        self.pool.append(trial)
        self.laboratory.best_month_usd = self.best_usd

    def replace(self, trial: Trial) -> None:
        """Take a candidate out of the pool that is no answer after all, and put one with more workers in.

        Each time that happens to a style, twice as many workers are added as the time before.
        """
        self.pool.remove(trial)
        most, step = self.screen.most_workers(trial.style), trial.style.step
        workers = trial.workers
        while workers < most:
            gap = self._gaps.get(trial.style, step)
            self._gaps[trial.style] = 2 * gap
            workers = min(workers + gap, most)
            after = self.laboratory.trial(trial.style, trial.instances, workers)
            if after.passed:
                self.add(after)
                return

    def refuse(self, trial: Trial) -> None:
        """Replace a candidate that fresh runs have refused, and put off equals with no more workers than it has.

        They look as good by the same runs that have misled, so trying each in turn would be asking chance.
        """
        self._refused = True
        total = trial.instances * trial.workers
        for other in list(self.pool):
            equal = abs(other.usd - trial.usd) <= INDIFFERENT * trial.usd
            if other is not trial and equal and other.instances * other.workers <= total:
                other.fate, other.reason = "open", "fresh runs have refused an equal one with as many workers"
                self.pool.remove(other)
                style = other.style
                self._dropped.append((other.usd, style.rank, next(self._order), style, other.instances, True))
        self.replace(trial)

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

        def passes(workers: int) -> bool:
            return tried(workers).passed

        step, most = style.step, self.screen.most_workers(style)
        if passes(guess):
            low, high = _bracket_below(passes, bounds.fewest - step, guess, step)
        else:
            low, high = _bracket_above(passes, guess, most, step)
        while high - low > step:
            middle = (low + high) // (2 * step) * step
            low, high = (low, middle) if passes(middle) else (middle, high)
        return tried(high) if high else None


def _bracket_below(passes: Callable[[int], bool], least: int, high: int, step: int) -> tuple[int, int]:
    """A number of workers that does not pass, or the least, and one above it that does."""
    for gap in _doubling(step):
        if high - gap <= least:
            break
        if not passes(high - gap):
            return high - gap, high
        high -= gap
    return least, high


def _bracket_above(passes: Callable[[int], bool], low: int, most: int, step: int) -> tuple[int, int]:
    """A number of workers that does not pass, and one above it that does; 0 when none up to the most does.

    A little more often helps; if not, the most tell whether any number does. The answer is then looked for from
    below, at twice the distance each time: the guess is near it, and the most are far away.
    """
    for gap in _doubling(2 * step):
        workers = min(low + gap, most)
        if workers > low and passes(workers):
            return low, workers
        if workers == low or not passes(most):
            break
        low = workers
    return 0, 0


def _doubling(first: int) -> Iterator[int]:
    """first, 2 first, 4 first, ..."""
    while True:
        yield first
        first *= 2
