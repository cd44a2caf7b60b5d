"""A process that works on a queue with a file until it is killed, and writes down what it does and what it has done.

A line with a small letter says what will be done, and one with a capital that the call has returned: s and S of a send,
R of a delivery, c and C of a completion.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from broker_hands import Hands, semantics

from qtune.broker import Broker, Message, Store


def note(kind: str, *names: str) -> None:
    """To the pipe at once, so that it is there when this process is killed."""
    os.write(1, "".join(f"{kind} {name}\n" for name in names).encode())


def work(file: Path, life: str) -> None:
    """Send and complete in random order and in batches, for ever."""
    broker = Broker(semantics(lock_s=60.0), clock=time.time, store=Store(file))
    chance = random.Random(life)
    sent = 0
    held = []
    note("ready", life)
    while True:
        time.sleep(chance.uniform(0.0, 0.02))  # so that a kill may come between two calls as well as in one
        count = chance.randint(1, 3)
        if chance.random() < 0.55:
            names = [f"{life}.{sent + place}" for place in range(count)]
            sent += count
            note("s", *names)
            with broker.one_call():
                for name in names:
                    broker.send(Message(body=name.encode()))
            note("S", *names)
            continue
        hands = Hands(credit=count)
        broker.poll(hands, waits=False)
        note("R", *(delivery.message.body.decode() for delivery in hands.got))
        held += hands.got
        done = [held.pop(chance.randrange(len(held))) for _ in range(min(len(held), chance.randint(0, 3)))]
        names = [delivery.message.body.decode() for delivery in done]
        note("c", *names)
        with broker.one_call():
            for delivery in done:
                broker.settle(delivery.token, "completed")
        note("C", *names)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
