"""The fleet's steps: consumers start, are told to stop, drain, and end.

A consumer that does not run has slots without a time, its receivers neither rest nor wait and none of its workers is
idle: nothing that asks for those finds it, so a fleet that never changes pays nothing for one that does. A receiver
that has closed owes more places than it can have, so it never asks again.
"""

from __future__ import annotations

from math import inf, nan

from qtune.engine import streams
from qtune.engine.kernel.adaptive import forget_batches
from qtune.engine.kernel.background import RELEASED, put
from qtune.engine.kernel.batches import BATCH_ASKING, BATCH_ATTEMPTING, BATCH_HANDLING
from qtune.engine.kernel.breaker import reset_breaker
from qtune.engine.kernel.broker import in_line
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.clients import new_client
from qtune.engine.kernel.compiled import apart, rare
from qtune.engine.kernel.downstream import ASKING, ATTEMPTING, ENDING, HANDLING
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.losses import lose, lose_background, lose_unheard
from qtune.engine.kernel.polls import ANSWERED
from qtune.engine.kernel.receivers import FREE, RESTING
from qtune.engine.kernel.renewers import IDLE
from qtune.engine.kernel.sessions import close_sessions, forget_session, leave_sessions
from qtune.engine.kernel.workers import AT_BROKER, DEAD, PAUSED, SETTLING, TRYING_AGAIN
from qtune.engine.plan import (
    BY_SESSION,
    DRAINING,
    GONE,
    LINK_BURST,
    POLL,
    RUNNING,
    STARTING,
    STOPPING,
)

CLOSED = 1 << 40
"""More places than any receiver has."""


@apart
def begin_fleet(w):  # type: ignore[no-untyped-def]
    """The first consumers run at the start, and the others are gone."""
    p = w.plan
    for consumer in range(p.consumers):
        w.consumers[consumer].due_s = inf
        w.consumers[consumer].phase = GONE
        if consumer < p.consumers - p.absent_at_start:
            w.consumers[consumer].phase = RUNNING
            start_consumer(w, consumer, 0.0)
        else:
            is_absent(w, consumer)
    w.broker.running = w.broker.paid = p.consumers - p.absent_at_start
    if p.fleet_changes:
        next_change(w)


@apart
def is_absent(w, consumer):  # type: ignore[no-untyped-def]
    """A consumer that has never run."""
    p = w.plan
    for receiver in range(consumer * p.receivers, (consumer + 1) * p.receivers):
        w.receivers[receiver].consumer = consumer
        w.receivers[receiver].state = DEAD
        for worker in range(receiver * p.workers, (receiver + 1) * p.workers):
            w.workers[worker].phase = DEAD


@apart
def next_change(w):  # type: ignore[no-untyped-def]
    """Let the fleet be due when the next of its consumers is, or the next event of the plan."""
    b = w.broker
    due_s = w.fleet_at_s[b.fleet] if b.fleet < len(w.fleet_at_s) else inf
    for consumer in range(w.plan.consumers):
        due_s = min(due_s, w.consumers[consumer].due_s)
    set_slot(w, w.slots.fleet, due_s)


@rare()
def fleet_changes(w, now_s):  # type: ignore[no-untyped-def]
    """One consumer starts, is told to stop or is killed; or the plan says who is to stop."""
    p, b, q = w.plan, w.broker, w.pending
    for consumer in range(p.consumers):
        row = w.consumers[consumer]
        if row.due_s <= now_s:
            if row.phase == STARTING:
                row.phase = RUNNING
                row.due_s = inf
                b.running += 1
                start_consumer(w, consumer, now_s)
            elif row.phase == STOPPING and row.grace_s > 0.0:
                row.phase = DRAINING
                row.due_s = now_s + row.grace_s
                b.draining += 1
                close_consumer(w, consumer, now_s)
            else:
                is_gone(w, consumer, now_s)
            q.feed_from = consumer * p.receivers
            q.feed_to = q.feed_from + p.receivers
            next_change(w)
            return
    left = w.fleet_count[b.fleet]
    for consumer in range(p.consumers):
        if left > 0 and w.consumers[consumer].phase == RUNNING:
            stop(w, consumer, w.fleet_grace_s[b.fleet], w.fleet_back_s[b.fleet], now_s)
            left -= 1
    b.fleet += 1
    next_change(w)


