"""A delivery in hand, and the renewal of its lock while it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

from qtune.adapters.base import Received, Receiver
from qtune.measurement.calls import Calls
from qtune.measurement.logs import clock_s
from qtune.measurement.recorder import DeliveryLog
from qtune.result import OP_RENEW


@dataclass(eq=False)
class Held:
    """A delivery that this process has.

    lock_end_s: by the machine's clock; what the broker says, or else the lock's length from the moment of receiving,
        which is later than the truth by at most half a round trip. done: is set when the lock is needed no more.
    """

    receiver: Receiver
    received: Received
    row: DeliveryLog
    lock_end_s: float
    done: threading.Event = field(default_factory=threading.Event)
    renewals: int = 0

    def end(self, outcome: int) -> None:
        """The delivery is over for this process."""
        self.done.set()
        self.row.number("outcome", outcome)


class Renewals:
    """So many renewers at most, each of which stays with one delivery until its handler is through.

    renew_after_s, renew_max_s: as in :class:`qtune.providers.base.ReceiveBehaviour`; lock_s: of the queue.
    """

    def __init__(
        self, calls: Calls, renewers: int, lock_s: float, renew_after_s: float, renew_max_s: float
    ) -> None:
        self._calls, self._lock_s = calls, lock_s
        self._after_s, self._max_s = renew_after_s, renew_max_s
        self._waiting: SimpleQueue[tuple[Held, float] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run) for _ in range(renewers)]
        for thread in self._threads:
            thread.start()

    def begin(self, held: Held, started_s: float) -> None:
        """A handler begins with a delivery."""
        self._waiting.put((held, started_s))

    def close(self) -> None:
        """No handler begins any more; wait for the renewers."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (begun := self._waiting.get()) is not None:
            self._stay_with(*begun)

    def _stay_with(self, held: Held, started_s: float) -> None:
        """Renew when it is time, as long as the handler works, the limit allows it and the lock stands."""
        due_s = held.lock_end_s - self._lock_s + self._after_s
        last_s = started_s + self._max_s
        while due_s <= last_s and not held.done.wait(max(0.0, due_s - clock_s())):
            answer = self._calls.make(OP_RENEW, 1, self._renew(held))
            if not answer or not answer[0]:
                break
            due_s = clock_s() + self._after_s
        held.done.wait()

    def _renew(self, held: Held) -> Callable[[], tuple[bool]]:
        def renew() -> tuple[bool]:
            end_s = held.receiver.renew(held.received)
            if end_s is None:
                return (False,)
            held.lock_end_s = clock_s() + self._lock_s
            held.renewals += 1
            held.row.number("renewals", held.renewals)
            held.row.time("lock_end_s", held.lock_end_s)
            return (True,)

        return renew
