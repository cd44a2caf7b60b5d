"""The queue in memory as a real queue: a broker behind a lock, for the threads of one process."""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from qtune.adapters.base import Depth, Outgoing, QueueAdapter, Received, not_of_this_run
from qtune.broker import Broker, Delivery, HandsOutTo, Message, Outcome, Store
from qtune.errors import BrokerDown, InputError, LockLost, Problem, QueueFull
from qtune.providers.base import ReceiveBehaviour
from qtune.providers.memory import MemoryQueue

_AHEAD_S: Final = time.time() - time.monotonic()


def _clock_s() -> float:
    """Seconds since 1970 that nobody sets back, as a lock needs it, and that go on in the next process."""
    return _AHEAD_S + time.monotonic()


class _Waiting:
    """A receive of one thread, which sleeps on a condition of its own until it has got something."""

    def __init__(self, lock: threading.Lock, credit: int) -> None:
        self.credit = credit
        self.got: list[Delivery] = []
        self.changed = threading.Condition(lock)

    def deliver(self, delivery: Delivery) -> None:
        """The broker has a message."""
        self.got.append(delivery)
        self.changed.notify()


class Door:
    """One broker for many threads: a call at a time, receives that wait, and a thread that minds the deadlines."""

    def __init__(self, broker: Broker, store: Store | None) -> None:
        self.broker, self._store = broker, store
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._due_changed = threading.Condition(self._lock)
        self._wakes_s = math.inf
        self._waiting: set[threading.Condition] = set()
        self._closed = False
        self._timer = threading.Thread(
            target=self._mind_deadlines, name=f"deadlines of {broker.name}", daemon=True
        )
        self._timer.start()

    def send(self, messages: Sequence[Message]) -> tuple[bool, ...]:
        """All of them in one call; waits for room, or says which got in. QueueFull when none did."""
        with self._lock:
            self._check_open()
            if not self.broker.semantics.rejects_when_full:
                return self._send_when_there_is_room(messages)
            with self.broker.one_call():
                taken = [self._try_to_send(message) for message in messages]
            self._tell_the_timer()
            if not any(taken):
                raise QueueFull(f"the queue {self.broker.name!r} in memory is full: send again later")
            return tuple(taken)

    def _try_to_send(self, message: Message) -> bool:
        try:
            self.broker.send(message)
        except QueueFull:
            return False
        return True

    def _send_when_there_is_room(self, messages: Sequence[Message]) -> tuple[bool, ...]:
        entered = threading.Condition(self._lock)
        numbers: list[int] = []

        def sent(number: int) -> None:
            numbers.append(number)
            entered.notify()

        with self.broker.one_call():
            for message in messages:
                self.broker.send_when_there_is_room(message, sent)
        self._tell_the_timer()
        self._waiting.add(entered)
        try:
            while len(numbers) < len(messages) and not self._closed:
                entered.wait()
        finally:
            self._waiting.discard(entered)
            for message in messages[len(numbers) :]:
                self.broker.withdraw(message)
        self._check_open()
        return (True,) * len(messages)

    def receive(self, most: int, wait_s: float) -> list[Delivery]:
        """Up to so many messages, as soon as there is one, or none after so long."""
        deadline_s = time.monotonic() + wait_s
        with self._lock:
            self._check_open()
            waiting = _Waiting(self._lock, most)
            self.broker.poll(waiting, waits=wait_s > 0.0)
            if wait_s > 0.0 and not waiting.got:
                self._tell_the_timer()
                self._wait(waiting, deadline_s)
            self._tell_the_timer()
            return waiting.got

    def _wait(self, waiting: _Waiting, deadline_s: float) -> None:
        self._waiting.add(waiting.changed)
        try:
            while not waiting.got and not self._closed:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0.0:
                    break
                waiting.changed.wait(left_s)
        finally:
            self._waiting.discard(waiting.changed)
            if not waiting.got:
                self.broker.remove(waiting)
        self._check_open()

    def settle(self, tokens: Sequence[bytes], outcome: Outcome, reason: str = "") -> tuple[bool, ...]:
        """Settle deliveries in one call; which of them still had their locks."""
        with self._lock:
            self._check_open()
            with self.broker.one_call():
                held = [self._try_to_settle(token, outcome, reason) for token in tokens]
            self._tell_the_timer()
            return tuple(held)

    def _try_to_settle(self, token: bytes, outcome: Outcome, reason: str) -> bool:
        try:
            self.broker.settle(token, outcome, reason=reason)
        except LockLost:
            return False
        return True

    def renew(self, token: bytes) -> float | None:
        """The new end of the lock, or None when it was lost."""
        with self._lock:
            self._check_open()
            try:
                return self.broker.renew(token)
            except LockLost:
                return None

    def depth(self) -> Depth:
        """What the broker counts; hidden messages are not ready."""
        with self._lock:
            self._check_open()
            counts = self.broker.counts()
            return Depth(ready=counts.ready, in_flight=counts.locked, dead_lettered=counts.dead_lettered)

    def delete_all(self) -> None:
        """Receive and complete everything that is ready."""
        while deliveries := self.receive(100, 0.0):
            self.settle([delivery.token for delivery in deliveries], "completed")

    def close(self) -> None:
        """End all calls that wait with an error, and give the file back."""
        with self._lock:
            self._closed = True
            self._due_changed.notify()
            for condition in self._waiting:
                condition.notify_all()
        self._timer.join()
        if self._store is not None:
            self._store.close()

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerDown(f"the queue {self.broker.name!r} in memory was removed: make it again")

    def _tell_the_timer(self) -> None:
        """Something may fall due earlier than the timer knows."""
        if self.broker.next_due_s() < self._wakes_s:
            self._due_changed.notify()

    def _mind_deadlines(self) -> None:
        with self._lock:
            while not self._closed:
                self.broker.advance()
                self._wakes_s = self.broker.next_due_s()
                left_s = self._wakes_s - _clock_s()
                self._due_changed.wait(
                    None if left_s == math.inf else max(0.0, min(left_s, threading.TIMEOUT_MAX))
                )


