"""The jump loop: the rows of the slot calendar at a third of its cost, for plans in which nothing overtakes anything.

Where one link feeds one pool of workers and no message comes back, the n-th message that falls due is the n-th to be
handed out, to land and to be taken. When it does is the later of two instants that are known by then: its own last one,
and when a place is free for it, which is credit at the broker and a worker in the client. That is the recursion of
Lindley (1952), and of Kiefer and Wolfowitz (1955) for several servers. So the loop goes from message to message, and
only the workers are left in the calendar. What a plan must be for that to be exact is in :mod:`.jumpable`.
"""

from __future__ import annotations

from math import inf, nan

import numpy as np

from qtune.engine import streams
from qtune.engine.kernel.broker import add_call, new_delivery, new_message
from qtune.engine.kernel.calendar import compute, play
from qtune.engine.kernel.compiled import entry, step
from qtune.engine.kernel.downstream import HANDLING
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.layout import FINISHED, MORE_CALLS, MORE_DELIVERIES, MORE_MESSAGES
from qtune.engine.kernel.source import next_due
from qtune.engine.kernel.workers import NOBODY, SETTLING, attempt
from qtune.engine.kernel.world import World, make_world
from qtune.engine.plan import Plan
from qtune.result import (
    CALL_OK,
    DELIVERY_COMPLETED,
    MESSAGE_COMPLETED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
    OP_SETTLE,
)

INEXACT = -1
"""What the loop says when a lock ran out or had to be renewed: the rows are void, and the slot calendar must run."""

# What is counted at each sample, as rows of ``counts``; the last is the sampler of the cores, which counts nothing.
DUE = 0
HANDED_OUT = 1
LANDED = 2
TAKEN = 3
SETTLED = 4
CORES = 5


def make_jump_world(plan: Plan, keep_rows: bool = True) -> World:
    """The memory of a run of the jump loop before anything has happened; its calendar is that of the workers."""
    world = make_world(plan, keep_rows, jumps=True)
    link = world.receivers[0]
    world.workers.delivery = NOBODY
    world.idle_workers[0] = np.arange(plan.workers)
    link.idle_workers = plan.workers
    link.flow_count = 1  # the credit for what fits in hand at the start leaves at time 0
    return world


def write_states(world: World, plan: Plan) -> None:
    """Make the table of states of what was counted at each sample."""
    time_s = np.arange(plan.samples) * plan.sample_every_s
    count = int(np.count_nonzero(time_s <= plan.horizon_s))
    states = world.states[:count]
    due, handed_out, landed, taken, settled, _ = world.counts[:, :count]
    states["time_s"] = time_s[:count]
    states["instance_s"] = time_s[:count] * plan.consumers
    states["consumers"] = plan.consumers
    states["backlog"] = due - handed_out
    states["in_flight"] = handed_out - settled
    states["buffered"] = landed - taken
    states["busy_workers"] = taken - settled
    world.broker.tick = count


@entry
def jump(w):  # type: ignore[no-untyped-def]
    """Run to the horizon, or until an array must grow; says which, or that the rows are void."""
    p, b = w.plan, w.broker
    while True:
        code = room(w)
        if code != FINISHED:
            return code
        next_due(w)
        locked_s, landed_s, taken_s = follow(w, b.next_due_s)
        # None of the four instants is later than the last, and no sampler is behind that of the first.
        if taken_s > w.samplers[DUE].sample_s:
            note(w, DUE, b.created, b.next_due_s)
            note(w, HANDED_OUT, b.deliveries, locked_s)
            note(w, LANDED, b.deliveries, landed_s)
            note(w, TAKEN, b.deliveries, taken_s)
        if b.next_due_s > p.horizon_s:
            break
        message = new_message(w, b.next_due_s)
        row = w.messages[message & (len(w.messages) - 1)]
        row.sent_s = b.next_due_s
        row.state = MESSAGE_READY
        if locked_s <= p.horizon_s:
            row.state = MESSAGE_LOCKED
            row.deliveries = 1
            row.delivery = b.deliveries
            hand_out(w, message, locked_s, landed_s, taken_s)
    note(w, SETTLED, b.calls, inf)
    note_cores(w, inf)
    for worker in range(p.workers):
        if w.workers[worker].delivery != NOBODY:
            watch(w, w.workers[worker].delivery, p.horizon_s)
    return INEXACT if b.overdue == 1 else FINISHED


