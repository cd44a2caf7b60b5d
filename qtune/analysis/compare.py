"""Two settings under the same messages: paired differences, which are far less noisy than two separate runs.

Draws belong to a message and not to the order of events, so two settings simulated with one seed see the same
messages with the same work (common random numbers). The difference of each message, and of each
replication, then keeps what the setting changes and loses most of what chance brings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from qtune.analysis.intervals import (
    ANY,
    Estimate,
    Floats,
    across_replications,
    check_confidence,
    json_number,
    missing,
    within_one_run,
)
from qtune.analysis.measures import measures_of
from qtune.analysis.quantiles import quantile_s
from qtune.analysis.setup import setup_of
from qtune.analysis.summary import PERCENTS, Summary, lateness_of, summarize
from qtune.errors import InputError, Problem
from qtune.result import Result

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What changes from setting a to setting b; a negative difference means that b has less of it.

    a, b: the summary of each. differences: b minus a by name, for every number that both have, with
    intervals over paired replications; the latency quantiles are those of each replication.
    latency_s: mean over messages of the latency with b minus that with a. It is defined for the messages
    that both completed; left_out counts the others, of which one of the two has no latency.
    faster, slower: share of those messages that b completes sooner, or later.
    same_messages: False when the two runs have different messages (a closed loop, another load); then there
    is nothing to pair message by message.
    variance_ratio: variance of the unpaired over that of the paired mean difference of the latency: how
    many times as long separate runs would take for the same certainty. NaN when it cannot be told.
    """

    a: Summary
    b: Summary
    differences: Mapping[str, Estimate]
    latency_s: Estimate
    faster: float
    slower: float
    left_out: int
    same_messages: bool
    variance_ratio: float

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON has it: null for what has no value, with the reason beside it."""
        return {
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "differences": {name: estimate.to_dict() for name, estimate in self.differences.items()},
            "latency_s": self.latency_s.to_dict(),
            "faster": json_number(self.faster),
            "slower": json_number(self.slower),
            "left_out": self.left_out,
            "same_messages": self.same_messages,
            "variance_ratio": json_number(self.variance_ratio),
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a number: name, a, b, difference, low, high, unit, reason."""
        import pandas as pd

        rows = [
            {
                "name": name,
                "a": self.a.numbers[name].value,
                "b": self.b.numbers[name].value,
                "difference": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "unit": estimate.unit,
                "reason": estimate.reason,
            }
            for name, estimate in self.differences.items()
        ]
        return pd.DataFrame(rows)


def compare(
    a: Result | Sequence[Result],
    b: Result | Sequence[Result],
    *,
    warm_up: float | Literal["auto"] = "auto",
    confidence: float = 0.95,
) -> Comparison:
    """The paired difference between two settings, each run once or in replications with the same seeds.

    warm_up: as in ``summarize``; with "auto" both lose the longer of the two warm-ups, so that the same
    messages are counted. InputError when the seeds or the horizons differ: there would be nothing to pair.
    """
    check_confidence(confidence)
    of_a, of_b = _paired(a, b)
    summaries = [summarize(runs, warm_up=warm_up, confidence=confidence) for runs in (of_a, of_b)]
    cut_s = max(summary.warm_up.cut_s for summary in summaries)
    if any(summary.warm_up.cut_s != cut_s for summary in summaries):
        summaries = [summarize(runs, warm_up=cut_s, confidence=confidence) for runs in (of_a, of_b)]
    same = all(_same_messages(x, y) for x, y in zip(of_a, of_b, strict=True))
    if same:
        pairs = [_latencies(x, y, cut_s) for x, y in zip(of_a, of_b, strict=True)]
        left_out = sum(left for _, _, left in pairs)
        latency = _mean_difference([(x, y) for x, y, _ in pairs], confidence)
        change = np.concatenate([y - x for x, y, _ in pairs])
    else:
        left_out, change = 0, np.empty(0)
        latency = missing("the two settings have different messages, so there are no pairs of them", "s")
        pairs = []
    return Comparison(
        a=summaries[0],
        b=summaries[1],
        differences=_differences(of_a, of_b, summaries, confidence),
        latency_s=latency,
        faster=float((change < 0.0).mean()) if change.size else math.nan,
        slower=float((change > 0.0).mean()) if change.size else math.nan,
        left_out=left_out,
        same_messages=same,
        variance_ratio=_variance_ratio([(x, y) for x, y, _ in pairs]),
    )