_DOORS: Final[dict[str, Door]] = {}
"""The queues of this process, by name."""


@dataclass(frozen=True, kw_only=True)
class MemoryAdapter(QueueAdapter):
    """A queue in the memory of this process, by the same rules as simulated ones.

    hands_out_to, seed: who of those that wait gets the next message, as in :class:`qtune.broker.Broker`.
    existing: the file of a queue. Without it a queue whose settings have ``persistence`` has a file in the folder for
        temporary files, by its name; when that is there, because a process with this queue was killed, it goes on.
    """

    provider: ClassVar[str] = "memory"
    in_process: ClassVar[bool] = True

    queue: MemoryQueue = field(default_factory=MemoryQueue)
    hands_out_to: HandsOutTo = "longest_waiting"
    seed: int = 0

    def create(self) -> None:
        """Make the queue, with what is in its file if it has one."""
        if self.existing is None:
            super().create()
            return
        self._make()
        try:
            super().create()
        except InputError:
            self.stop()
            raise

    def remove(self) -> None:
        """End the queue, and delete its file if it made that."""
        if self.existing is not None and self.used_name in _DOORS:
            super().remove()
        self._unmake()

    def _make(self) -> None:
        if self.used_name in _DOORS:
            message = "this process has a queue of that name already: remove it first, or use another name"
            raise InputError(Problem(where="queue", value=self.used_name, message=message))
        store = None if self.file is None else Store(self.file)
        broker = Broker(
            self.semantics,
            clock=_clock_s,
            hands_out_to=self.hands_out_to,
            seed=self.seed,
            store=store,
            name=self.used_name,
        )
        _DOORS[self.used_name] = Door(broker, store)

    @property
    def file(self) -> Path | None:
        """Where the messages are kept; None: in memory alone."""
        if self.existing is not None:
            return Path(self.existing)
        if self.queue.persistence_s is None:
            return None
        return Path(tempfile.gettempdir()) / f"{self.name}.sqlite"

    def stop(self) -> None:
        """End the queue, and leave its file for another process; calls that wait end with an error."""
        door = _DOORS.pop(self.used_name, None)
        if door is not None:
            door.close()

    def _unmake(self) -> None:
        self.stop()
        if self.existing is None and self.file is not None:
            for end in ("", "-wal", "-shm"):
                self.file.with_name(self.file.name + end).unlink(missing_ok=True)

    def _delete_all_messages(self) -> None:
        self.door.delete_all()

    @property
    def door(self) -> Door:
        """The queue itself, in the process that made it."""
        door = _DOORS.get(self.used_name)
        if door is None or door.process != os.getpid():  # a forked process has a copy, which nobody else sees
            text = f"this process has no queue {self.used_name!r} in memory"
            raise BrokerDown(f"{text}: create it here, where its senders and receivers are")
        return door

    def depth(self) -> Depth:
        """What the broker counts, exactly."""
        return self.door.depth()

    def versions(self) -> Mapping[str, str]:
        """No SDK and no server: the queue is qtune's own."""
        return {}

    def sender(self) -> MemorySender:
        """Any number of senders share the queue."""
        return MemorySender(self.door)

    def receiver(self, behaviour: ReceiveBehaviour | None = None) -> MemoryReceiver:
        """Any number of receivers share the queue, and each may be used by many threads."""
        return MemoryReceiver(self.door)


class MemorySender:
    """Sends into the queue of this process."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def send(self, messages: Sequence[Outgoing]) -> tuple[bool, ...]:
        """In one call; waits for room, or says which got in."""
        sent = [
            Message(body=each.body, group=each.group, properties=str(each.number).encode())
            for each in messages
        ]
        return self._door.send(sent)

    def close(self) -> None:
        """There is no connection to close."""


class MemoryReceiver:
    """Receives from the queue of this process; its handles are the tokens of the broker."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Woken at once by a message."""
        return [self._received(delivery) for delivery in self._door.receive(most, wait_s)]

    def _received(self, delivery: Delivery) -> Received:
        message = delivery.message
        if not isinstance(message.properties, bytes):
            self._door.settle([delivery.token], "released")
            raise not_of_this_run(self._door.broker.name)
        return Received(
            number=int(message.properties),
            delivery_no=delivery.delivery_no,
            body=message.body,
            group=message.group,
            lock_end_s=delivery.lock_end_s,
            handle=delivery.token,
        )

    def complete(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """In one call."""
        return self._door.settle(_tokens(deliveries), "completed")

    def abandon(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """In one call."""
        return self._door.settle(_tokens(deliveries), "abandoned")

    def dead_letter(self, deliveries: Sequence[Received], reason: str) -> tuple[bool, ...]:
        """In one call."""
        return self._door.settle(_tokens(deliveries), "dead_lettered", reason)

    def renew(self, delivery: Received) -> float | None:
        """From now on."""
        [token] = _tokens([delivery])
        return self._door.renew(token)

    def close(self) -> None:
        """What it holds stays locked until its lock runs out."""


def _tokens(deliveries: Sequence[Received]) -> list[bytes]:
    return [delivery.handle for delivery in deliveries if isinstance(delivery.handle, bytes)]
