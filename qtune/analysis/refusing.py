"""Rules R10 and R13 for a downstream that refuses what it has no room for, as reserved concurrency does."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qtune.analysis.finding import Finding
from qtune.analysis.setup import Setup
from qtune.units import format_duration, format_rate


def refusal_findings(setup: Setup) -> Iterator[Finding]:
    """R10 for the deliveries of a message that is refused, R13 for the workers; neither without such a downstream."""
    yield from _workers_and_connections(setup)
    yield from _workers_and_rate(setup)
    yield from _rounds(setup)


def _workers_and_connections(setup: Setup) -> Iterator[Finding]:
    """R13: handlers that can be at work at a time, against the connections of a downstream that refuses the others."""
    downstream, instances, workers = setup.downstream, setup.instances, setup.workers_each
    if downstream is None or not downstream.rejects or downstream.connections is None:
        return
    ratio = setup.workers / downstream.connections
    change, setting, value = "", None, None
    if ratio > 1.0:
        change = f"downstream.connections: {downstream.connections} -> {setup.workers}, or fewer instances"
        fewer = downstream.connections // instances
        if fewer:
            setting, value = "consumers.workers", fewer
            change = f"{setting}: {workers} -> {fewer}, or downstream.connections: {setup.workers}"
    yield Finding(
        rule="R13",
        subject="refused attempts",
        ratio=ratio,
        text=f"{setup.workers} workers need a downstream that takes {downstream.connections} and refuses the others",
        change=change,
        setting=setting,
        value=value,
    )


def _workers_and_rate(setup: Setup) -> Iterator[Finding]:
    """R13: the requests that workers make as fast as they can, against the rate above which they are refused.

    Before a backlog a worker asks again as soon as it is free, whatever the load.
    """
    downstream, service_s = setup.downstream, setup.call_s
    if downstream is None or not downstream.rejects or downstream.rate_per_s is None or service_s <= 0.0:
        return
    asked_per_s, rate_per_s = setup.workers / service_s, downstream.rate_per_s
    change, setting, value = "", None, None
    if asked_per_s > rate_per_s:
        change = "downstream.when_full: wait, so that a request waits for its turn in the client"
        fewer = math.floor(rate_per_s * service_s / setup.instances)
        if fewer:
            setting, value = "consumers.workers", fewer
            change = f"{setting}: {setup.workers_each} -> {fewer}, or {change}"
    yield Finding(
        rule="R13",
        subject="refused requests",
        ratio=asked_per_s / rate_per_s,
        text=f"{setup.workers} workers of {format_duration(service_s)} ask for {format_rate(asked_per_s)} before a "
        f"backlog, and the downstream refuses what is above {format_rate(rate_per_s)}",
        change=change,
        setting=setting,
        value=value,
    )


def _rounds(setup: Setup) -> Iterator[Finding]:
    """R10: in how many rounds a burst is served, against how often a message is delivered.

    A refused message counts as delivered. When so many come at once that a downstream of C connections serves them in
    more rounds of C than a message has deliveries, the rest is dead-lettered without having been handled.
    """
    downstream, most = setup.downstream, setup.semantics.max_deliveries
    if downstream is None or not downstream.rejects or downstream.connections is None or not most:
        return
    at_once, connections = setup.workers, downstream.connections
    if setup.arrivals == "burst_at_once" and setup.rate_per_s is not None:
        at_once = min(at_once, round(setup.rate_per_s * setup.horizon_s))
    rounds = math.ceil(at_once / connections)
    text = (
        f"{at_once} messages at once are served in {rounds} rounds of {connections}, and one that is refused "
        f"{most} times is dead-lettered"
    )
    change = ""
    if rounds > most:
        change = f"no more than {connections} at a time from the poller, or {rounds + 2} deliveries"
    yield Finding(rule="R10", subject="rounds of a burst", ratio=rounds / most, text=text, change=change)
