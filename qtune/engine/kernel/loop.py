"""The loop: take the earliest event, let its actor act, and conclude what that set off.

An event's step notes in ``pending`` what must follow; :func:`conclude` does it in the order that the reference has.
That keeps every step in one place, so the compiled loop stays small.
"""

from __future__ import annotations

from math import inf

import numpy as np

from qtune.engine.kernel.background import background_is_due, release_unread
from qtune.engine.kernel.batches import start_batch
from qtune.engine.kernel.broker import add_call, enter, give_back, holds, leave, think
from qtune.engine.kernel.calendar import replay, set_slot
from qtune.engine.kernel.compiled import entry, step
from qtune.engine.kernel.delays import delays_end
from qtune.engine.kernel.downstream import worked_s
from qtune.engine.kernel.fleet import begin_fleet, drained, fleet_changes
from qtune.engine.kernel.groups import head_expires
from qtune.engine.kernel.layout import (
    FINISHED,
    MORE_BACKGROUND,
    MORE_CALLS,
    MORE_DELIVERIES,
    MORE_FLOWS,
    MORE_LOCKS,
    MORE_MESSAGES,
)
from qtune.engine.kernel.limits import refill
from qtune.engine.kernel.receivers import (
    call_ends,
    credit_arrives,
    look,
    match,
    poll_is_due,
    poll_waits,
    push_lands,
)
from qtune.engine.kernel.renewers import let_go, renewer_is_due, start_renewing
from qtune.engine.kernel.scaler import begin_scaling, scaler_acts
from qtune.engine.kernel.senders import end_lingering, open_door, sender_is_due
from qtune.engine.kernel.session_links import session_renewal_is_due, session_timer_is_due
from qtune.engine.kernel.sessions import session_lock_is_live, session_lost
from qtune.engine.kernel.source import admit, customer_is_due, next_due
from qtune.engine.kernel.workers import (
    begin_settle,
    next_delivery,
    next_delivery_by_call,
    settle_all,
    start,
    worker_is_due,
)
from qtune.engine.plan import BY_AGE, BY_SESSION, LINK_BURST, POLL
from qtune.result import MESSAGE_COMPLETED, MESSAGE_EXPIRED, MESSAGE_READY

EVERYTHING = 1 << 62


@entry
def begin(w):  # type: ignore[no-untyped-def]
    """Set up every actor, and let each do its first step at time 0."""
    p, b, q = w.plan, w.broker, w.pending
    begin_fleet(w)
    if p.scale_every_s > 0.0:
        begin_scaling(w)
    for sender in range(p.senders):
        w.idle_senders[sender] = sender
    b.idle_senders = p.senders
    for customer in range(p.customers):
        think(w, customer, 0.0)
    next_due(w)
    if len(w.pause_end_s) > 0:
        set_slot(w, w.slots.pause, w.pause_end_s[0])
    set_slot(w, w.slots.samples, 0.0)
    q.back = -1
    q.gone = -1
    q.counted = 1
    q.polled = -1
    q.let_go = -1
    q.settle_next = -1
    q.unread = -1
    q.feed_to = p.receivers_total
    if p.hands_out == BY_SESSION:
        b.waiting = 1  # somebody always waits, so that no arrival goes unseen


@step
def conclude(w, now_s):  # type: ignore[no-untyped-def]
    """Do what an event set off: settles first, then who is served, then the workers, and the receivers last."""
    p, b, q = w.plan, w.broker, w.pending
    if q.settle_count > 0:
        settle_all(w, now_s)
        q.settle_count = 0
    if q.back >= 0 or q.gone >= 0:
        state = MESSAGE_EXPIRED
        if q.back >= 0:
            state = give_back(w, q.back, q.counted == 1, now_s)
        if state != MESSAGE_READY:
            leave(w, max(q.back, q.gone), state, now_s)
        q.back = -1
        q.gone = -1
        q.counted = 1
    if p.senders > 0:
        open_door(w, now_s)
    elif b.entered < b.created:
        enter(w, now_s)
    if b.backlog > 0 and b.waiting > 0 and b.held == 0:
        match(w, now_s)
    if q.polled >= 0:
        poll_waits(w, q.polled, now_s)
        q.polled = -1
    if q.call == 1:
        add_call(w, q.call_start_s, now_s, q.call_consumer, q.call_op, q.call_count, q.call_outcome)
        q.call = 0
    if q.let_go >= 0:
        let_go(w, q.let_go, now_s)
        q.let_go = -1
    if q.settle_next >= 0:
        begin_settle(w, q.settle_next, q.everything, now_s)
        q.settle_next = -1
    if q.unread >= 0:
        if p.discipline == LINK_BURST and p.prefetch == 0:
            release_unread(w, q.unread, now_s)
        q.unread = -1
    for receiver in range(q.feed_from, q.feed_to):
        feed(w, receiver, now_s)
    if b.draining > 0:
        drained(w, now_s)
    q.feed_to = 0
    replay(w)


