"""The fleet's steps: a consumer is killed with all that it has in hand, or starts with nothing in hand.

A dead consumer's slots hold no time, its receivers neither rest nor wait and none of its workers is idle: nothing
that asks for those finds it, so a fleet that never changes pays nothing for one that does.
"""

from __future__ import annotations

from math import inf, nan

from qtune.engine.kernel.broker import WAITING
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import rare
from qtune.engine.kernel.downstream import HANDLING
from qtune.engine.kernel.receivers import FREE, RESTING
from qtune.engine.kernel.renewers import IDLE
from qtune.engine.kernel.workers import AT_BROKER, ATTEMPTING, SETTLING, TRYING_AGAIN
from qtune.engine.plan import LINK_BURST, POLL
from qtune.result import DELIVERY_LOST, DELIVERY_OPEN

DEAD = 12
"""State of a receiver, and phase of a worker, whose consumer does not run."""


@rare
def fleet_changes(w, now_s):  # type: ignore[no-untyped-def]
    """The next consumer of the plan is killed or starts."""
    b, q = w.broker, w.pending
    consumer = w.fleet_consumer[b.fleet]
    starts = w.fleet_starts[b.fleet] == 1
    b.fleet += 1
    set_slot(w, w.slots.fleet, w.fleet_at_s[b.fleet] if b.fleet < len(w.fleet_at_s) else inf)
    if starts:
        start_consumer(w, consumer)
        q.feed_from = consumer * w.plan.receivers
        q.feed_to = q.feed_from + w.plan.receivers
    else:
        kill_consumer(w, consumer, now_s)


@rare
def start_consumer(w, consumer):  # type: ignore[no-untyped-def]
    """Set up a consumer with nothing in hand; what numbers its calls and credit goes on from before."""
    p = w.plan
    for place in range(p.renewers):
        renewer = consumer * p.renewers + place
        w.renewers[renewer].consumer = consumer
        w.idle_renewers[consumer, place] = renewer
    w.consumers[consumer].idle_renewers = p.renewers
    w.clients[consumer].tokens = p.retry_tokens
    for core in range(p.cores):
        w.core_free_s[consumer, core] = 0.0
    for receiver in range(consumer * p.receivers, (consumer + 1) * p.receivers):
        row = w.receivers[receiver]
        row.consumer = consumer
        row.state = RESTING
        row.in_hand = 0
        row.freed = p.in_hand_limit if p.discipline != POLL else 0
        row.idle_workers = 0
        for place in range(p.workers):
            worker = receiver * p.workers + place
            its = w.workers[worker]
            its.receiver = receiver
            its.consumer = consumer
            its.renewer = -1
            its.delivery = -1
            its.handled = 0
            its.refused = 0
            its.spent = 0
            its.phase = FREE
            if p.discipline != LINK_BURST:
                w.idle_workers[receiver, place] = worker
                row.idle_workers += 1


@rare
def kill_consumer(w, consumer, now_s):  # type: ignore[no-untyped-def]
    """A consumer ends at once: what it has in hand is lost, and its calls on their way vanish."""
    p = w.plan
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


@rare
def lose(w, delivery):  # type: ignore[no-untyped-def]
    """A delivery is lost with its consumer."""
    row = w.deliveries[delivery & (len(w.deliveries) - 1)]
    if row.outcome == DELIVERY_OPEN:
        row.outcome = DELIVERY_LOST


@rare
def lose_background(w, consumer):  # type: ignore[no-untyped-def]
    """Settles and releases of a consumer that are on their way never arrive."""
    for place in range(w.broker.background):
        step = w.background[place]
        if step.receiver >= 0 and w.receivers[step.receiver].consumer == consumer:
            lose(w, step.delivery)
            step.receiver = -1


@rare
def leave_line(w, consumer):  # type: ignore[no-untyped-def]
    """The receivers of a consumer wait for messages no more."""
    p, b = w.plan, w.broker
    mask = len(w.demand) - 1
    kept = b.demand_head
    for place in range(b.demand_head, b.demand_tail):
        receiver = w.demand[place & mask]
        row = w.receivers[receiver]
        lives = p.discipline != POLL or (row.state == WAITING and row.call == w.demand_call[place & mask])
        if not lives:
            continue
        if row.consumer == consumer:
            b.waiting -= 1
            continue
        w.demand[kept & mask] = receiver
        w.demand_call[kept & mask] = w.demand_call[place & mask]
        kept += 1
    b.demand_tail = kept


@rare
def kill_receiver(w, receiver):  # type: ignore[no-untyped-def]
    """A receiver and what it has in its buffer or on its way are gone."""
    p, s = w.plan, w.slots
    row = w.receivers[receiver]
    mask = w.buffer.shape[1] - 1
    for place in range(row.head, row.tail):
        lose(w, w.buffer[receiver, place & mask])
    w.broker.buffered -= row.landed - row.head
    set_slot(w, s.requests + receiver, inf)
    if p.discipline != POLL:
        set_slot(w, s.landings + receiver, inf)
    if p.discipline == LINK_BURST:
        set_slot(w, s.timers + receiver, inf)
    row.state = DEAD
    row.call += 1
    row.refused = row.spent = 0
    row.head = row.read = row.landed = row.tail
    row.in_hand = row.freed = row.idle_workers = row.batch_left = row.in_call = row.lingers = 0
    row.limit = row.known_limit = row.received = row.pushed
    row.flow_head = row.flow_tail
    row.last_flow_s = row.last_push_s = 0.0


@rare
def kill_worker(w, worker, now_s):  # type: ignore[no-untyped-def]
    """A worker and the deliveries it has not settled are gone."""
    row = w.workers[worker]
    for place in range(row.handled):
        lose(w, w.handled[worker, place])
    if row.phase in (ATTEMPTING, HANDLING, AT_BROKER, SETTLING, TRYING_AGAIN):
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
