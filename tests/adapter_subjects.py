"""The queues that the contract of adapters is held against: how each is made, and what it does not do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from qtune.adapters.base import QueueAdapter
from qtune.adapters.memory import MemoryAdapter
from qtune.broker import Message
from qtune.providers.memory import MemoryQueue


class Subject(ABC):
    """One kind of queue. To let another adapter join the contract, write its subject and name it in SUBJECTS.

    has_groups: hands out by group or by session. outlives_its_maker: another adapter can use the queue later.
    holds_to_locks: a settlement after the lock has run out is refused where the semantics say so; some stand-ins for a
        service do not keep to that.
    """

    name: ClassVar[str]
    has_groups: ClassVar[bool] = False
    outlives_its_maker: ClassVar[bool] = True
    holds_to_locks: ClassVar[bool] = True

    def open(self, folder: Path) -> None:
        """Get ready; ``folder`` may be written to."""
        self.folder = folder

    def close(self) -> None:  # noqa: B027  (most have started nothing)
        """Stop what was started."""

    @abstractmethod
    def adapter(self, *, lock_s: float = 30.0, max_deliveries: int = 3) -> QueueAdapter:
        """A queue that has not been made yet, with a lock so long, and dead letters after so many deliveries."""

    @abstractmethod
    def existing(self, made: QueueAdapter, *, takes_over: bool = False) -> QueueAdapter:
        """An adapter that is told to use the queue of another, which is there."""

    @abstractmethod
    def send_a_foreign_message(self, made: QueueAdapter) -> None:
        """Send what no adapter would."""


class Memory(Subject):
    """The queue in memory alone, which ends with its process."""

    name = "memory"
    outlives_its_maker = False

    def adapter(self, *, lock_s: float = 30.0, max_deliveries: int = 3) -> MemoryAdapter:
        """In memory alone."""
        return MemoryAdapter(queue=MemoryQueue(lock_duration_s=lock_s, max_delivery_count=max_deliveries))

    def existing(self, made: QueueAdapter, *, takes_over: bool = False) -> MemoryAdapter:
        """The file that a queue has left, as after the end of its process."""
        assert isinstance(made, MemoryAdapter)
        made.stop()
        return MemoryAdapter(queue=made.queue, existing=str(made.file), takes_over=takes_over)

    def send_a_foreign_message(self, made: QueueAdapter) -> None:
        """As a program does that uses the broker by itself."""
        assert isinstance(made, MemoryAdapter)
        made.door.send([Message(body=b"foreign")])


class MemoryWithFile(Memory):
    """The same with its messages on disk."""

    name = "memory-file"
    outlives_its_maker = True

    def adapter(self, *, lock_s: float = 30.0, max_deliveries: int = 3) -> MemoryAdapter:
        """With a file for its messages."""
        settings = MemoryQueue(lock_duration_s=lock_s, max_delivery_count=max_deliveries, persistence_s=0.001)
        return MemoryAdapter(queue=settings)


SUBJECTS: tuple[type[Subject], ...] = (Memory, MemoryWithFile)
