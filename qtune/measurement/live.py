"""What a measured run looks like while it runs, read from the rows that its processes are writing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qtune.measurement.logs import files_of, mapped, without_marks
from qtune.measurement.recorder import SENT, TAKEN
from qtune.result import (
    CALL,
    DELIVERY,
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_DROPPED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    DELIVERY_OPEN,
    OP_RECEIVE,
    REFUSED,
)
from qtune.units import format_duration, format_rate

Rows = NDArray[np.void]

RECENT_S: Final = 5.0
"""Rates and percentiles of a live line are those of so many seconds: short enough to follow, long enough to read."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """One look at a run that is under way.

    time_s, horizon_s: of the run. sent, completed: messages so far. throughput_per_s: of the last five seconds.
    latency_s_p95: end to end, of those that were completed in the last five seconds; NaN: none was.
    handled_s: how long each handler took that has ended since the look before, and received: what each receive brought.
    errors: since the look before, by their cause: a handler that failed, a call that was refused, or a settlement that
        came when the lock had run out.
    """

    time_s: float
    horizon_s: float
    sent: int
    completed: int
    throughput_per_s: float
    latency_s_p95: float
    handled_s: tuple[float, ...]
    received: tuple[int, ...]
    errors: dict[str, int]

    def __str__(self) -> str:
        """One line for a person."""
        p95 = (
            format_duration(float(f"{self.latency_s_p95:.2g}"))
            if self.latency_s_p95 > 0.0
            else "not known yet"
        )
        return (
            f"{max(self.time_s, 0.0):.0f} of {self.horizon_s:.0f} s: {self.sent} sent, {self.completed} completed, "
            f"{format_rate(float(f'{self.throughput_per_s:.3g}'))} now, latency p95 {p95}"
        )


Watch = Callable[[Live], None]
"""What is shown each look at a run while it goes on, about once a second."""


class Looker:
    """Looks at a run: what is new in the rows of its processes since the look before.

    due_s: when each message was due, from the start of the run.
    """

    def __init__(self, folder: Path, due_s: NDArray[np.float64], horizon_s: float) -> None:
        self._due_s, self._horizon_s = due_s, horizon_s
        self._sent = _News(folder, "sent", SENT, lambda rows: rows["fate"] == TAKEN)
        self._calls = _News(folder, "calls", CALL, lambda rows: True)
        self._ended = _News(folder, "deliveries", DELIVERY, lambda rows: rows["outcome"] != DELIVERY_OPEN)
        self._recent: deque[tuple[float, float]] = deque()
        self._sent_count = self._completed = 0

    def look(self, start_s: float, time_s: float) -> Live:
        """Look at the run, ``time_s`` after its start, which was at ``start_s`` of the machine's clock."""
        calls, ended = self._calls.take(), self._ended.take()
        self._sent_count += self._sent.take().size
        completed = ended[ended["outcome"] == DELIVERY_COMPLETED]
        self._completed += completed.size
        finished_s = completed["finished_s"] - start_s
        latency_s = finished_s - self._due_s[completed["message"]]
        self._recent.extend(zip(finished_s.tolist(), latency_s.tolist(), strict=True))
        while self._recent and self._recent[0][0] < time_s - RECENT_S:
            self._recent.popleft()
        recent_s = [latency for _, latency in self._recent]
        handled = ended[~np.isnan(ended["finished_s"])]
        brought = calls[(calls["op"] == OP_RECEIVE) & (calls["count"] > 0)]
        return Live(
            time_s=time_s,
            horizon_s=self._horizon_s,
            sent=self._sent_count,
            completed=self._completed,
            throughput_per_s=len(recent_s) / min(RECENT_S, max(time_s, 1e-3)),
            latency_s_p95=float(np.quantile(recent_s, 0.95)) if recent_s else float("nan"),
            handled_s=tuple((handled["finished_s"] - handled["started_s"]).tolist()),
            received=tuple(brought["count"].tolist()),
            errors={
                "handler": _count(ended, (DELIVERY_ABANDONED, DELIVERY_FAILED)),
                "call": _count(calls, REFUSED),
                "lock_lost": _count(ended, (DELIVERY_LATE, DELIVERY_DROPPED)),
            },
        )


def _count(rows: Rows, outcomes: tuple[int, ...]) -> int:
    return int(np.isin(rows["outcome"], outcomes).sum())


class _News:
    """The rows of one kind that have come to be ``whole`` since they were taken last."""

    def __init__(self, folder: Path, kind: str, dtype: np.dtype[Any], whole: Callable[[Rows], Any]) -> None:
        self._folder, self._kind, self._dtype, self._whole = folder, kind, dtype, whole
        self._taken: dict[str, NDArray[np.bool_]] = {}

    def take(self) -> Rows:
        """Those rows, which are not taken again."""
        found = [np.empty(0, self._dtype)]
        for path in files_of(self._folder, self._kind):
            rows = mapped(path, self._dtype)
            taken = self._taken.setdefault(path.name, np.zeros(rows.size, np.bool_))
            new = (rows["there"] == 1) & ~taken
            new[new] = self._whole(rows[new])
            taken |= new
            found.append(without_marks(rows[new], self._dtype))
        return np.concatenate(found)
