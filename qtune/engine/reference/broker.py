"""The broker: what is ready, who asks, which locks run, and when a message leaves for good."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from qtune.engine import streams
from qtune.engine.plan import BY_AGE, BY_FAIRNESS, BY_GROUP, BY_SESSION
from qtune.engine.reference.clock import Slot, earliest
from qtune.engine.reference.delays import Delays
from qtune.engine.reference.fairness import ByFairness
from qtune.engine.reference.limits import Limits
from qtune.engine.reference.lines import ByAge, ByGroup, Line
from qtune.engine.reference.sessions import BySession
from qtune.engine.slots import slots_of
from qtune.result import (
    CALL_FAILED,
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    DELIVERY_RELEASED,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    MESSAGE_EXPIRED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
    MESSAGE_REJECTED,
)

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model
    from qtune.engine.reference.receivers import Receiver
    from qtune.engine.reference.source import Sender

Steps = Generator[Any, Any, None]

_LINES: Final[dict[int, type[Line]]] = {
    BY_AGE: ByAge,
    BY_GROUP: ByGroup,
    BY_SESSION: BySession,
    BY_FAIRNESS: ByFairness,
}


class Broker:
    """One queue with its dead-letter rule.

    A message is delayed, ready, locked by one delivery, or gone. ``demand`` holds the receivers that wait, longest
    first: a polling receiver leaves it when it is served, a link goes back to the end as long as it has credit.
    ``line`` knows the order in which what is ready is handed out. While ``held``, a rate limit holds it all up.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.plan, self.clock = model, model.plan, model.clock
        self.rows = model.rows
        self.line = _LINES[self.plan.hands_out](self)
        self.demand: deque[Receiver] = deque()
        self.door: deque[tuple[deque[int], Sender | None]] = deque()
        self.locks: deque[tuple[float, int]] = deque()
        self.delays = Delays(self) if self.plan.delay_s else None
        self.backlog = self.in_flight = self.stored = 0
        self.limits = Limits(self.plan)
        self.held = False
        self.refill_slot = Slot(self.clock, slots_of(self.plan).refill)
        self.call_slots = [0.0] * self.plan.calls_served_at_once
        self.lock_slot = Slot(self.clock, slots_of(self.plan).locks)
        self.locks_idle = False
        self.clock.process(self.run_out_locks())
        if self.plan.retention_s <= self.plan.horizon_s:
            self.sent: deque[int] = deque()
            self.retention_slot = Slot(self.clock, slots_of(self.plan).retention)
            self.retention_idle = False
            self.clock.process(self.outlive_retention())

    # -- coming in ---------------------------------------------------------------------------------------------

    def enter(self, messages: deque[int], sender: Sender | None = None) -> bool:
        """Take messages in; when the queue is full the others are refused, or wait at the door: False then."""
        plan = self.plan
        while messages:
            if not plan.capacity_messages or self.stored < plan.capacity_messages:
                self.store(messages.popleft())
            elif plan.rejects_when_full:
                self.refuse(messages.popleft())
            else:
                self.door.append((messages, sender))
                return False
        return True

    def refuse(self, message: int) -> None:
        """A message does not get in, and its sender gives it up."""
        row = self.rows.messages[message]
        row.state, row.left_s = MESSAGE_REJECTED, self.clock.now
        self.model.source.unsent -= 1
        self.model.source.leave(message)

    def store(self, message: int) -> None:
        """Keep a message, and make it ready unless it is delayed."""
        self.rows.messages[message].sent_s = self.clock.now
        self.model.source.unsent -= 1
        self.stored += 1
        if self.plan.retention_s <= self.plan.horizon_s:
            self.sent.append(message)
            if self.retention_idle:
                self.retention_slot.hand(None)
        if self.delays is None:
            self.make_ready(message)
            self.line.add(message)
        else:
            self.delays.begin(message)

    def make_ready(self, message: int) -> None:
        """Receivers may have a message; whoever puts it into the line calls :meth:`match` when done."""
        self.rows.messages[message].state = MESSAGE_READY
        self.backlog += 1

    # -- going out ---------------------------------------------------------------------------------------------

    def match(self) -> None:
        """Give what is ready to those who wait for it."""
        self.line.match()

    def next_in_line(self) -> Receiver:
        """Take a receiver out of the line: that which has waited longest, or any by a draw for the next delivery."""
        if not self.plan.serves_any_receiver:
            return self.demand.popleft()
        part = self.model.draws.uniform(streams.HAND_OUT, len(self.rows.deliveries), 0)
        place = int(part * len(self.demand))
        receiver = self.demand[place]
        del self.demand[place]
        return receiver

    def may_hand_out(self) -> bool:
        """Whether a message may go to a receiver now.

        If a rate limit holds it up it goes in the next period, and above the limit in flight when a lock ends.
        """
        if self.is_full_of_locks():
            return False
        if not self.held and (until_s := self.limits.held_until_s(self.clock.now)):
            self.held = True
            self.refill_slot.ring_at(until_s, self.refill)
        return not self.held

    def is_full_of_locks(self) -> bool:
        """Whether as many messages are locked as may be."""
        return 0 < self.plan.in_flight_most <= self.in_flight

    def refill(self) -> None:
        """A limit has credits again or ends, or an outage does."""
        self.held = False
        self.match()

    def hand_out(self, receiver: Receiver, most: int) -> list[int]:
        """Lock what is next for a receiver, at most so many messages; the numbers of the new deliveries."""
        return [self.lock(message, receiver) for message in self.line.take(most)]

    def lock(self, message: int, receiver: Receiver) -> int:
        """Lock a message for a receiver; the number of the new delivery."""
        row = self.rows.messages[message]
        row.state = MESSAGE_LOCKED
        row.deliveries += 1
        self.backlog -= 1
        self.in_flight += 1
        now_s = self.clock.now
        self.limits.charge_received(1, now_s)
        delivery = self.rows.add_delivery(message, row.deliveries, receiver.consumer.number, now_s)
        row.delivery = delivery
        if isinstance(self.line, BySession):
            self.rows.deliveries[delivery].lock_end_s = self.line.lock_end_s[row.group]
        else:
            self.start_lock(delivery, now_s)
        return delivery

    def start_lock(self, delivery: int, now_s: float) -> None:
        """Lock a delivery from now on, for the first time or again."""
        ends_s = now_s + self.plan.lock_s
        self.rows.deliveries[delivery].lock_end_s = ends_s
        self.queue_lock(ends_s, delivery)

    def queue_lock(self, ends_s: float, what: int) -> None:
        """Note when the lock of a delivery ends, or of a session, whose number is -1 - what."""
        self.locks.append((ends_s, what))
        if self.locks_idle:
            self.locks_idle = False
            self.lock_slot.hand(None)

    def holds(self, delivery: int) -> bool:
        """Whether the lock of this delivery still stands."""
        row = self.rows.messages[self.rows.deliveries[delivery].message]
        return row.state == MESSAGE_LOCKED and row.delivery == delivery

    def run_out_locks(self) -> Steps:
        """All locks last equally long, so they run out in the order in which they began."""
        while True:
            while self.locks and not self._live(*self.locks[0]):
                self.locks.popleft()
            if not self.locks:
                self.locks_idle = True
                yield self.lock_slot.idle()
                continue
            ends_s, delivery = self.locks[0]
            yield self.lock_slot.at(ends_s)
            if self._live(ends_s, delivery):
                self.locks.popleft()
                if isinstance(self.line, BySession):
                    self.line.lose(-1 - delivery)
                else:
                    self.in_flight -= 1
                    self.give_back(self.rows.deliveries[delivery].message)
                self.match()

    def _live(self, ends_s: float, delivery: int) -> bool:
        if isinstance(self.line, BySession):
            return self.line.lock_end_s.get(-1 - delivery) == ends_s
        return self.holds(delivery) and self.rows.deliveries[delivery].lock_end_s == ends_s

    # -- settling ----------------------------------------------------------------------------------------------

    def settle(self, delivery: int, succeeded: bool) -> bool:
        """Complete or give back a delivery; False when its lock was lost before and that is held against it."""
        row = self.rows.deliveries[delivery]
        message = self.rows.messages[row.message]
        now_s, was_locked = self.clock.now, message.state == MESSAGE_LOCKED
        if not self.holds(delivery):
            if not (
                succeeded and self.plan.accepts_late and message.state in (MESSAGE_READY, MESSAGE_LOCKED)
            ):
                row.outcome = DELIVERY_LATE if succeeded else DELIVERY_FAILED
                return False
            self.take_away(row.message)
        else:
            row.lock_end_s = now_s
            self.in_flight -= 1
        row.settled_s = now_s
        if succeeded:
            row.outcome = DELIVERY_COMPLETED
            message.delivery = delivery
            message.completed_s, message.settled_s = row.finished_s, now_s
            self.leave(row.message, MESSAGE_COMPLETED)
            if was_locked:
                self.line.ended(row.message)
        else:
            row.outcome = DELIVERY_ABANDONED
            self.give_back(row.message)
        return True

    def take_away(self, message: int) -> None:
        """Take a message from whoever has it: from the ready ones, or out of the lock of another delivery."""
        row = self.rows.messages[message]
        if row.state == MESSAGE_READY:
            self.backlog -= 1
            self.line.withdraw(message)
        else:
            self.rows.deliveries[row.delivery].lock_end_s = self.clock.now
            self.in_flight -= 1

    def release(self, delivery: int) -> bool:
        """Take back a delivery that nobody handled; it is not counted. False when its lock was lost before."""
        row = self.rows.deliveries[delivery]
        row.outcome = DELIVERY_RELEASED
        if not self.holds(delivery):
            return False
        row.lock_end_s = self.clock.now
        self.in_flight -= 1
        self.rows.messages[row.message].deliveries -= 1
        self.give_back(row.message, counted=False)
        return True

    def renew(self, delivery: int) -> bool:
        """Start the lock of a delivery afresh; False when it was lost before."""
        if not self.holds(delivery):
            return False
        self.rows.deliveries[delivery].renewals += 1
        self.start_lock(delivery, self.clock.now)
        return True

    def give_back(self, message: int, counted: bool = True) -> None:
        """A locked message is free again: dead-lettered after too many deliveries, expired, or ready."""
        plan, row = self.plan, self.rows.messages[message]
        row.delivery = -1
        if counted and plan.max_deliveries and row.deliveries >= plan.max_deliveries:
            self.leave(message, MESSAGE_DEAD_LETTERED)
        elif row.sent_s + plan.retention_s <= self.clock.now:
            self.leave(message, MESSAGE_EXPIRED)
        else:
            self.make_ready(message)
            self.line.come_back(message)
        self.line.ended(message)

    def leave(self, message: int, state: int) -> None:
        """A message is gone: its place in the queue and its customer are free."""
        row = self.rows.messages[message]
        row.state, row.left_s = state, self.clock.now
        self.stored -= 1
        self.line.left(message)
        self.model.source.leave(message)
        if self.door:
            waiting, sender = self.door[0]
            self.store(waiting.popleft())
            if waiting:
                return
            self.door.popleft()
            if sender is not None:
                sender.slot.hand(None)

    def outlive_retention(self) -> Steps:
        """Ready messages are deleted when their retention ends; locked ones when they are given back."""
        while True:
            if not self.sent:
                self.retention_idle = True
                yield self.retention_slot.idle()
                self.retention_idle = False
            message = self.sent.popleft()
            row = self.rows.messages[message]
            yield self.retention_slot.at(row.sent_s + self.plan.retention_s)
            if row.state == MESSAGE_READY:
                self.backlog -= 1
                self.line.expire(message)
                self.leave(message, MESSAGE_EXPIRED)
                self.match()

    # -- calls -------------------------------------------------------------------------------------------------

    def ask(self, op: int, count: int, start_s: float) -> int:
        """Whether a call that began then may take effect now, with so many messages: CALL_OK, or why it is refused."""
        if self.model.broke_since(start_s):
            return CALL_FAILED
        return self.limits.ask(op, count, self.clock.now)

    def served_at(self, table_stream: int, stream: int, a: int, b: int) -> float:
        """When a call that reaches a broker with few call slots now has been served."""
        need_s = self.model.draws.value(table_stream, stream, a, b)
        return earliest(self.call_slots, self.clock.now, need_s)
