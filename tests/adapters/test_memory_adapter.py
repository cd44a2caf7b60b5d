"""The queue in memory: its room, its end, and its file."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qtune.adapters.base import Outgoing
from qtune.adapters.memory import MemoryAdapter
from qtune.errors import BrokerDown, InputError, QueueFull
from qtune.providers.memory import MemoryQueue


def outgoing(*numbers: int) -> list[Outgoing]:
    """Empty messages."""
    return [Outgoing(number=number, body=b"") for number in numbers]


def started(target: Callable[..., object], *args: object) -> threading.Thread:
    """A thread that runs."""
    thread = threading.Thread(target=target, args=args)
    thread.start()
    return thread


def test_a_full_queue_refuses_what_has_no_room() -> None:
    """Of a batch those that fit get in; when none does, the call fails."""
    queue = MemoryAdapter(queue=MemoryQueue(max_queue_size=3, when_full="reject"))
    queue.create()
    sender = queue.sender()
    assert sender.send(outgoing(0, 1, 2, 3)) == (True, True, True, False)
    with pytest.raises(QueueFull, match="full"):
        sender.send(outgoing(4))
    queue.remove()


def test_a_send_waits_for_room() -> None:
    """It goes on when messages have been completed, and its messages come behind those before it."""
    queue = MemoryAdapter(queue=MemoryQueue(max_queue_size=2))
    queue.create()
    sender, receiver = queue.sender(), queue.receiver()
    answers: list[tuple[bool, ...]] = []
    sender.send(outgoing(0, 1))
    waiting = started(lambda: answers.append(sender.send(outgoing(2, 3))))
    time.sleep(0.1)
    assert answers == []
    seen = []
    while len(seen) < 4:
        received = receiver.receive(1, 10.0)
        receiver.complete(received)
        seen += [each.number for each in received]
    waiting.join()
    assert answers == [(True, True)]
    assert seen == [0, 1, 2, 3]
    queue.remove()


def test_room_comes_too_when_messages_outlive_their_time() -> None:
    """Nobody need call the queue for that."""
    queue = MemoryAdapter(queue=MemoryQueue(max_queue_size=1, message_ttl_s=0.3))
    queue.create()
    sender = queue.sender()
    assert sender.send(outgoing(0)) == sender.send(outgoing(1)) == (True,)
    queue.remove()


def fails(failures: list[BrokerDown], call: Callable[..., object], *args: object) -> None:
    """Make a call that ends with an error."""
    with pytest.raises(BrokerDown) as failure:
        call(*args)
    failures.append(failure.value)


def test_who_waits_is_told_when_the_queue_ends() -> None:
    """A receive and a send that wait end with an error, and not at their deadlines."""
    queue = MemoryAdapter(queue=MemoryQueue(max_queue_size=1))
    queue.create()
    sender, receiver = queue.sender(), queue.receiver()
    sender.send(outgoing(0))
    [_] = receiver.receive(1, 0.0)
    failures: list[BrokerDown] = []
    threads = [
        started(fails, failures, receiver.receive, 1, 3600.0),
        started(fails, failures, sender.send, outgoing(1)),
    ]
    time.sleep(0.2)
    queue.remove()
    for thread in threads:
        thread.join()
    assert len(failures) == 2


def test_an_interrupted_send_takes_its_messages_back() -> None:
    """What waited for room does not get in after its sender has given up."""
    queue = MemoryAdapter(queue=MemoryQueue(max_queue_size=1))
    queue.create()
    sender, receiver = queue.sender(), queue.receiver()
    sender.send(outgoing(0))
    waiting = started(fails, [], sender.send, outgoing(1))
    time.sleep(0.1)
    door = queue.door
    queue.stop()
    waiting.join()
    assert door.broker.counts().ready == 1
    assert not door.broker._door
    with pytest.raises(BrokerDown):
        receiver.receive(1, 0.0)


def test_a_name_is_used_once_in_a_process() -> None:
    """A second queue of that name is an error, and the first is untouched."""
    queue = MemoryAdapter()
    queue.create()
    queue.sender().send(outgoing(0))
    with pytest.raises(InputError, match="has a queue of that name"):
        queue.create()
    assert queue.depth().ready == 1
    queue.remove()


def test_a_queue_with_persistence_goes_on_from_its_file() -> None:
    """What was sent is there after a stop, what was completed is not, and removal leaves no file."""
    queue = MemoryAdapter(queue=MemoryQueue(persistence_s=0.001))
    queue.create()
    queue.sender().send(outgoing(0, 1, 2))
    receiver = queue.receiver()
    done, _, _ = receiver.receive(3, 0.0)
    receiver.complete([done])
    queue.stop()
    queue.create()
    received = queue.receiver().receive(3, 0.0)
    assert [(each.number, each.delivery_no) for each in received] == [(1, 2), (2, 2)]
    file = queue.file
    queue.remove()
    assert file is not None
    assert not list(file.parent.glob(f"{file.name}*"))


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 40, None])
def test_a_file_that_cannot_be_used_is_an_error_that_says_so(tmp_path: Path, content: bytes | None) -> None:
    """A file of something else, or a folder that is not there, is bad input."""
    file = tmp_path / ("queue.sqlite" if content else "nowhere/queue.sqlite")
    if content:
        file.write_bytes(content)
    with pytest.raises(InputError, match="cannot be used"):
        MemoryAdapter(existing=str(file)).create()


def test_a_file_is_of_one_process_at_a_time(tmp_path: Path) -> None:
    """A second queue on the same file is refused while the first is open."""
    first = MemoryAdapter(existing=str(tmp_path / "queue.sqlite"))
    first.create()
    with pytest.raises(InputError, match="end the process that has it open"):
        MemoryAdapter(existing=f"{tmp_path}/./queue.sqlite").create()
    first.remove()


def test_a_forked_process_is_told_that_it_has_only_a_copy() -> None:
    """What it would send there nobody would ever receive."""
    code = (
        "import os\n"
        "from qtune.adapters.memory import MemoryAdapter\n"
        "from qtune.errors import BrokerDown\n"
        "queue = MemoryAdapter()\n"
        "queue.create()\n"
        "if (child := os.fork()) == 0:\n"
        "    try: queue.sender()\n"
        "    except BrokerDown: os._exit(7)\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "queue.remove()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"7\n"
