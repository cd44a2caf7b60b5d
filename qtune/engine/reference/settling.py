"""Which entries of a batch of settlements fail, although the call succeeds."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtune.engine import streams
from qtune.engine.plan import SETTLE_BATCH

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model

Failed = Generator[Any, Any, list[int]]
"""What settles a batch in simulated time, and then says which of its entries failed."""


def failed_entries(model: Model, deliveries: list[int], rounds: int) -> list[int]:
    """The deliveries that fail, each by a draw for it and for how many calls it has been in before."""
    failed: list[int] = []
    if model.plan.settle_mode != SETTLE_BATCH:
        return failed
    for delivery in deliveries:
        row = model.rows.deliveries[delivery]
        key = row.delivery_no + rounds * streams.NEXT_ROUND
        if model.draws.happens(streams.SETTLE_ENTRY, row.message, key, model.plan.settle_entry_fail_steps):
            failed.append(delivery)
    return failed
