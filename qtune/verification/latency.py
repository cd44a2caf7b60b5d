"""Assertions 5 to 8: latency within its threshold, little overhead, and no operation beyond its timeout."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from qtune.analysis.measures import ended_calls, lost_locks
from qtune.recommendation.objectives import LATENCIES, LOST_LOCKS_MOST, Meter, checks_of
from qtune.result import OP_RECEIVE, Result, first_of_calls
from qtune.units import format_duration, format_fraction
from qtune.verification.assertion import Assertion, judged, not_applicable
from qtune.verification.bench import Bench, estimate

OVERHEAD_MOST: Final = 0.10
_LATE_MOST: Final = 0.001
_SLOWEST_CALL: Final = 0.9999


def threshold(bench: Bench) -> Assertion:
    """Every latency target is met by the end of its interval."""
    asked = [] if bench.targets is None else [t for t in bench.targets if t.metric in LATENCIES]
    if not asked or bench.targets is None:
        return not_applicable(5, "no threshold was given: say --target p95=500ms, or targets='p95=500ms'")
    summary = bench.summary()
    meter = Meter(bench.scenario, bench.targets)
    figures = [meter.figures(run, bench.setup, summary.warm_up.cut_s) for run in bench.runs()]
    checks = [c for c in checks_of(bench.targets, figures, bench.setup) if c.target in asked]
    reason = "; ".join(f"{check.target} is {check.status}" for check in checks)
    evidence = {check.target.metric: check.estimate for check in checks}
    return judged(5, all(check.status == "met" for check in checks), reason, **evidence)


def overhead(bench: Bench) -> Assertion:
    """The processor time of the client library is less than a tenth of the time in handlers."""
    if bench.scenario.handler.cpu_share > 0.0:
        return not_applicable(6, "handlers need the cores too (handler.cpu_share), and one clock counts both")
    found = estimate([_overhead(run) for run in bench.runs()], reason="no handler ended")
    limit = format_fraction(OVERHEAD_MOST)
    reason = f"processor time of the client by time in handlers must be below {limit}; to wait for a call costs none"
    return judged(6, found.high < OVERHEAD_MOST, reason, overhead=found)


def _overhead(run: Result) -> float:
    deliveries = run.deliveries
    if run.scenario.handler.takes == "batch":
        deliveries = deliveries[first_of_calls(deliveries)]
    handled_s = float(np.nansum(deliveries["finished_s"] - deliveries["started_s"]))
    return float(run.states["core_busy_s"][-1]) / handled_s if handled_s and run.states.size else math.nan


def connections_reused(bench: Bench) -> Assertion:
    """Nothing is said of what a connection costs, because opening one costs nothing here."""
    return not_applicable(
        7, "to open a connection costs nothing in this model of the client, so nothing is amortized"
    )


def timeouts(bench: Bench) -> Assertion:
    """No receive outlasts its wait, and no lock runs out under a message that is still to be settled."""
    summary, each = bench.summary(), bench.setup.behaviour
    calls = max(sum(run.deliveries.size for run in bench.runs()), 1)
    lost = estimate(
        [_lost_share(run, summary.warm_up.cut_s, bench.setup.abandons) for run in bench.runs()],
        reason="no handler ran",
    )
    allowed = (
        f"at most {format_fraction(LOST_LOCKS_MOST)} of the locks may run out before the message is settled"
    )
    if each.discipline != "poll":
        return judged(8, lost.high <= LOST_LOCKS_MOST, f"{allowed} ({calls:,} deliveries)", lost_locks=lost)
    most_s = each.wait_s + each.linger_s + bench.setup.calls.receive.quantile(_SLOWEST_CALL)
    late = estimate([_late_receives(run, most_s) for run in bench.runs()], reason="no receive ended")
    reason = (
        f"{allowed}, and at most {format_fraction(_LATE_MOST)} of the receives may take longer than their wait of "
        f"{format_duration(each.wait_s)} and the slowest round trip, together {format_duration(most_s)}"
    )
    shown = lost.high <= LOST_LOCKS_MOST and late.high <= _LATE_MOST
    return judged(8, shown, reason, lost_locks=lost, late_receives=late)


def _late_receives(run: Result, most_s: float) -> float:
    ended = ended_calls(run, 0.0)
    ended = ended[ended["op"] == OP_RECEIVE]
    late = int(np.count_nonzero(ended["end_s"] - ended["start_s"] > most_s))
    return late / ended.size if ended.size else math.nan


def _lost_share(run: Result, from_s: float, abandons: bool) -> float:
    """The share of handler calls whose lock ran out before the message was settled.

    Also where the broker accepts a late settlement: another consumer may have had the message by then.
    """
    calls = int(np.count_nonzero(run.deliveries["started_s"] >= from_s))
    outlived = (run.deliveries["finished_s"] > run.deliveries["lock_end_s"]) & (
        run.deliveries["started_s"] >= from_s
    )
    lost = int(np.count_nonzero(outlived | lost_locks(run.deliveries, abandons, from_s)))
    return lost / calls if calls else math.nan
