"""What azure-servicebus sees of an emulated namespace is what it sees of the service."""

from __future__ import annotations

import asyncio
import datetime
import time
import uuid
from collections.abc import Iterator
from typing import Any

import azure.servicebus
import pytest
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusReceiver,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient as AioClient
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessagingEntityNotFoundError,
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from qtune.emulators.servicebus import ServiceBusEmulator

NEWEST = tuple(int(part) for part in azure.servicebus.__version__.split(".")[:2]) >= (7, 15)
"""From 7.15 on the SDK waits for settlements, and gives its buffer back when it closes."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[ServiceBusEmulator]:
    """One namespace for all tests; each has a queue of its own."""
    with ServiceBusEmulator(settings={"lock_duration": 30}) as running:
        yield running


@pytest.fixture(scope="module")
def client(emulator: ServiceBusEmulator) -> Iterator[ServiceBusClient]:
    """A client that fails at once instead of trying again."""
    with ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as connected:
        yield connected


def make(emulator: ServiceBusEmulator, **settings: object) -> str:
    """A new queue; its name."""
    name = f"q{uuid.uuid4().hex[:8]}"
    emulator.create(name, **settings)
    return name


def send(client: ServiceBusClient, queue: str, *messages: ServiceBusMessage | str) -> None:
    """Send messages in one batch."""
    with client.get_queue_sender(queue) as sender:
        sender.send_messages(
            [m if isinstance(m, ServiceBusMessage) else ServiceBusMessage(m) for m in messages]
        )


def receive(
    receiver: ServiceBusReceiver, most: int = 1, wait_s: float = 2.0
) -> list[ServiceBusReceivedMessage]:
    """One receive."""
    found: list[ServiceBusReceivedMessage] = receiver.receive_messages(
        max_message_count=most, max_wait_time=wait_s
    )
    return found


def counted(emulator: ServiceBusEmulator, queue: str) -> dict[str, int]:
    """The counters of a queue."""
    found: dict[str, int] = emulator.counters()["queues"][queue]
    return found


def test_a_message_arrives_with_all_that_was_said_about_it(
    emulator: ServiceBusEmulator, client: ServiceBusClient
) -> None:
    """Body, ids, properties and annotations come through, and what the broker adds is there."""
    queue = make(emulator, lock_duration=30)
    properties: dict[str | bytes, Any] = {"a": 1, "b": "two", "c": True}
    send(
        client,
        queue,
        ServiceBusMessage("hello", message_id="m1", application_properties=properties, subject="x"),
    )
    with client.get_queue_receiver(queue) as receiver:
        (message,) = receive(receiver)
        assert (str(message), message.message_id, message.subject) == ("hello", "m1", "x")
        assert message.application_properties == {b"a": 1, b"b": b"two", b"c": True}
        assert (message.sequence_number, message.delivery_count) == (1, 0)
        assert message.enqueued_time_utc is not None
        assert message.locked_until_utc is not None
        left = message.locked_until_utc - message.enqueued_time_utc
        assert datetime.timedelta(seconds=30) <= left < datetime.timedelta(seconds=60)
        assert isinstance(message.lock_token, uuid.UUID)
        time.sleep(0.01)
        assert receiver.renew_message_lock(message) > message.enqueued_time_utc + left
        receiver.complete_message(message)
        assert receive(receiver, wait_s=0.3) == []
    assert counted(emulator, queue)["completed"] == 1


def test_batches_are_unpacked_and_large_messages_put_together(
    emulator: ServiceBusEmulator, client: ServiceBusClient
) -> None:
    """Each message of a batch is one of the queue; a message of many frames is the same when it comes back."""
    queue = make(emulator)
    large = bytes(range(256)) * 1_200
    with client.get_queue_sender(queue) as sender:
        batch = sender.create_message_batch()
        assert batch.max_size_in_bytes >= 262_144
        for number in range(5):
            batch.add_message(ServiceBusMessage(f"b{number}"))
        sender.send_messages(batch)
        sender.send_messages(ServiceBusMessage(large))
    with client.get_queue_receiver(queue) as receiver:
        found = receive(receiver, most=6)
        assert [str(message) for message in found[:5]] == [f"b{number}" for number in range(5)]
        assert b"".join(found[5].body) == large


def test_each_settlement_does_what_it_says(emulator: ServiceBusEmulator, client: ServiceBusClient) -> None:
    """Abandoned messages come back counted, deferred ones by their number, and dead letters with their reason."""
    queue = make(emulator)
    send(client, queue, "a", "b")
    with client.get_queue_receiver(queue) as receiver:
        first, second = receive(receiver, most=2)
        receiver.abandon_message(first)
        (again,) = receive(receiver)
        assert (str(again), again.delivery_count) == ("a", 1)
        receiver.dead_letter_message(again, reason="why", error_description="because")
        receiver.defer_message(second)
        assert receive(receiver, wait_s=0.3) == []
        assert [str(message) for message in receiver.peek_messages(10)] == ["b"]
        assert second.sequence_number is not None
        (deferred,) = receiver.receive_deferred_messages([second.sequence_number])
        assert str(deferred) == "b"
        if NEWEST:  # older ones get no lock token for it, and cannot settle it
            receiver.complete_message(deferred)
    with client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (dead,) = receive(receiver)
        assert (dead.dead_letter_reason, dead.dead_letter_error_description) == ("why", "because")
        assert dead.dead_letter_source == queue
        receiver.complete_message(dead)
    counters = counted(emulator, queue)
    assert (counters["abandoned"], counters["deferred"], counters["dead_lettered"]) == (1, 1, 1)
    assert counters["completed"] == int(NEWEST)


def test_too_many_deliveries_make_a_dead_letter(
    emulator: ServiceBusEmulator, client: ServiceBusClient
) -> None:
    """A message that is abandoned as often as the queue allows goes to the dead letters, with the service's reason."""
    queue = make(emulator, max_delivery_count=3)
    send(client, queue, "poison")
    with client.get_queue_receiver(queue) as receiver:
        for delivery in range(3):
            (message,) = receive(receiver)
            assert message.delivery_count == delivery
            receiver.abandon_message(message)
        assert receive(receiver, wait_s=0.3) == []
    with client.get_queue_receiver(queue, sub_queue="deadletter") as receiver:
        (dead,) = receive(receiver)
        assert dead.dead_letter_reason == "MaxDeliveryCountExceeded"


