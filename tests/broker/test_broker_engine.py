"""The real broker beside the simulated one: in random runs of the reference engine both do the same at every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from broker_hands import Hands
from engine_random import any_plan, by_chance

from qtune.broker import Broker, Delivery, Message
from qtune.engine.plan import BY_FAIRNESS, BY_GROUP, BY_SESSION, Plan
from qtune.engine.reference import Model
from qtune.engine.reference import broker as simulated
from qtune.engine.reference import model as model_of_engine
from qtune.errors import LockLost
from qtune.providers.base import DeliverySemantics
from qtune.result import MESSAGE_COMPLETED, MESSAGE_DEAD_LETTERED, MESSAGE_EXPIRED


def semantics_of(plan: Plan) -> DeliverySemantics:
    """What a plan says of the broker, without sessions."""
    return DeliverySemantics(
        lock_s=plan.lock_s,
        max_deliveries=plan.max_deliveries,
        retention_s=plan.retention_s,
        capacity_messages=plan.capacity_messages,
        rejects_when_full=bool(plan.rejects_when_full),
        redelivers_first=bool(plan.redelivers_first),
        accepts_late=bool(plan.accepts_late),
        in_flight_most=plan.in_flight_most,
        hands_out="by group" if plan.hands_out == BY_GROUP else "by age",
    )


class Beside(simulated.Broker):
    """The engine's broker, which makes every call that it gets of a real one too, and compares the answers.

    What the engine hands out to whoever waited is a receive of just so many messages here, at the same instant.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.real = Broker(semantics_of(self.plan), clock=lambda: self.clock.now)
        self.message_of: dict[int, int] = {}
        self.ours: dict[int, Delivery] = {}
        self.compared = Counter[str]()

    def store(self, message: int) -> None:
        """A send."""
        super().store(message)
        group = str(self.rows.messages[message].group)
        self.message_of[self.real.send(Message(body=b"", group=group))] = message

    def hand_out(self, receiver: Any, most: int) -> list[int]:
        """A receive."""
        deliveries = super().hand_out(receiver, most)
        if deliveries:
            hands = Hands(credit=len(deliveries))
            self.real.poll(hands, waits=False)
            rows = [self.rows.deliveries[delivery] for delivery in deliveries]
            ours = [
                (self.message_of[got.message.number], got.delivery_no, got.lock_end_s) for got in hands.got
            ]
            assert ours == [
                (row.message, self.rows.messages[row.message].deliveries, row.lock_end_s) for row in rows
            ]
            self.ours.update(zip(deliveries, hands.got, strict=True))
            self.compared["deliveries"] += len(deliveries)
        return deliveries

    def settle(self, delivery: int, succeeded: bool) -> bool:
        """A completion, or an abandon."""
        outcome = "completed" if succeeded else "abandoned"
        ours = self.has_lock(lambda token: self.real.settle(token, outcome), delivery)  # type: ignore[arg-type]
        held = super().settle(delivery, succeeded)
        assert ours == held
        self.compared[outcome if held else "lost"] += 1
        return held

    def release(self, delivery: int) -> bool:
        """A release."""
        ours = self.has_lock(lambda token: self.real.settle(token, "released"), delivery)
        held = super().release(delivery)
        assert ours == held
        self.compared["released"] += 1
        return held

    def renew(self, delivery: int) -> bool:
        """A renewal."""
        ours = self.has_lock(self.real.renew, delivery)
        held = super().renew(delivery)
        assert ours == held
        self.compared["renewed"] += held
        return held

    def leave(self, message: int, state: int) -> None:
        """What has outlived its retention goes in both, at this point of its instant."""
        if state == MESSAGE_EXPIRED:
            number = next(number for number, its in self.message_of.items() if its == message)
            self.until(lambda: number not in self.real._messages)
        super().leave(message, state)

    def until(self, is_done: Callable[[], bool]) -> None:
        """Let fall due what does at this instant, one after the other as in the engine, until this is done.

        By itself the real broker does all that is due before it hands anything out, so that a door that looks late, as
        after a freeze of its process, hands out nothing that has outlived its time meanwhile.
        """
        self.real._now_s = self.clock.now
        while not is_done():
            assert self.real._deadlines.next_s() <= self.clock.now
            self.real._fall_due(*self.real._deadlines.take())

    def has_lock(self, call: Callable[[bytes], object], delivery: int) -> bool:
        """Whether a call finds the delivery's lock."""
        try:
            call(self.ours[delivery].token)
        except LockLost:
            return False
        return True

    def _live(self, ends_s: float, delivery: int) -> bool:
        """A lock that runs out does so in both, at this point of its instant."""
        if not super()._live(ends_s, delivery):
            return False
        if self.clock.now >= ends_s:
            token = self.ours[delivery].token
            self.until(lambda: token not in self.real._locks)
            self.compared["run out"] += 1
        return True


def run_beside(seed: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """One random run; how much was compared in it. The real broker delays nothing, and looks for groups everywhere."""
    plan = replace(any_plan(*by_chance(seed)), delay_s=0.0, group_window=0)
    if plan.hands_out in (BY_SESSION, BY_FAIRNESS):
        return Counter()
    monkeypatch.setattr(model_of_engine, "Broker", Beside)
    model = Model(plan)
    model.run()
    broker = model.broker
    assert isinstance(broker, Beside)
    broker.real.advance()
    states = Counter(row.state for row in broker.rows.messages)
    counters, counts = broker.real.counters, broker.real.counts()
    assert counters.completed == states[MESSAGE_COMPLETED]
    assert counters.dead_lettered == states[MESSAGE_DEAD_LETTERED]
    assert counters.outlived == states[MESSAGE_EXPIRED]
    assert (counts.ready, counts.locked) == (broker.backlog, broker.in_flight)
    return broker.compared + Counter(dead=counters.dead_lettered, outlived=counters.outlived)


def test_the_real_broker_does_what_the_simulated_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over random plans the same is given, lost, kept and dead at the same calls, to the bit of each lock."""
    compared = Counter[str]()
    for seed in range(200):
        compared += run_beside(seed, monkeypatch)
    wanted = (
        "deliveries",
        "completed",
        "abandoned",
        "released",
        "renewed",
        "lost",
        "run out",
        "dead",
        "outlived",
    )
    assert all(compared[what] >= 20 for what in wanted), compared
