"""Where the warm-up of a run ends: MSER-5, or the user's own time, and never silently.

A run starts with an empty queue and idle workers, so its first messages are too fast. MSER-5 (White, Cobb
and Spratt, "A comparison of five steady-state truncation heuristics for simulation", WSC 2000) cuts where
the standard error of the rest, taken from means of five, is least: a longer cut would lose more data than
bias. A cut at the middle of the data says that no steady state was seen; then nothing is cut, and that is
said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qtune.analysis.intervals import Floats

FEWEST_BATCHES: Final = 10
_BATCH: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """How much of the start of every run was left out.

    cut_s: messages due and calls made before are not counted. method: "MSER-5", "given" or "none".
    found: False when MSER-5 saw no steady state. reason: in words.
    """

    cut_s: float
    method: str
    found: bool
    reason: str

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {"cut_s": self.cut_s, "method": self.method, "found": self.found, "reason": self.reason}


def mser5(values: Floats) -> int | None:
    """How many of the first values to cut; None when no steady state is seen.

    values: one observation after the other. The answer is a multiple of 5. Fewer than 50 values are too
    few: None.
    """
    batches = values.size // _BATCH
    if batches < FEWEST_BATCHES:
        return None
    means = values[: batches * _BATCH].reshape(batches, _BATCH).mean(axis=1)
    means = means - means.mean()  # the sums of squares below lose digits otherwise
    kept = np.arange(batches, 0, -1, dtype=np.float64)
    total = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means * means)[::-1])[::-1]
    score = np.maximum(squares - total * total / kept, 0.0) / (kept * kept)
    # The last few batches have a small spread by chance, which is why only the first half is searched.
    half = batches // 2
    best = int(np.argmin(score[: half + 1]))
    return None if best == half else best * _BATCH


def find_warm_up(runs: Sequence[tuple[Floats, Floats]]) -> WarmUp:
    """The cut for replications of one scenario, each given as (due_s, latency_s) in the order of due_s.

    latency_s: finite. The replications are averaged message by message first, because MSER-5 finds a trend
    more surely in a mean than in one noisy run (Welch's idea), and because one cut is easier to state than
    many.
    """
    count = min((latency_s.size for _, latency_s in runs), default=0)
    if count < FEWEST_BATCHES * _BATCH:
        why = (
            f"{count} messages are too few for MSER-5, which needs {FEWEST_BATCHES * _BATCH}: nothing was cut"
        )
        return WarmUp(cut_s=0.0, method="none", found=False, reason=why)
    averaged = np.zeros(count)
    for _, latency_s in runs:
        averaged += latency_s[:count]
    cut = mser5(averaged / len(runs))
    if cut is None:
        why = "MSER-5 saw no steady state in the first half of the run, so nothing was cut: run longer"
        return WarmUp(cut_s=0.0, method="MSER-5", found=False, reason=why)
    cut_s = float(np.mean([due_s[cut] for due_s, _ in runs])) if cut else 0.0
    return WarmUp(
        cut_s=cut_s, method="MSER-5", found=True, reason=f"the first {cut} messages of each run were cut"
    )
