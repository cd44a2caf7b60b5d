"""When messages fall due: one record for each kind of process; ``schedule`` flattens it for the engines."""

from __future__ import annotations

from typing import Annotated

from pydantic import SerializeAsAny

from qtune.arrivals.rates import MOST_SEGMENTS, Bursts, Piecewise, Poisson, Renewal, Segment
from qtune.arrivals.recorded import BurstAtOnce, ClosedLoop, Counts, TraceFile
from qtune.arrivals.schedule import Arrivals, Schedule
from qtune.records import Record, one_of

__all__ = [
    "KINDS",
    "MOST_SEGMENTS",
    "AnyArrivals",
    "Arrivals",
    "BurstAtOnce",
    "Bursts",
    "ClosedLoop",
    "Counts",
    "Piecewise",
    "Poisson",
    "Renewal",
    "Schedule",
    "Segment",
    "TraceFile",
]

KINDS: dict[str, type[Record]] = {
    "poisson": Poisson,
    "renewal": Renewal,
    "piecewise": Piecewise,
    "bursts": Bursts,
    "trace": TraceFile,
    "counts": Counts,
    "burst_at_once": BurstAtOnce,
    "closed_loop": ClosedLoop,
}

AnyArrivals = Annotated[SerializeAsAny[Arrivals], one_of("kind", KINDS)]
