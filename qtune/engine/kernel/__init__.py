"""The kernel: the model of the reference as a compiled loop over a calendar of slots, and a shorter loop for lines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qtune.engine.kernel.compiled import COMPILED
from qtune.engine.kernel.growth import grown, spans
from qtune.engine.kernel.jump import INEXACT, jump, make_jump_world, write_states
from qtune.engine.kernel.jumpable import jumps, jumps_surely, within_limits
from qtune.engine.kernel.layout import FINISHED
from qtune.engine.kernel.loop import advance, begin
from qtune.engine.kernel.stream import Chunk, make_room, rest
from qtune.engine.kernel.workers import SETTLING
from qtune.engine.kernel.world import Array, World, make_world
from qtune.engine.plan import Plan

if COMPILED:
    import qtune.engine.kernel.memory  # noqa: F401  (tells the compiler what a world is)

__all__ = ["Chunk", "by_events", "by_jumps", "run", "stream"]


Tables = tuple[Array, Array, Array, Array]


def run(plan: Plan) -> Tables:
    """Simulate a plan; the tables of messages, deliveries, calls and states, with the reference's rows to the bit."""
    tables = by_jumps(plan) if jumps(plan) else None
    return by_events(plan) if tables is None else tables


def by_events(plan: Plan) -> Tables:
    """Simulate a plan from event to event, which is right for every plan."""
    world = make_world(plan)
    begin(world)
    while (code := advance(world)) != FINISHED:
        world = grown(world, code)
    _look_back(world, plan)
    return _tables(world)


def by_jumps(plan: Plan) -> Tables | None:
    """Simulate a plan for which :func:`.jumpable.jumps` holds from message to message; None when that was inexact."""
    world = make_jump_world(plan)
    while (code := jump(world)) != FINISHED:
        if code == INEXACT:
            return None
        world = grown(world, code)
    write_states(world, plan)
    tables = _tables(world)
    _, deliveries, calls, _ = tables
    return tables if within_limits(plan, deliveries["locked_s"], calls["end_s"]) else None


def stream(plan: Plan, take: Callable[[Chunk], None]) -> Array:
    """Simulate a plan and hand over finished rows as they come, each once; the table of states.

    The memory is that of what is open at one time: a stable queue of any length needs no more than a short one.
    Rows that have been handed over cannot be taken back, so the jump loop runs only where it cannot turn out inexact.
    """
    if jumps_surely(plan):
        world = make_jump_world(plan, keep_rows=False)
        while (code := jump(world)) != FINISHED:
            world = make_room(world, code, take)
        write_states(world, plan)
    else:
        world = make_world(plan, keep_rows=False)
        begin(world)
        while (code := advance(world)) != FINISHED:
            world = make_room(world, code, take)
        _look_back(world, plan)
    take(rest(world))
    return np.asarray(world.states[: world.broker.tick])


def _tables(world: World) -> Tables:
    broker = world.broker
    return (
        np.asarray(world.messages[: broker.created]),
        np.asarray(world.deliveries[: broker.deliveries]),
        np.asarray(world.calls[: broker.calls]),
        np.asarray(world.states[: broker.tick]),
    )


def _look_back(world: World, plan: Plan) -> None:
    """Write what is known of open rows as it is at the horizon; what was known to come later has not come."""
    broker, deliveries = world.broker, world.deliveries
    workers = np.asarray(world.workers[: plan.workers_total])
    known = (workers["phase"] == SETTLING) & (workers["delivery"] >= 0)
    known &= workers["finished_s"] <= plan.horizon_s
    places = workers["delivery"][known] & (len(deliveries) - 1)
    for name in ("finished_s", "attempts"):
        deliveries[name][places] = workers[name][known]
    for span in spans(deliveries, broker.deliveries_from, broker.deliveries):
        for name in ("started_s", "lock_end_s"):
            column = deliveries[name][span]
            column[column > plan.horizon_s] = np.nan
