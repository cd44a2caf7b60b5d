"""Where the time went: the latency of completed messages by stage, for all and for the slowest.

Each message's stages are those of the delivery that completed it, and add up to its latency: send (due to
sent), queue (sent to received), buffer (received to started) and service (started to finished). Time lost
to deliveries before that one is part of queue. Settling (finished to settled) comes after the latency and
stands by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.analysis.intervals import (
    AT_LEAST_0,
    Estimate,
    Floats,
    across_replications,
    missing,
    within_one_run,
)
from qtune.analysis.quantiles import order_statistic
from qtune.result import MESSAGE_COMPLETED, Result

STAGES: Final = ("send", "queue", "buffer", "service")
SETTLE: Final = "settle"
_SLOWEST: Final = 0.95
_NOT_SEEN: Final = "not every run shows this stage of a completed message"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One part of the latency.

    mean_s: over all completed messages. p95_s: of this part alone. slowest_mean_s: over the slowest 5 % of
    the messages, by latency. Means of the four stages add up to the mean latency, those of the slowest to
    theirs.
    """

    name: str
    mean_s: Estimate
    p95_s: Estimate
    slowest_mean_s: Estimate

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "name": self.name,
            "mean_s": self.mean_s.to_dict(),
            "p95_s": self.p95_s.to_dict(),
            "slowest_mean_s": self.slowest_mean_s.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTimes:
    """The completed messages of one run: seconds by stage, and who is among the slowest 5 % by latency."""

    parts_s: Mapping[str, Floats]
    slowest: NDArray[np.bool_]


def stages_of(results: Sequence[Result], *, warm_up_s: float, confidence: float) -> tuple[Stage, ...]:
    """The four stages and settling, over the completed messages that fell due from ``warm_up_s`` on."""
    runs = [stage_times(result, warm_up_s) for result in results]
    return tuple(_stage(name, runs, confidence) for name in (*STAGES, SETTLE))


def stage_times(result: Result, warm_up_s: float) -> StageTimes:
    """The stages of each completed message of one run, in the order in which they fell due."""
    messages, deliveries = result.messages, result.deliveries
    counted = (messages["state"] == MESSAGE_COMPLETED) & (messages["due_s"] >= warm_up_s)
    row = messages["delivery"][counted]
    due_s, sent_s = messages["due_s"][counted], messages["sent_s"][counted]
    received_s, started_s = deliveries["received_s"][row], deliveries["started_s"][row]
    finished_s, settled_s = deliveries["finished_s"][row], deliveries["settled_s"][row]
    latency_s = finished_s - due_s
    slowest = latency_s >= order_statistic(latency_s, _SLOWEST) if latency_s.size else latency_s > 0.0
    parts_s = (sent_s - due_s, received_s - sent_s, started_s - received_s, finished_s - started_s)
    named = dict(zip((*STAGES, SETTLE), (*parts_s, settled_s - finished_s), strict=True))
    return StageTimes(parts_s=named, slowest=slowest)


def _stage(name: str, runs: Sequence[StageTimes], confidence: float) -> Stage:
    parts_s = [run.parts_s[name] for run in runs]
    seen = all(part_s.size and not np.isnan(part_s).any() for part_s in parts_s)
    if not seen:
        unknown = missing(_NOT_SEEN, "s", len(runs))
        return Stage(name=name, mean_s=unknown, p95_s=unknown, slowest_mean_s=unknown)
    tails_s = [part_s[run.slowest] for part_s, run in zip(parts_s, runs, strict=True)]

    def over_runs(values: list[float]) -> Estimate:
        return across_replications(values, possible=AT_LEAST_0, unit="s", confidence=confidence)

    if len(runs) == 1:
        mean = within_one_run(parts_s[0], possible=AT_LEAST_0, unit="s", confidence=confidence)
    else:
        mean = over_runs([float(part_s.mean()) for part_s in parts_s])
    return Stage(
        name=name,
        mean_s=mean,
        p95_s=over_runs([order_statistic(part_s, _SLOWEST) for part_s in parts_s]),
        slowest_mean_s=over_runs([float(tail_s.mean()) for tail_s in tails_s]),
    )
