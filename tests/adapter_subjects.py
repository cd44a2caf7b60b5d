"""The queues that the contract of adapters is held against: how each is made, and what it does not do."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import boto3
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from qtune.adapters.base import QueueAdapter, Receiver
from qtune.adapters.memory import MemoryAdapter
from qtune.adapters.servicebus import ServiceBusAdapter
from qtune.adapters.sqs import SqsAdapter
from qtune.broker import Message
from qtune.consumer import Consumers
from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.emulators.sqs import SqsEmulator
from qtune.providers.base import ReceiveBehaviour
from qtune.providers.memory import MemoryQueue
from qtune.providers.servicebus import SERVICEBUS, ServiceBusQueue
from qtune.providers.sqs import SqsQueue


class Subject(ABC):
    """One kind of queue. To let another adapter join the contract, write its subject and name it in SUBJECTS.

    has_groups: hands out by group or by session. outlives_its_maker: another adapter can use the queue later.
    is_slow: its tests run with the slow ones.
    holds_to_locks: a settlement after the lock has run out is refused where the semantics say so; some stand-ins for a
        service do not keep to that.
    hands_out_once: two receives at the same time never get the same message; stand-ins without a lock between their
        threads do not promise that.
    """

    name: ClassVar[str]
    has_groups: ClassVar[bool] = False
    outlives_its_maker: ClassVar[bool] = True
    is_slow: ClassVar[bool] = False
    holds_to_locks: ClassVar[bool] = True
    hands_out_once: ClassVar[bool] = True

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


class ServiceBus(Subject):
    """A queue of an emulated namespace, over azure-servicebus."""

    name = "servicebus"
    requires_session: ClassVar[bool] = False

    def open(self, folder: Path) -> None:
        """Start the namespace."""
        super().open(folder)
        self.emulator = ServiceBusEmulator().start()

    def close(self) -> None:
        """Stop it."""
        self.emulator.stop()

    def adapter(self, *, lock_s: float = 30.0, max_deliveries: int = 3) -> ServiceBusAdapter:
        """Of a client that does not try again, since no test waits for that."""
        settings = ServiceBusQueue(
            tier="premium",
            lock_duration_s=lock_s,
            max_delivery_count=max_deliveries,
            requires_session=self.requires_session,
        )
        return ServiceBusAdapter(queue=settings, emulator=f"127.0.0.1:{self.emulator.port}", max_attempts=1)

    def existing(self, made: QueueAdapter, *, takes_over: bool = False) -> ServiceBusAdapter:
        """By its name."""
        assert isinstance(made, ServiceBusAdapter)
        return replace(made, existing=made.used_name, takes_over=takes_over)

    def send_a_foreign_message(self, made: QueueAdapter) -> None:
        """As a program does that uses the SDK by itself."""
        with (
            ServiceBusClient.from_connection_string(self.emulator.connection_string) as client,
            client.get_queue_sender(made.used_name) as sender,
        ):
            sender.send_messages(ServiceBusMessage("foreign", session_id="s"))


class ServiceBusOverlapping(ServiceBus):
    """The same with settlements that overlap, over the SDK's client for asyncio."""

    name = "servicebus-overlapping"
    is_slow = True

    def adapter(self, *, lock_s: float = 30.0, max_deliveries: int = 3) -> Overlapping:
        """With receivers of that kind."""
        made = super().adapter(lock_s=lock_s, max_deliveries=max_deliveries)
        return Overlapping(queue=made.queue, emulator=made.emulator, max_attempts=1)


@dataclass(frozen=True, kw_only=True)
class Overlapping(ServiceBusAdapter):
    """An adapter whose plain receivers settle concurrently."""

    def receiver(self, behaviour: ReceiveBehaviour | None = None) -> Receiver:
        """As for a scenario with ``settle: concurrent``."""
        concurrent = SERVICEBUS.behaviour(self.queue, Consumers(workers=1, settle="concurrent"))
        return super().receiver(behaviour or concurrent)


class ServiceBusSessions(ServiceBus):
    """The same with sessions."""

    name = "servicebus-sessions"
    has_groups = True
    is_slow = True
    requires_session = True


class Sqs(Subject):
    """A standard queue of a server that answers like SQS; neither of the two keeps to a lock that has run out."""

    name = "sqs-standard"
    holds_to_locks = False
    type: ClassVar[Literal["standard", "fifo"]] = "standard"

    def open(self, folder: Path) -> None:
        """Start ministack, and have credentials and a region that it takes."""
        super().open(folder)
        self.before = dict(os.environ)
        os.environ.update(
            AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any", AWS_DEFAULT_REGION="us-east-1"
        )
        self.start()

    def start(self) -> None:
        """The server."""
        self.emulator = SqsEmulator().start()
        self.endpoint_url = self.emulator.endpoint_url

    def stop(self) -> None:
        """The server."""
        self.emulator.close()

    def close(self) -> None:
        """End it, and leave the environment as it was."""
        self.stop()
        os.environ.clear()
        os.environ.update(self.before)

    def adapter(self, *, lock_s: float = 30.0, max_deliveries: int = 3) -> SqsAdapter:
        """With a redrive policy."""
        queue = SqsQueue(type=self.type, visibility_timeout_s=lock_s, max_receive_count=max_deliveries)
        return SqsAdapter(queue=queue, endpoint_url=self.endpoint_url)

    def existing(self, made: QueueAdapter, *, takes_over: bool = False) -> SqsAdapter:
        """By its name."""
        assert isinstance(made, SqsAdapter)
        return SqsAdapter(
            queue=made.queue, endpoint_url=self.endpoint_url, existing=made.used_name, takes_over=takes_over
        )

    def send_a_foreign_message(self, made: QueueAdapter) -> None:
        """Without the attribute that has the number."""
        client = boto3.client("sqs", endpoint_url=self.endpoint_url)
        url = client.get_queue_url(QueueName=made.used_name)["QueueUrl"]
        fifo = {"MessageGroupId": "g", "MessageDeduplicationId": "1"} if self.type == "fifo" else {}
        client.send_message(QueueUrl=url, MessageBody="foreign", **fifo)
        client.close()


class SqsFifo(Sqs):
    """A FIFO queue of the same server."""

    name = "sqs-fifo"
    type = "fifo"
    has_groups = True


class Moto(Sqs):
    """A standard queue of moto, which has other habits: an adapter must not lean on those of one server."""

    name = "moto-standard"
    is_slow = True
    hands_out_once = False

    def start(self) -> None:
        """On a thread of this process; moto is loaded only where it is needed, because that takes a while."""
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.endpoint_url = f"http://127.0.0.1:{self.server.get_host_and_port()[1]}"

    def stop(self) -> None:
        """The thread."""
        self.server.stop()


class MotoFifo(Moto):
    """A FIFO queue of moto."""

    name = "moto-fifo"
    type = "fifo"
    has_groups = True


SUBJECTS: tuple[type[Subject], ...] = (
    Memory,
    MemoryWithFile,
    Sqs,
    SqsFifo,
    Moto,
    MotoFifo,
    ServiceBus,
    ServiceBusOverlapping,
    ServiceBusSessions,
)