@step
def follow(w, due_s):  # type: ignore[no-untyped-def]
    """When the next message is handed out, lands, and is taken; infinity for what is not within the horizon.

    On the way the workers act whose time has come, and who takes the message is the last of the idle ones.
    """
    p, b, link = w.plan, w.broker, w.receivers[0]
    flow = max(0, b.deliveries - p.in_hand_limit + 1)
    locked_s = inf
    landed_s = inf
    is_known = False
    while True:
        if not is_known and link.flow_count > flow:
            is_known = True
            locked_s = max(due_s, credit_s(w, flow))
            if locked_s <= p.horizon_s:
                half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.PUSH, 0, b.deliveries, locked_s)
                landed_s = max(link.last_push_s, locked_s + half_s)
        now_s = np.int64(w.times[1]).view(np.float64)
        is_late = now_s > landed_s
        if now_s > p.horizon_s or (is_late and link.idle_workers > 0):
            break
        worker = np.int64(w.winners[1])
        next_s = act(w, worker, now_s)
        if is_late and next_s == inf:
            # A worker that is about to take this message is not put back into the calendar in between.
            return locked_s, landed_s, now_s
        play(w, worker, next_s)
    return locked_s, landed_s, landed_s if link.idle_workers > 0 else inf


@step
def credit_s(w, flow):  # type: ignore[no-untyped-def]
    """When the broker knows of this piece of credit; frames of one link do not overtake each other."""
    link = w.receivers[0]
    if link.flow_head <= flow:
        sent_s = w.flow_s[0, flow & (w.flow_s.shape[1] - 1)]
        half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.RECEIVE, 0, flow, sent_s)
        link.last_flow_s = max(link.last_flow_s, sent_s + half_s)
        link.flow_head += 1
    return link.last_flow_s


@step
def give_credit(w, now_s):  # type: ignore[no-untyped-def]
    """A place is free again: one more piece of credit goes to the broker."""
    link = w.receivers[0]
    w.flow_s[0, link.flow_count & (w.flow_s.shape[1] - 1)] = now_s
    link.flow_count += 1


@step
def hand_out(w, message, locked_s, landed_s, taken_s):  # type: ignore[no-untyped-def]
    """Note a delivery as it is at the horizon if its worker does nothing more, and let its worker start."""
    p, link = w.plan, w.receivers[0]
    delivery = w.broker.deliveries
    new_delivery(w, message, 1, 0, locked_s)
    its = w.deliveries[delivery & (len(w.deliveries) - 1)]
    its.lock_end_s = up_to(locked_s + p.lock_s, p.horizon_s)
    its.received_s = up_to(landed_s, p.horizon_s)
    link.last_push_s = landed_s
    if taken_s <= p.horizon_s:
        link.idle_workers -= 1
        start(w, w.idle_workers[0, link.idle_workers], delivery, taken_s)
    else:
        watch(w, delivery, p.horizon_s)


@step
def up_to(time_s, horizon_s):  # type: ignore[no-untyped-def]
    """An instant if it is within the horizon, and NaN if not."""
    return time_s if time_s <= horizon_s else nan


@step
def start(w, worker, delivery, now_s):  # type: ignore[no-untyped-def]
    """A worker starts on a delivery."""
    p, row, its = w.plan, w.workers[worker], w.deliveries[delivery & (len(w.deliveries) - 1)]
    if p.message_cost_s > 0.0:
        note_cores(w, now_s)
    row.delivery = delivery
    its.worker = worker
    row.started_s = compute(w, 0, p.message_cost_s, now_s)
    its.started_s = up_to(row.started_s, p.horizon_s)
    attempt(w, worker, its.message, 1)
    if not p.credit_at_settle:
        give_credit(w, now_s)
    if p.call_cost_s > 0.0:
        row.phase = HANDLING
        play(w, worker, row.finished_s)
    else:
        play(w, worker, finish(w, worker, row.finished_s))


