"""Messages that nobody can receive yet, because the queue delays them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from qtune.engine.reference.clock import Slot
from qtune.engine.slots import slots_of
from qtune.result import MESSAGE_DELAYED

if TYPE_CHECKING:
    from qtune.engine.reference.broker import Broker


class Delays:
    """Keeps messages back for ``delay_s`` after they were sent; those of one call become ready together.

    All wait equally long, so they become ready in the order in which the broker got them. A message that comes back
    after a delivery is not delayed again.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker, self.clock = broker, broker.clock
        self.messages: deque[int] = deque()
        self.slot = Slot(self.clock, slots_of(broker.plan).delays)

    def begin(self, message: int) -> None:
        """Keep a message back that has just been sent."""
        self.broker.rows.messages[message].state = MESSAGE_DELAYED
        self.messages.append(message)
        if len(self.messages) == 1:
            self.slot.ring_at(self.ends_s(), self.end)

    def ends_s(self) -> float:
        """When the delay of the oldest one ends."""
        return self.broker.rows.messages[self.messages[0]].sent_s + self.broker.plan.delay_s

    def end(self) -> None:
        """What has waited long enough is ready."""
        while self.messages and self.ends_s() <= self.clock.now:
            message = self.messages.popleft()
            self.broker.make_ready(message)
            self.broker.line.add(message)
        if self.messages:
            self.slot.ring_at(self.ends_s(), self.end)
        self.broker.match()
