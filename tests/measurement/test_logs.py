"""Rows that outlive the process that wrote them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from qtune.measurement.logs import ROWS_A_FILE, RowFile, files_of, read_rows

PAIR = np.dtype([("number", "<i8"), ("half", "<f8")])

WRITER = """
import sys
from pathlib import Path
from qtune.measurement.logs import RowFile
rows = RowFile(Path(sys.argv[1]), "pairs.a", "qd")
number = 0
while True:
    rows.add(number, number / 2)
    number += 1
    if number == 1000:
        print("enough", flush=True)
"""


def test_rows_of_a_process_that_is_killed_are_all_there(tmp_path: Path) -> None:
    """SIGKILL takes nothing that was written: the rows are whole, in order and without a gap."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"enough\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    rows = read_rows(tmp_path, "pairs", PAIR)
    assert rows.size >= 1000
    assert (rows["number"] == np.arange(rows.size)).all()
    assert (rows["half"] == 0.5 * rows["number"]).all()


def test_threads_fill_several_files_without_losing_a_row(tmp_path: Path) -> None:
    """Rows go to the next file when one is full, whoever of several threads fills it."""
    rows = RowFile(tmp_path, "pairs.b", "qd")
    each = ROWS_A_FILE // 2 + 100

    def write(first: int) -> None:
        for number in range(first, first + each):
            rows.add(number, 0.5 * number)

    threads = [threading.Thread(target=write, args=(part * each,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in files_of(tmp_path, "pairs")] == [f"pairs.b-{n}.rows" for n in range(3)]
    read = read_rows(tmp_path, "pairs", PAIR)
    assert sorted(read["number"].tolist()) == list(range(4 * each))
    assert (read["half"] == 0.5 * read["number"]).all()
