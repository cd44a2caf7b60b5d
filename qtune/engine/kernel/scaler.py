"""The scaler's steps: look at the queue now and then, and change the number of consumers.

The number wanted is found by the functions of :mod:`qtune.engine.scaling`, compiled here.
"""

from __future__ import annotations

from math import inf

from qtune.engine import scaling
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import apart, rare
from qtune.engine.kernel.fleet import next_change, pay_up, stop
from qtune.engine.kernel.groups import groups_with_messages
from qtune.engine.kernel.limits import down_until_s
from qtune.engine.plan import GONE, RUNNING, STARTING

wanted, settled, stepped = apart(scaling.wanted), apart(scaling.settled), apart(scaling.stepped)
within, woken = apart(scaling.within), apart(scaling.woken)

NOT_YET = -1
UNKNOWN = -2


@rare()
def begin_scaling(w):  # type: ignore[no-untyped-def]
    """The first look is one period after the start; until now the fleet of the start was wanted."""
    row = w.scaler
    row.polls = 1
    row.syncs = 1
    row.active_s = -inf
    note_want(w, 0.0, w.plan.consumers - w.plan.absent_at_start)
    next_act(w)


@rare()
def next_act(w):  # type: ignore[no-untyped-def]
    """Let the scaler be due at its next multiple of one of its periods."""
    p, row = w.plan, w.scaler
    row.poll_s = row.polls * p.scale_poll_s if p.scale_poll_s > 0.0 else inf
    row.sync_s = row.syncs * p.scale_every_s
    set_slot(w, w.slots.scaler, min(row.poll_s, row.sync_s))


@rare()
def scaler_acts(w, now_s):  # type: ignore[no-untyped-def]
    """Look; then wake the fleet or put it to sleep, and then set the number."""
    p, b, row = w.plan, w.broker, w.scaler
    mask = len(w.look_s) - 1
    w.look_s[row.looks & mask] = now_s
    if p.scale_groups:
        w.look[row.looks & mask] = groups_with_messages(w)
    else:
        w.look[row.looks & mask] = b.backlog + (b.in_flight if p.scale_in_flight else 0)
    if down_until_s(w, now_s) > 0.0:
        w.look[row.looks & mask] = UNKNOWN
    row.looks += 1
    messages = seen(w, now_s)
    polls, syncs = row.poll_s <= now_s, row.sync_s <= now_s
    if polls:
        row.polls += 1
        if messages >= 0:
            wake(w, messages, now_s)
    if syncs:
        row.syncs += 1
        if messages != NOT_YET:
            synchronize(w, messages, now_s)
    next_act(w)


@rare(0)
def seen(w, now_s):  # type: ignore[no-untyped-def]
    """How many messages the newest look shows that is old enough, UNKNOWN in an outage, or NOT_YET."""
    row = w.scaler
    mask = len(w.look_s) - 1
    before_s = now_s - w.plan.scale_lag_s
    for place in range(row.looks - 1, max(row.looks - len(w.look_s), 0) - 1, -1):
        if w.look_s[place & mask] <= before_s:
            return w.look[place & mask]
    return NOT_YET


@rare(0)
def current_of(w):  # type: ignore[no-untyped-def]
    """How many consumers run or start."""
    count = 0
    for consumer in range(w.plan.consumers):
        if w.consumers[consumer].phase in (RUNNING, STARTING):
            count += 1
    return count


@rare()
def wake(w, messages, now_s):  # type: ignore[no-untyped-def]
    """A fleet without work sleeps after a while, and wakes when there is some."""
    p, row = w.plan, w.scaler
    if messages > p.scale_activation:
        row.active_s = now_s
    idle_s = now_s - row.active_s
    current = current_of(w)
    number = woken(
        messages, p.scale_activation, current, p.scale_least, p.scale_asleep, idle_s, p.scale_cooldown_s
    )
    resize(w, number, current, now_s)


@rare()
def synchronize(w, messages, now_s):  # type: ignore[no-untyped-def]
    """As many consumers as the messages want, or the fallback when their number is not known for long."""
    p, row, current = w.plan, w.scaler, current_of(w)
    if p.scale_poll_s > 0.0 and current == 0:
        return
    row.failures = row.failures + 1 if messages == UNKNOWN else 0
    if messages != UNKNOWN:
        set_number(w, wanted(messages, p.scale_target, current, p.scale_tolerance), current, now_s)
    elif p.scale_fallback > 0 and row.failures > p.scale_failures:
        set_number(w, wanted(p.scale_fallback, 1.0, current, p.scale_tolerance), current, now_s)


@rare()
def set_number(w, want, current, now_s):  # type: ignore[no-untyped-def]
    """As many consumers as are wanted, with respect to what was wanted lately."""
    p, row = w.plan, w.scaler
    least = max(p.scale_least, 1) if p.scale_poll_s > 0.0 else p.scale_least
    note_want(w, now_s, want)
    mask = len(w.want_s) - 1
    low, high = want, want
    for place in range(max(row.wants - len(w.want_s), 0), row.wants):
        if w.want_s[place & mask] > now_s - p.scale_up_window_s:
            low = min(low, w.want[place & mask])
        if w.want_s[place & mask] > now_s - p.scale_down_window_s:
            high = max(high, w.want[place & mask])
    number = stepped(current, settled(current, low, high), p.scale_up_share, p.scale_up_count)
    resize(w, within(least, number, p.consumers), current, now_s)


@rare()
def note_want(w, now_s, want):  # type: ignore[no-untyped-def]
    """Keep in mind what was wanted."""
    row = w.scaler
    mask = len(w.want_s) - 1
    w.want_s[row.wants & mask] = now_s
    w.want[row.wants & mask] = want
    row.wants += 1


@rare()
def resize(w, number, current, now_s):  # type: ignore[no-untyped-def]
    """Start consumers, or cancel starts and stop consumers, from the highest number down."""
    p, b = w.plan, w.broker
    change = number - current
    for consumer in range(p.consumers):
        row = w.consumers[consumer]
        if change > 0 and row.phase == GONE:
            row.phase = STARTING
            row.due_s = now_s + p.start_up_s
            pay_up(w, now_s)
            b.paid += 1
            change -= 1
    for consumer in range(p.consumers - 1, -1, -1):
        row = w.consumers[consumer]
        if change < 0 and row.phase == STARTING:
            row.phase = GONE
            row.due_s = inf
            pay_up(w, now_s)
            b.paid -= 1
            change += 1
    for consumer in range(p.consumers - 1, -1, -1):
        if change < 0 and w.consumers[consumer].phase == RUNNING:
            stop(w, consumer, p.scale_grace_s, inf, now_s)
            change += 1
    next_change(w)
