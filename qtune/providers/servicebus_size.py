"""Bytes in Azure Service Bus: how large a message may be, and how much a queue holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from qtune.providers.base import Limit
from qtune.providers.rules import within
from qtune.records import Complaint

_QUOTAS = "Azure documentation, Service Bus quotas"
_GIB: Final = float(2**30)


def _limit(name: str, value: float, **rest: Any) -> Limit:
    fields = {"unit": "bytes", "hard": True, "source": _QUOTAS, "as_of": "2022-07", **rest}
    return Limit(name=name, value=value, **{"checked": "when a scenario is made", **fields})


SIZES: Final = (
    _limit("message_size in standard", 262_144.0),
    _limit("message_size in premium", 104_857_600.0),
    _limit("max_size of a queue in standard", 5.0 * _GIB, hard=False),
    _limit("max_size of a queue in premium", 80.0 * _GIB),
    _limit("smallest max_size of a queue", _GIB, sense="at least"),
)
_BOUND: Final = {limit.name: limit for limit in SIZES}


def sizes_fit_tier(scenario: Any) -> Iterator[Complaint]:
    """The rule that messages and the queue are as large as the tier allows."""
    tier = scenario.queue.tier
    yield from within("message_size_bytes", _BOUND[f"message_size in {tier}"])(scenario)
    yield from within("queue.max_size_bytes", _BOUND[f"max_size of a queue in {tier}"])(scenario)
    yield from within("queue.max_size_bytes", _BOUND["smallest max_size of a queue"])(scenario)
    if scenario.queue.max_size_bytes is not None and scenario.message_size_bytes == 0:
        message = "messages of 0 bytes never fill a queue: leave it out, or give them a message_size"
        yield Complaint(path="queue.max_size_bytes", message=message)


def room_of(queue: Any, message_bytes: int) -> int:
    """How many messages of so many bytes a queue holds; 0: any number. Only bodies are counted, headers are not."""
    return 0 if queue.max_size_bytes is None else int(queue.max_size_bytes // message_bytes)
