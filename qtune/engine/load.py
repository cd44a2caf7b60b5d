"""When messages fall due, as the numbers of one run: the schedule, its on and off phases, and planned bursts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import numpy as np

from qtune.arrivals import Schedule
from qtune.distributions import Exponential
from qtune.engine import streams
from qtune.engine.plan import NO_FLOATS, Floats, Plan
from qtune.engine.quantiles import quantile_function
from qtune.faults import Burst


def arrivals_of(schedule: Schedule, bursts: Sequence[Burst], seed: int) -> dict[str, Any]:
    """The arrivals of a plan: given instants, a piecewise-constant rate, or customers."""
    start_s, rate_per_s = _segments(schedule, seed)
    for burst in bursts if schedule.due_s is None else ():
        start_s, rate_per_s = _raised(start_s, rate_per_s, burst)
    return {
        "due_s": NO_FLOATS if schedule.due_s is None else _joined(schedule.due_s, bursts),
        "explicit": schedule.due_s is not None,
        "segment_start_s": start_s,
        "segment_rate_per_s": rate_per_s,
        "customers": schedule.customers,
    }


def due_instants(plan: Plan) -> Iterator[float]:
    """The due instants of an open loop, without end: the trace's own, or a unit-rate renewal process mapped through the
    rate's integral."""
    if plan.explicit:
        yield from plan.due_s.tolist()
        return
    gap = quantile_function(*plan.tables[streams.GAP])
    key = streams.stream_key(plan.seed, streams.GAP)
    start_s, rate_per_s = plan.segment_start_s.tolist(), plan.segment_rate_per_s.tolist()
    segment, segment_area, area, message = 0, 0.0, 0.0, 0
    while not plan.messages_most or message < plan.messages_most:
        area = area + gap(streams.bits(key, message, 0))
        while segment + 1 < len(start_s):
            next_area = segment_area + rate_per_s[segment] * (start_s[segment + 1] - start_s[segment])
            if area <= next_area:
                break
            segment, segment_area = segment + 1, next_area
        rate = rate_per_s[segment]
        yield start_s[segment] + (area - segment_area) / rate if rate > 0.0 else inf
        message += 1


def _segments(schedule: Schedule, seed: int) -> tuple[Floats, Floats]:
    """The piecewise-constant rate; that of on and off phases is drawn here, phase by phase, from its own stream."""
    if schedule.modulation is None:
        return schedule.segment_start_s, schedule.segment_rate_per_s
    on_per_s, off_per_s, on_mean_s, off_mean_s = schedule.modulation
    unit = Exponential(mean=1.0).table()
    draw = quantile_function(unit.kind, unit.values)
    key = streams.stream_key(seed, streams.PHASE)
    start_s = 0.0
    starts: list[float] = []
    rates: list[float] = []
    while start_s <= schedule.horizon_s:
        is_on = len(starts) % 2 == 1
        starts.append(start_s)
        rates.append(on_per_s if is_on else off_per_s)
        mean_s = on_mean_s if is_on else off_mean_s
        start_s = start_s + mean_s * draw(streams.bits(key, len(starts), 0))
    return np.array(starts), np.array(rates)


def _raised(start_s: Floats, rate_per_s: Floats, burst: Burst) -> tuple[Floats, Floats]:
    """The rate with that of a burst on top of it while the burst lasts."""
    cuts_s = np.unique(np.concatenate((start_s, (burst.at_s, burst.end_s))))
    before = rate_per_s[np.searchsorted(start_s, cuts_s, side="right") - 1]
    during = (cuts_s >= burst.at_s) & (cuts_s < burst.end_s)
    return cuts_s, before + np.where(during, burst.rate_per_s, 0.0)


def _joined(due_s: Floats, bursts: Sequence[Burst]) -> Floats:
    """Given instants with the messages of bursts between them, which come evenly spaced."""
    extra = [
        burst.at_s + (np.arange(int(burst.rate_per_s * burst.for_s)) + 0.5) / burst.rate_per_s
        for burst in bursts
    ]
    return np.sort(np.concatenate((due_s, *extra)), kind="stable")
