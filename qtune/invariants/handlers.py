"""Laws of handlers and of what they share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qtune.invariants.offenders import offenders
from qtune.result import Result, Table, first_of_calls


def calls_of(result: Result) -> Table:
    """A row for each call of a handler: every delivery that was started, or the first of each batch."""
    deliveries = result.deliveries
    batches = result.scenario.handler.takes == "batch"
    made: Table = deliveries[first_of_calls(deliveries) if batches else ~np.isnan(deliveries["started_s"])]
    return made


def most_in_a_call(result: Result) -> int:
    """How many messages a handler can have at a time."""
    return result.scenario.handler.most_of(result.scenario.behaviour().batch)


def batches_end_together(result: Result) -> Iterator[str]:
    """The deliveries of one handler call end at once, and are no more than the handler takes."""
    if result.scenario.handler.takes == "message":
        return
    started = result.deliveries[~np.isnan(result.deliveries["started_s"])]
    ordered = started[np.lexsort((started["started_s"], started["worker"]))]
    call = np.cumsum(first_of_calls(ordered)) - 1
    over = np.bincount(call, minlength=0) > most_in_a_call(result)
    yield from offenders("handler calls", over, "more messages than the handler takes")
    together = call[1:] == call[:-1]
    ends_s = ordered["finished_s"]
    apart = (ends_s[1:] != ends_s[:-1]) & ~(np.isnan(ends_s[1:]) & np.isnan(ends_s[:-1]))
    yield from offenders("deliveries by worker", together & apart, "of one call, and another end")


def downstream_keeps_its_bounds(result: Result) -> Iterator[str]:
    """No more attempts are served than a downstream's connections and its rate allow; only one that rejects refuses."""
    downstream, deliveries, states = result.scenario.downstream, result.deliveries, result.states
    ended = deliveries[~np.isnan(deliveries["finished_s"])]
    refusals = states["refusals"]
    if downstream is None or not downstream.rejects:
        yield from offenders("states", refusals != 0, "an attempt was refused, and nothing refuses any")
        yield from offenders("deliveries that ended", ended["attempts"] < 1, "the handler made no attempt")
    yield from offenders("states", np.append(np.diff(refusals) < 0, False), "fewer refusals at the next look")
    if downstream is None:
        yield from offenders(
            "states", states["downstream_busy_s"] != 0.0, "work of a downstream, without one"
        )
        return
    if downstream.connections is not None:
        most_s = downstream.connections * np.diff(states["time_s"]) + 1e-9 * result.horizon_s
        over = np.append(np.diff(states["downstream_busy_s"]) > most_s, False)
        yield from offenders("states", over, "more work of the downstream than its connections can do")
    if downstream.rate_per_s is not None:
        made = calls_of(result)
        ended = made[~np.isnan(made["finished_s"])]
        ended = ended[np.argsort(ended["finished_s"])]
        most = (downstream.burst or 1) + ended["finished_s"] * downstream.rate_per_s * (1.0 + 1e-9)
        over = np.cumsum(ended["attempts"]) > most
        yield from offenders(
            "deliveries by their end", over, "more attempts were served than the rate allows"
        )
