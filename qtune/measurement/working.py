"""Threads that work together: when one fails, the others come to an end, and its failure is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


def run_all(work: Sequence[Callable[[], None]], stop: Callable[[], None]) -> str | None:
    """Do each piece of work in a thread of its own, until all are over; what failed first, in words, or None.

    stop: brings those that are left to an end when one has failed, since a run without it would be another run.
    """
    failures: list[str] = []

    def do(one: Callable[[], None]) -> None:
        try:
            one()
        except (
            Exception
        ) as error:  # whatever it is: without this thread nothing that follows is a measurement
            failures.append(str(error) or type(error).__name__)
            stop()

    threads = [threading.Thread(target=do, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures[0] if failures else None
