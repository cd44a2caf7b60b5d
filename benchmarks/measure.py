"""Measuring side by side: contenders take turns in one process, and only their ratios are compared.

A machine is never the same twice, and seldom idle. So contenders run one after the other within each round, the figure
is the ratio within a round, and what is shown is the median of the rounds' ratios with the smallest and the largest.
Times are CPU times wherever a contender runs in this process on one thread.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median, stdev


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: what was measured, against which bar, and what came out.

    ``met`` is None where no bar is set or nothing could be measured; ``notes`` are printed under the table.
    """

    what: str
    bar: str = ""
    measured: str
    met: bool | None = None
    command: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, smallest and largest of some rounds."""

    middle: float
    low: float
    high: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        each = list(values)
        return Spread(middle=median(each), low=min(each), high=max(each))

    def text(self, unit: str = "", digits: int = 3) -> str:
        """Such as ``121x (118-125)``."""
        middle, low, high = (short(value, digits) for value in (self.middle, self.low, self.high))
        return f"{middle}{unit} ({low}-{high})"


def short(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent."""
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def speed(messages_per_s: float) -> str:
    """Messages a second, such as ``3.4 M/s``."""
    if messages_per_s >= 1e6:
        return f"{messages_per_s / 1e6:.2f} M/s"
    return f"{messages_per_s / 1e3:.1f} k/s"


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this thread for one call; garbage of earlier calls is collected before."""
    gc.collect()
    start_s = time.thread_time()
    work()
    return time.thread_time() - start_s


def take_turns(
    contenders: Mapping[str, Callable[[int], float]], rounds: int, *, often: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Let contenders take turns; for each, one number a round.

    A contender gets the round's number, which it may use as a seed, and returns its cost (seconds a message, say).
    ``often`` names those that are so quick that one call would be mostly noise: they are called so many times in their
    turn, and the median counts. Nothing is measured in a first call of each, which compiles and fills caches.
    """
    for run in contenders.values():
        run(0)
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, run in contenders.items():
            times = (often or {}).get(name, 1)
            costs[name].append(median(run(number) for _ in range(times)))
    return costs


def ratios(costs: Mapping[str, list[float]], slow: str, fast: str) -> Spread:
    """How many times cheaper ``fast`` was than ``slow``, round by round."""
    return Spread.of(a / b for a, b in zip(costs[slow], costs[fast], strict=True))


def rate(costs: Mapping[str, list[float]], name: str) -> str:
    """The median speed of a contender whose cost is seconds a message."""
    return speed(1.0 / median(costs[name]))


def estimate(values: list[float]) -> tuple[float, float]:
    """Mean and standard error of independent replications; the error of a single one is unknown (NaN)."""
    if len(values) < 2:
        return fmean(values), float("nan")
    return fmean(values), stdev(values) / len(values) ** 0.5


def agreement(what: str, ours: list[float], theirs: list[float]) -> str:
    """Two estimates of one quantity and their distance in standard errors of the difference."""
    (a, error_a), (b, error_b) = estimate(ours), estimate(theirs)
    error = (error_a**2 + error_b**2) ** 0.5
    apart = f"{abs(a - b) / error:.1f} standard errors apart" if error > 0.0 else "no error known"
    return f"{what}: {a:.5g} against {b:.5g}, {apart}"


def table(rows: list[Row], *, notes: bool = True) -> str:
    """The rows as aligned text, and their notes under it."""
    cells = [("what", "bar", "measured: median (min-max)", "met", "command")]
    for row in rows:
        met = "" if row.met is None else ("yes" if row.met else "NO")
        cells.append((row.what, row.bar, row.measured, met, row.command))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for row in rows if notes else []:
        lines += [f"  {row.what}: {note}" for note in row.notes]
    return "\n".join(lines)
