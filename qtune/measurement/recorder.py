"""The rows of one process while it runs: deliveries as they go on, and calls as they end."""

from __future__ import annotations

import struct
from mmap import mmap
from pathlib import Path
from typing import Final

import numpy as np

from qtune.measurement.logs import NAN, RowFile
from qtune.result import CALL, DELIVERY, DELIVERY_OPEN

_TIME, _COUNT = struct.Struct("<d"), struct.Struct("<i")
_KINDS: Final = {"f8": "d", "i8": "q", "i4": "i"}


def _fields(dtype: object) -> str:
    return "".join(_KINDS[field.str[1:]] for field, _ in dtype.fields.values())  # type: ignore[attr-defined]


DELIVERY_FIELDS: Final = _fields(DELIVERY)
CALL_FIELDS: Final = _fields(CALL)
SENT: Final = np.dtype([("message", "<i8"), ("start_s", "<f8"), ("end_s", "<f8"), ("fate", "<i4")])
"""Of a message of a send call: its number, when the call began and ended, and what became of it."""

SENT_FIELDS: Final = _fields(SENT)

TAKEN: Final = 1
REJECTED: Final = 2

_OFFSET: Final = {name: at for name, (_, at, *_) in (DELIVERY.fields or {}).items()}


class DeliveryLog:
    """One delivery in the log of its process; every method writes at once."""

    __slots__ = ("_at", "_mapped")

    def __init__(self, mapped: mmap, at: int) -> None:
        self._mapped, self._at = mapped, at

    def time(self, field: str, value_s: float) -> None:
        """Write an instant down."""
        _TIME.pack_into(self._mapped, self._at + _OFFSET[field], value_s)

    def number(self, field: str, value: int) -> None:
        """Write a count or a code down."""
        _COUNT.pack_into(self._mapped, self._at + _OFFSET[field], value)


class Recorder:
    """What one consumer or sender process writes down.

    number: of the process, among those of its kind.
    """

    def __init__(self, folder: Path, kind: str, number: int) -> None:
        self.number = number
        self._deliveries = RowFile(folder, f"deliveries.{kind}{number}", DELIVERY_FIELDS)
        self._calls = RowFile(folder, f"calls.{kind}{number}", CALL_FIELDS)
        self._sent = RowFile(folder, f"sent.{kind}{number}", SENT_FIELDS)

    def received(self, message: int, received_s: float, lock_end_s: float, delivery_no: int) -> DeliveryLog:
        """A delivery is in the client."""
        times_s = (NAN, received_s, NAN, NAN, NAN, lock_end_s)
        row = self._deliveries.add(message, *times_s, delivery_no, self.number, -1, 0, 0, DELIVERY_OPEN)
        return DeliveryLog(*row)

    def call(self, start_s: float, end_s: float, op: int, count: int, outcome: int) -> None:
        """A call has ended."""
        self._calls.add(start_s, end_s, self.number, op, count, outcome)

    def sent(self, message: int, start_s: float, end_s: float, fate: int) -> None:
        """The last send call of this message has ended: the broker took it, or its sender gave it up."""
        self._sent.add(message, start_s, end_s, fate)
