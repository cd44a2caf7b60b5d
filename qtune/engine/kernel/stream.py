"""A run whose rows are taken away while it goes on, so that its memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qtune.engine.kernel.growth import grown, spans
from qtune.engine.kernel.layout import MORE_CALLS, MORE_DELIVERIES, MORE_MESSAGES
from qtune.engine.kernel.world import Array, World
from qtune.result import DELIVERY_OPEN, MESSAGE_COMPLETED, MESSAGE_LOCKED


class Chunk(NamedTuple):
    """Rows that will not change any more.

    ``due_s`` and ``sent_s`` are those of each delivery's message, NaN where that message was taken away before.
    """

    messages: Array
    deliveries: Array
    due_s: Array
    sent_s: Array
    calls: Array


def make_room(world: World, code: int, take: Callable[[Chunk], None]) -> World:
    """Take finished rows away; where too few are finished, give their table more room."""
    if code in (MORE_MESSAGES, MORE_DELIVERIES, MORE_CALLS):
        before = _free(world)
        take(_finished(world))
        freed = _free(world)[code] - before[code]
        size = {MORE_MESSAGES: world.messages, MORE_DELIVERIES: world.deliveries, MORE_CALLS: world.calls}[
            code
        ]
        if freed >= len(size) // 4:
            return world
    return grown(world, code)


def rest(world: World) -> Chunk:
    """All rows that have not been taken away, when the run is over."""
    return _chunk(world, int(world.broker.created), int(world.broker.deliveries))


def _free(world: World) -> dict[int, int]:
    broker = world.broker
    return {
        MORE_MESSAGES: int(broker.messages_from),
        MORE_DELIVERIES: int(broker.deliveries_from),
        MORE_CALLS: int(broker.calls_from),
    }


def _finished(world: World) -> Chunk:
    """The leading rows of each table that are final.

    A delivery is final when its client and the broker are both rid of it; a message when it is gone, and its
    completing delivery, which refers to it, has been taken away.
    """
    broker, messages, deliveries = world.broker, np.asarray(world.messages), np.asarray(world.deliveries)
    numbers = np.arange(broker.deliveries_from, broker.deliveries)
    places = numbers & (len(deliveries) - 1)
    message = deliveries["message"][places]
    its = message & (len(messages) - 1)
    locked = (messages["state"][its] == MESSAGE_LOCKED) & (messages["delivery"][its] == numbers)
    is_open = (deliveries["outcome"][places] == DELIVERY_OPEN) | (locked & (message >= broker.messages_from))
    to_delivery = int(numbers[is_open.argmax()]) if is_open.any() else int(broker.deliveries)
    numbers = np.arange(broker.messages_from, broker.created)
    places = numbers & (len(messages) - 1)
    state = messages["state"][places]
    is_open = (state < MESSAGE_COMPLETED) | (
        (state == MESSAGE_COMPLETED) & (messages["delivery"][places] >= to_delivery)
    )
    to_message = int(numbers[is_open.argmax()]) if is_open.any() else int(broker.created)
    return _chunk(world, to_message, to_delivery)


def _chunk(world: World, to_message: int, to_delivery: int) -> Chunk:
    """The rows before these numbers, and all calls; the world forgets them."""
    broker = world.broker
    deliveries = _rows(world.deliveries, broker.deliveries_from, to_delivery)
    messages = np.asarray(world.messages)
    there = deliveries["message"] >= broker.messages_from
    places = deliveries["message"] & (len(messages) - 1)
    chunk = Chunk(
        messages=_rows(world.messages, broker.messages_from, to_message),
        deliveries=deliveries,
        due_s=np.where(there, messages["due_s"][places], np.nan),
        sent_s=np.where(there, messages["sent_s"][places], np.nan),
        calls=_rows(world.calls, broker.calls_from, broker.calls),
    )
    broker.messages_from = to_message
    broker.deliveries_from = to_delivery
    broker.calls_from = broker.calls
    return chunk


def _rows(ring: Array, head: int, tail: int) -> Array:
    plain = np.asarray(ring)
    return np.concatenate([plain[span] for span in spans(ring, head, tail)])
