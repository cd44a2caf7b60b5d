"""The steps of senders: what one call takes, when it is made, and how a batch gets in."""

from __future__ import annotations

from math import inf

from qtune.engine import streams
from qtune.engine.kernel.broker import add_call, is_full, refuse, served_at, store
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.clients import GIVES_UP, answered, connected_s, hang_up, next_after_s, price_of
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.draws import happens, trip_s, uniform
from qtune.engine.kernel.limits import ask
from qtune.engine.kernel.pacing import note_answer
from qtune.result import CALL_OK, OP_SEND

# Phases of a sender that makes a call.
REACHES = 0
SERVED = 1
ANSWERED = 2
REFUSED = 3
WAITS = 4


@step
def begin_send(w, sender, now_s):  # type: ignore[no-untyped-def]
    """A sender makes its call, for the first time or again."""
    row = w.senders[sender]
    row.start_s = now_s
    key = row.rounds + row.refused * streams.NEXT_TRY
    row.half_s = 0.5 * trip_s(w, streams.SEND, streams.SEND, row.message, key, now_s)
    row.phase = REACHES
    leaves_s = connected_s(w, client_of(w, sender), OP_SEND, row.message, key, now_s, now_s)
    set_slot(w, w.slots.senders + sender, leaves_s + row.half_s)


@step
def client_of(w, sender):  # type: ignore[no-untyped-def]
    """The client object of a sender; those of senders come after those of consumers."""
    return w.plan.consumers + sender // w.plan.senders_each


@step
def open_door(w, now_s):  # type: ignore[no-untyped-def]
    """Let in what waits at the door as far as there is room, and let idle senders send what has fallen due."""
    p, b = w.plan, w.broker
    while b.door_head < b.door_tail and (p.rejects_when_full or not is_full(w)):
        sender = w.door[b.door_head & (len(w.door) - 1)]
        if not is_through(w, sender, now_s):
            break
        b.door_head += 1
        set_slot(w, w.slots.senders + sender, now_s + w.senders[sender].half_s)
    serve_idle_senders(w, now_s)


@step
def serve_idle_senders(w, now_s):  # type: ignore[no-untyped-def]
    """Let idle senders take what waits, or look again when the oldest message has lingered."""
    b = w.broker
    while b.idle_senders > 0 and b.next_to_send < b.created:
        if w.plan.send_linger_s > 0.0 and joins(w, now_s):
            break
        b.idle_senders -= 1
        take(w, w.idle_senders[b.idle_senders], now_s)


@rare()
def send_failed_again(w, sender, now_s):  # type: ignore[no-untyped-def]
    """Send the entries of a batch that failed in a call of their own."""
    row = w.senders[sender]
    row.entries = row.failed
    row.rounds += 1
    row.refused = 0
    row.spent = 0
    begin_send(w, sender, now_s)


@step
def is_through(w, sender, now_s):  # type: ignore[no-untyped-def]
    """Let a sender's batch in, as far as there is room; whether all of it is in, or refused."""
    p, row = w.plan, w.senders[sender]
    while row.entered < row.count:
        if is_entry(w, sender, row.entered) and not has_failed(w, sender, row.entered):
            if not is_full(w):
                store(w, row.message + row.entered, now_s)
            elif p.rejects_when_full:
                refuse(w, row.message + row.entered, now_s)
            else:
                return False
        row.entered += 1
    return True


@step
def is_entry(w, sender, place):  # type: ignore[no-untyped-def]
    """Whether the message at this place of a sender's batch is an entry of its present call."""
    return w.plan.entry_fail_steps == 0 or (w.senders[sender].entries >> place) & 1 == 1


@step
def has_failed(w, sender, place):  # type: ignore[no-untyped-def]
    """Whether the message at this place of a sender's batch is an entry that failed."""
    return w.plan.entry_fail_steps > 0 and (w.senders[sender].failed >> place) & 1 == 1


@step
def wanted(w):  # type: ignore[no-untyped-def]
    """How many messages the next call takes if there are as many."""
    p = w.plan
    if p.send_batch == p.send_batch_from:
        return p.send_batch
    part = uniform(w, streams.SEND_BATCH, w.broker.next_to_send, 0)
    return p.send_batch_from + int(part * (p.send_batch - p.send_batch_from + 1))


@rare(False)
def joins(w, now_s):  # type: ignore[no-untyped-def]
    """Whether the messages that wait let others join them; they are looked at again when the oldest has lingered."""
    b = w.broker
    until_s = w.messages[b.next_to_send & (len(w.messages) - 1)].due_s + w.plan.send_linger_s
    late = now_s >= until_s if b.gathered == 1 else now_s > until_s
    if late or b.created - b.next_to_send >= wanted(w):
        return False
    set_slot(w, w.slots.gathering, until_s)
    return True


