"""Progress on standard error: a bar on a terminal, otherwise a plain line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import qtune
from qtune.ui.text import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

BETWEEN_LINES_S = 5.0
COMPILING_AFTER_S = 2.0
BETWEEN_LOOKS_S = 0.2
COMPILING = "compiling the simulator, once per machine (10 to 30 s)"

# One message in an idle queue: quick with compiled code on disk, and otherwise as long as the compiler takes.
_ONE_MESSAGE = """
name: one message
arrivals: {kind: burst_at_once, messages: 1}
service_time: {family: constant, mean: 1ms}
queue: {provider: memory}
consumers: {workers: 1, receive_wait: 1s}
horizon: 1s
"""


class Steps:
    """What a command is doing, and how far it is."""

    def __init__(self, bar: Progress | None, task: TaskID | None) -> None:
        self._bar = bar
        self._task = task
        self._told_s = time.monotonic()

    def say(self, text: str) -> None:
        """Say now what is being waited for."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=0, total=None)
        else:
            self._line(text)

    def at(self, text: str, done: int = 0, of: int | None = None) -> None:
        """Say how far a step has come, ``done`` of ``of``; without ``of`` the text says it all."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=done, total=of)
        elif time.monotonic() > self._told_s + BETWEEN_LINES_S:
            self._line(text if of is None else f"{text}: {done} of {of}")

    def _line(self, text: str) -> None:
        print(f"qtune: {text}", file=sys.stderr, flush=True)
        self._told_s = time.monotonic()


@contextmanager
def progress() -> Iterator[Steps]:
    """Show the progress of what is done inside; on a terminal it is wiped out at the end."""
    if not sys.stderr.isatty():
        yield Steps(None, None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        yield Steps(bar, bar.add_task("starting", total=None))


def make_ready(steps: Steps) -> None:
    """Load the simulator; when that takes long it is being compiled, and that is said."""
    raised: list[Exception] = []

    def load() -> None:
        try:
            qtune.simulate(qtune.load_scenario(_ONE_MESSAGE, name="one message"))
        except Exception as error:  # raised again below, where it is told to the user
            raised.append(error)

    # The compiler swallows an interrupt, so it works beside the thread that is interrupted.
    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    loading.join(COMPILING_AFTER_S)
    if loading.is_alive():
        steps.say(COMPILING)
    while loading.is_alive():
        loading.join(BETWEEN_LOOKS_S)
    if raised:
        raise raised[0]
