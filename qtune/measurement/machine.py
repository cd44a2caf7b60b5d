"""The machine on which a run is measured, and how busy it was.

A figure from a machine without a core to spare says more about the machine than about the queue.
"""

from __future__ import annotations

import os
import platform
from typing import Final

import psutil

_NOT_WORK: Final = ("idle", "iowait", "guest", "guest_nice")
"""What a guest works is part of the time of its user already."""


class Machine:
    """Looks at the processors of the machine again and again.

    utilization: at each look the instant, and the busy part of all cores since the look before.
    """

    def __init__(self) -> None:
        self.utilization: list[tuple[float, float]] = []
        self._before = self._times()

    def look(self, now_s: float) -> None:
        """See how busy the machine has been since the last look."""
        times_s = self._times()
        busy_s, free_s = (now - before for now, before in zip(times_s, self._before, strict=True))
        if busy_s + free_s > 0.0:
            self.utilization.append((now_s, busy_s / (busy_s + free_s)))
            self._before = times_s

    @property
    def name(self) -> str:
        """What the machine is."""
        return f"{platform.system()} {platform.machine()}, {os.cpu_count() or 1} cores"

    @staticmethod
    def _times() -> tuple[float, float]:
        """Seconds that all cores have worked, and that they had nothing to do, since the machine began."""
        times = psutil.cpu_times()._asdict()
        busy_s = sum(time_s for name, time_s in times.items() if name not in _NOT_WORK)
        return busy_s, times["idle"] + times.get("iowait", 0.0)