@step
def take(w, sender, now_s):  # type: ignore[no-untyped-def]
    """A sender takes the messages that have waited longest, and sends them."""
    b, row = w.broker, w.senders[sender]
    row.message = b.next_to_send
    row.count = min(wanted(w), b.created - b.next_to_send)
    row.entries = -1
    row.rounds = 0
    row.refused = 0
    row.spent = 0
    b.next_to_send += row.count
    begin_send(w, sender, now_s)


@rare()
def end_lingering(w, now_s):  # type: ignore[no-untyped-def]
    """The oldest message has waited long enough for others: it goes with those that are there."""
    w.broker.gathered = 1
    set_slot(w, w.slots.gathering, inf)
    serve_idle_senders(w, now_s)
    w.broker.gathered = 0


@step
def sender_is_due(w, sender, now_s):  # type: ignore[no-untyped-def]
    """A send reaches the broker, has been served, is answered or refused, or is tried again."""
    row = w.senders[sender]
    phase = row.phase
    if phase == ANSWERED:
        send_is_answered(w, sender, now_s)
    elif phase == REACHES and w.plan.calls_served_at_once > 0:
        row.phase = SERVED
        key = row.rounds + row.refused * streams.NEXT_TRY
        served_s = served_at(w, streams.BROKER_SEND, row.message, key, now_s)
        set_slot(w, w.slots.senders + sender, served_s)
    elif phase > ANSWERED or (w.plan.refuses and send_is_refused(w, sender, now_s)):
        refused_send_goes_on(w, sender, now_s)
    else:
        come_to_door(w, sender, now_s)


@step
def come_to_door(w, sender, now_s):  # type: ignore[no-untyped-def]
    """A send is at the queue's door; it is answered half a round trip after it has come in."""
    b, row = w.broker, w.senders[sender]
    row.phase = ANSWERED
    row.entered = 0
    row.taken = row.count
    row.failed = 0
    answered_s = inf
    if w.plan.entry_fail_steps > 0 and all_fail(w, sender):
        answered_s = now_s + row.half_s
    else:
        w.door[b.door_tail & (len(w.door) - 1)] = sender
        b.door_tail += 1
    set_slot(w, w.slots.senders + sender, answered_s)


@step
def send_is_answered(w, sender, now_s):  # type: ignore[no-untyped-def]
    """A sender has its answer: it sends entries that failed again, or is free for more."""
    b, row = w.broker, w.senders[sender]
    hang_up(w, client_of(w, sender), row.start_s, now_s)
    if w.plan.paces_calls:
        note_answer(w, client_of(w, sender), CALL_OK, now_s)
    add_call(w, row.start_s, now_s, sender, OP_SEND, row.taken, CALL_OK)
    set_slot(w, w.slots.senders + sender, inf)
    if row.failed != 0:
        send_failed_again(w, sender, now_s)
    else:
        w.idle_senders[b.idle_senders] = sender
        b.idle_senders += 1


@rare(False)
def all_fail(w, sender):  # type: ignore[no-untyped-def]
    """Find the entries of a call that fail, and whether all of them do: then the sender need not go to the door."""
    row = w.senders[sender]
    row.taken = 0
    for place in range(row.count):
        if is_entry(w, sender, place):
            if happens(w, streams.ENTRY, row.message + place, row.rounds, w.plan.entry_fail_steps):
                row.failed |= 1 << place
            else:
                row.taken += 1
    return row.taken == 0


@rare(False, level=USUAL)
def send_is_refused(w, sender, now_s):  # type: ignore[no-untyped-def]
    """Whether a limit refuses a send that has come to the broker."""
    row = w.senders[sender]
    entries = 0
    for place in range(row.count):
        entries += is_entry(w, sender, place)
    row.outcome = ask(w, OP_SEND, entries, row.start_s, now_s)
    if row.outcome != CALL_OK:
        return True
    answered(w, client_of(w, sender), row.spent)
    return False


@rare(level=USUAL)
def refused_send_goes_on(w, sender, now_s):  # type: ignore[no-untyped-def]
    """A refusal leaves the broker or reaches the client, which tries again later or gives the messages up."""
    b, row = w.broker, w.senders[sender]
    slot = w.slots.senders + sender
    if row.phase == WAITS:
        begin_send(w, sender, now_s)
        return
    if row.phase != REFUSED:
        row.phase = REFUSED
        set_slot(w, slot, now_s + row.half_s)
        return
    client = client_of(w, sender)
    hang_up(w, client, row.start_s, now_s)
    if w.plan.paces_calls:
        note_answer(w, client, row.outcome, now_s)
    add_call(w, row.start_s, now_s, sender, OP_SEND, 0, row.outcome)
    wait_s = next_after_s(w, client, row.outcome, OP_SEND, row.message, row.rounds, row.refused)
    if wait_s == GIVES_UP:
        for place in range(row.count):
            if is_entry(w, sender, place):
                refuse(w, row.message + place, now_s)
        set_slot(w, slot, inf)
        w.idle_senders[b.idle_senders] = sender
        b.idle_senders += 1
    else:
        row.refused += 1
        row.spent = price_of(w, row.outcome)
        row.phase = WAITS
        set_slot(w, slot, now_s + wait_s)
