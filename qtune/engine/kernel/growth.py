"""More room for a run while it goes on: what is full is copied into arrays of twice the length."""

from __future__ import annotations

import numpy as np

from qtune.engine.kernel.layout import (
    MORE_BACKGROUND,
    MORE_CALLS,
    MORE_DELIVERIES,
    MORE_FLOWS,
    MORE_LOCKS,
    MORE_MESSAGES,
)
from qtune.engine.kernel.world import Array, World
from qtune.engine.plan import BY_AGE, BY_SESSION, OWN_GROUPS


def grown(world: World, code: int) -> World:
    """The same run with twice the room for what was full."""
    broker = world.broker
    if code == MORE_MESSAGES:
        return world.with_arrays(
            messages=_wider(world.messages, broker.messages_from, broker.created),
            ready=_wider(world.ready, broker.ready_head, broker.ready_tail),
            returned=_wider(world.returned, broker.returned_head, broker.returned_tail),
            kept=_wider(world.kept, broker.kept_head, broker.kept_tail),
            delayed=_wider(world.delayed, broker.delayed_head, broker.delayed_tail),
            customer_of=_wider(world.customer_of, broker.messages_from, broker.created),
            **_wider_groups(world),
        )
    if code == MORE_DELIVERIES:
        return world.with_arrays(
            deliveries=_wider(world.deliveries, broker.deliveries_from, broker.deliveries)
        )
    if code == MORE_CALLS:
        return world.with_arrays(calls=_wider(world.calls, broker.calls_from, broker.calls))
    if code == MORE_LOCKS:
        return world.with_arrays(
            lock_end_s=_wider(world.lock_end_s, broker.lock_head, broker.lock_tail),
            lock_delivery=_wider(world.lock_delivery, broker.lock_head, broker.lock_tail),
        )
    if code == MORE_BACKGROUND:
        return world.with_arrays(background=_wider(world.background, 0, broker.background))
    if code == MORE_FLOWS:
        rings = {"flow_s": world.flow_s, "flow_limit": world.flow_limit}
        spans = list(zip(world.receivers.flow_head, world.receivers.flow_tail, strict=True))
        return world.with_arrays(
            **{
                name: np.stack([_wider(ring, *span) for ring, span in zip(rows, spans, strict=True)])
                for name, rows in rings.items()
            }
        )
    raise AssertionError(f"the loop returned {code}, which asks for nothing")


def spans(ring: Array, head: int, tail: int) -> tuple[slice, slice]:
    """Where the entries of a ring from ``head`` to ``tail`` lie: up to its end, and from its start again."""
    start, count = int(head) & (len(ring) - 1), int(tail - head)
    return slice(start, start + count), slice(0, max(0, start + count - len(ring)))


def _wider(ring: Array, head: int, tail: int) -> Array:
    """A ring of twice the length with the same entries from ``head`` to ``tail``."""
    wide = np.zeros(2 * len(ring), ring.dtype)
    while head < tail:
        here, there = head & (len(ring) - 1), head & (len(wide) - 1)
        count = min(tail - head, len(ring) - here, len(wide) - there)
        wide[there : there + count] = ring[here : here + count]
        head += count
    return wide.view(np.recarray) if isinstance(ring, np.recarray) else wide


def _wider_groups(world: World) -> dict[str, Array]:
    """Room for the groups of twice as many messages."""
    if world.plan.hands_out == BY_AGE:
        return {}
    names = ("age", "behind", "after", "before") if world.plan.hands_out == BY_SESSION else ("age", "behind")
    span = world.broker.messages_from, world.broker.created
    wider = {name: _wider(getattr(world, name), *span) for name in names}
    if world.plan.group_window:
        wider["by_age"] = _wider(world.by_age, world.broker.window, world.broker.ages)
    if world.plan.grouping == OWN_GROUPS:
        wider["groups"] = _wider(world.groups, *span)
        listed = max(world.broker.open_groups, world.broker.asides)
        wider["open_group"] = _wider(world.open_group, 0, listed)
    return wider
