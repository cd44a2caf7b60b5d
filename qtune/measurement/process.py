"""A process of a measured run: ``python -m qtune.measurement.process`` consumes or sends, as its parent tells it.

Orders come pickled on stdin; then lines: "clock" asks for the instant, "start" gives one to begin at, "stop" ends. The
end of stdin is the parent's end, and stops too. Answers on stdout are single words. Nothing is imported from the
parent's own program, so a notebook or a script without a guard can measure.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from qtune.measurement.client import Client, Orders
from qtune.measurement.logs import clock_s
from qtune.measurement.recorder import Recorder
from qtune.measurement.senders import SendingClient, SendOrders

READY: Final = "ready"
CLOCK: Final = b"clock\n"
START: Final = b"start "
CONSUMES, SENDS = "c", "s"


class Running(Protocol):
    """What a process does. failure: why it came to an end before it was told to, in words; None: it did not."""

    failure: str | None

    def run(self, start_s: float) -> None:
        """Work from an instant of the machine's clock until told to stop."""

    def stop(self) -> None:
        """Come to an end; may be called by another thread."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one process does, where it writes its rows, and which of its kind it is."""

    orders: Orders | SendOrders
    folder: Path
    number: int

    @property
    def kind(self) -> str:
        """Whether it consumes or sends."""
        return CONSUMES if isinstance(self.orders, Orders) else SENDS

    @property
    def name(self) -> str:
        """What an error calls it."""
        return f"{'consumer' if self.kind == CONSUMES else 'producer'} process {self.number + 1}"

    def begin(self) -> Running:
        """Open the connections."""
        recorder = Recorder(self.folder, self.kind, self.number)
        if isinstance(self.orders, Orders):
            return Client(self.orders, recorder)
        return SendingClient(self.orders, recorder)


def pack(task: Task) -> bytes:
    """A task as it goes through a pipe."""
    body = pickle.dumps(task)
    return struct.pack("<Q", len(body)) + body


def main() -> None:
    """Do what the parent says."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent ends what it began
    orders = sys.stdin.buffer
    (size,) = struct.unpack("<Q", orders.read(8))
    task: Task = pickle.loads(orders.read(size))
    running = task.begin()
    print(READY, flush=True)
    while (line := orders.readline()) == CLOCK:
        print(repr(clock_s()), flush=True)
    if not line.startswith(START):
        return
    thread = threading.Thread(target=running.run, args=(float(line.removeprefix(START)),))
    thread.start()

    def wait_for_stop() -> None:
        orders.readline()
        running.stop()

    threading.Thread(target=wait_for_stop, daemon=True).start()
    thread.join()
    if running.failure is not None:
        print(running.failure, file=sys.stderr, flush=True)
        os._exit(1)  # the thread above still waits for its line, which an orderly end would not survive


if __name__ == "__main__":
    main()
