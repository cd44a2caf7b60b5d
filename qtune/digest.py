"""A run in constant memory: counts, sums and histograms by slices of time, made while the rows pass by.

For runs whose rows would not fit in memory, or are not wanted. Counts are exact. A quantile comes from a histogram
whose cells are 0.4 % wide, so it is within 0.2 % of the row's own. The horizon is cut into 64 slices, and a warm-up
is left out in whole slices when the digest is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf, nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qtune.errors import InputError, Problem
from qtune.result import (
    CALL_EMPTY,
    CALL_OPS,
    DELIVERY_COMPLETED,
    DELIVERY_OUTCOMES,
    MESSAGE_COMPLETED,
    MESSAGE_STATES,
    Result,
)
from qtune.scenario import Scenario

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Rows = np.ndarray[Any, np.dtype[Any]]

SLICES: Final = 64
CELLS_PER_OCTAVE: Final = 256
_LEAST_EXPONENT: Final = -30  # 1 ns; shorter latencies, and none, fall into the first cell
_MOST_EXPONENT: Final = 30  # 34 years
_CELLS: Final = (_MOST_EXPONENT - _LEAST_EXPONENT) * CELLS_PER_OCTAVE + 1

STAGES: Final = ("send", "queue wait", "buffer wait", "service", "settle")
"""The parts of a completed message's latency, which add up to it, and the settle after it."""