@rare()
def stop(w, consumer, grace_s, back_s, now_s):  # type: ignore[no-untyped-def]
    """Tell a consumer to stop; what follows is an event of its own at this instant."""
    row = w.consumers[consumer]
    row.phase = STOPPING
    row.due_s = now_s
    row.grace_s = grace_s
    row.back_s = back_s
    w.broker.running -= 1


@apart
def pay_up(w, now_s):  # type: ignore[no-untyped-def]
    """Count the time of the instances up to now, before their number changes."""
    b = w.broker
    b.instance_s = b.instance_s + (now_s - b.paid_until_s) * b.paid
    b.paid_until_s = now_s


@rare()
def is_gone(w, consumer, now_s):  # type: ignore[no-untyped-def]
    """A consumer has ended; if it is to come back, it begins to start now."""
    row = w.consumers[consumer]
    if row.phase == DRAINING:
        w.broker.draining -= 1
    kill_consumer(w, consumer, now_s)
    row.due_s = now_s + row.back_s
    row.phase = STARTING if row.due_s < inf else GONE
    if row.phase == GONE:
        pay_up(w, now_s)
        w.broker.paid -= 1


@rare()
def drained(w, now_s):  # type: ignore[no-untyped-def]
    """An event that concerned some receivers is over: their consumer is gone if it drained and has nothing left."""
    q = w.pending
    if q.feed_to <= q.feed_from:
        return
    first, last = q.feed_from // w.plan.receivers, (q.feed_to - 1) // w.plan.receivers
    for consumer in range(first, last + 1):
        if w.consumers[consumer].phase == DRAINING and has_nothing(w, consumer):
            if w.plan.hands_out == BY_SESSION:
                close_sessions(w, consumer, now_s)
            is_gone(w, consumer, now_s)
            next_change(w)


@rare(False)
def has_nothing(w, consumer):  # type: ignore[no-untyped-def]
    """Whether a consumer has nothing in hand and nothing on its way."""
    p = w.plan
    for receiver in range(consumer * p.receivers, (consumer + 1) * p.receivers):
        row = w.receivers[receiver]
        if row.state == ANSWERED or row.head < row.tail:
            return False
        for worker in range(receiver * p.workers, (receiver + 1) * p.workers):
            if is_busy(w, worker):
                return False
    for place in range(w.broker.background):
        step = w.background[place]
        if step.receiver >= 0 and w.receivers[step.receiver].consumer == consumer:
            return False
    return True


@rare(False)
def is_busy(w, worker):  # type: ignore[no-untyped-def]
    """Whether a worker is with a delivery."""
    phase = w.workers[worker].phase
    batch = phase in (BATCH_ATTEMPTING, BATCH_ASKING, BATCH_HANDLING)
    return batch or phase in (ATTEMPTING, ASKING, ENDING, HANDLING, AT_BROKER, SETTLING, TRYING_AGAIN)


