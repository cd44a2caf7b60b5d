"""What a run leaves behind: four tables of rows, and how to keep, read and compare them.

An engine and an adapter fill the very same tables, so nothing behind them can tell a simulated run from a
measured one except by reading `Result.source`. No table holds an aggregate, and none leaves out a row: what had
not happened when the run ended is NaN, a censored observation, and never a missing message.

The codes are plain integers, not an Enum, because compiled engine code reads them as constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

TableName = Literal["messages", "deliveries", "calls", "states"]

# State of a message when the run ended.
MESSAGE_UNSENT: Final = 0
MESSAGE_READY: Final = 1
MESSAGE_LOCKED: Final = 2
MESSAGE_COMPLETED: Final = 3
MESSAGE_DEAD_LETTERED: Final = 4
MESSAGE_EXPIRED: Final = 5
MESSAGE_REJECTED: Final = 6
MESSAGE_STATES: Final = ("unsent", "ready", "locked", "completed", "dead_lettered", "expired", "rejected")

# How one delivery ended. LATE: the handler was right but its lock had ended, so the work is wasted.
DELIVERY_OPEN: Final = 0
DELIVERY_COMPLETED: Final = 1
DELIVERY_ABANDONED: Final = 2
DELIVERY_FAILED: Final = 3
DELIVERY_LATE: Final = 4
DELIVERY_DROPPED: Final = 5
DELIVERY_RELEASED: Final = 6
DELIVERY_OUTCOMES: Final = ("open", "completed", "abandoned", "failed", "late", "dropped", "released")

OP_SEND: Final = 0
OP_RECEIVE: Final = 1
OP_SETTLE: Final = 2
OP_ABANDON: Final = 3
OP_RELEASE: Final = 4
OP_RENEW: Final = 5
CALL_OPS: Final = ("send", "receive", "settle", "abandon", "release", "renew")

CALL_OK: Final = 0
CALL_EMPTY: Final = 1
CALL_LOCK_LOST: Final = 2
CALL_OUTCOMES: Final = ("ok", "empty", "lock_lost")

# Wide fields come first, so that no row holds a padding byte and rows compare and digest byte by byte.
MESSAGE: Final = np.dtype(
    [
        ("due_s", "<f8"),
        ("sent_s", "<f8"),
        ("completed_s", "<f8"),
        ("settled_s", "<f8"),
        ("left_s", "<f8"),
        ("delivery", "<i8"),
        ("deliveries", "<i4"),
        ("state", "<i4"),
    ]
)
DELIVERY: Final = np.dtype(
    [
        ("message", "<i8"),
        ("locked_s", "<f8"),
        ("received_s", "<f8"),
        ("started_s", "<f8"),
        ("finished_s", "<f8"),
        ("settled_s", "<f8"),
        ("lock_end_s", "<f8"),
        ("delivery_no", "<i4"),
        ("consumer", "<i4"),
        ("worker", "<i4"),
        ("attempts", "<i4"),
        ("renewals", "<i4"),
        ("outcome", "<i4"),
    ]
)
CALL: Final = np.dtype(
    [
        ("start_s", "<f8"),
        ("end_s", "<f8"),
        ("consumer", "<i4"),
        ("op", "<i4"),
        ("count", "<i4"),
        ("outcome", "<i4"),
    ]
)
STATE: Final = np.dtype(
    [
        ("time_s", "<f8"),
        ("core_busy_s", "<f8"),
        ("unsent", "<i8"),
        ("backlog", "<i8"),
        ("in_flight", "<i8"),
        ("buffered", "<i8"),
        ("busy_workers", "<i8"),
    ]
)

TABLES: Final[Mapping[TableName, np.dtype[Any]]] = {
    "messages": MESSAGE,
    "deliveries": DELIVERY,
    "calls": CALL,
    "states": STATE,
}
