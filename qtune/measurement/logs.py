"""What the processes of a measured run write down, in files that outlive a process that is killed.

Each process appends rows of fixed size to files that are mapped into its memory: writing is a copy of some bytes, and
what has been written is in the file whatever happens to the process. Times are those of the machine's own clock
(:func:`clock_s`), which all its processes share; they become seconds from the start of the run when rows are read.
"""

from __future__ import annotations

import mmap
import struct
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

clock_s = time.perf_counter
"""The clock of every instant: monotonic, and one for all processes of the machine."""

ROWS_A_FILE: Final = 1 << 16

NAN: Final = float("nan")


class RowFile:
    """Rows of one kind by one process, in a file for every ``ROWS_A_FILE`` of them.

    A row begins with a byte that says that it is there, written last. Any thread may add rows; the fields of a row are
    then changed by whoever holds its place.
    """

    def __init__(self, folder: Path, name: str, fields: str) -> None:
        self._folder, self._name = folder, name
        self._row = struct.Struct("<" + fields)
        self._size = self._row.size + 1
        self._next = count().__next__
        self._maps: list[mmap.mmap] = []
        self._growing = threading.Lock()

    def add(self, *values: float) -> tuple[mmap.mmap, int]:
        """Append a row; where it is."""
        number = self._next()
        file, place = divmod(number, ROWS_A_FILE)
        while file >= len(self._maps):
            self._grow(file)
        mapped, at = self._maps[file], place * self._size
        self._row.pack_into(mapped, at + 1, *values)
        mapped[at] = 1
        return mapped, at + 1

    def _grow(self, file: int) -> None:
        with self._growing:
            if file < len(self._maps):
                return
            path = self._folder / f"{self._name}-{file}.rows"
            with path.open("w+b") as opened:
                opened.truncate(ROWS_A_FILE * self._size)
                self._maps.append(mmap.mmap(opened.fileno(), 0))


def mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[np.void]:
    """The places for rows in a file, as they are now: those whose field ``there`` is 1 hold one."""
    whole = np.dtype([("there", "u1"), *((field, dtype[field]) for field in dtype.names or ())])
    return np.memmap(path, whole, mode="r")


def without_marks(rows: NDArray[np.void], dtype: np.dtype[Any]) -> NDArray[np.void]:
    """Rows of a file as a table of their kind."""
    read = np.empty(rows.size, dtype)
    for field in dtype.names or ():
        read[field] = rows[field]
    return read


def files_of(folder: Path, kind: str) -> list[Path]:
    """The files with rows of a kind, process by process, in the order in which they were begun."""
    found = [path for path in folder.glob(f"{kind}.*.rows") if path.stat().st_size]
    return sorted(found, key=_process_and_number)


def read_rows(folder: Path, kind: str, dtype: np.dtype[Any]) -> NDArray[np.void]:
    """All rows of a kind that any process has written."""
    found = [np.empty(0, dtype)]
    for path in files_of(folder, kind):
        rows = mapped(path, dtype)
        found.append(without_marks(rows[rows["there"] == 1], dtype))
    return np.concatenate(found)


def _process_and_number(path: Path) -> tuple[str, int]:
    process, number = path.stem.rsplit("-", 1)
    return process, int(number)
