"""A queue on disk: what it keeps, and that killing its process loses and doubles nothing."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from broker_hands import HandClock, Hands, poll, polled, semantics

from qtune.broker import Broker, DeadLetter, Message, Store
from qtune.errors import BrokerDown, InputError

TESTS = Path(__file__).resolve().parent.parent


def opened(file: Path, clock: HandClock | None = None, **fields: object) -> Broker:
    """The queue of a file."""
    return Broker(semantics(**fields), clock=clock or HandClock(), store=Store(file), name="orders")


def close(broker: Broker) -> None:
    """As the end of its process does."""
    assert broker._store is not None
    broker._store.close()


def test_a_queue_goes_on_where_it_ended(tmp_path: Path) -> None:
    """All there is to know of a message is kept, and numbers go on."""
    file = tmp_path / "queue"
    broker = opened(file, max_deliveries=9)
    broker.send(Message(body=b"\x00\xff", group="g", properties=b"p"))
    broker.send(Message(body=b"2"))
    broker.send(Message(body=b"3", visible_s=50.0, expires_s=90.0))
    broker.send(Message(body=b"4"))
    first, second = poll(broker, 2)
    broker.settle(first.token, "abandoned")
    broker.settle(second.token, "completed")
    close(broker)
    clock = HandClock(now_s=20.0)
    broker = opened(file, clock, max_deliveries=9)
    kept = broker.peek(1, 10)
    assert [(m.number, m.body, m.group, m.properties, m.deliveries, m.state) for m in kept] == [
        (1, b"\x00\xff", "g", b"p", 1, "ready"),
        (3, b"3", None, None, 0, "scheduled"),
        (4, b"4", None, None, 0, "ready"),
    ]
    assert (kept[1].visible_s, kept[1].expires_s, kept[0].enqueued_s) == (50.0, 90.0, 0.0)
    clock.go_to(50.0, broker)
    assert polled(broker, 9) == [1, 4, 3]
    assert broker.send(Message(body=b"5")) == 5
    close(broker)


def test_numbers_go_on_when_the_queue_was_emptied(tmp_path: Path) -> None:
    """A number is never used twice, even when no message is left."""
    broker = opened(tmp_path / "queue")
    broker.send(Message(body=b""))
    broker.settle(poll(broker)[0].token, "completed")
    close(broker)
    broker = opened(tmp_path / "queue")
    assert broker.send(Message(body=b"")) == 2
    close(broker)


def test_what_was_locked_is_ready_again_and_its_delivery_counts(tmp_path: Path) -> None:
    """One that has had all its deliveries is a dead letter then; a released delivery did not count."""
    file = tmp_path / "queue"
    broker = opened(file, max_deliveries=2)
    for _ in range(3):
        broker.send(Message(body=b""))
    one, two, three = poll(broker, 3)
    broker.settle(one.token, "abandoned")
    broker.settle(three.token, "released")
    [again] = [delivery for delivery in poll(broker, 2) if delivery.message.number == 1]
    assert again.delivery_no == 2
    assert two.delivery_no == 1
    close(broker)
    broker = opened(file, max_deliveries=2)
    assert [(d.message.number, d.delivery_no) for d in poll(broker, 9)] == [(2, 2), (3, 2)]
    assert broker.counts().dead_lettered == 1
    close(broker)
    broker = opened(file, max_deliveries=2)
    assert broker.counts().dead_lettered == 3
    close(broker)


def test_messages_set_aside_dead_letters_and_states_of_sessions_are_kept(tmp_path: Path) -> None:
    """Each is where it was, with its reason."""
    file = tmp_path / "queue"
    broker = opened(file, hands_out="by session")
    for _ in range(3):
        broker.send(Message(body=b"", group="a"))
    hands = Hands()
    broker.accept_session(hands)
    broker.grant(hands, 3)
    broker.settle(hands.got[0].token, "deferred")
    broker.settle(hands.got[1].token, "dead_lettered", reason="poison", description="for a reason")
    broker.set_session_state("a", b"page 3")
    broker.set_session_state("b", b"gone")
    broker.set_session_state("b", None)
    letters = broker.dead_letters
    letters.settle(poll(letters)[0].token, "abandoned")
    close(broker)
    broker = opened(file, hands_out="by session")
    counts = broker.counts()
    assert (counts.ready, counts.deferred, counts.dead_lettered) == (1, 1, 1)
    assert (broker.session_state("a"), broker.session_state("b")) == (b"page 3", None)
    [letter] = poll(broker.dead_letters)
    assert letter.message.dead_letter == DeadLetter(reason="poison", description="for a reason")
    assert letter.delivery_no == 3
    close(broker)


def test_what_outlives_its_time_is_gone_from_the_file(tmp_path: Path) -> None:
    """Also when that time was over before the queue was opened again."""
    clock = HandClock()
    broker = opened(tmp_path / "queue", clock, retention_s=5.0)
    broker.send(Message(body=b""))
    clock.now_s = 3.0
    broker.send(Message(body=b""))
    clock.now_s = 5.0
    broker.advance()
    close(broker)
    clock.now_s = 100.0
    broker = opened(tmp_path / "queue", clock, retention_s=5.0)
    assert len(broker.peek(1, 9)) == 0
    close(broker)
    store = Store(tmp_path / "queue")
    assert list(store.load(0)) == []
    store.close()


def test_a_batch_is_one_transaction(tmp_path: Path) -> None:
    """Until the call ends none of it is on disk, and then all of it."""
    broker = opened(tmp_path / "queue")
    assert broker._store is not None
    with broker.one_call():
        for _ in range(3):
            broker.send(Message(body=b""))
        assert list(broker._store.load(0)) == []
    assert len(list(broker._store.load(0))) == 3
    close(broker)


def test_properties_of_a_kind_that_is_not_kept_are_refused(tmp_path: Path) -> None:
    """The queue is as it was before."""
    broker = opened(tmp_path / "queue")
    with pytest.raises(InputError, match="encode them"):
        broker.send(Message(body=b"", properties={"a": 1}))
    assert broker.send(Message(body=b"")) == 1
    close(broker)


def test_a_file_that_cannot_be_written_to_is_a_failure_of_the_broker(tmp_path: Path) -> None:
    """A call that could not be kept does not end as if it had been."""
    broker = opened(tmp_path / "queue")
    close(broker)
    with pytest.raises(BrokerDown, match="cannot write"):
        broker.send(Message(body=b""))


def test_a_file_of_another_version_is_not_touched(tmp_path: Path) -> None:
    """It is refused with both versions."""
    import sqlite3

    file = sqlite3.connect(tmp_path / "queue")
    file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(InputError, match="version 7"):
        Store(tmp_path / "queue")


class Life:
    """What the lives of one queue's processes have said they did."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.said: dict[str, Counter[str]] = {kind: Counter() for kind in ("s", "S", "R", "c", "C", "ready")}

    def live(self, name: str, killed_after_s: float) -> None:
        """One process, from its start to its death by SIGKILL."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
        process = subprocess.Popen(
            [sys.executable, TESTS / "broker_worker.py", self.file, name],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        time.sleep(killed_after_s)
        process.kill()
        lines, complaint = (first + process.stdout.read()).decode(), process.stderr.read().decode()
        assert process.wait() == -9, complaint
        process.stdout.close()
        process.stderr.close()
        for line in lines.splitlines():
            kind, said = line.split(" ", 1)
            self.said[kind][said] += 1

    def check(self) -> tuple[int, int]:
        """Nothing acknowledged is lost and nothing settled is doubled; how many were sent and completed."""
        broker = opened(self.file, lock_s=60.0)
        left = {message.body.decode(): message for message in broker.peek(1, 10**6)}
        assert len(left) == broker.counts().ready
        close(broker)
        sent, completed = set(self.said["S"]), set(self.said["C"])
        lost = sent - set(left) - set(self.said["c"])
        doubled = (completed & set(left)) | {name for name, times in self.said["C"].items() if times > 1}
        invented = set(left) - set(self.said["s"])
        forgotten = {name for name, message in left.items() if message.deliveries < self.said["R"][name]}
        assert (lost, doubled, invented, forgotten) == (set(), set(), set(), set())
        return len(sent), len(completed)


def lives(file: Path, count: int, seed: int) -> None:
    """So many processes one after the other, each killed at a random point; checked after each."""
    chance, life = random.Random(seed), Life(file)
    for number in range(count):
        life.live(f"{seed}.{number}", killed_after_s=chance.uniform(0.0, 0.4))
        life.check()
    sent, completed = life.check()
    assert sent > completed > 0
    assert life.said["ready"].total() == count


def test_killing_the_process_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """SIGKILL at random points: what was acknowledged is there, what was settled is not, deliveries are counted."""
    lives(tmp_path / "queue", count=6, seed=1)


@pytest.mark.slow
def test_killing_the_process_many_times_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The same over many lives of one queue."""
    lives(tmp_path / "queue", count=60, seed=2)


def test_never_is_kept_as_never(tmp_path: Path) -> None:
    """A message without an end has none after a restart."""
    broker = opened(tmp_path / "queue")
    broker.send(Message(body=b""))
    close(broker)
    broker = opened(tmp_path / "queue")
    [message] = broker.peek()
    assert (message.expires_s, message.visible_s) == (math.inf, -math.inf)
    close(broker)
