"""Laws of handlers and of what they share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qtune.invariants.offenders import offenders
from qtune.result import Result, Table, first_of_calls, most_held


def calls_of(result: Result) -> Table:
    """A row for each call of a handler: every delivery that was started, or the first of each batch."""
    deliveries = result.deliveries
    batches = result.scenario.handler.takes == "batch"
    made: Table = deliveries[first_of_calls(deliveries) if batches else ~np.isnan(deliveries["started_s"])]
    return made


def most_in_a_call(result: Result) -> int:
    """How many messages a handler can have at a time."""
    return result.scenario.handler.most_of(result.scenario.behaviour().most_together)


def batches_end_together(result: Result) -> Iterator[str]:
    """The deliveries of one handler call end at once, and are no more than the handler takes."""
    if result.scenario.handler.takes == "message":
        return
    deliveries = result.deliveries
    # A call that a circuit breaker rejects takes no time, so it looks like one with the next.
    rejected = (deliveries["attempts"] == 0) & (deliveries["finished_s"] == deliveries["started_s"])
    started = deliveries[~np.isnan(deliveries["started_s"]) & ~rejected]
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
    refuses = downstream is not None and downstream.rejects
    if not refuses:
        yield from offenders("states", refusals != 0, "an attempt was refused, and nothing refuses any")
    if not refuses and result.scenario.handler.circuit_breaker is None:
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


def memory_is_bounded(result: Result) -> Iterator[str]:
    """No consumer holds more messages than its memory allows."""
    most, held = result.scenario.consumers.held_most(1), most_held(result.deliveries)
    if most is not None and held > most:
        yield f"deliveries: a consumer holds {held} messages, and its memory allows {most}"


def breakers_stay_open(result: Result) -> Iterator[str]:
    """A circuit breaker rejects only after it has opened, and one process opens it once in ``open_for`` at most."""
    breaker, states = result.scenario.handler.circuit_breaker, result.states
    openings, rejections = states["breaker_openings"], states["breaker_rejections"]
    if breaker is None:
        used = (openings != 0) | (rejections != 0)
        yield from offenders("states", used, "a circuit breaker opened or rejected, and there is none")
        return
    for name in ("breaker_openings", "breaker_rejections"):
        fewer = np.append(np.diff(states[name]) < 0, False)
        yield from offenders("states", fewer, f"fewer {name} at the next look")
    yield from offenders(
        "states", (openings == 0) & (rejections > 0), "rejected by a breaker that never opened"
    )
    if not result.scenario.faults and result.scenario.scaling is None:  # a process that starts has a new one
        spans_s = np.diff(states["time_s"]) * (1.0 + 1e-9)
        most = result.scenario.consumers.instances * (np.floor(spans_s / breaker.open_for_s) + 1)
        over = np.append(np.diff(openings) > most, False)
        yield from offenders("states", over, "more openings than open_for allows")
