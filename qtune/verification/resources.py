"""Assertions 9 to 12: memory, connections and processor time within bounds, and nothing held at the end."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from qtune.analysis import Estimate
from qtune.analysis.intervals import across_replications
from qtune.result import Result, most_held
from qtune.targets import METRICS
from qtune.units import format_size
from qtune.verification.assertion import Assertion, judged, not_applicable
from qtune.verification.bench import CONFIDENCE, Bench, estimate

_FEWEST_WINDOWS: Final = 8


def memory(bench: Bench) -> Assertion:
    """No instance has more messages in hand than its memory limit allows, where there is one."""
    consumers = bench.scenario.consumers
    limit, each = consumers.memory_limit_bytes, consumers.message_memory_bytes
    if limit is None or each is None:
        return not_applicable(
            9, METRICS["memory"].not_evaluated or "no bound on memory is part of a scenario"
        )
    pairs = zip(bench.runs(), bench.drain(bench.scenario), strict=True)
    used = [each * max(most_held(run.deliveries) for run in pair) for pair in pairs]
    reason = (
        f"messages in the hand of one instance take {format_size(max(used))} at most, also before a backlog, and it "
        f"may use {format_size(limit)}"
    )
    return judged(9, max(used) <= limit, reason, memory=estimate([used_bytes / limit for used_bytes in used]))


def connections(bench: Bench) -> Assertion:
    """The fleet opens no more connections than the provider allows, where its limit is known."""
    limits = [
        limit for limit in bench.scenario.provider().limits if limit.modelled and limit.unit == "connections"
    ]
    if not limits or limits[0].value is None:
        return not_applicable(
            10, "this provider states no limit on connections, and none of the system is simulated"
        )
    opened, most = bench.setup.receivers, limits[0].value
    reason = f"{limits[0].name} is at most {most:,.0f} ({limits[0].source}); the fleet opens {opened:,}, one a receiver"
    return judged(10, opened <= most, reason, connections=Estimate(value=float(opened)))


def processor(bench: Bench) -> Assertion:
    """Where more messages are handled, the client's processor time is higher: they correlate over the samples."""
    found = [_correlation(run) for run in bench.runs()]
    if any(math.isnan(value) for value in found):
        return not_applicable(
            11, "processor time or work does not change over the run, so nothing correlates"
        )
    shown = across_replications(found, possible=(-1.0, 1.0), confidence=CONFIDENCE)
    reason = (
        "over the time between samples, processor time of the client and handled messages must correlate, by an "
        "interval above 0"
    )
    return judged(11, shown.low > 0.0, reason, correlation=shown)


def _correlation(run: Result) -> float:
    times_s = run.states["time_s"]
    if times_s.size <= _FEWEST_WINDOWS:
        return math.nan
    finished_s = np.sort(run.deliveries["finished_s"])
    handled = np.diff(np.searchsorted(finished_s, times_s, side="right")).astype(np.float64)
    busy_s = np.diff(run.states["core_busy_s"])
    if not (busy_s.std() > 0.0 and handled.std() > 0.0):
        return math.nan
    return float(np.corrcoef(busy_s, handled)[0, 1])


def released(bench: Bench) -> Assertion:
    """When the last message of a backlog is gone, nothing is held: no lock, no place in a buffer, no worker."""
    held = []
    for run in bench.drain(bench.scenario):
        last = run.states[-1]
        left_open = int(np.count_nonzero(np.isnan(run.messages["left_s"])))
        held.append(float(last["in_flight"] + last["buffered"] + last["busy_workers"] + left_open))
    reason = (
        "after a backlog, at the end of the run: messages that are open, locked or buffered, and busy workers"
    )
    return judged(12, not any(held), reason, still_held=estimate(held))