def test_a_lock_that_runs_out_is_lost_and_its_message_comes_back(
    emulator: ServiceBusEmulator, client: ServiceBusClient
) -> None:
    """The delivery counts, its settlement is refused by the SDK and by the broker, and renewal keeps a lock."""
    queue = make(emulator, lock_duration=2)
    send(client, queue, "slow")
    with client.get_queue_receiver(queue) as receiver, AutoLockRenewer() as renewer:
        (late,) = receive(receiver)
        received_s = time.monotonic()
        (again,) = receive(receiver, wait_s=10.0)
        assert time.monotonic() - received_s > 1.5
        assert again.delivery_count == 1
        renewer.register(receiver, again, max_lock_renewal_duration=20)
        with pytest.raises(MessageLockLostError):
            receiver.complete_message(late)
        if NEWEST:  # older ones do not wait for the answer
            with pytest.raises(Exception, match="lock supplied is invalid"):
                receiver._settle_message(late, "complete")  # past the SDK's own look at the clock
        time.sleep(2.5)
        receiver.complete_message(again)
    counters = counted(emulator, queue)
    assert (counters["expired"], counters["completed"]) == (1, 1)
    assert counters["renewed"] >= 1


def test_prefetched_messages_are_those_of_the_credit(
    emulator: ServiceBusEmulator, client: ServiceBusClient
) -> None:
    """A prefetch of 9 holds 10 messages; from 7.15 on, closing gives those in the buffer back, uncounted."""
    queue = make(emulator)
    send(client, queue, *(str(number) for number in range(20)))
    with client.get_queue_receiver(queue, prefetch_count=9) as receiver:
        assert len(receive(receiver)) == 1
        assert counted(emulator, queue)["now_locked"] == 10
    if NEWEST:
        with client.get_queue_receiver(queue) as receiver:
            found = receive(receiver, most=19)
            assert len(found) == 19
            assert {message.delivery_count for message in found} == {0}
        assert counted(emulator, queue)["released"] == 9


def test_receive_and_delete_leaves_nothing(emulator: ServiceBusEmulator, client: ServiceBusClient) -> None:
    """A receiver in that mode completes what it is given by being given it."""
    queue = make(emulator)
    send(client, queue, "a", "b", "c")
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    with client.get_queue_receiver(queue, receive_mode=mode) as receiver:
        assert [str(message) for message in receive(receiver, most=3)] == ["a", "b", "c"]
    assert counted(emulator, queue)["completed"] == 3


def test_scheduled_messages_come_at_their_time(
    emulator: ServiceBusEmulator, client: ServiceBusClient
) -> None:
    """A scheduled message is not handed out before its time; a waiting receive gets it then."""
    queue = make(emulator)
    with client.get_queue_sender(queue) as sender, client.get_queue_receiver(queue) as receiver:
        due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1.5)
        (number,) = sender.schedule_messages(ServiceBusMessage("later"), due)
        (message,) = receive(receiver, wait_s=10.0)
        assert (str(message), message.sequence_number) == ("later", number)
        assert datetime.datetime.now(datetime.UTC) >= due - datetime.timedelta(milliseconds=2)


