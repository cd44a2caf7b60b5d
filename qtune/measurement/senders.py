"""The open-loop sender: every message is sent when it falls due, however long the sends before it take."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from qtune.adapters.base import Outgoing, QueueAdapter, Sender
from qtune.errors import QueueFull
from qtune.measurement.calls import Calls
from qtune.measurement.logs import clock_s
from qtune.measurement.recorder import REJECTED, TAKEN, Recorder
from qtune.measurement.working import run_all
from qtune.producer import Producers
from qtune.result import OP_SEND
from qtune.workload import Workload


@dataclass(frozen=True, kw_only=True)
class SendOrders:
    """What a producer process is told; it can be sent to one. Each of several sends its share of the messages."""

    adapter: QueueAdapter
    workload: Workload
    producers: Producers
    body_bytes: int


class SendingClient:
    """One producer process: connections are open when it has been made."""

    def __init__(self, orders: SendOrders, recorder: Recorder) -> None:
        self.orders, self.recorder, self.calls = orders, recorder, Calls(recorder)
        count = orders.producers.senders
        with ThreadPoolExecutor(count) as pool:
            self.senders = list(pool.map(lambda _: orders.adapter.sender(), range(count)))
        self.due_s = orders.workload.due_s.tolist()
        self.next, self.step = recorder.number, orders.producers.instances
        self.body = b"q" * orders.body_bytes
        self.turn = threading.Lock()
        self.stopping = threading.Event()
        self.failure: str | None = None
        self.start_s = 0.0

    def run(self, start_s: float) -> None:
        """Send this process's share of the messages, from an instant of the machine's clock on."""
        self.start_s = start_s
        self.failure = run_all([partial(self.send_all, sender) for sender in self.senders], self.stop)
        for sender in self.senders:
            sender.close()

    def stop(self) -> None:
        """Send no more."""
        self.stopping.set()

    def send_all(self, sender: Sender) -> None:
        """One call after the other: take what is due, or wait for it, while the others send."""
        while (numbers := self.take()) and not self.stopping.is_set():
            self.send(sender, numbers)

    def take(self) -> list[int]:
        """The messages of the next call, once they are due; none when all have been taken.

        One sender at a time waits here, so no message waits for a hand-over between threads.
        """
        producers = self.orders.producers
        with self.turn:
            if self.next >= len(self.due_s):
                return []
            last = self.next + (producers.batch - 1) * self.step
            full_s = self.due_s[last] if last < len(self.due_s) else float("inf")
            self.wait_until(
                max(self.due_s[self.next], min(full_s, self.due_s[self.next] + producers.linger_s))
            )
            now_s = clock_s() - self.start_s
            numbers: list[int] = []
            while (
                len(numbers) < producers.batch
                and self.next < len(self.due_s)
                and self.due_s[self.next] <= now_s
            ):
                numbers.append(self.next)
                self.next += self.step
            return numbers

    def wait_until(self, due_s: float) -> None:
        """Wait for an instant of the run."""
        wait_s = self.start_s + due_s - clock_s()
        if wait_s > 0.0 and not self.stopping.is_set():
            time.sleep(wait_s)

    def send(self, sender: Sender, numbers: list[int]) -> None:
        """Send these messages with one call, and those of its entries that failed again."""
        groups = self.orders.workload.groups
        while numbers:
            outgoing = [
                Outgoing(number=n, body=self.body, group=None if groups[n] < 0 else str(groups[n]))
                for n in numbers
            ]
            called_s = clock_s()
            try:
                answer, start_s, end_s = self.calls.timed(
                    OP_SEND, len(numbers), partial(sender.send, outgoing)
                )
            except QueueFull:
                answer, start_s, end_s = None, called_s, clock_s()
            if answer is None:
                self.note(numbers, start_s, end_s, REJECTED)
                return
            self.note([n for n, taken in zip(numbers, answer, strict=True) if taken], start_s, end_s, TAKEN)
            numbers = [n for n, taken in zip(numbers, answer, strict=True) if not taken]

    def note(self, numbers: list[int], start_s: float, end_s: float, fate: int) -> None:
        """Write down what became of messages with a call that began and ended then."""
        for number in numbers:
            self.recorder.sent(number, start_s, end_s, fate)