@step
def finish(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A handler ends, and its settle is called; when it is confirmed."""
    p, row = w.plan, w.workers[worker]
    its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
    row.phase = SETTLING
    if now_s <= p.horizon_s:
        its.finished_s = now_s
        its.attempts = row.attempts
    round_trip_s = trip_s(w, streams.SETTLE, streams.SETTLE, its.message, 1, now_s)
    return compute(w, 0, p.call_cost_s, now_s) + round_trip_s


@step
def act(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A worker's handler ends, or its settle is confirmed; when it is due again, and infinity when it is free."""
    p, b, link, row = w.plan, w.broker, w.receivers[0], w.workers[worker]
    if row.phase == HANDLING:
        note_cores(w, now_s)
        return finish(w, worker, now_s)
    its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
    message = w.messages[its.message & (len(w.messages) - 1)]
    watch(w, row.delivery, now_s)
    its.settled_s = now_s
    its.lock_end_s = now_s
    its.outcome = DELIVERY_COMPLETED
    message.completed_s = its.finished_s
    message.settled_s = now_s
    message.left_s = now_s
    message.state = MESSAGE_COMPLETED
    note(w, SETTLED, b.calls, now_s)
    add_call(w, its.finished_s, now_s, 0, OP_SETTLE, 1, CALL_OK)
    if p.credit_at_settle:
        give_credit(w, now_s)
    row.delivery = NOBODY
    w.idle_workers[0, link.idle_workers] = worker
    link.idle_workers += 1
    return inf


@step
def watch(w, delivery, now_s):  # type: ignore[no-untyped-def]
    """Look whether the lock of a delivery has run out by now, or had to be renewed."""
    p, its = w.plan, w.deliveries[delivery & (len(w.deliveries) - 1)]
    ends_s = its.locked_s + p.lock_s
    if p.renewers > 0:
        ends_s = min(ends_s, ends_s - p.lock_s + p.renew_after_s)
    if ends_s <= now_s:
        w.broker.overdue = 1
        w.broker.sure = 0


@step
def room(w):  # type: ignore[no-untyped-def]
    """Which array could be too small for the next message; FINISHED when none. One look is good for many messages."""
    p, b = w.plan, w.broker
    if b.sure > 0:
        b.sure -= 1
        return FINISHED
    if b.overdue == 1:
        return INEXACT
    messages = len(w.messages) - (b.created - b.messages_from) - 1
    deliveries = len(w.deliveries) - (b.deliveries - b.deliveries_from) - 1
    calls = len(w.calls) - (b.calls - b.calls_from) - p.workers - 1
    if messages < 0:
        return MORE_MESSAGES
    if deliveries < 0:
        return MORE_DELIVERIES
    if calls < 0:
        return MORE_CALLS
    b.sure = min(messages, deliveries, calls)
    return FINISHED


@step
def note(w, what, count, next_s):  # type: ignore[no-untyped-def]
    """Write down how often something had happened at each sample before it happens again, which is at ``next_s``."""
    row = w.samplers[what]
    while row.sample_s < next_s:
        w.counts[what, row.tick] = count
        row.tick += 1
        row.sample_s = row.tick * w.plan.sample_every_s if row.tick < w.plan.samples else inf


@step
def note_cores(w, next_s):  # type: ignore[no-untyped-def]
    """Write down how long cores had been busy at each sample before they are needed again, which is at ``next_s``."""
    row = w.samplers[CORES]
    while row.sample_s < next_s:
        w.states[row.tick].core_busy_s = w.broker.core_busy_s
        row.tick += 1
        row.sample_s = row.tick * w.plan.sample_every_s if row.tick < w.plan.samples else inf