def _paired(a: Result | Sequence[Result], b: Result | Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Both sides as lists in the order of the seeds."""
    sides = [[side] if isinstance(side, Result) else list(side) for side in (a, b)]
    of_a, of_b = (sorted(side, key=lambda run: run.seed) for side in sides)
    seeds = [[run.seed for run in side] for side in (of_a, of_b)]
    horizons = {run.horizon_s for run in (*of_a, *of_b)}
    if seeds[0] != seeds[1] or not of_a:
        message = f"both settings need the same seeds to be paired, and a has {seeds[0]}: run b with those"
        raise InputError(Problem(where="compare", value=f"b has seeds {seeds[1]}", message=message))
    if len(horizons) > 1:
        shown = " and ".join(f"{horizon_s:g} s" for horizon_s in sorted(horizons))
        message = "both settings need one horizon: run them equally long"
        raise InputError(Problem(where="compare", value=shown, message=message))
    return of_a, of_b


def _same_messages(a: Result, b: Result) -> bool:
    return bool(np.array_equal(a.messages["due_s"], b.messages["due_s"]))


def _latencies(a: Result, b: Result, warm_up_s: float) -> tuple[Floats, Floats, int]:
    """The latencies of the messages that both completed, and how many messages they do not share."""
    due_s = a.messages["due_s"]
    counted = due_s >= warm_up_s
    of_a, of_b = ((run.messages["completed_s"] - due_s)[counted] for run in (a, b))
    both = ~(np.isnan(of_a) | np.isnan(of_b))
    return of_a[both], of_b[both], int(np.count_nonzero(~both))


def _mean_difference(pairs: Sequence[tuple[Floats, Floats]], confidence: float) -> Estimate:
    if len(pairs) == 1:
        return within_one_run(pairs[0][1] - pairs[0][0], possible=ANY, unit="s", confidence=confidence)
    means = [float((y - x).mean()) if x.size else math.nan for x, y in pairs]
    reason = "no message was completed with both settings"
    return across_replications(means, possible=ANY, unit="s", confidence=confidence, reason=reason)


def _variance_ratio(pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """From the means of replications if there are several, else from the messages of the one."""
    if not pairs or any(x.size < 2 for x, _ in pairs):
        return math.nan
    if len(pairs) > 1:
        of_a, of_b = (np.array([float(side.mean()) for side in sides]) for sides in zip(*pairs, strict=True))
    else:
        of_a, of_b = pairs[0]
    paired = float((of_b - of_a).var(ddof=1))
    return float(of_a.var(ddof=1) + of_b.var(ddof=1)) / paired if paired > 0.0 else math.nan


def _differences(
    of_a: Sequence[Result], of_b: Sequence[Result], summaries: Sequence[Summary], confidence: float
) -> dict[str, Estimate]:
    """The mean over pairs of replications of the difference of every number, with its interval."""
    of_runs = [
        [_numbers(run, summary) for run in runs]
        for runs, summary in zip((of_a, of_b), summaries, strict=True)
    ]
    changes = {
        name: [other[name] - one[name] for one, other in zip(*of_runs, strict=True)] for name in of_runs[0][0]
    }
    return {
        name: across_replications(
            values,
            possible=ANY,
            unit=summaries[0].numbers[name].unit,
            confidence=confidence,
            reason="one of the two settings has no value",
        )
        for name, values in changes.items()
    }


def _numbers(run: Result, summary: Summary) -> dict[str, float]:
    """The numbers of one run; the latency of a setting that does not keep up has no value."""
    cut_s = summary.warm_up.cut_s
    lateness = lateness_of(run, cut_s)
    known = {percent: summary.numbers[f"latency_s_p{percent}"].known for percent in PERCENTS}
    quantiles_s = {
        f"latency_s_p{percent}": quantile_s(lateness, percent / 100.0)[0] if known[percent] else math.nan
        for percent in PERCENTS
    }
    return {**quantiles_s, **measures_of(run, setup_of(run.scenario), cut_s)}