def test_a_message_may_outlive_itself(emulator: ServiceBusEmulator, client: ServiceBusClient) -> None:
    """A message whose time to live has passed is not handed out any more."""
    queue = make(emulator)
    send(client, queue, ServiceBusMessage("short", time_to_live=datetime.timedelta(seconds=1)), "long")
    time.sleep(1.1)
    with client.get_queue_receiver(queue) as receiver:
        assert [str(message) for message in receive(receiver, most=2, wait_s=1.0)] == ["long"]
    assert counted(emulator, queue)["outlived"] == 1


def test_each_session_has_one_receiver(emulator: ServiceBusEmulator, client: ServiceBusClient) -> None:
    """Receivers take different sessions, each in its order; a third finds none, and a named one is locked."""
    queue = make(emulator, requires_session=True)
    send(client, queue, *(ServiceBusMessage(f"{s}{n}", session_id=s) for s in "AB" for n in range(3)))
    next_one: Any = NEXT_AVAILABLE_SESSION
    with (
        client.get_queue_receiver(queue, session_id=next_one, max_wait_time=3) as one,
        client.get_queue_receiver(queue, session_id=next_one, max_wait_time=3) as other,
    ):
        assert (one.session.session_id, other.session.session_id) == ("A", "B")
        found = receive(one, most=3)
        assert [str(message) for message in found] == ["A0", "A1", "A2"]
        one.session.set_state("so far")
        assert one.session.get_state() == b"so far"
        before = one.session.locked_until_utc
        time.sleep(0.01)
        assert one.session.renew_lock() > before
        for message in found:
            one.complete_message(message)
        with pytest.raises(OperationTimeoutError):
            client.get_queue_receiver(queue, session_id=next_one, max_wait_time=0.5).__enter__()
        with pytest.raises(SessionCannotBeLockedError):
            client.get_queue_receiver(queue, session_id="B").__enter__()
        assert len(receive(other, most=2)) == 2
    with client.get_queue_receiver(queue, session_id=next_one, max_wait_time=3) as again:
        found = receive(again, most=3)
        assert [(str(message), message.delivery_count) for message in found] == [
            ("B0", 0),
            ("B1", 0),
            ("B2", 0),
        ]


def test_a_session_lock_that_runs_out_is_lost(emulator: ServiceBusEmulator, client: ServiceBusClient) -> None:
    """The holder is told, and the messages that it had in hand come back counted."""
    queue = make(emulator, requires_session=True, lock_duration=1)
    send(client, queue, ServiceBusMessage("s", session_id="S"))
    with client.get_queue_receiver(queue, session_id="S") as receiver:
        (message,) = receive(receiver)
        time.sleep(1.3)
        with pytest.raises(SessionLockLostError):
            receiver.complete_message(message)
    with client.get_queue_receiver(queue, session_id="S") as receiver:
        (message,) = receive(receiver)
        assert message.delivery_count == 1


def test_what_does_not_fit_the_queue_is_refused_in_words(
    emulator: ServiceBusEmulator, client: ServiceBusClient
) -> None:
    """A queue with sessions takes no message without one and no receiver without one; an unknown queue is not found."""
    queue = make(emulator, requires_session=True)
    with pytest.raises(ServiceBusError, match="SessionId was not set"):
        send(client, queue, "none")
    with pytest.raises(ServiceBusError, match="requires sessions"):
        client.get_queue_receiver(queue).__enter__()
    with pytest.raises((MessagingEntityNotFoundError, ServiceBusError), match="could not be found"):
        client.get_queue_sender("$nothing").__enter__()


def test_the_clients_of_asyncio_are_served_alike(emulator: ServiceBusEmulator) -> None:
    """The SDK's other half receives, settles at the same time on one link, and holds sessions."""
    queue, sessions = make(emulator), make(emulator, requires_session=True)

    async def talk() -> None:
        async with AioClient.from_connection_string(emulator.connection_string) as client:
            async with client.get_queue_sender(queue) as sender:
                await sender.send_messages([ServiceBusMessage(str(number)) for number in range(20)])
            async with client.get_queue_receiver(queue, prefetch_count=5) as receiver:
                found: list[ServiceBusReceivedMessage] = []
                while len(found) < 20:
                    batch = await receiver.receive_messages(max_message_count=5, max_wait_time=2)
                    found += batch
                    await asyncio.gather(*(receiver.complete_message(message) for message in batch))
            async with client.get_queue_sender(sessions) as sender:
                await sender.send_messages(ServiceBusMessage("z", session_id="Z"))
            async with client.get_queue_receiver(sessions, session_id="Z") as receiver:
                (message,) = await receiver.receive_messages(max_wait_time=2)
                await receiver.session.renew_lock()
                await receiver.complete_message(message)

    asyncio.run(talk())
    assert counted(emulator, queue)["completed"] == 20
    assert counted(emulator, sessions)["completed"] == 1
