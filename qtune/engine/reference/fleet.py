"""The fleet: consumers that are killed, and that start again."""

from __future__ import annotations

from collections.abc import Generator
from math import nan
from typing import TYPE_CHECKING, Any

from qtune.engine.reference.clients import Client
from qtune.engine.reference.clock import Slot
from qtune.engine.reference.consumer import Consumer
from qtune.result import DELIVERY_LOST, DELIVERY_OPEN

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model


def change_fleet(model: Model) -> Generator[Any, Any, None]:
    """Kill and start consumers when the plan says so; a consumer that starts again is a new process."""
    plan, slot = model.plan, Slot(model.clock, model.slots.fleet)
    changes = zip(
        plan.fleet_at_s.tolist(), plan.fleet_consumer.tolist(), plan.fleet_starts.tolist(), strict=True
    )
    for at_s, number, starts in changes:
        yield slot.at(at_s)
        if starts:
            model.clients[number] = Client(plan, model.draws)
            model.consumers[number] = Consumer(model, number, before=model.consumers[number])
        else:
            kill(model, model.consumers[number])


def kill(model: Model, consumer: Consumer) -> None:
    """A consumer ends at once: what it has in hand is lost, and its calls on their way vanish."""
    now_s = model.clock.now
    for row in model.rows.deliveries:
        if row.consumer == consumer.number and row.outcome == DELIVERY_OPEN:
            row.outcome = DELIVERY_LOST
            if row.started_s > now_s:
                row.started_s = nan
    model.background.forget(consumer)
    consumer.end()
