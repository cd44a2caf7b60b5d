"""What every adapter promises, held against each of them on a real queue."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from adapter_subjects import Subject

from qtune.adapters.base import Outgoing, QueueAdapter, Received, Receiver
from qtune.errors import InputError, ProviderFailure

Queues = Any  # of conftest.py, which tests cannot import

LONG_S = 20.0
"""More than any test waits."""


def outgoing(*numbers: int, group: str | None = "g") -> list[Outgoing]:
    """Messages whose bodies are their numbers."""
    return [Outgoing(number=number, body=str(number).encode(), group=group) for number in numbers]


def send(queue: QueueAdapter, *messages: Outgoing) -> None:
    """All in one call, which succeeds."""
    sender = queue.sender()
    assert sender.send(messages) == (True,) * len(messages)
    sender.close()


def receive(receiver: Receiver, count: int, wait_s: float = LONG_S) -> list[Received]:
    """So many messages, with as many calls as that takes; fewer when nothing more comes in time."""
    received: list[Received] = []
    end_s = time.monotonic() + wait_s
    while len(received) < count and time.monotonic() < end_s:
        received += receiver.receive(count - len(received), 1.0)
    return received


def test_what_is_sent_is_received_with_its_number_body_and_group(queue: QueueAdapter) -> None:
    """Any bytes come back as they were, with the number in the run; it is their first delivery."""
    bodies = [b"plain text", bytes(range(256)), "größer & <kleiner>".encode(), b"q" * 60_000]
    groups = ["one", "one", "two", "three"]
    send(
        queue,
        *(
            Outgoing(number=7 + place, body=body, group=group)
            for place, (body, group) in enumerate(zip(bodies, groups, strict=True))
        ),
    )
    receiver = queue.receiver()
    by_number: dict[int, Received] = {}
    end_s = time.monotonic() + LONG_S
    while (
        len(by_number) < 4 and time.monotonic() < end_s
    ):  # by session the next one comes after the one in hand
        received = receiver.receive(4, LONG_S)
        by_number |= {each.number: each for each in received}
        assert receiver.complete(received) == (True,) * len(received)
    assert [by_number[7 + place].body for place in range(4)] == bodies
    assert {received.delivery_no for received in by_number.values()} <= {1, None}
    if queue.semantics.hands_out != "by age":
        assert [by_number[7 + place].group for place in range(4)] == groups
    receiver.close()


def test_a_batch_goes_in_one_call_and_comes_in_few(queue: QueueAdapter) -> None:
    """Ten messages are one send, and a receive brings no more than it was asked for."""
    send(queue, *outgoing(*range(10)))
    receiver = queue.receiver()
    first = receiver.receive(3, LONG_S)
    assert 1 <= len(first) <= 3
    received = first + receive(receiver, 10 - len(first), 3.0)
    if queue.semantics.hands_out == "by age":
        assert sorted(each.number for each in received) == list(range(10))
    assert receiver.complete(received) == (True,) * len(received)
    receiver.close()


def test_a_receive_that_finds_nothing_waits_and_brings_nothing(queue: QueueAdapter) -> None:
    """With no wait it answers at once, and otherwise not before its time."""
    receiver = queue.receiver()
    assert receiver.receive(1, 0.0) == []
    start_s = time.monotonic()
    assert receiver.receive(1, 1.0) == []
    assert time.monotonic() - start_s >= 0.9
    receiver.close()


def test_a_receive_that_waits_gets_what_comes_meanwhile(queue: QueueAdapter) -> None:
    """It need not be asked again."""
    receiver = queue.receiver()
    got: list[Received] = []
    waiting = threading.Thread(target=lambda: got.extend(receiver.receive(1, LONG_S)))
    waiting.start()
    time.sleep(0.3)
    send(queue, *outgoing(1))
    waiting.join()
    assert [received.number for received in got] == [1]
    receiver.complete(got)
    receiver.close()


def test_what_is_received_is_locked_for_others(queue: QueueAdapter) -> None:
    """A second receiver does not see it, and the depth says where it is."""
    send(queue, *outgoing(1))
    first, second = queue.receiver(), queue.receiver()
    [received] = receive(first, 1)
    assert received.lock_end_s is None or received.lock_end_s > time.time()
    if queue.semantics.hands_out != "by session":  # where a receiver waits for a session
        assert second.receive(1, 0.0) == []
    depth = queue.depth()
    assert depth.ready in (0, None)
    assert depth.in_flight in (1, None)
    first.complete([received])
    assert queue.depth().in_flight in (0, None)
    first.close()
    second.close()


def test_a_lock_that_runs_out_brings_the_message_back(queues: Queues) -> None:
    """It comes again as its second delivery, and can be completed then; a session that is closed counts none."""
    queue = queues.make(lock_s=1.0)
    send(queue, *outgoing(1))
    receiver = queue.receiver()
    receive(receiver, 1)
    receiver.close()
    receiver = queue.receiver()
    [again] = receive(receiver, 1)
    assert again.number == 1
    assert again.delivery_no in (1 if queue.semantics.hands_out == "by session" else 2, None)
    assert receiver.complete([again]) == (True,)
    receiver.close()


@pytest.mark.only_where("holds_to_locks")
def test_a_settlement_after_the_lock_has_run_out_says_so(queues: Queues) -> None:
    """Of two deliveries settled together, the late one is told from the one in time."""
    queue = queues.make(lock_s=1.0)
    send(queue, *outgoing(1, group="one"))
    receiver = queue.receiver()
    [late] = receive(receiver, 1)
    time.sleep(1.2)
    [in_time] = receive(receiver, 1)
    late_too = queue.semantics.accepts_late
    assert receiver.complete([late, in_time]) == (late_too, not late_too)
    if not late_too:
        assert receiver.renew(late) is None
    receiver.close()


def test_a_renewed_lock_lasts_longer(queues: Queues) -> None:
    """A message that is renewed again and again does not come back, and is completed in the end."""
    queue = queues.make(lock_s=2.0)
    send(queue, *outgoing(1))
    receiver, other = queue.receiver(), queue.receiver()
    [received] = receive(receiver, 1)
    for _ in range(3):
        time.sleep(1.0)
        assert receiver.renew(received) is not None
        if queue.semantics.hands_out != "by session":
            assert other.receive(1, 0.0) == []
    assert receiver.complete([received]) == (True,)
    receiver.close()
    other.close()


def test_an_abandoned_message_comes_again_at_once(queue: QueueAdapter) -> None:
    """Long before its lock would have ended, and counted."""
    send(queue, *outgoing(1))
    receiver = queue.receiver()
    [received] = receive(receiver, 1)
    assert receiver.abandon([received]) == (True,)
    [again] = receive(receiver, 1)
    assert again.delivery_no in (2, None)
    receiver.complete([again])
    receiver.close()


def test_a_message_can_be_sent_to_the_dead_letters(queue: QueueAdapter) -> None:
    """It is not received again, and counted there; what was not is not."""
    send(queue, *outgoing(1, 2))
    receiver = queue.receiver()
    one, two = sorted(receive(receiver, 2), key=lambda received: received.number)
    assert receiver.dead_letter([one], "cannot be read") == (True,)
    assert receiver.complete([two]) == (True,)
    depth = queue.depth()
    assert depth.dead_lettered in (1, None)
    assert receiver.receive(1, 0.0) == []
    receiver.close()


def test_after_too_many_deliveries_a_message_is_dead(queues: Queues) -> None:
    """With two deliveries at most it does not come a third time."""
    queue = queues.make(max_deliveries=2)
    send(queue, *outgoing(1))
    receiver = queue.receiver()
    for _ in range(2):
        receiver.abandon(receive(receiver, 1))
    assert receive(receiver, 1, 1.5) == []
    assert queue.depth().dead_lettered in (1, None)
    receiver.close()


@pytest.mark.only_where("has_groups")
def test_the_messages_of_a_group_come_in_order_one_lot_after_the_other(queues: Queues) -> None:
    """While one of a group is in hand the rest of it is closed to others, and in the end each came once, in order."""
    queue = queues.make()
    numbers = {"one": [0, 2, 4, 6], "two": [1, 3, 5, 7]}
    group_of = {number: group for group, its in numbers.items() for number in its}
    send(queue, *(Outgoing(number=n, body=b"x", group=group_of[n]) for n in range(8)))
    receiver = queue.receiver()
    seen: dict[str, list[int]] = {"one": [], "two": []}
    end_s = time.monotonic() + LONG_S
    while sum(map(len, seen.values())) < 8 and time.monotonic() < end_s:
        received = receiver.receive(2, 1.0)
        for each in received:
            seen[str(each.group)].append(each.number)
        receiver.complete(received)
    receiver.close()
    assert seen == numbers


@pytest.mark.only_where("outlives_its_maker")
def test_a_queue_that_holds_messages_is_not_touched_unless_told_to(subject: Subject, queues: Queues) -> None:
    """It is refused with the number of its messages, and emptied only on request."""
    made = queues.make()
    send(made, *outgoing(1, 2))
    refused = subject.existing(made)
    with pytest.raises(InputError, match="holds 2 messages"):
        refused.create()
    allowed = subject.existing(made, takes_over=True)
    queues.made.append(allowed)
    allowed.create()
    assert allowed.depth().ready in (0, None)
    assert allowed.receiver().receive(1, 0.0) == []


@pytest.mark.only_where("outlives_its_maker")
def test_an_existing_queue_is_left_as_it_was_found(subject: Subject, queues: Queues) -> None:
    """What the run has sent and not received is taken out again, and the queue stays."""
    made = queues.make()
    used = subject.existing(made)
    used.create()
    send(used, *outgoing(1, 2))
    used.remove()
    again = subject.existing(made)
    queues.made.append(again)
    again.create()
    assert again.depth().ready in (0, None)


def test_a_message_that_the_run_did_not_send_is_an_error(subject: Subject, queue: QueueAdapter) -> None:
    """A run that others send to measures nothing, and is told so."""
    subject.send_a_foreign_message(queue)
    receiver = queue.receiver()
    with pytest.raises(ProviderFailure, match="did not send"):
        receive(receiver, 1)
    receiver.close()


def test_a_queue_can_be_removed_twice_and_is_gone(queues: Queues) -> None:
    """Removing what is not there does nothing, and a send to it fails as a provider's failure."""
    queue = queues.make()
    sender = queue.sender()
    queue.remove()
    queue.remove()
    with pytest.raises(ProviderFailure) as failure:
        sender.send(outgoing(1))
    assert "traceback" not in str(failure.value).lower()
    sender.close()


