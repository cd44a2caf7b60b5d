"""Laws of handlers and of what they share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qtune.invariants.offenders import offenders
from qtune.result import Result


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
        ended = ended[np.argsort(ended["finished_s"])]
        most = (downstream.burst or 1) + ended["finished_s"] * downstream.rate_per_s * (1.0 + 1e-9)
        over = np.cumsum(ended["attempts"]) > most
        yield from offenders(
            "deliveries by their end", over, "more attempts were served than the rate allows"
        )
