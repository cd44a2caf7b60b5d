"""The live line of a measured run in a notebook: one output that is written over, and gone when the run is over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qtune.measurement.live import Live, Watch


@contextmanager
def notebook_line() -> Iterator[Watch | None]:
    """What shows each look at a run below the cell that runs; None outside a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        yield None
        return
    from IPython.display import DisplayHandle

    handle = DisplayHandle()  # type: ignore[no-untyped-call]
    handle.display({"text/plain": "starting the run"}, raw=True)  # type: ignore[no-untyped-call]

    def show(live: Live) -> None:
        handle.update({"text/plain": str(live)}, raw=True)  # type: ignore[no-untyped-call]

    try:
        yield show
    finally:
        handle.update({"text/plain": "", "text/html": ""}, raw=True)  # type: ignore[no-untyped-call]
