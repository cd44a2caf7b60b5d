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
from collections.abc import Iterator
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


def read_rows(folder: Path, name: str, dtype: np.dtype[Any]) -> NDArray[np.void]:
    """All rows of a kind that the process called ``name`` has written."""
    whole = np.dtype([("there", "u1"), *((field, dtype[field]) for field in dtype.names or ())])
    found: list[NDArray[np.void]] = []
    for path in sorted(folder.glob(f"{name}-*.rows"), key=lambda path: int(path.stem.rsplit("-", 1)[1])):
        rows = np.fromfile(path, whole)
        found.append(rows[rows["there"] == 1])
    rows = np.concatenate(found) if found else np.empty(0, whole)
    read = np.empty(rows.size, dtype)
    for field in dtype.names or ():
        read[field] = rows[field]
    return read


def names_in(folder: Path, kind: str) -> Iterator[str]:
    """The processes that have written rows of a kind, by the names of their files without the number."""
    yield from sorted({path.stem.rsplit("-", 1)[0] for path in folder.glob(f"{kind}.*.rows")})
