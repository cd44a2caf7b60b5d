"""What a run leaves behind: four tables of rows, and how to keep, read and compare them.

An engine and an adapter fill the very same tables, so nothing behind them can tell a simulated run from a
measured one except by reading `Result.source`. No table holds an aggregate, and none leaves out a row: what
had not happened when the run ended is NaN, a censored observation, and never a missing message.

The codes are plain integers, not an Enum, because compiled engine code reads them as constants.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from qtune.conditions import Conditions
from qtune.errors import InputError, Problem, did_you_mean
from qtune.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

    from qtune.scenario import Scenario

Table = NDArray[np.void]

TableName = Literal["messages", "deliveries", "calls", "states"]

# State of a message when the run ended.
MESSAGE_UNSENT: Final = 0
MESSAGE_DELAYED: Final = 1
MESSAGE_READY: Final = 2
MESSAGE_LOCKED: Final = 3
MESSAGE_COMPLETED: Final = 4
MESSAGE_DEAD_LETTERED: Final = 5
MESSAGE_EXPIRED: Final = 6
MESSAGE_REJECTED: Final = 7
MESSAGE_STATES: Final = (
    *("unsent", "delayed", "ready", "locked", "completed", "dead_lettered", "expired", "rejected"),
)

# How one delivery ended. LATE: the handler was right but its lock had ended, so the work is wasted.
# LOST: its consumer was killed with it in hand; the broker learns nothing, and the lock runs out.
# UNSETTLED: the broker refused its settlement until the client gave up, so it comes back when its lock runs out.
# SKIPPED: not handled, because one of its group before it failed; it comes back when its lock runs out.
DELIVERY_OPEN: Final = 0
DELIVERY_COMPLETED: Final = 1
DELIVERY_ABANDONED: Final = 2
DELIVERY_FAILED: Final = 3
DELIVERY_LATE: Final = 4
DELIVERY_DROPPED: Final = 5
DELIVERY_RELEASED: Final = 6
DELIVERY_UNSETTLED: Final = 7
DELIVERY_LOST: Final = 8
DELIVERY_SKIPPED: Final = 9
DELIVERY_OUTCOMES: Final = (
    *(
        "open",
        "completed",
        "abandoned",
        "failed",
        "late",
        "dropped",
        "released",
        "unsettled",
        "lost",
        "skipped",
    ),
)

OP_SEND: Final = 0
OP_RECEIVE: Final = 1
OP_SETTLE: Final = 2
OP_ABANDON: Final = 3
OP_RELEASE: Final = 4
OP_RENEW: Final = 5
CALL_OPS: Final = ("send", "receive", "settle", "abandon", "release", "renew")

CALL_OK: Final = 0
CALL_EMPTY: Final = 1
CALL_LOCK_LOST: Final = 2
CALL_THROTTLED: Final = 3
CALL_OVER_LIMIT: Final = 4
CALL_FAILED: Final = 5
CALL_OUTCOMES: Final = ("ok", "empty", "lock_lost", "throttled", "over_limit", "failed")
REFUSED: Final = (CALL_THROTTLED, CALL_OVER_LIMIT, CALL_FAILED)
"""Outcomes of calls that did nothing: such a row is one attempt, and its ``count`` is 0."""

# Wide fields come first, so that no row holds a padding byte and rows compare and digest byte by byte.
MESSAGE: Final = np.dtype(
    [
        ("due_s", "<f8"),
        ("sent_s", "<f8"),
        ("completed_s", "<f8"),
        ("settled_s", "<f8"),
        ("left_s", "<f8"),
        ("delivery", "<i8"),
        ("group", "<i8"),
        ("deliveries", "<i4"),
        ("state", "<i4"),
    ]
)
DELIVERY: Final = np.dtype(
    [
        ("message", "<i8"),
        ("locked_s", "<f8"),
        ("received_s", "<f8"),
        ("started_s", "<f8"),
        ("finished_s", "<f8"),
        ("settled_s", "<f8"),
        ("lock_end_s", "<f8"),
        ("delivery_no", "<i4"),
        ("consumer", "<i4"),
        ("worker", "<i4"),
        ("attempts", "<i4"),
        ("renewals", "<i4"),
        ("outcome", "<i4"),
    ]
)
CALL: Final = np.dtype(
    [
        ("start_s", "<f8"),
        ("end_s", "<f8"),
        ("consumer", "<i4"),
        ("op", "<i4"),
        ("count", "<i4"),
        ("outcome", "<i4"),
    ]
)
STATE: Final = np.dtype(
    [
        ("time_s", "<f8"),
        ("core_busy_s", "<f8"),
        ("instance_s", "<f8"),
        ("downstream_busy_s", "<f8"),
        ("refusals", "<i8"),
        ("breaker_openings", "<i8"),
        ("breaker_rejections", "<i8"),
        ("unsent", "<i8"),
        ("delayed", "<i8"),
        ("backlog", "<i8"),
        ("in_flight", "<i8"),
        ("buffered", "<i8"),
        ("busy_workers", "<i8"),
        ("consumers", "<i8"),
    ]
)

TABLES: Final[Mapping[TableName, np.dtype[Any]]] = {
    "messages": MESSAGE,
    "deliveries": DELIVERY,
    "calls": CALL,
    "states": STATE,
}

_CODES: Final[Mapping[TableName, Mapping[str, tuple[str, ...]]]] = {
    "messages": {"state": MESSAGE_STATES},
    "deliveries": {"outcome": DELIVERY_OUTCOMES},
    "calls": {"op": CALL_OPS, "outcome": CALL_OUTCOMES},
    "states": {},
}
_ROWS: Final[Mapping[TableName, str]] = {
    "messages": "message",
    "deliveries": "delivery",
    "calls": "call",
    "states": "sample",
}
_FORMAT: Final = "qtune-result-1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Shown):
    """One run, row by row.

    messages, deliveries, calls, states: arrays of the dtypes MESSAGE, DELIVERY, CALL and STATE of this
        module; times are seconds from the start of the run, and NaN for what had not happened at
        ``horizon_s`` or could not be seen. Calls are those that had ended, in order of ``end_s``.
    scenario: what was run.
    seed: of the random streams of a simulation, or of the workload of a measurement.
    source: "simulated:kernel", "simulated:reference", "measured:sqs" and so on.
    conditions: of a measurement, under which it was made; None: simulated.
    versions: of everything whose change could change the rows: qtune, the provider's SDK, the model.

    Compare two results with :func:`same_rows`; ``==`` is identity, because arrays have no single truth.
    InputError when a table has another dtype or the horizon is not a finite time above 0.
    """

    messages: Table
    deliveries: Table
    calls: Table
    states: Table
    scenario: Scenario
    seed: int
    source: str
    horizon_s: float
    versions: Mapping[str, str] = field(default_factory=dict)
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        problems = [
            Problem(
                where=f"Result.{name}",
                value=str(getattr(self, name).dtype),
                message=f"a table of {name} has the dtype {name_of}: fill an array of qtune.result.{name_of}",
            )
            for name, name_of in zip(TABLES, ("MESSAGE", "DELIVERY", "CALL", "STATE"), strict=True)
            if getattr(self, name).dtype != TABLES[name] or getattr(self, name).ndim != 1
        ]
        if not 0.0 < self.horizon_s < float("inf"):
            bound = "a run lasts a finite time above 0 s"
            problems.append(Problem(where="Result.horizon_s", value=repr(self.horizon_s), message=bound))
        if problems:
            raise InputError(problems)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.table(name))} {name}" for name in TABLES)
        return f"<Result {self.source}: {counts}; seed {self.seed}, horizon {self.horizon_s:g} s>"

    def table(self, name: TableName) -> Table:
        """One of the four tables by its name; InputError for any other name."""
        if name not in TABLES:
            known = ", ".join(TABLES)
            hint = f"the tables are {known}.{did_you_mean(str(name), TABLES)}"
            raise InputError(Problem(where="table", value=str(name), message=hint))
        return cast(Table, getattr(self, name))

    def frame(self, name: TableName) -> pd.DataFrame:
        """A table as a pandas DataFrame: one column a field, codes spelled out as categories.

        The index is the row number, by which other tables refer to a message or a delivery.
        """
        import pandas as pd

        table = self.table(name)
        columns: dict[str, Any] = {}
        for column in table.dtype.names or ():
            columns[column] = table[column]
            if column in _CODES[name]:
                spelled = pd.Index(_CODES[name][column])
                columns[column] = pd.Categorical.from_codes(table[column].astype(np.int64), spelled)
        return pd.DataFrame(columns, index=pd.RangeIndex(len(table), name=_ROWS[name]))

    def save(self, path: str | PathLike[str]) -> Path:
        """Write everything to one compressed .npz file and return its path; nothing in it is pickled.

        ".npz" is added to a path that does not end so. The scenario is kept as YAML, as a user writes it.
        """
        from qtune.presets import dump_scenario

        target = Path(path)
        if target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        about = {
            "format": _FORMAT,
            "scenario": dump_scenario(self.scenario),
            "seed": self.seed,
            "source": self.source,
            "horizon_s": float(self.horizon_s).hex(),
            "versions": dict(self.versions),
            "conditions": self.conditions and self.conditions.to_dict(),
        }
        tables = {name: self.table(name) for name in TABLES}
        with target.open("wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(about)), **cast(dict[str, Any], tables))
        return target

    @staticmethod
    def load(path: str | PathLike[str]) -> Result:
        """Read what :meth:`save` wrote; InputError when the file is not one of these or is damaged."""
        from qtune.presets import load_scenario

        try:
            with np.load(path, allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                tables = {name: stored[name] for name in TABLES}
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            message = f"not written by Result.save, or damaged ({error}): run the scenario and save again"
            raise InputError(Problem(where=str(path), value=type(error).__name__, message=message)) from error
        if about.get("format") != _FORMAT:
            message = f'this version reads "{_FORMAT}": run the scenario again with it'
            raise InputError(Problem(where=str(path), value=str(about.get("format")), message=message))
        return Result(
            scenario=load_scenario(about["scenario"]),
            seed=about["seed"],
            source=about["source"],
            horizon_s=float.fromhex(about["horizon_s"]),
            versions=about["versions"],
            conditions=Conditions.of_dict(about["conditions"]) if about.get("conditions") else None,
            **tables,
        )


def first_of_calls(deliveries: Table) -> NDArray[np.bool_]:
    """Of handlers that take batches, the first row of each call: those of one worker with one start are one call's.

    Deliveries that no handler has started are of no call.
    """
    first = np.zeros(deliveries.size, np.bool_)
    started = np.flatnonzero(~np.isnan(deliveries["started_s"]))
    rows = started[np.lexsort((deliveries["started_s"][started], deliveries["worker"][started]))]
    other = np.diff(deliveries["worker"][rows]) != 0
    other |= np.diff(deliveries["started_s"][rows]) != 0.0
    first[rows[np.append(True, other)[: rows.size]]] = True
    return first


def most_held(deliveries: Table) -> int:
    """The most messages that one consumer had at a time, each from its receipt to the end of its handling.

    Those whose end in the client is not known, as when it was killed or dropped them, are left out.
    """
    ended = ~np.isnan(deliveries["finished_s"]) | (deliveries["outcome"] == DELIVERY_OPEN)
    held = deliveries[ended & ~np.isnan(deliveries["received_s"])]
    time_s = np.concatenate([held["received_s"], np.nan_to_num(held["finished_s"], nan=np.inf)])
    change = np.repeat([1, -1], held.size)
    order = np.lexsort(
        (change, time_s, np.tile(held["consumer"], 2))
    )  # at one time those that end come first
    return int(np.cumsum(change[order]).max(initial=0))  # every consumer's changes add up to 0


def same_rows(a: Result, b: Result) -> str | None:
    """None when all rows of two results are the same bit for bit; otherwise the first difference, in words.

    NaN equals NaN, whatever its sign and payload, and 0.0 does not equal -0.0. The scenario, the seed and the
    source are not compared: two engines, or two platforms, are held to the same rows, not to the same label.
    """
    for name in TABLES:
        left, right = a.table(name), b.table(name)
        if len(left) != len(right):
            return f"{name}: {len(left)} rows against {len(right)}"
        first: tuple[int, str] | None = None
        for column in TABLES[name].names or ():
            row = _first_difference(left[column], right[column])
            if row is not None and (first is None or row < first[0]):
                first = (row, column)
        if first is not None:
            row, column = first
            shown = f"{left[column][row].item()!r} against {right[column][row].item()!r}"
            return f"{name}[{row}].{column}: {shown}"
    return None


def _first_difference(left: NDArray[Any], right: NDArray[Any]) -> int | None:
    if left.dtype.kind == "f":
        bits_left, bits_right = (np.ascontiguousarray(values).view(np.int64) for values in (left, right))
        differs = (bits_left != bits_right) & ~(np.isnan(left) & np.isnan(right))
    else:
        differs = left != right
    return int(np.argmax(differs)) if differs.any() else None
