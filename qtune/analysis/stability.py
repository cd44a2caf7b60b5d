"""The verdict that comes before every percentile: does the queue keep up, and if not, by how much.

Four answers. *stable*: no growth that matters. *unstable*: more comes in than can be worked off, or a
growth that does not come from a busy hour. *collapsed*: the consumers could keep up, but most of their work
is thrown away because locks have run out, and that feeds itself. *undecided*: the run does not say, with
the reason.

Growth is measured on the number of messages that wait for a worker or are with one, at 21 instants of
the part of the run after the warm-up and after its first quarter. Over five or more replications it is the
Theil-Sen slope of each, with Student's t over them. Over fewer it is the mean of the 20 steps, with
Student's t over the steps: in a queue that keeps up, rises are followed by falls, so this interval errs to
the wide side and a stable queue near its limit is not called unstable; where messages pile up the steps are
independent, and it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from qtune.analysis.intervals import Estimate, Floats, json_number, missing, student_interval
from qtune.result import DELIVERY_COMPLETED, DELIVERY_DROPPED, DELIVERY_FAILED, DELIVERY_LATE, Result
from qtune.units import format_fraction, format_rate

_STEPS: Final = 20
_FIRST_SHARE: Final = 0.25
_REPLICATIONS_FOR_SLOPES: Final = 5
_GROWTH_THAT_MATTERS: Final = 0.02
_COLLAPSED_BELOW: Final = 0.5
_FEWEST_DELIVERIES: Final = 3
_VARYING: Final = ("piecewise", "bursts", "trace", "counts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the queue keeps up.

    kind: "stable", "unstable", "collapsed" or "undecided". text: the answer as a sentence with its numbers.
    offered_per_s: messages that fall due, per second, by the scenario; of a closed loop, as they did.
    capacity_per_s: the ceiling that no run can exceed, from theory. goodput_per_s: messages completed per
    second.
    growth_per_s: how fast the number of messages in the system grew.
    """

    kind: Literal["stable", "unstable", "collapsed", "undecided"]
    text: str
    offered_per_s: float
    capacity_per_s: float
    goodput_per_s: float
    growth_per_s: Estimate

    @property
    def keeps_up(self) -> bool:
        """Whether the answer is "stable"."""
        return self.kind == "stable"

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "kind": self.kind,
            "text": self.text,
            "offered_per_s": json_number(self.offered_per_s),
            "capacity_per_s": json_number(self.capacity_per_s),
            "goodput_per_s": json_number(self.goodput_per_s),
            "growth_per_s": self.growth_per_s.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What the scenario says about input and ceiling.

    kind: of the arrivals. rate_per_s: planned arrivals per second; None for a closed loop.
    capacity_per_s: from theory, never below what a run can reach. workers: of the whole fleet.
    disturbed: whether faults are planned.
    """

    kind: str
    rate_per_s: float | None
    capacity_per_s: float
    workers: int
    disturbed: bool = False

    @property
    def steady(self) -> bool:
        """Whether every part of the run is like every other but for chance."""
        return not self.disturbed and self.kind not in _VARYING


def judge(results: Sequence[Result], load: Load, *, warm_up_s: float, confidence: float) -> Verdict:
    """The verdict on replications of one scenario."""
    horizon_s = results[0].horizon_s
    start_s = max(warm_up_s, _FIRST_SHARE * horizon_s)
    times_s = np.linspace(start_s, horizon_s, _STEPS + 1)
    counts = [waiting_for_work(result, times_s) for result in results]
    growth = _growth(counts, times_s, confidence)
    due = [int(np.count_nonzero(result.messages["due_s"] <= horizon_s)) for result in results]
    completed = [int(np.count_nonzero(result.messages["completed_s"] >= start_s)) for result in results]
    offered_per_s = float(np.mean(due)) / horizon_s if load.rate_per_s is None else load.rate_per_s
    goodput_per_s = float(np.mean(completed)) / (horizon_s - start_s)

    def verdict(kind: Literal["stable", "unstable", "collapsed", "undecided"], text: str) -> Verdict:
        return Verdict(
            kind=kind,
            text=f"{kind}: {text}",
            offered_per_s=offered_per_s,
            capacity_per_s=load.capacity_per_s,
            goodput_per_s=goodput_per_s,
            growth_per_s=growth,
        )

    if not any(due):
        return verdict("undecided", "no message fell due before the horizon, so look for longer")
    fallen = [found for found in (collapse_of(result, load.capacity_per_s) for result in results) if found]
    if fallen:
        where = f" in {len(fallen)} of {len(results)} replications" if len(results) > 1 else ""
        return verdict("collapsed", f"{fallen[0].text}{where}")
    if load.rate_per_s is None:
        return verdict("stable", "the customers of a closed loop wait, so its backlog cannot grow for ever")
    open_at_end = [int(count[-1]) for count in (in_system(result, times_s) for result in results)]
    if load.kind == "burst_at_once":
        return verdict(*_of_burst(open_at_end, due))
    room = all(_had_room(count, load) for count in counts)
    return verdict(*_of_growth(load, growth, offered_per_s, goodput_per_s, room))


def in_system(result: Result, times_s: Floats) -> Floats:
    """How many messages were due and not yet gone at each of the ascending times."""
    arrived = np.searchsorted(result.messages["due_s"], times_s, side="right")
    left_s = result.messages["left_s"]
    # The first time that is not before the departure; NaN, still open, comes after all of them.
    edges = np.searchsorted(times_s, left_s[~np.isnan(left_s)], side="left")
    gone = np.cumsum(np.bincount(edges, minlength=times_s.size)[: times_s.size])
    return (arrived - gone).astype(np.float64)


def _had_room(count: Floats, load: Load) -> bool:
    """Whether the workers had caught up with all there was, by the counts at the instants of one run.

    Under a steady load at half of the instants of the second half of the run, and otherwise, where a busy
    time must be worked off first, at one of the last quarter. A queue that piles up does neither.
    """
    caught_up = count <= load.workers
    if not load.steady:
        return bool(caught_up[-(_STEPS // 4) :].any())
    return bool(caught_up[-(_STEPS // 2) :].mean() >= 0.5)


def waiting_for_work(result: Result, times_s: Floats) -> Floats:
    """How many of the messages in the system wait for a worker or are with one.

    Those whose handler has failed and whose lock is left to run out wait for the clock instead: they gather
    for the length of a lock, which is no sign of too little capacity.
    """
    failed = result.deliveries[result.deliveries["outcome"] == DELIVERY_FAILED]
    begin_s, end_s = np.sort(failed["finished_s"]), np.sort(failed["lock_end_s"])
    begun = np.searchsorted(begin_s, times_s, side="right")
    ended = np.searchsorted(end_s[~np.isnan(end_s)], times_s, side="right")
    # A lock that had run out before its handler failed ends before it begins here: nobody waits for it.
    waiting: Floats = in_system(result, times_s) - np.maximum(begun - ended, 0)
    return waiting


def _growth(counts: Sequence[Floats], times_s: Floats, confidence: float) -> Estimate:
    step_s = float(times_s[1] - times_s[0])
    if len(counts) >= _REPLICATIONS_FOR_SLOPES:
        values = np.array([theil_sen(count) / step_s for count in counts])
        method = f"Student t over the Theil-Sen slopes of {len(counts)} replications"
    else:
        values = np.concatenate([np.diff(count) for count in counts]) / step_s
        method = f"Student t over {values.size} steps of {len(counts)} runs"
    if not step_s > 0.0:
        return missing("the warm-up leaves no time to look at", "1/s", len(counts))
    mean, low, high = student_interval(values, confidence)
    return Estimate(value=mean, low=low, high=high, unit="1/s", method=method, replications=len(counts))


def theil_sen(values: Floats) -> float:
    """The median of the slopes between all pairs of equally spaced values, per step."""
    first, second = np.triu_indices(values.size, k=1)
    return float(np.median((values[second] - values[first]) / (second - first)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Collapse:
    """How little of the work was of use, while there was work to do."""

    goodput_per_s: float
    possible_per_s: float
    wasted_share: float

    @property
    def text(self) -> str:
        """The collapse as a sentence."""
        fell, possible = format_rate(self.goodput_per_s), format_rate(self.possible_per_s)
        wasted = format_fraction(self.wasted_share)
        return (
            f"goodput fell to {fell} of the {possible} that were possible; {wasted} of the work came too late"
        )


def collapse_of(result: Result, capacity_per_s: float) -> Collapse | None:
    """The collapse of one run in the second half of the time in which it had work; None when there was none.

    It has collapsed when less than half of what the demand and the capacity allowed was completed, and more
    than half of the deliveries that came to an end had lost their lock: consumers busy with work that is
    thrown away.
    """
    messages, deliveries = result.messages, result.deliveries
    due_s, left_s = messages["due_s"], messages["left_s"]
    still_open = bool(np.isnan(left_s[due_s <= result.horizon_s]).any())
    first_s = float(due_s[0])
    last_s = result.horizon_s if still_open else float(left_s.max())
    from_s = 0.5 * (first_s + last_s)
    if not last_s > from_s:
        return None
    demand = int(np.count_nonzero(~(left_s <= from_s) & (due_s <= last_s)))
    possible_per_s = min(capacity_per_s, demand / (last_s - from_s))
    goodput_per_s = int(np.count_nonzero(messages["completed_s"] > from_s)) / (last_s - from_s)
    outcome = deliveries["outcome"]
    useful = _ended(deliveries["finished_s"][outcome == DELIVERY_COMPLETED], from_s)
    wasted = _ended(deliveries["finished_s"][outcome == DELIVERY_LATE], from_s)
    wasted += _ended(deliveries["lock_end_s"][outcome == DELIVERY_DROPPED], from_s)
    if useful + wasted < _FEWEST_DELIVERIES or goodput_per_s >= _COLLAPSED_BELOW * possible_per_s:
        return None
    share = wasted / (useful + wasted)
    if share <= _COLLAPSED_BELOW:
        return None
    return Collapse(goodput_per_s=goodput_per_s, possible_per_s=possible_per_s, wasted_share=share)


def _ended(times_s: Floats, from_s: float) -> int:
    return int(np.count_nonzero(times_s > from_s))


_Answer = tuple[Literal["stable", "unstable", "collapsed", "undecided"], str]


def _of_burst(open_at_end: Sequence[int], due: Sequence[int]) -> _Answer:
    if not any(open_at_end):
        return "stable", "the whole backlog was worked off before the horizon"
    left, total = max(open_at_end), max(due)
    return "undecided", f"{left} of {total} messages were still open at the horizon, so look for longer"


def _of_growth(
    load: Load, growth: Estimate, offered_per_s: float, goodput_per_s: float, room: bool
) -> _Answer:
    offered, ceiling = format_rate(offered_per_s), format_rate(load.capacity_per_s)
    grows = f"the backlog grows by {format_rate(growth.value)}" if growth.value > 0.0 else "the backlog stays"
    if offered_per_s > load.capacity_per_s:
        return "unstable", f"the offered load of {offered} exceeds the capacity of {ceiling}; {grows}"
    if not growth.known:
        return "undecided", growth.reason
    if growth.low > 0.0 and not room:
        if not load.steady:
            below = f"the mean load of {offered} is below the capacity of {ceiling}"
            return (
                "undecided",
                f"{grows} at the horizon, though {below} and the load is not steady: run longer",
            )
        done = format_rate(max(offered_per_s - growth.value, goodput_per_s))
        return "unstable", f"the offered load of {offered} exceeds the {done} that were worked off; {grows}"
    if growth.high > _GROWTH_THAT_MATTERS * offered_per_s and not room:
        most = format_rate(growth.high)
        return "undecided", f"the backlog may grow by up to {most}, which cannot be told from 0: run longer"
    return "stable", f"the offered load of {offered} is worked off (capacity {ceiling})"
