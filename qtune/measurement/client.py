"""A consumer process as it would be deployed: it receives, handles, renews and settles over a real adapter.

What a scenario says about consumers is what runs here, thread for thread: receivers, workers, renewers, and a pool for
settlements that no worker waits for.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qtune.adapters.base import QueueAdapter
from qtune.measurement.calls import Calls
from qtune.measurement.held import Renewals
from qtune.measurement.logs import clock_s
from qtune.measurement.loops import Loop
from qtune.measurement.recorder import Recorder
from qtune.measurement.working import run_all
from qtune.providers.base import ReceiveBehaviour
from qtune.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a consumer process is told; it can be sent to one.

    workers: of the process. abandons: a failed delivery is given back; otherwise its lock runs out. cpu_share: the part
    of a service time that burns processor time. pauses_s: spans of the run in which no handler starts.
    """

    adapter: QueueAdapter
    workload: Workload
    behaviour: ReceiveBehaviour
    workers: int
    lock_s: float
    abandons: bool
    cpu_share: float
    pauses_s: tuple[tuple[float, float], ...]


class Client:
    """One consumer process: connections are open when it has been made."""

    def __init__(self, orders: Orders, recorder: Recorder) -> None:
        self.orders, self.behaviour, self.recorder = orders, orders.behaviour, recorder
        self.calls = Calls(recorder)
        self.stopping = threading.Event()
        self.failure: str | None = None
        self.start_s = 0.0
        count = self.behaviour.receivers
        with ThreadPoolExecutor(count) as pool:  # an AMQP receiver takes half a second to open
            receivers = list(pool.map(lambda _: orders.adapter.receiver(self.behaviour), range(count)))
        each, first = orders.workers // count, recorder.number * orders.workers
        self.loops = [Loop(self, one, first + place * each, each) for place, one in enumerate(receivers)]
        self.renewals = self._renewals()
        self.settlers = ThreadPoolExecutor(orders.workers) if self.behaviour.settle == "concurrent" else None

    def run(self, start_s: float) -> None:
        """Consume from an instant of the machine's clock until :meth:`stop`, then finish what is in hand."""
        self.start_s = start_s
        time.sleep(max(0.0, start_s - clock_s()))
        work = [target for loop in self.loops for target in loop.targets()]
        self.failure = run_all(work, self.stop)
        if self.settlers is not None:
            self.settlers.shutdown()
        if self.renewals is not None:
            self.renewals.close()
        with ThreadPoolExecutor(len(self.loops)) as pool:
            list(pool.map(lambda loop: loop.receiver.close(), self.loops))

    def stop(self) -> None:
        """Receive no more."""
        self.stopping.set()
        for loop in self.loops:
            loop.wake()

    def wait_for_pause(self) -> None:
        """Wait while no handler may start."""
        for begin_s, end_s in self.orders.pauses_s:
            now_s = clock_s() - self.start_s
            if begin_s <= now_s < end_s:
                time.sleep(end_s - now_s)

    def _renewals(self) -> Renewals | None:
        its = self.behaviour
        if not its.renewers:
            return None
        return Renewals(self.calls, its.renewers, self.orders.lock_s, its.renew_after_s, its.renew_max_s)
