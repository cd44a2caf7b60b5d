"""The credits of a standard namespace of Azure Service Bus: how many there are, and what takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from qtune.providers.base import Limit, Op, RateLimit
from qtune.providers.rules import source_text
from qtune.records import Complaint

CREDITS_PER_S: Final = 1_000
"""Of a standard namespace."""

CREDITS: Final = Limit(
    name="credits of a standard namespace",
    value=float(CREDITS_PER_S),
    unit="credits/s",
    hard=False,
    source="Azure documentation, Throttling operations on Azure Service Bus",
    as_of="2024-03",
    checked="in a run, where calls above it are throttled",
)


def credits_fit_tier(scenario: Any) -> Iterator[Complaint]:
    """Only a standard namespace has credits; they are whole, and others in the namespace leave some."""
    queue, source = scenario.queue, source_text(CREDITS)
    for name in ("credits_per_s", "credits_elsewhere_per_s", "settle_credits"):
        path, value = f"queue.{name}", getattr(queue, name) or 0
        if queue.tier == "premium" and value:
            message = "only standard counts credits: leave it out, or use tier: standard"
            yield Complaint(path=path, message=message, source=source)
        if value != int(value):
            yield Complaint(path=path, message="credits are whole: use such as 1000/s", source=source)
    elsewhere_per_s = queue.credits_elsewhere_per_s if queue.tier == "standard" else 0.0
    if elsewhere_per_s and elsewhere_per_s >= _all_per_s(queue):
        message = f"the namespace has {_all_per_s(queue)} credits a second: leave some of them to this queue"
        yield Complaint(path="queue.credits_elsewhere_per_s", message=message, source=source)


def credits_of(queue: Any) -> RateLimit:
    """What is left to a queue, and what its calls take."""
    settles: dict[Op, int] = dict.fromkeys(("settle", "abandon", "renew"), queue.settle_credits)
    return RateLimit(
        name=CREDITS.name,
        credits=_all_per_s(queue) - int(queue.credits_elsewhere_per_s),
        call_cost=settles,
        message_cost={"send": 1, "receive": 1},
    )


def _all_per_s(queue: Any) -> int:
    return int(queue.credits_per_s or CREDITS_PER_S)
