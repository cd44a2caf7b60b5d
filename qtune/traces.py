"""Reading recorded workloads: CSV files with a '#' header, checked line by line.

A trace has the columns ``arrival_s[,service_hint[,group]]``, one line a message, in order of time; a rate
file has ``t_s,count``, one line a bucket. A file name is looked for beside the file that names it, then among
the shipped traces. Everything that is wrong is reported with the file and the line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qtune.errors import InputError, Problem, did_you_mean
from qtune.records import refuse
from qtune.shipped import shipped, shipped_names

_MOST_PROBLEMS = 20
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """One line a message: arrival instants in seconds (ascending), and what else the file says of each, or None.

    service_hint: the relative work. group: numbers from 0, in the order in which the file first names them.
    """

    arrival_s: Floats
    service_hint: Floats | None
    group: NDArray[np.int64] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """Counts per bucket: bucket starts and width in seconds, counts, and the indices after which buckets are
    missing.

    missing: how many buckets are missing in all.
    """

    start_s: Floats
    count: Floats
    width_s: float
    missing: int


def find_trace(name: str, folder: Path) -> str:
    """How a record names a trace: an absolute path, or the bare name of a shipped one.

    Raises a validator's error when neither exists, with the nearest shipped name.
    """
    path = folder / name
    if path.is_file():
        return str(path.resolve())
    if name in shipped_names("traces"):
        return name
    hint = did_you_mean(name, shipped_names("traces"))
    raise refuse(f"no such file in {folder.resolve()}, and no shipped trace of that name.{hint}")


def read_trace(name: str) -> Trace:
    """The trace that ``find_trace`` named; InputError lists every bad line (the first 20)."""
    path, stamp = _path(name)
    return _read_trace(path, stamp)


def read_buckets(name: str) -> Buckets:
    """The rate file that ``find_trace`` named; InputError lists every bad line (the first 20)."""
    path, stamp = _path(name)
    return _read_buckets(path, stamp)


def read_column(name: str, column: str) -> tuple[float, ...]:
    """One column of numbers, all finite and not negative, of the file that ``find_trace`` named."""
    path, stamp = _path(name)
    header, lines, rows = _read_rows(path, stamp)
    if column not in header:
        message = f"there is no column {column!r}.{did_you_mean(column, header)}"
        _fail(path, 0, ",".join(header), message)
    index = header.index(column)
    (values,) = _numbers(path, lines, [[row[index]] for row in rows], [column])
    return tuple(values.tolist())


def _path(name: str) -> tuple[Path, tuple[int, int]]:
    path = Path(name) if Path(name).is_absolute() else shipped("traces", name)
    stat = path.stat()
    return path, (stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _read_trace(path: Path, stamp: tuple[int, int]) -> Trace:
    header, lines, rows = _read_rows(path, stamp)
    known = ["arrival_s", "service_hint", "group"]
    if header != known[: len(header)]:
        _fail(path, 0, ",".join(header), "a trace has the columns arrival_s[,service_hint[,group]]")
    columns = _numbers(path, lines, rows, header[:2])
    arrival_s, hint = columns[0], columns[1] if len(header) > 1 else None
    _ascending(path, lines, arrival_s, strictly=False)
    if hint is not None and not hint.any():
        _fail(path, lines[0], "0", "every service_hint is 0, so the hints cannot be scaled to a mean")
    group = None
    if len(header) > 2:
        number: dict[str, int] = {}
        group = np.array([number.setdefault(row[2], len(number)) for row in rows], np.int64)
        group.flags.writeable = False
    return Trace(arrival_s=arrival_s, service_hint=hint, group=group)


@lru_cache(maxsize=16)
def _read_buckets(path: Path, stamp: tuple[int, int]) -> Buckets:
    header, lines, rows = _read_rows(path, stamp)
    if header != ["t_s", "count"]:
        _fail(path, 0, ",".join(header), "a rate file has the columns t_s,count")
    start_s, count = _numbers(path, lines, rows, header)
    _ascending(path, lines, start_s, strictly=True)
    if len(start_s) < 2:
        _fail(path, lines[0], rows[0][0], "a rate file needs at least two buckets, to know their width")
    if start_s[0] != 0.0:
        _fail(path, lines[0], rows[0][0], "the first bucket must start at 0: subtract its start from all")
    steps = np.diff(start_s)
    width_s = float(steps.min())
    whole = np.rint(steps / width_s)
    wrong = np.flatnonzero(np.abs(steps - whole * width_s) > 1e-6 * width_s)
    message = f"this is not a whole number of buckets ({width_s:g} s each) after the line before"
    _raise(_problem(path, lines[i + 1], rows[i + 1][0], message) for i in wrong.tolist())
    return Buckets(start_s=start_s, count=count, width_s=width_s, missing=int(whole.sum()) - len(steps))


@lru_cache(maxsize=4)
def _read_rows(path: Path, stamp: tuple[int, int]) -> tuple[list[str], list[int], list[list[str]]]:
    """The column names, and for each data row its line number and its fields."""
    header: list[str] = []
    lines: list[int] = []
    rows: list[list[str]] = []
    problems: list[Problem] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(path, 0, repr(error.object[error.start : error.start + 4]), "this is not UTF-8 text")
    for line, content in enumerate(text.splitlines(), start=1):
        if content.startswith("#") or not content.strip():
            continue
        fields = [field.strip() for field in content.split(",")]
        if not header:
            header = fields
        elif len(fields) != len(header):
            problems.append(
                _problem(path, line, content, f"{len(header)} columns are needed, as in the header")
            )
        else:
            lines.append(line)
            rows.append(fields)
    _raise(problems)
    if not rows:
        _fail(path, 0, "", "the file has no data lines")
    return header, lines, rows


def _numbers(path: Path, lines: list[int], rows: list[list[str]], columns: list[str]) -> list[Floats]:
    """The first columns as numbers, read-only; all that is no number or not in range is one InputError."""
    values = np.empty((len(columns), len(rows)))
    problems = []
    for row, fields in enumerate(rows):
        for column in range(len(columns)):
            try:
                number = float(fields[column])
            except ValueError:
                number = math.nan
            if not (math.isfinite(number) and number >= 0.0):
                message = f"{columns[column]} must be a finite number that is not negative"
                problems.append(_problem(path, lines[row], fields[column], message))
            values[column, row] = number
    _raise(problems)
    values.flags.writeable = False
    return list(values)


def _ascending(path: Path, lines: list[int], values: Floats, *, strictly: bool) -> None:
    steps = np.diff(values)
    problems = []
    for i in np.flatnonzero(steps <= 0.0 if strictly else steps < 0.0).tolist():
        message = f"times must ascend, and {values[i]:.10g} is before it"
        problems.append(_problem(path, lines[i + 1], f"{values[i + 1]:.10g}", message))
    _raise(problems)


def _raise(problems: Iterable[Problem]) -> None:
    """Raise the first problems, if there are any."""
    first = list(islice(problems, _MOST_PROBLEMS))
    if first:
        raise InputError(first)


def _problem(path: Path, line: int, value: str, message: str) -> Problem:
    return Problem(where=f"{path.name}:{line}" if line else path.name, value=value, message=message)


def _fail(path: Path, line: int, value: str, message: str) -> None:
    raise InputError(_problem(path, line, value, message))