class Tally:
    """What a digest is made of, while rows come in."""

    def __init__(self, horizon_s: float) -> None:
        self.horizon_s = horizon_s
        self.latency = np.zeros((SLICES, _CELLS), np.int64)
        self.stage_s = np.zeros((SLICES, len(STAGES)))
        self.states = np.zeros((SLICES, len(MESSAGE_STATES)), np.int64)
        self.outcomes = np.zeros((SLICES, len(DELIVERY_OUTCOMES)), np.int64)
        self.handled_s = np.zeros(SLICES)
        self.calls = np.zeros((SLICES, len(CALL_OPS)), np.int64)
        self.call_s = np.zeros((SLICES, len(CALL_OPS)))
        self.call_messages = np.zeros((SLICES, len(CALL_OPS)), np.int64)
        self.empty = np.zeros(SLICES, np.int64)

    def add(self, messages: Rows, deliveries: Rows, due_s: Floats, sent_s: Floats, calls: Rows) -> None:
        """Count rows that will not change; ``due_s`` and ``sent_s`` are those of each delivery's message."""
        _count(self.states, self._slice(messages["due_s"]), messages["state"])
        _count(self.outcomes, self._slice(deliveries["locked_s"]), deliveries["outcome"])
        finished = ~np.isnan(deliveries["finished_s"])
        rows = deliveries[finished]
        _sum(self.handled_s, self._slice(rows["locked_s"]), rows["finished_s"] - rows["started_s"])
        done = deliveries["outcome"] == DELIVERY_COMPLETED
        self._add_completed(deliveries[done], due_s[done], sent_s[done])
        kind = self._slice(calls["start_s"]) * len(CALL_OPS) + calls["op"]
        self.calls += _by_kind(kind, None, self.calls)
        self.call_s += _by_kind(kind, calls["end_s"] - calls["start_s"], self.call_s)
        self.call_messages += _by_kind(kind, calls["count"], self.call_messages)
        empty = calls["outcome"] == CALL_EMPTY
        self.empty += np.bincount(kind[empty] // len(CALL_OPS), minlength=SLICES)

    def _add_completed(self, rows: Rows, due_s: Floats, sent_s: Floats) -> None:
        place = self._slice(due_s)
        cells = cell_of(rows["finished_s"] - due_s)
        for number in np.unique(place):
            its = cells[place == number]
            low = int(its.min())
            counted = np.bincount(its - low)
            self.latency[number, low : low + len(counted)] += counted
        parts = (
            sent_s - due_s,
            rows["received_s"] - sent_s,
            rows["started_s"] - rows["received_s"],
            rows["finished_s"] - rows["started_s"],
            rows["settled_s"] - rows["finished_s"],
        )
        for number, part in enumerate(parts):
            _sum(self.stage_s[:, number], place, part)

    def _slice(self, time_s: Floats) -> Counts:
        return np.minimum(time_s * (SLICES / self.horizon_s), SLICES - 1).astype(np.int64)


def _by_kind(kind: Counts, weights: Rows | None, table: Rows) -> Rows:
    """Counts, or sums of weights, of each kind of call in each slice, in the form of ``table``; whole sums exactly."""
    return np.bincount(kind, weights, minlength=table.size).reshape(table.shape).astype(table.dtype)


def _count(table: Counts, place: Counts, code: Counts) -> None:
    kinds = table.shape[1]
    table += np.bincount(place * kinds + code, minlength=table.size).reshape(table.shape)


def _sum(table: Floats, place: Counts, value: Floats) -> None:
    table += np.bincount(place, weights=value, minlength=len(table))


def cell_of(latency_s: Floats) -> Counts:
    """The histogram cell of each latency: 256 even cells to every factor of two."""
    mantissa, exponent = np.frexp(np.maximum(latency_s, 0.0))
    inside = ((mantissa - 0.5) * (2 * CELLS_PER_OCTAVE)).astype(np.int64)
    cell = (exponent.astype(np.int64) - 1 - _LEAST_EXPONENT) * CELLS_PER_OCTAVE + inside + 1
    small = (mantissa == 0.0) | (exponent - 1 < _LEAST_EXPONENT)
    return np.minimum(np.where(small, 0, cell), _CELLS - 1)


def cell_middle_s(cell: int) -> float:
    """A latency from the middle of a histogram cell."""
    if cell == 0:
        return 0.0
    octave, inside = divmod(cell - 1, CELLS_PER_OCTAVE)
    return float(np.ldexp(1.0 + (inside + 0.5) / CELLS_PER_OCTAVE, octave + _LEAST_EXPONENT))


@dataclass(frozen=True, kw_only=True, eq=False)
class Digest:
    """What :func:`qtune.simulation.digest` returns instead of rows; times are in seconds.

    ``tally`` holds the counts by slice of the horizon; ``states`` is the sampled state, as in a Result. ``warm_up_s``
    of each method leaves out the slices that begin before it, by a message's due instant.
    """

    tally: Tally
    states: Rows
    scenario: Scenario
    seed: int
    source: str
    horizon_s: float
    versions: Mapping[str, str]

    @staticmethod
    def of(result: Result) -> Digest:
        """The digest of a result that has its rows."""
        tally = Tally(result.horizon_s)
        its = result.messages[result.deliveries["message"]]
        tally.add(result.messages, result.deliveries, its["due_s"], its["sent_s"], result.calls)
        return Digest(
            tally=tally,
            states=result.states,
            scenario=result.scenario,
            seed=result.seed,
            source=result.source,
            horizon_s=result.horizon_s,
            versions=result.versions,
        )

    def _from(self, warm_up_s: float) -> int:
        if not 0.0 <= warm_up_s < self.horizon_s:
            message = f"a warm-up is from 0 s to less than the horizon, {self.horizon_s:g} s"
            raise InputError(Problem(where="warm_up_s", value=repr(warm_up_s), message=message))
        return min(ceil(warm_up_s * SLICES / self.horizon_s), SLICES - 1)

    def messages(self, *, warm_up_s: float = 0.0) -> dict[str, int]:
        """How many messages ended in each state."""
        counts = self.tally.states[self._from(warm_up_s) :].sum(axis=0)
        return dict(zip(MESSAGE_STATES, counts.tolist(), strict=True))

    def deliveries(self, *, warm_up_s: float = 0.0) -> dict[str, int]:
        """How many deliveries had each outcome."""
        counts = self.tally.outcomes[self._from(warm_up_s) :].sum(axis=0)
        return dict(zip(DELIVERY_OUTCOMES, counts.tolist(), strict=True))

    def calls(self, *, warm_up_s: float = 0.0) -> dict[str, int]:
        """How many calls of each kind ended."""
        counts = self.tally.calls[self._from(warm_up_s) :].sum(axis=0)
        return dict(zip(CALL_OPS, counts.tolist(), strict=True))

    def latency_s(self, p: float, *, warm_up_s: float = 0.0) -> float:
        """The ``p`` quantile of end-to-end latency, within 0.2 %; infinite when it falls among messages not completed.

        InputError for a ``p`` outside (0, 1).
        """
        if not 0.0 < p < 1.0:
            raise InputError(
                Problem(where="p", value=repr(p), message="a quantile is asked for between 0 and 1")
            )
        first = self._from(warm_up_s)
        due = int(self.tally.states[first:].sum())
        cumulated = np.cumsum(self.tally.latency[first:].sum(axis=0))
        rank = ceil(p * due)
        if due == 0:
            return nan
        if rank > cumulated[-1]:
            return inf
        return cell_middle_s(int(np.searchsorted(cumulated, rank)))

    def stages_s(self, *, warm_up_s: float = 0.0) -> dict[str, float]:
        """The mean time of a completed message in each stage."""
        first = self._from(warm_up_s)
        count = int(self.tally.states[first:, MESSAGE_COMPLETED].sum())
        means = self.tally.stage_s[first:].sum(axis=0) / max(count, 1)
        return dict(zip(STAGES, means.tolist(), strict=True))

    def to_dict(self, *, warm_up_s: float = 0.0) -> dict[str, object]:
        """Everything above, ready for JSON; None where a quantile was not reached."""
        quantiles = {p: self.latency_s(p, warm_up_s=warm_up_s) for p in (0.5, 0.95, 0.99)}
        span_s = self.horizon_s * (1.0 - self._from(warm_up_s) / SLICES)
        messages = self.messages(warm_up_s=warm_up_s)
        return {
            "source": self.source,
            "seed": self.seed,
            "horizon_s": self.horizon_s,
            "warm_up_s": warm_up_s,
            "messages": messages,
            "deliveries": self.deliveries(warm_up_s=warm_up_s),
            "calls": self.calls(warm_up_s=warm_up_s),
            "goodput_per_s": messages["completed"] / span_s,
            "latency_s": {f"p{100 * p:g}": q if q < inf else None for p, q in quantiles.items()},
            "stages_s": self.stages_s(warm_up_s=warm_up_s),
            "versions": dict(self.versions),
        }
