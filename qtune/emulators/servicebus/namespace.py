"""The queues of one emulated namespace, by name, and the timer that does what falls due in them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

from qtune.broker import Broker, HandsOutTo
from qtune.emulators.servicebus import refusals
from qtune.emulators.servicebus.faults import Faults, Traffic
from qtune.providers.base import DeliverySemantics

DEAD_LETTERS = "/$deadletterqueue"


class Ending(Protocol):
    """A link to a queue, which ends with it."""

    def end(self, refusal: refusals.Refused) -> None:
        """The queue is gone."""


class Queue:
    """One queue: its broker, the links that lead to it, and when it must be looked at next."""

    def __init__(self, name: str, broker: Broker, source: str = "") -> None:
        self.name, self.broker, self.source = name, broker, source
        self.links: set[Ending] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_sessions(self) -> bool:
        """Whether receivers take sessions."""
        return self.broker.semantics.hands_out == "by session"

    def arm(self) -> None:
        """See to it that what falls due is done; called after every call to the broker."""
        due_s = self.broker.next_due_s()
        if due_s == math.inf:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + due_s - self.broker.clock()
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._fall_due)

    def _fall_due(self) -> None:
        self._timer = None
        self.broker.advance()
        self.arm()

    def disarm(self) -> None:
        """Nothing falls due any more."""
        if self._timer is not None:
            self._timer.cancel()


class Namespace:
    """Queues by name, which is not case-sensitive.

    semantics: of a queue without sessions that is made when it is first asked for; None: such a queue is not found.
    hands_out_to: of the brokers. faults: what goes wrong.
    """

    def __init__(
        self,
        *,
        semantics: DeliverySemantics | None,
        hands_out_to: HandsOutTo,
        seed: int,
        faults: Faults,
    ) -> None:
        self._semantics, self._hands_out_to, self._seed = semantics, hands_out_to, seed
        self.faults, self.traffic = faults, Traffic()
        self._queues: dict[str, Queue] = {}
        self._sends = 0
        self.clock = wall_clock()

    def create(self, name: str, semantics: DeliverySemantics) -> Queue:
        """Make a queue; Refused when there is one of that name."""
        key = name.lower()
        if not key or key.startswith("$") or key in self._queues:
            raise refusals.Refused(
                "amqp:not-allowed", f"there is a queue {name!r}, or none can be called so", 409
            )
        broker = Broker(
            semantics, clock=self.clock, hands_out_to=self._hands_out_to, seed=self._seed, name=name
        )
        queue = self._queues[key] = Queue(name, broker)
        self._queues[key + DEAD_LETTERS] = Queue(name, broker.dead_letters, source=name)
        return queue

    def delete(self, name: str) -> None:
        """Remove a queue with all that is in it, and end the links to it; Refused when there is none."""
        self.find(name, creates=False)
        for key in (name.lower(), name.lower() + DEAD_LETTERS):
            queue = self._queues.pop(key)
            for link in list(queue.links):
                link.end(refusals.not_found(name))
            queue.disarm()

    def find(self, name: str, *, creates: bool = True) -> Queue:
        """The queue of a name, or its dead letters; Refused when there is none and none may be made."""
        key = name.strip("/").lower()
        queue = self._queues.get(key)
        if queue is not None:
            return queue
        if not creates or self._semantics is None or key.startswith("$"):
            raise refusals.not_found(name)
        owner = key.removesuffix(DEAD_LETTERS)
        self.create(name.strip("/")[: len(owner)], self._semantics)
        return self._queues[key]

    def is_busy(self) -> bool:
        """Count a send, and say whether it is its turn to be refused."""
        every = self.faults.server_busy_every
        self._sends += 1
        if not every or self._sends % every:
            return False
        self.traffic.busy += 1
        return True

    def counters(self) -> dict[str, object]:
        """What has happened so far, as plain numbers by queue."""
        return {
            "queues": {queue.name: counters_of(queue) for queue in self._queues.values() if not queue.source},
            "namespace": asdict(self.traffic),
        }

    def close(self) -> None:
        """Nothing falls due any more."""
        for queue in self._queues.values():
            queue.disarm()


def counters_of(queue: Queue) -> dict[str, int]:
    """The counters of a queue, and what is in it now."""
    now = {f"now_{name}": count for name, count in asdict(queue.broker.counts()).items()}
    return {**asdict(queue.broker.counters), **now}


def wall_clock() -> Callable[[], float]:
    """Seconds since 1970, which clients are told, and which never go back."""
    offset_s = time.time() - time.monotonic()
    return lambda: offset_s + time.monotonic()
