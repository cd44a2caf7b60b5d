"""The rows of one run while it goes on, and the tables that they become."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np

from qtune.result import CALL, DELIVERY, MESSAGE, STATE

Table = np.ndarray[Any, np.dtype[Any]]


class MessageRow:
    """One message; the fields are those of the table."""

    __slots__ = MESSAGE.names or ()

    def __init__(self, due_s: float, group: int) -> None:
        self.due_s, self.group = due_s, group
        self.sent_s = self.completed_s = self.settled_s = self.left_s = nan
        self.delivery = -1
        self.deliveries = self.state = 0


class DeliveryRow:
    """One delivery; the fields are those of the table."""

    __slots__ = DELIVERY.names or ()

    def __init__(self, message: int, delivery_no: int, consumer: int, locked_s: float) -> None:
        self.message, self.delivery_no, self.consumer, self.locked_s = (
            message,
            delivery_no,
            consumer,
            locked_s,
        )
        self.received_s = self.started_s = self.finished_s = self.settled_s = self.lock_end_s = nan
        self.worker = -1
        self.attempts = self.renewals = self.outcome = 0


class Rows:
    """All rows of a run, in the order of the tables."""

    def __init__(self) -> None:
        self.messages: list[MessageRow] = []
        self.deliveries: list[DeliveryRow] = []
        self.calls: list[tuple[float, float, int, int, int, int]] = []
        self.states: list[tuple[float, float, float, float, *tuple[int, ...]]] = []

    def add_message(self, due_s: float, group: int) -> int:
        """Note a message that falls due; its number."""
        self.messages.append(MessageRow(due_s, group))
        return len(self.messages) - 1

    def add_delivery(self, message: int, delivery_no: int, consumer: int, locked_s: float) -> int:
        """Note a message that is handed out; the number of the delivery."""
        self.deliveries.append(DeliveryRow(message, delivery_no, consumer, locked_s))
        return len(self.deliveries) - 1

    def add_call(
        self, start_s: float, end_s: float, consumer: int, op: int, count: int, outcome: int
    ) -> None:
        """Note a call that has ended."""
        self.calls.append((start_s, end_s, consumer, op, count, outcome))

    def tables(self, horizon_s: float) -> tuple[Table, Table, Table, Table]:
        """The four tables; what was known to come after the horizon has not come."""
        messages = _table(self.messages, MESSAGE)
        deliveries = _table(self.deliveries, DELIVERY)
        for name in ("started_s", "lock_end_s"):
            deliveries[name][deliveries[name] > horizon_s] = nan
        return messages, deliveries, np.array(self.calls, CALL), np.array(self.states, STATE)


def _table(rows: list[Any], dtype: np.dtype[Any]) -> Table:
    names = dtype.names or ()
    return np.array([tuple(getattr(row, name) for name in names) for row in rows], dtype)
