"""Groups of messages: to which one each belongs, and a line in which they are handed out group by group.

The ready messages of a group are a list from ``head`` through ``behind`` to ``tail``; in these a number is one more
than the message's, so that 0 is none. The groups that are open, which have something ready and nothing in flight, are a
heap by the age of their first message. Group ``n`` lies at ``n & (length - 1)``.
"""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.compiled import USUAL, rare, step
from qtune.engine.kernel.draws import uniform
from qtune.engine.kernel.fairness import ended_fairly, gather_fairly, wait_fairly, withdraw_fairly
from qtune.engine.plan import BY_FAIRNESS, BY_SESSION, GIVEN_GROUPS, OWN_GROUPS
from qtune.result import MESSAGE_COMPLETED


@step
def group_of(w, message):  # type: ignore[no-untyped-def]
    """The group to which a message belongs, where there are groups."""
    if w.plan.grouping == OWN_GROUPS:
        return message
    if w.plan.grouping == GIVEN_GROUPS:
        return w.group_of[message]
    drawn = uniform(w, streams.GROUP, message, 0)
    low, high = 0, len(w.group_ends)
    while low < high:
        middle = (low + high) >> 1
        if drawn < w.group_ends[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@step
def age_of_group(w, group):  # type: ignore[no-untyped-def]
    """The age of a group's first message."""
    first = w.groups[group & (len(w.groups) - 1)].head - 1
    return w.age[first & (len(w.age) - 1)]


@step
def is_closed(row):  # type: ignore[no-untyped-def]
    """Whether none of a group may be given now: it is in flight, or somebody holds the session."""
    return row.in_flight > 0 or row.holder != 0


@step
def open_group(w, group):  # type: ignore[no-untyped-def]
    """Let receivers find a group, unless it is empty or closed."""
    row = w.groups[group & (len(w.groups) - 1)]
    if row.head == 0 or is_closed(row):
        return
    age = age_of_group(w, group)
    place = w.broker.open_groups
    w.broker.open_groups += 1
    while place > 0:
        above = (place - 1) >> 1
        if age_of_group(w, w.open_group[above]) < age:
            break
        w.open_group[place] = w.open_group[above]
        place = above
    w.open_group[place] = group


@step
def first_open_group(w):  # type: ignore[no-untyped-def]
    """Take the open group with the oldest message out of the heap."""
    b = w.broker
    first = w.open_group[0]
    b.open_groups -= 1
    last, place = b.open_groups, 0
    moved = w.open_group[last]
    while 2 * place + 1 < last:
        below = 2 * place + 1
        right = below + 1
        if right < last and age_of_group(w, w.open_group[right]) < age_of_group(w, w.open_group[below]):
            below = right
        if age_of_group(w, moved) < age_of_group(w, w.open_group[below]):
            break
        w.open_group[place] = w.open_group[below]
        place = below
    w.open_group[place] = moved
    return first


@rare(level=USUAL)
def join_group(w, message):  # type: ignore[no-untyped-def]
    """A message has come in: at the end of its group."""
    if w.plan.hands_out == BY_FAIRNESS:
        wait_fairly(w, message, True)
        return
    group = w.messages[message & (len(w.messages) - 1)].group
    row = w.groups[group & (len(w.groups) - 1)]
    mask = len(w.behind) - 1
    w.age[message & mask] = w.broker.ages
    w.broker.ages += 1
    if w.plan.group_window > 0:
        w.by_age[w.age[message & mask] & (len(w.by_age) - 1)] = message
        widen_window(w)
    w.behind[message & mask] = 0
    if row.head == 0:
        row.head = message + 1
        row.tail = message + 1
        open_group(w, group)
    else:
        w.behind[(row.tail - 1) & mask] = message + 1
        row.tail = message + 1
    serve_holder(w, group, row)


@step
def serve_holder(w, group, row):  # type: ignore[no-untyped-def]
    """A session has a message for its holder: look at it when next something is handed out."""
    b = w.broker
    if row.holder <= 0 or w.receivers[row.holder - 1].session != group + 1:
        return
    if w.receivers[row.holder - 1].queued == 0:
        w.receivers[row.holder - 1].queued = 1
        w.to_serve[b.serve_tail & (len(w.to_serve) - 1)] = row.holder - 1
        b.serve_tail += 1


@rare(level=USUAL)
def rejoin_group(w, message):  # type: ignore[no-untyped-def]
    """A message that was in flight is ready again: in its group by age."""
    if w.plan.hands_out == BY_FAIRNESS:
        wait_fairly(w, message, False)
        return
    group = w.messages[message & (len(w.messages) - 1)].group
    row = w.groups[group & (len(w.groups) - 1)]
    mask = len(w.behind) - 1
    before, after = 0, row.head
    while after > 0 and w.age[(after - 1) & mask] < w.age[message & mask]:
        before, after = after, w.behind[(after - 1) & mask]
    w.behind[message & mask] = after
    if before == 0:
        row.head = message + 1
    else:
        w.behind[(before - 1) & mask] = message + 1
    if after == 0:
        row.tail = message + 1
    serve_holder(w, group, row)


@rare(level=USUAL)
def delivery_ended(w, message):  # type: ignore[no-untyped-def]
    """A message is not in flight any more; its group opens when none of it is, unless it is a session."""
    if w.plan.hands_out == BY_FAIRNESS:
        ended_fairly(w, message)
        return
    group = w.messages[message & (len(w.messages) - 1)].group
    row = w.groups[group & (len(w.groups) - 1)]
    if w.plan.hands_out == BY_SESSION:
        mask = len(w.after) - 1
        before, after = w.before[message & mask], w.after[message & mask]
        if before > 0:
            w.after[(before - 1) & mask] = after
        else:
            row.first = after
        if after > 0:
            w.before[(after - 1) & mask] = before
        else:
            row.last = before
        return
    row.in_flight -= 1
    open_group(w, group)


@rare(0)
def groups_with_messages(w):  # type: ignore[no-untyped-def]
    """How many groups have a message that is ready, or one in flight where these count."""
    count = 0
    for place in range(len(w.groups)):
        row = w.groups[place]
        if row.head > 0 or (w.plan.scale_in_flight and (row.in_flight > 0 or row.first > 0)):
            count += 1
    return count


@rare(level=USUAL)
def left_window(w, message):  # type: ignore[no-untyped-def]
    """A message is gone: there is a place for another one among the oldest, in which groups are looked for."""
    if w.plan.group_window > 0 and w.age[message & (len(w.age) - 1)] < w.broker.window:
        w.broker.inside -= 1
        widen_window(w)


@step
def widen_window(w):  # type: ignore[no-untyped-def]
    """Let as many of the oldest messages be looked at as may be; those that have gone do not count."""
    b = w.broker
    while b.inside < w.plan.group_window and b.window < b.ages:
        message = w.by_age[b.window & (len(w.by_age) - 1)]
        if (
            message >= b.messages_from
            and w.messages[message & (len(w.messages) - 1)].state < MESSAGE_COMPLETED
        ):
            b.inside += 1
        b.window += 1


@rare(True, level=USUAL)
def finds_some(w):  # type: ignore[no-untyped-def]
    """Whether a receive would find a message, where they are not handed out by age."""
    if w.plan.hands_out == BY_FAIRNESS:
        return w.broker.backlog > 0
    if w.broker.open_groups == 0:
        return False
    return w.plan.group_window == 0 or age_of_group(w, w.open_group[0]) < w.broker.window


@step
def take_head(w, row):  # type: ignore[no-untyped-def]
    """Take the first ready message of a group."""
    message = row.head - 1
    row.head = w.behind[message & (len(w.behind) - 1)]
    return message


@rare(level=USUAL)
def head_expires(w, message):  # type: ignore[no-untyped-def]
    """The oldest of all ready messages, so the first of its group, has outlived its retention."""
    if w.plan.hands_out == BY_FAIRNESS:
        withdraw_fairly(w, message)
        return
    group = w.messages[message & (len(w.messages) - 1)].group
    row = w.groups[group & (len(w.groups) - 1)]
    if not is_closed(row):
        first_open_group(w)
    take_head(w, row)
    open_group(w, group)
    left_window(w, message)


@rare(0, level=USUAL)
def gather(w, most, now_s):  # type: ignore[no-untyped-def]
    """Note in ``chosen`` what a receive is given: as many of one group as possible, then of the next; how many."""
    if w.plan.hands_out == BY_FAIRNESS:
        return gather_fairly(w, most, now_s)
    count = 0
    while count < most and finds_some(w):
        row = w.groups[first_open_group(w) & (len(w.groups) - 1)]
        while row.head > 0 and count < most:
            w.chosen[count] = take_head(w, row)
            row.in_flight += 1
            count += 1
    return count
