"""Where messages come from: the open-loop schedule or the customers of a closed loop, and the senders between."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterator
from math import inf
from typing import TYPE_CHECKING, Any

from qtune.engine import streams
from qtune.engine.plan import DRAWN_GROUPS, GIVEN_GROUPS, OWN_GROUPS, slots_of
from qtune.engine.reference.clients import Tries
from qtune.engine.reference.clock import Slot
from qtune.result import CALL_OK, OP_SEND

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model

Steps = Generator[Any, Any, None]


class Source:
    """Makes messages fall due, and brings them to the broker: at once, or through senders when there are any."""

    def __init__(self, model: Model) -> None:
        self.model, self.plan, self.clock = model, model.plan, model.clock
        self.slots = slots_of(self.plan)
        self.unsent = 0
        self.group_ends: list[float] = self.plan.group_ends.tolist()
        self.customer_of: dict[int, Customer] = {}
        self.queue: deque[int] = deque()
        self.senders = [Sender(self, number) for number in range(self.plan.senders)]
        self.idle_senders: list[Sender] = []
        if self.plan.customers:
            self.customers = [Customer(self, number) for number in range(self.plan.customers)]
        else:
            self.clock.process(self.run())

    def run(self) -> Steps:
        """The open loop: messages fall due when they must, whatever happens to the others."""
        slot = Slot(self.clock, self.slots.arrivals)
        for due_s in self.schedule():
            yield slot.at(due_s)
            self.arrive()

    def schedule(self) -> Iterator[float]:
        """The due instants: the trace's own, or a unit-rate renewal process mapped through the rate's integral."""
        plan = self.plan
        if plan.explicit:
            yield from plan.due_s.tolist()
            return
        gap = self.model.draws.value
        start_s, rate_per_s = plan.segment_start_s.tolist(), plan.segment_rate_per_s.tolist()
        segment, segment_area, area, message = 0, 0.0, 0.0, 0
        while not plan.messages_most or message < plan.messages_most:
            area = area + gap(streams.GAP, streams.GAP, message, 0)
            while segment + 1 < len(start_s):
                next_area = segment_area + rate_per_s[segment] * (start_s[segment + 1] - start_s[segment])
                if area <= next_area:
                    break
                segment, segment_area = segment + 1, next_area
            rate = rate_per_s[segment]
            yield start_s[segment] + (area - segment_area) / rate if rate > 0.0 else inf
            message += 1

    def group_of(self, message: int) -> int:
        """The group to which a message belongs; -1: to none."""
        plan = self.plan
        if plan.grouping == DRAWN_GROUPS:
            return bisect_right(self.group_ends, self.model.draws.uniform(streams.GROUP, message, 0))
        if plan.grouping == GIVEN_GROUPS:
            return int(plan.group_of[message])
        return message if plan.grouping == OWN_GROUPS else -1

    def arrive(self) -> int:
        """A message falls due now."""
        message = self.model.rows.add_message(self.clock.now, self.group_of(len(self.model.rows.messages)))
        self.unsent += 1
        if not self.senders:
            self.model.broker.enter(message)
            self.model.broker.match()
        elif self.idle_senders:
            self.idle_senders.pop().slot.hand(message)
        else:
            self.queue.append(message)
        return message

    def leave(self, message: int) -> None:
        """A message is gone: the customer who waited for it thinks again."""
        if self.plan.customers:
            self.customer_of.pop(message).slot.hand(None)


class Sender:
    """Sends one message after the other, each with one call."""

    def __init__(self, source: Source, number: int) -> None:
        self.source, self.number = source, number
        self.slot = Slot(source.clock, source.slots.senders + number)
        self.client = source.model.clients[source.plan.consumers + number // source.plan.senders_each]
        source.clock.process(self.run())

    def run(self) -> Steps:
        """Take the message that has waited longest, and send it."""
        source = self.source
        while True:
            if source.queue:
                message = source.queue.popleft()
            else:
                source.idle_senders.append(self)
                message = yield self.slot.idle()
            yield from self.send(message)

    def send(self, message: int) -> Steps:
        """Call until the broker takes the message or the client gives up, and note each call when it is answered."""
        model, clock = self.source.model, self.source.clock
        broker, tries = model.broker, Tries(self.client, OP_SEND, message, 0)
        while True:
            start_s = clock.now
            round_trip_s = model.round_trip_s(streams.SEND, streams.SEND, message, tries.key)
            if model.plan.calls_served_at_once:
                yield self.slot.at(clock.now + 0.5 * round_trip_s)
                served_s = broker.served_at(streams.BROKER, streams.BROKER_SEND, message, tries.key)
                yield self.slot.at(served_s + 0.5 * round_trip_s)
            else:
                yield self.slot.at(clock.now + round_trip_s)
            outcome = broker.ask(OP_SEND, 1)
            if outcome == CALL_OK:
                break
            model.rows.add_call(start_s, clock.now, self.number, OP_SEND, 0, outcome)
            wait_s = tries.next_after_s(outcome)
            if wait_s is None:
                broker.refuse(message)
                return
            yield self.slot.at(clock.now + wait_s)
        tries.answered()
        if broker.enter(message, self):
            broker.match()
        else:
            yield self.slot.idle()
        model.rows.add_call(start_s, clock.now, self.number, OP_SEND, 1, CALL_OK)


class Customer:
    """One customer of the closed loop: thinks, has a message fall due, and waits until it is gone."""

    def __init__(self, source: Source, number: int) -> None:
        self.source, self.number = source, number
        self.slot = Slot(source.clock, source.slots.customers + number)
        source.clock.process(self.run())

    def run(self) -> Steps:
        """Think for a while drawn by (customer, round), then send; a message that is refused ends the wait too."""
        source = self.source
        thought = 0
        while True:
            think_s = source.model.draws.value(streams.THINK, streams.THINK, self.number, thought)
            yield self.slot.at(source.clock.now + think_s)
            thought += 1
            waiting = self.slot.idle()
            self.source.customer_of[len(source.model.rows.messages)] = self
            source.arrive()
            yield waiting