@step
def feed(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Let idle workers start on what is there, and then the receiver look for more."""
    p = w.plan
    row = w.receivers[receiver]
    while True:
        if p.discipline == LINK_BURST:
            delivery = next_delivery_by_call(w, receiver, now_s)
            worker = receiver
        else:
            delivery = next_delivery(w, receiver, now_s)
            worker = w.idle_workers[receiver, max(row.idle_workers - 1, 0)]
        if delivery < 0:
            break
        started = (
            start_batch(w, worker, delivery, now_s)
            if p.handler_batch > 1
            else start(w, worker, delivery, now_s)
        )
        if started:
            if p.discipline != LINK_BURST:
                row.idle_workers -= 1
            if p.renewers > 0:
                start_renewing(w, worker, now_s)
    look(w, receiver, now_s)


@step
def room(w):  # type: ignore[no-untyped-def]
    """Which array could be too small for the next event; FINISHED when none.

    One look is good for as many events as are sure to fit.
    """
    b, most = w.broker, w.plan.most_at_once
    if b.sure > 0:
        b.sure -= 1
        return FINISHED
    deliveries = len(w.deliveries) - (b.deliveries - b.deliveries_from) - most
    calls = len(w.calls) - (b.calls - b.calls_from) - most
    locks = len(w.lock_end_s) - (b.lock_tail - b.lock_head) - most
    background = len(w.background) - b.background - most
    if deliveries < 0:
        return MORE_DELIVERIES
    if calls < 0:
        return MORE_CALLS
    if locks < 0:
        return MORE_LOCKS
    if background < 0:
        return MORE_BACKGROUND
    if b.flows_short > 0:
        b.flows_short = 0
        return MORE_FLOWS
    messages = len(w.messages) - (b.created - b.messages_from) - 1
    if messages < 0:
        return MORE_MESSAGES
    b.sure = min(deliveries, calls, locks, background) // most
    if w.plan.customers > 0:
        b.sure = min(b.sure, messages)
    return FINISHED


@step
def slot_is_due(w, slot, now_s):  # type: ignore[no-untyped-def]
    """Let the actor of a slot act."""
    s = w.slots
    if slot < s.background:
        worker_is_due(w, slot - s.workers, now_s)
    elif slot < s.requests:
        background_is_due(w, now_s)
    elif slot < s.landings:
        if w.plan.discipline == POLL:
            poll_is_due(w, slot - s.requests, now_s)
        else:
            credit_arrives(w, slot - s.requests, now_s)
    elif slot < s.timers:
        push_lands(w, slot - s.landings, now_s)
    elif slot < s.renewers:
        timer_is_due(w, slot - s.timers, now_s)
    elif slot < s.senders:
        if w.plan.hands_out == BY_SESSION:
            session_renewal_is_due(w, slot - s.renewers, now_s)
        else:
            renewer_is_due(w, slot - s.renewers, now_s)
    elif slot < s.customers:
        sender_is_due(w, slot - s.senders, now_s)
    elif slot < s.gathering:
        customer_is_due(w, slot - s.customers, now_s)
    elif slot < s.refill:
        end_lingering(w, now_s)
    elif slot < s.delays:
        refill(w)
    elif slot < s.pause:
        delays_end(w, now_s)
    elif slot < s.scaler:
        pause_ends(w, now_s)
    elif slot < s.fleet:
        scaler_acts(w, now_s)
    elif slot < s.samples:
        fleet_changes(w, now_s)
    else:
        sample(w, now_s)


@step
def timer_is_due(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """A receive call's time is up, or the keep-alive reads the link; a session or a message did not come in time."""
    if w.plan.hands_out == BY_SESSION:
        session_timer_is_due(w, receiver, now_s)
        return
    set_slot(w, w.slots.timers + receiver, inf)
    if w.receivers[receiver].in_call == 1:
        call_ends(w, receiver)
    else:
        w.pending.unread = receiver


@step
def pause_ends(w, now_s):  # type: ignore[no-untyped-def]
    """Idle workers of every receiver start on what has gathered."""
    next_s = inf
    for pause in range(len(w.pause_end_s)):
        if w.pause_end_s[pause] > now_s:
            next_s = min(next_s, w.pause_end_s[pause])
    set_slot(w, w.slots.pause, next_s)
    w.pending.feed_from, w.pending.feed_to = 0, w.plan.receivers_total


@step
def sample(w, now_s):  # type: ignore[no-untyped-def]
    """Write the state down."""
    p, b = w.plan, w.broker
    row = w.states[b.tick]
    row.time_s = now_s
    row.core_busy_s = b.core_busy_s
    row.instance_s = b.instance_s + (now_s - b.paid_until_s) * b.paid
    row.consumers = b.running
    row.downstream_busy_s = worked_s(w, now_s) if p.has_downstream else 0.0
    row.refusals = b.refusals
    row.breaker_openings = b.breaker_openings
    row.breaker_rejections = b.breaker_rejections
    row.unsent = b.unsent
    row.delayed = b.delayed_tail - b.delayed_head
    row.backlog = b.backlog
    row.in_flight = b.in_flight
    row.buffered = b.buffered
    row.busy_workers = b.busy_workers
    b.tick += 1
    set_slot(w, w.slots.samples, b.tick * p.sample_every_s if b.tick < p.samples else inf)


@step
def lock_is_live(w):  # type: ignore[no-untyped-def]
    """Whether the lock at the head of the queue of locks stands and has not been renewed.

    Nearly all are settled by now, which the delivery's own row tells: the message's is not fetched from memory again.
    """
    b = w.broker
    mask = len(w.lock_end_s) - 1
    delivery = w.lock_delivery[b.lock_head & mask]
    if w.plan.hands_out == BY_SESSION:
        return session_lock_is_live(w, delivery, w.lock_end_s[b.lock_head & mask])
    if w.deliveries[delivery & (len(w.deliveries) - 1)].lock_end_s != w.lock_end_s[b.lock_head & mask]:
        return False
    return holds(w, delivery)


@step
def lock_runs_out(w, now_s):  # type: ignore[no-untyped-def]
    """The lock at the head of the queue of locks has run out."""
    b, q = w.broker, w.pending
    delivery = w.lock_delivery[b.lock_head & (len(w.lock_end_s) - 1)]
    b.lock_head += 1
    if w.plan.hands_out == BY_SESSION:
        session_lost(w, -1 - delivery, now_s)
        return
    b.in_flight -= 1
    q.back = w.deliveries[delivery & (len(w.deliveries) - 1)].message


@step
def retention_end_s(w):  # type: ignore[no-untyped-def]
    """When the retention of the oldest message ends that is still there; those that are gone are forgotten."""
    b = w.broker
    mask = len(w.messages) - 1
    while b.kept_head < b.kept_tail:
        message = w.kept[b.kept_head & mask]
        if message >= b.messages_from and w.messages[message & mask].state < MESSAGE_COMPLETED:
            return w.messages[message & mask].sent_s + w.plan.retention_s
        b.kept_head += 1
    return inf


@step
def retention_ends(w):  # type: ignore[no-untyped-def]
    """The oldest message has outlived its retention; if it is ready it is deleted."""
    b = w.broker
    mask = len(w.messages) - 1
    message = w.kept[b.kept_head & mask]
    b.kept_head += 1
    if w.messages[message & mask].state == MESSAGE_READY:
        b.backlog -= 1
        w.pending.gone = message
        if w.plan.hands_out != BY_AGE:
            head_expires(w, message)


@entry
def advance(w):  # type: ignore[no-untyped-def]
    """Run to the horizon, or until an array must grow; says which (FINISHED when the horizon is reached)."""
    p, b = w.plan, w.broker
    s = w.slots
    lock_mask = len(w.lock_end_s) - 1
    eager = p.capacity_messages > 0 or p.retention_s <= p.horizon_s or p.delay_s > 0.0
    now_s = 0.0
    while True:
        conclude(w, now_s)
        code = room(w)
        if code != FINISHED:
            return code
        now_s = np.int64(w.times[1]).view(np.float64)
        slot = w.winners[1]
        while b.lock_head < b.lock_tail and w.lock_end_s[b.lock_head & lock_mask] < now_s:
            if lock_is_live(w):
                now_s = w.lock_end_s[b.lock_head & lock_mask]
                slot = s.total
                break
            b.lock_head += 1
        ends_s = retention_end_s(w)
        if ends_s < now_s:
            now_s = ends_s
            slot = s.total + 1
        watched = b.idle_senders if p.senders > 0 else b.waiting
        arrives = b.next_due_s <= now_s and (watched > 0 or eager)
        if arrives:
            now_s = b.next_due_s
        if now_s > p.horizon_s:
            return admit(w, p.horizon_s, EVERYTHING)
        if arrives:
            code = admit(w, now_s, 1)
        elif slot >= s.background or p.abandons:
            code = admit(w, now_s, EVERYTHING)
        if code != FINISHED:
            return code
        if not arrives:
            if slot < s.total:
                slot_is_due(w, slot, now_s)
            elif slot == s.total:
                lock_runs_out(w, now_s)
            else:
                retention_ends(w)
