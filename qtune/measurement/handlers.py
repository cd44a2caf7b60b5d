"""Handlers of a measured run: they wait or burn processor time for as long as the workload says."""

from __future__ import annotations

import time

from qtune.measurement.logs import clock_s
from qtune.workload import Workload


def handle(workload: Workload, message: int, delivery_no: int, cpu_share: float) -> tuple[bool, int]:
    """Work on a delivery: whether it succeeds, and after how many attempts."""
    attempt, end_s = 0, clock_s()
    while True:
        service_s, fails = workload.attempt(message, delivery_no, attempt)
        end_s += service_s
        work(end_s, cpu_share * service_s)
        backoff_s = workload.backoff_s(message, delivery_no, attempt) if fails else None
        attempt += 1
        if backoff_s is None:
            return not fails, attempt
        end_s += backoff_s
        work(end_s, 0.0)


def work(end_s: float, burn_s: float) -> None:
    """Burn so much processor time of this thread, and then wait for the end.

    Work that waited for a processor ends later than ``end_s``, as it would anywhere.
    """
    if burn_s > 0.0:
        burnt_s = time.thread_time() + burn_s
        while time.thread_time() < burnt_s:
            pass
    wait_s = end_s - clock_s()
    if wait_s > 0.0:
        time.sleep(wait_s)
