"""A second broker, written to be obviously right: lists that are searched from the front, and time in whole seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from qtune.providers.base import DeliverySemantics


@dataclass
class Held:
    """A message in the model."""

    number: int
    group: str
    visible_s: float
    expires_s: float
    state: str = "ready"
    deliveries: int = 0
    lock_end_s: float = math.inf
    lock_order: int = 0
    has_returned: bool = False


@dataclass
class Model:
    """What the broker should do; ``given`` has (receiver, number, delivery) of every hand-out so far."""

    rules: DeliverySemantics
    now_s: float = 0.0
    sent: int = 0
    locks_started: int = 0
    messages: dict[int, Held] = field(default_factory=dict)
    line: list[int] = field(default_factory=list)
    waiting: list[tuple[int, int]] = field(default_factory=list)
    given: list[tuple[int, int, int]] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    outlived: list[int] = field(default_factory=list)
    completed: list[int] = field(default_factory=list)
    lapsed: set[tuple[int, int]] = field(default_factory=set)

    def send(self, group: str, delay_s: float) -> bool:
        """False: there is no room."""
        if self.rules.capacity_messages and len(self.messages) >= self.rules.capacity_messages:
            return False
        self.sent += 1
        starts_s = self.now_s + delay_s
        held = Held(self.sent, group, starts_s, starts_s + self.rules.retention_s)
        self.messages[held.number] = held
        if delay_s > 0:
            held.state = "scheduled"
        else:
            self.line.append(held.number)
        self.hand_out()
        return True

    def poll(self, receiver: int, most: int, waits: bool) -> None:
        """A receive, which is over now unless it waits."""
        self.waiting.append((receiver, most))
        self.hand_out()
        if not waits:
            self.waiting = [entry for entry in self.waiting if entry[0] != receiver]

    def settle(self, number: int, delivery: int, outcome: str) -> bool:
        """False: the lock is lost."""
        held = self.messages.get(number)
        has_lock = held is not None and held.state == "locked" and (number, delivery) not in self.lapsed
        if held is None or not (has_lock and held.deliveries == delivery):
            if held is None or outcome != "completed" or (number, delivery) not in self.lapsed:
                return False
            if not self.rules.accepts_late:
                return False
        if outcome == "completed":
            self.completed.append(number)
            del self.messages[number]
            self.line = [other for other in self.line if other != number]
        elif outcome == "dead_lettered":
            self.dead.append(number)
            del self.messages[number]
        else:
            self.comes_back(held, counted=outcome == "abandoned")
        self.hand_out()
        return True

    def renew(self, number: int, delivery: int) -> bool:
        """False: the lock is lost."""
        held = self.messages.get(number)
        if held is None or held.state != "locked" or held.deliveries != delivery:
            return False
        self.start_lock(held)
        return True

    def start_lock(self, held: Held) -> None:
        """From now on; a lock that is renewed in the instant of its start keeps its place among those that end then."""
        end_s = self.now_s + self.rules.lock_s
        if held.lock_end_s != end_s:
            self.locks_started += 1
            held.lock_end_s, held.lock_order = end_s, self.locks_started

    def comes_back(self, held: Held, counted: bool) -> None:
        """After a delivery that has not completed it."""
        held.deliveries -= not counted
        if counted and 0 < self.rules.max_deliveries <= held.deliveries:
            self.dead.append(held.number)
            del self.messages[held.number]
        elif held.expires_s <= self.now_s:
            self.outlived.append(held.number)
            del self.messages[held.number]
        else:
            held.state, held.has_returned, held.lock_end_s = "ready", True, math.inf
            first_new = sum(self.messages[number].has_returned for number in self.line)
            self.line.insert(first_new if self.rules.redelivers_first else len(self.line), held.number)

    def candidates(self) -> list[int]:
        """What may be given now, in order."""
        if self.rules.hands_out == "by age":
            return list(self.line)
        closed = {held.group for held in self.messages.values() if held.state == "locked"}
        open_numbers = sorted(number for number in self.line if self.messages[number].group not in closed)
        groups = list(dict.fromkeys(self.messages[number].group for number in open_numbers))
        return sorted(open_numbers, key=lambda number: (groups.index(self.messages[number].group), number))

    def hand_out(self) -> None:
        """To those that wait, longest first."""
        while self.waiting and self.candidates():
            in_flight = sum(held.state == "locked" for held in self.messages.values())
            room = self.rules.in_flight_most - in_flight if self.rules.in_flight_most else math.inf
            if room <= 0:
                return
            receiver, most = self.waiting.pop(0)
            for number in self.candidates()[: int(min(most, room))]:
                held = self.messages[number]
                self.line.remove(number)
                held.state = "locked"
                held.deliveries += 1
                self.start_lock(held)
                self.given.append((receiver, number, held.deliveries))

    def pass_s(self, seconds: int) -> None:
        """Time goes by; what is due at one instant is done before anything of it is handed out."""
        for _ in range(seconds):
            self.now_s += 1.0
            for held in list(self.messages.values()):
                if held.state == "scheduled" and held.visible_s <= self.now_s:
                    held.state = "ready"
                    self.line.append(held.number)
            ended = [h for h in self.messages.values() if h.state == "locked" and h.lock_end_s <= self.now_s]
            for held in sorted(ended, key=lambda held: held.lock_order):
                self.lapsed.add((held.number, held.deliveries))
                self.comes_back(held, counted=True)
            for held in list(self.messages.values()):
                if held.state in ("ready", "scheduled") and held.expires_s <= self.now_s:
                    self.outlived.append(held.number)
                    self.line = [number for number in self.line if number != held.number]
                    del self.messages[held.number]
            self.hand_out()
