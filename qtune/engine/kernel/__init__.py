"""The kernel: the model of the reference engine as one compiled loop over a calendar of slots."""

from __future__ import annotations

import numpy as np

from qtune.engine.kernel.compiled import COMPILED
from qtune.engine.kernel.loop import advance, begin
from qtune.engine.kernel.workers import SETTLING
from qtune.engine.kernel.world import FINISHED, Array, World, grown, make_world
from qtune.engine.plan import Plan

if COMPILED:
    import qtune.engine.kernel.memory  # noqa: F401  (tells the compiler what a world is)

__all__ = ["run"]


def run(plan: Plan) -> tuple[Array, Array, Array, Array]:
    """Simulate a plan; the tables of messages, deliveries, calls and states, with the reference's rows to the bit."""
    world = make_world(plan)
    begin(world)
    while (code := advance(world)) != FINISHED:
        world = grown(world, code)
    return _tables(world, plan)


def _tables(world: World, plan: Plan) -> tuple[Array, Array, Array, Array]:
    """The rows of a finished run; what was known to come after the horizon has not come."""
    broker = world.broker
    deliveries = world.deliveries[: broker.deliveries]
    for worker in world.workers[: plan.workers_total]:
        if worker.phase == SETTLING and worker.delivery >= 0 and worker.finished_s <= plan.horizon_s:
            deliveries[worker.delivery].finished_s = worker.finished_s
            deliveries[worker.delivery].attempts = worker.attempts
    for name in ("started_s", "lock_end_s"):
        column = deliveries[name]
        column[column > plan.horizon_s] = np.nan
    return (
        np.asarray(world.messages[: broker.created]),
        np.asarray(deliveries),
        np.asarray(world.calls[: broker.calls]),
        np.asarray(world.states[: broker.tick]),
    )


