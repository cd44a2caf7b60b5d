"""Settles and releases on their way to the broker and back, which no worker waits for."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from qtune.engine import streams
from qtune.engine.reference.clients import Tries
from qtune.engine.reference.clock import Slot
from qtune.engine.reference.receivers import Receiver
from qtune.result import (
    CALL_LOCK_LOST,
    CALL_OK,
    DELIVERY_UNSETTLED,
    OP_ABANDON,
    OP_RELEASE,
    OP_SETTLE,
)

if TYPE_CHECKING:
    from qtune.engine.reference.consumer import Consumer
    from qtune.engine.reference.model import Model


class Background:
    """Settles and releases on their way to the broker and back, which no worker waits for."""

    REACHES, CONFIRMED, RELEASED, AGAIN = 0, 1, 2, 3

    def __init__(self, model: Model) -> None:
        self.model = model
        self.slot = Slot(model.clock, model.slots.background)
        self.due: list[tuple[float, int, int]] = []
        self.about: dict[int, tuple[float, float, Tries | None, Receiver]] = {}

    def settle(self, delivery: int, succeeded: bool, receiver: Receiver) -> None:
        """Send a settle on its way; it does not hold up the worker, but it needs the client's core."""
        row = self.model.rows.deliveries[delivery]
        op = OP_SETTLE if succeeded else OP_ABANDON
        self.call(delivery, Tries(receiver.consumer.client, op, row.message, row.delivery_no), receiver)

    def call(self, delivery: int, tries: Tries, receiver: Receiver) -> None:
        """Make the call of a settle, for the first time or again."""
        model, plan = self.model, self.model.plan
        round_trip_s = model.round_trip_s(streams.SETTLE, streams.SETTLE, tries.a, tries.key)
        leaves_s = tries.leaves_s(receiver.consumer.compute(plan.call_cost_s))
        self.about[delivery] = (model.clock.now, 0.5 * round_trip_s, tries, receiver)
        if plan.calls_served_at_once:
            self.put(leaves_s + 0.5 * round_trip_s, delivery, self.REACHES)
        else:
            self.put(leaves_s + round_trip_s, delivery, self.CONFIRMED)

    def release(self, delivery: int, receiver: Receiver, lands_s: float = 0.0) -> None:
        """Send a release on its way, at once or when the delivery lands.

        It is told and not asked for, so no limit counts it.
        """
        model, row = self.model, self.model.rows.deliveries[delivery]
        half_s = 0.5 * model.round_trip_s(streams.SETTLE, streams.RELEASE, row.message, row.delivery_no)
        self.about[delivery] = (model.clock.now, half_s, None, receiver)
        self.put(max(model.clock.now, lands_s) + half_s, delivery, self.RELEASED)

    def put(self, time_s: float, delivery: int, step: int) -> None:
        """Note the next step of a delivery; at equal times the smaller delivery number comes first."""
        heappush(self.due, (time_s, delivery, step))
        if self.due[0][1] == delivery:
            self.slot.ring_at(self.due[0][0], self.act)

    def has_some(self, consumer: Consumer) -> bool:
        """Whether a consumer has a call on its way."""
        return any(step[3].consumer is consumer for step in self.about.values())

    def forget(self, consumer: Consumer) -> None:
        """What a killed consumer has on its way never arrives."""
        lost = [delivery for delivery, step in self.about.items() if step[3].consumer is consumer]
        for delivery in lost:
            del self.about[delivery]

    def act(self) -> None:
        """Do the step that is due."""
        _, delivery, step = heappop(self.due)
        if self.due:
            self.slot.ring_at(self.due[0][0], self.act)
        if delivery not in self.about:  # its consumer was killed
            return
        start_s, half_s, tries, receiver = self.about[delivery]
        if tries is None:
            held = self.model.broker.release(delivery)
            self.answered(delivery, OP_RELEASE, held)
            receiver.consumer.rest()
        elif step == self.REACHES:
            served_s = self.model.broker.served_at(streams.BROKER, streams.BROKER_SETTLE, tries.a, tries.key)
            self.put(served_s + half_s, delivery, self.CONFIRMED)
        elif step == self.AGAIN:
            self.call(delivery, tries, receiver)
        else:
            self.confirmed(delivery, tries, start_s)

    def confirmed(self, delivery: int, tries: Tries, start_s: float) -> None:
        """The answer to a settle is there; when it was refused the client waits, or gives the delivery up."""
        model, receiver = self.model, self.about[delivery][3]
        tries.hang_up(start_s)
        outcome = model.broker.ask(tries.op, 1, start_s)
        tries.note(outcome)
        if outcome == CALL_OK:
            tries.answered()
            held = model.broker.settle(delivery, tries.op == OP_SETTLE)
            if not held:
                receiver.lost_lock()
            self.answered(delivery, tries.op, held)
        else:
            model.rows.add_call(start_s, model.clock.now, receiver.consumer.number, tries.op, 0, outcome)
            wait_s = tries.next_after_s(outcome)
            if wait_s is not None:
                self.put(model.clock.now + wait_s, delivery, self.AGAIN)
                return
            model.rows.deliveries[delivery].outcome = DELIVERY_UNSETTLED
            del self.about[delivery]
        receiver.done(1)
        receiver.look()
        receiver.consumer.rest()

    def answered(self, delivery: int, op: int, held: bool) -> None:
        """The broker has done what a call asked for."""
        model = self.model
        start_s, _, _, receiver = self.about.pop(delivery)
        model.broker.match()
        outcome = CALL_OK if held else CALL_LOCK_LOST
        model.rows.add_call(start_s, model.clock.now, receiver.consumer.number, op, 1, outcome)
