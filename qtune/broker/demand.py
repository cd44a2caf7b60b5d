"""Which of the receivers that have credit gets the next message."""

from __future__ import annotations

import random
from typing import Literal

from qtune.broker.message import Receiver

HandsOutTo = Literal["longest_waiting", "any", "in_turn"]
"""Who is next.

longest_waiting: who has had credit, or has not been served since, for longest. any: any that has credit, all equally
likely. in_turn: who was served longest ago, whenever it was given its credit.
"""


class Demand:
    """The receivers of one broker: links, which stay, and polls, which are served once.

    ``_line`` holds those that have credit, next one first; in turn also those that have none, in their places.
    """

    def __init__(self, hands_out_to: HandsOutTo, seed: int) -> None:
        self._in_turn = hands_out_to == "in_turn"
        self._random = random.Random(seed) if hands_out_to == "any" else None
        self._links: set[Receiver] = set()
        self._line: dict[Receiver, None] = {}

    def add(self, receiver: Receiver) -> None:
        """A link begins."""
        self._links.add(receiver)
        self.look_at(receiver)

    def add_poll(self, receiver: Receiver) -> None:
        """A receive waits for its first messages."""
        self._line[receiver] = None

    def remove(self, receiver: Receiver) -> None:
        """A receiver is gone, if it was there."""
        self._links.discard(receiver)
        self._line.pop(receiver, None)

    def has(self, receiver: Receiver) -> bool:
        """Whether this receiver is a link here."""
        return receiver in self._links

    def is_poll(self, receiver: Receiver) -> bool:
        """Whether this receiver takes all that it may at once, and is gone then."""
        return receiver not in self._links

    def look_at(self, receiver: Receiver) -> None:
        """The credit of a link has changed; one that waits keeps its place."""
        if receiver.credit > 0 or self._in_turn:
            self._line.setdefault(receiver)
        else:
            self._line.pop(receiver, None)

    def next(self) -> Receiver | None:
        """Who gets the next message; None: nobody has credit."""
        if self._random is not None:
            return self._random.choice(list(self._line)) if self._line else None
        return next((receiver for receiver in self._line if receiver.credit > 0), None)

    def served(self, receiver: Receiver) -> None:
        """A receiver has been given something: a poll is over, a link goes to the end."""
        self._line.pop(receiver, None)
        if receiver in self._links:
            self.look_at(receiver)