@apart
def start_consumer(w, consumer, now_s):  # type: ignore[no-untyped-def]
    """Set up a consumer with nothing in hand; what numbers its calls and credit goes on from before."""
    p = w.plan
    for place in range(p.renewers):
        renewer = consumer * p.renewers + place
        w.renewers[renewer].consumer = consumer
        w.idle_renewers[consumer, place] = renewer
    w.consumers[consumer].idle_renewers = p.renewers
    new_client(w, consumer, now_s)
    for core in range(p.cores):
        w.core_free_s[consumer, core] = 0.0
    if p.has_breaker:
        reset_breaker(w, consumer)
    for receiver in range(consumer * p.receivers, (consumer + 1) * p.receivers):
        row = w.receivers[receiver]
        row.consumer = consumer
        row.state = RESTING
        row.visited = row.call
        row.closed = 0
        row.in_hand = 0
        row.freed = p.in_hand_limit if p.discipline != POLL and p.hands_out != BY_SESSION else 0
        row.idle_workers = 0
        if p.adaptive_least > 0:
            forget_batches(w, receiver)
        if p.gather_s > 0.0:
            w.gathers_until_s[receiver] = 0.0
        for place in range(p.workers):
            worker = receiver * p.workers + place
            its = w.workers[worker]
            its.receiver = receiver
            its.consumer = consumer
            its.renewer = -1
            its.delivery = -1
            its.handled = 0
            its.rounds = 0
            its.refused = 0
            its.spent = 0
            its.phase = FREE
            if p.discipline != LINK_BURST:
                w.idle_workers[receiver, place] = worker
                row.idle_workers += 1


@rare()
def close_consumer(w, consumer, now_s):  # type: ignore[no-untyped-def]
    """A consumer receives no more, and gives back or leaves what no handler has begun with."""
    p = w.plan
    leave_line(w, consumer)
    for receiver in range(consumer * p.receivers, (consumer + 1) * p.receivers):
        row = w.receivers[receiver]
        row.closed = 1
        row.freed -= CLOSED
        if p.gather_s > 0.0:
            w.gathers_until_s[receiver] = 0.0
        if p.discipline != POLL:
            close_link(w, receiver, now_s)
        elif row.state != ANSWERED or row.landed == row.tail:
            row.state = DEAD
            set_slot(w, w.slots.requests + receiver, inf)