def test_closing_twice_does_nothing(queue: QueueAdapter) -> None:
    """Connections may be closed again."""
    for connection in (queue.sender(), queue.receiver()):
        connection.close()
        connection.close()


def test_an_adapter_can_be_sent_to_another_process(queue: QueueAdapter) -> None:
    """It holds no connection: its copy is equal to it, and finds the same queue."""
    copy = pickle.loads(pickle.dumps(queue))
    assert copy == queue
    send(copy, *outgoing(1))
    receiver = queue.receiver()
    receiver.complete(receive(receiver, 1))
    receiver.close()


def test_consumers_of_another_process_find_the_queue_unless_it_is_of_one_process(queue: QueueAdapter) -> None:
    """The copy of an adapter works in a process of its own, or says that the queue is not there."""
    send(queue, *outgoing(5))
    code = (
        "import pickle, sys\n"
        "from qtune.errors import ProviderFailure\n"
        "queue = pickle.loads(sys.stdin.buffer.read())\n"
        "try:\n"
        "    receiver = queue.receiver()\n"
        "    received = receiver.receive(1, 20.0)\n"
        "    print([each.number for each in received], receiver.complete(received))\n"
        "except ProviderFailure as failure: print(type(failure).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(queue),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },  # a subject may have an adapter of its own
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == ("BrokerDown" if queue.in_process else "[5] (True,)")


def test_versions_are_texts(queue: QueueAdapter) -> None:
    """A result says with which SDK it was measured."""
    assert all(isinstance(text, str) and text for pair in queue.versions().items() for text in pair)


@pytest.mark.only_where("hands_out_once")
def test_many_threads_share_a_queue_and_lose_and_double_nothing(queue: QueueAdapter) -> None:
    """Four senders and four receivers at once: each message is completed once."""
    count = 80
    completed: list[int] = []
    stop = threading.Event()

    def produce(first: int) -> None:
        sender = queue.sender()
        for number in range(first, count, 4):
            assert sender.send(outgoing(number, group=f"g{number % 5}")) == (True,)
        sender.close()

    def consume() -> None:
        receiver = queue.receiver()
        while not stop.is_set():
            received = receiver.receive(2, 1.0)
            held = receiver.complete(received)
            completed.extend(each.number for each, still in zip(received, held, strict=True) if still)
        receiver.close()

    threads = [threading.Thread(target=produce, args=(first,)) for first in range(4)]
    consumers = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads + consumers:
        thread.start()
    end_s = time.monotonic() + LONG_S
    while len(completed) < count and time.monotonic() < end_s:
        time.sleep(0.05)
    stop.set()
    for thread in threads + consumers:
        thread.join()
    assert sorted(completed) == list(range(count))
