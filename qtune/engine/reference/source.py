"""Where messages come from: the open-loop schedule or the customers of a closed loop, and the senders between."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtune.engine import streams
from qtune.engine.load import due_instants
from qtune.engine.plan import DRAWN_GROUPS, GIVEN_GROUPS, OWN_GROUPS
from qtune.engine.reference.clients import Tries
from qtune.engine.reference.clock import Slot
from qtune.engine.slots import slots_of
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
        self.gathered = False
        self.gather_slot = Slot(self.clock, self.slots.gathering)
        if self.plan.customers:
            self.customers = [Customer(self, number) for number in range(self.plan.customers)]
        else:
            self.clock.process(self.run())

    def run(self) -> Steps:
        """The open loop: messages fall due when they must, whatever happens to the others."""
        slot = Slot(self.clock, self.slots.arrivals)
        for due_s in due_instants(self.plan):
            yield slot.at(due_s)
            self.arrive()

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
            self.model.broker.enter(deque((message,)))
            self.model.broker.match()
        else:
            self.queue.append(message)
            self.serve_idle_senders()
        return message

    # -- what waits for a sender -------------------------------------------------------------------------------

    def is_worth_a_call(self) -> bool:
        """Whether a sender takes what waits now, or lets more messages join first."""
        if not self.queue:
            return False
        late = (
            self.clock.now >= self.lingers_until_s()
            if self.gathered
            else self.clock.now > self.lingers_until_s()
        )
        return len(self.queue) >= self.wanted() or late or not self.plan.send_linger_s

    def wanted(self) -> int:
        """How many messages the next call takes if there are as many."""
        most, least = self.plan.send_batch, self.plan.send_batch_from
        if most == least:
            return most
        part = self.model.draws.uniform(streams.SEND_BATCH, self.queue[0], 0)
        return least + int(part * (most - least + 1))

    def lingers_until_s(self) -> float:
        """When the oldest message that waits goes, with others or without."""
        return self.model.rows.messages[self.queue[0]].due_s + self.plan.send_linger_s

    def take(self) -> deque[int]:
        """The messages of the next call."""
        return deque(self.queue.popleft() for _ in range(min(self.wanted(), len(self.queue))))

    def serve_idle_senders(self) -> None:
        """Let idle senders take what waits, or look again when the oldest message has lingered."""
        while self.idle_senders and self.is_worth_a_call():
            self.idle_senders.pop().slot.hand(self.take())
        if self.idle_senders and self.queue:
            self.gather_slot.ring_at(self.lingers_until_s(), self.end_lingering)

    def end_lingering(self) -> None:
        """The oldest message has waited long enough for others: it goes with those that are there."""
        self.gathered = True
        self.serve_idle_senders()
        self.gathered = False

    # -- a message is gone -------------------------------------------------------------------------------------

    def leave(self, message: int) -> None:
        """A message is gone: the customer who waited for it thinks again."""
        if self.plan.customers:
            self.customer_of.pop(message).slot.hand(None)


class Sender:
    """Sends messages, one batch after the other, each with one call."""

    def __init__(self, source: Source, number: int) -> None:
        self.source, self.number = source, number
        self.slot = Slot(source.clock, source.slots.senders + number)
        self.client = source.model.clients[source.plan.consumers + number // source.plan.senders_each]
        source.clock.process(self.run())

    def run(self) -> Steps:
        """Take what has waited longest and send it; entries that fail go again in a call of their own."""
        source = self.source
        while True:
            if source.is_worth_a_call():
                entries = source.take()
                source.serve_idle_senders()
            else:
                source.idle_senders.append(self)
                source.serve_idle_senders()
                entries = yield self.slot.idle()
            first, rounds = entries[0], 0
            while entries:
                entries = yield from self.send(entries, Tries(self.client, OP_SEND, first, rounds))
                rounds += 1

    def send(self, entries: deque[int], tries: Tries) -> Generator[Any, Any, deque[int]]:
        """Call until the broker takes the batch or the client gives up; the entries that failed."""
        model, clock = self.source.model, self.source.clock
        broker = model.broker
        while True:
            start_s = clock.now
            half_s = yield from self.reach_broker(tries)
            outcome = broker.ask(OP_SEND, len(entries), start_s)
            if outcome == CALL_OK:
                break
            yield self.slot.at(clock.now + half_s)
            tries.hang_up(start_s)
            tries.note(outcome)
            model.rows.add_call(start_s, clock.now, self.number, OP_SEND, 0, outcome)
            wait_s = tries.next_after_s(outcome)
            if wait_s is None:
                for message in entries:
                    broker.refuse(message)
                return deque()
            yield self.slot.at(clock.now + wait_s)
        tries.answered()
        failed, taken = self.sorted_out(entries, tries.b)
        count = len(taken)
        entered = broker.enter(taken, self)
        broker.match()
        if not entered:
            yield self.slot.idle()
        yield self.slot.at(clock.now + half_s)
        tries.hang_up(start_s)
        tries.note(CALL_OK)
        model.rows.add_call(start_s, clock.now, self.number, OP_SEND, count, CALL_OK)
        return failed

    def reach_broker(self, tries: Tries) -> Generator[Any, Any, float]:
        """The way of one send to the broker, and the broker's work; the way back takes as long as the way there."""
        model, clock = self.source.model, self.source.clock
        half_s = 0.5 * model.round_trip_s(streams.SEND, streams.SEND, tries.a, tries.key)
        yield self.slot.at(tries.leaves_s(clock.now) + half_s)
        if model.plan.calls_served_at_once:
            yield self.slot.at(
                model.broker.served_at(streams.BROKER, streams.BROKER_SEND, tries.a, tries.key)
            )
        return half_s

    def sorted_out(self, entries: deque[int], rounds: int) -> tuple[deque[int], deque[int]]:
        """The entries that fail and those that the broker takes, by a draw for each entry."""
        steps, draws = self.source.plan.entry_fail_steps, self.source.model.draws
        fails = [draws.happens(streams.ENTRY, message, rounds, steps) for message in entries]
        failed = (message for message, fail in zip(entries, fails, strict=True) if fail)
        taken = (message for message, fail in zip(entries, fails, strict=True) if not fail)
        return deque(failed), deque(taken)


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