@rare()
def close_link(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A link closes: what its consumer has, and no worker has begun with, is given back or left to its lock."""
    p, s = w.plan, w.slots
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    first = row.head
    if p.hands_out == BY_SESSION:  # what no handler has begun with comes back with the session
        leave_sessions(w, receiver)
        first = row.tail
        w.broker.buffered -= row.landed - row.head
        row.head = row.landed = row.tail
    if p.discipline == LINK_BURST and (is_busy(w, receiver) or w.workers[receiver].phase == PAUSED):
        first += row.batch_left  # what a call has returned is in its worker's hands
    for place in range(first, row.tail):
        delivery = w.buffer[receiver, place & mask]
        if p.returns_unstarted:
            give_up(w, delivery, receiver, w.land_s[receiver, place & mask], now_s)
        else:
            lose(w, delivery)
    w.broker.buffered -= row.landed - first
    row.read = row.landed = row.tail = first
    set_slot(w, s.requests + receiver, inf)
    set_slot(w, s.landings + receiver, inf)
    row.limit = row.known_limit = row.received = row.pushed
    row.flow_head = row.flow_tail
    if p.discipline == LINK_BURST:
        row.batch_left = first - row.head
        set_slot(w, s.timers + receiver, inf)
        row.in_call = 0
        phase = w.workers[receiver].phase
        if not is_busy(w, receiver) and not (phase == PAUSED and row.batch_left > 0):
            w.workers[receiver].phase = DEAD
            set_slot(w, s.workers + receiver, inf)


@rare()
def give_up(w, delivery, receiver, land_s, now_s):  # type: ignore[no-untyped-def]
    """Send a delivery back, uncounted, as soon as it is there."""
    its = w.deliveries[delivery & (len(w.deliveries) - 1)]
    half_s = 0.5 * trip_s(w, streams.SETTLE, streams.RELEASE, its.message, its.delivery_no, now_s)
    put(w, max(now_s, land_s) + half_s, now_s, half_s, delivery, RELEASED, 0, receiver, 0, 0)


@rare()
def kill_consumer(w, consumer, now_s):  # type: ignore[no-untyped-def]
    """A consumer ends at once: what it has in hand is lost, and its calls on their way vanish."""
    p = w.plan
    if p.hands_out == BY_SESSION:
        lose_unheard(w, consumer)
    lose_background(w, consumer)
    leave_line(w, consumer)
    for receiver in range(consumer * p.receivers, (consumer + 1) * p.receivers):
        kill_receiver(w, receiver)
        for place in range(p.workers):
            kill_worker(w, receiver * p.workers + place, now_s)
    for renewer in range(consumer * p.renewers, (consumer + 1) * p.renewers):
        w.renewers[renewer].phase = IDLE
        set_slot(w, w.slots.renewers + renewer, inf)
    w.consumers[consumer].to_renew_head = w.consumers[consumer].to_renew_tail


@rare()
def leave_line(w, consumer):  # type: ignore[no-untyped-def]
    """The receivers of a consumer wait for messages no more."""
    b = w.broker
    mask = len(w.demand) - 1
    kept = b.demand_head
    for place in range(b.demand_head, b.demand_tail):
        receiver = w.demand[place & mask]
        row = w.receivers[receiver]
        if not in_line(w, place):
            continue
        if row.consumer == consumer:
            b.waiting -= 1
            continue
        w.demand[kept & mask] = receiver
        w.demand_call[kept & mask] = w.demand_call[place & mask]
        kept += 1
    b.demand_tail = kept


@rare()
def kill_receiver(w, receiver):  # type: ignore[no-untyped-def]
    """A receiver and what it has in its buffer or on its way are gone."""
    p, s = w.plan, w.slots
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    if p.hands_out != BY_SESSION:  # there all is lost already, and what is on its way need not be a message
        for place in range(row.head, row.tail):
            lose(w, w.buffer[receiver, place & mask])
    w.broker.buffered -= row.landed - row.head
    set_slot(w, s.requests + receiver, inf)
    if p.discipline != POLL:
        set_slot(w, s.landings + receiver, inf)
    if p.discipline == LINK_BURST:
        set_slot(w, s.timers + receiver, inf)
    if p.hands_out == BY_SESSION:
        forget_session(w, receiver)
    row.state = DEAD
    row.call += 1
    row.refused = row.spent = 0
    row.head = row.read = row.landed = row.tail
    row.in_hand = row.freed = row.idle_workers = row.batch_left = row.in_call = row.lingers = 0
    row.limit = row.known_limit = row.received = row.pushed
    row.flow_head = row.flow_tail
    row.last_flow_s = row.last_push_s = 0.0


@rare()
def kill_batch(w, worker, now_s):  # type: ignore[no-untyped-def]
    """What a worker has in its call, or has still to settle by itself, is gone."""
    for place in range(w.batch_next[worker], w.batch_count[worker]):
        lose(w, w.in_batch[worker, place])
        its = w.deliveries[w.in_batch[worker, place] & (len(w.deliveries) - 1)]
        if its.started_s > now_s:
            its.started_s = nan
    w.batch_count[worker] = 0


@rare()
def kill_worker(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A worker and the deliveries it has not settled are gone."""
    row = w.workers[worker]
    for place in range(row.handled):
        lose(w, w.handled[worker, place])
    if w.plan.handler_batch > 1:
        kill_batch(w, worker, now_s)
    if is_busy(w, worker):
        w.broker.busy_workers -= 1
        if row.delivery >= 0:
            its = w.deliveries[row.delivery & (len(w.deliveries) - 1)]
            lose(w, row.delivery)
            if its.started_s > now_s:
                its.started_s = nan
            elif row.phase == SETTLING and row.finished_s <= now_s:
                its.finished_s = row.finished_s
                its.attempts = row.attempts
    if w.plan.attempt_waits and w.attempt_end_s[worker] > now_s:
        # The downstream works on for nobody: its connection stays taken, and the rest does not count as work.
        left_s = w.attempt_end_s[worker] - max(w.attempt_start_s[worker], now_s)
        w.broker.downstream_busy_s = w.broker.downstream_busy_s - left_s
        w.attempt_end_s[worker] = 0.0
    row.phase = DEAD
    row.delivery = -1
    row.renewer = -1
    row.handled = 0
    set_slot(w, w.slots.workers + worker, inf)
