"""Groups of messages: to which one each belongs, and a line in which they are handed out group by group.

The ready messages of a group are a list from ``head`` through ``behind`` to ``tail``; in these a number is one more
than the message's, so that 0 is none. The groups that are open, which have something ready and nothing in flight, are a
heap by the age of their first message. Group ``n`` lies at ``n & (length - 1)``.
"""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.compiled import rare, step
from qtune.engine.kernel.draws import uniform
from qtune.engine.plan import GIVEN_GROUPS, OWN_GROUPS


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
def open_group(w, group):  # type: ignore[no-untyped-def]
    """Let receivers find a group, unless it is empty or closed."""
    row = w.groups[group & (len(w.groups) - 1)]
    if row.head == 0 or row.in_flight > 0:
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


@rare()
def join_group(w, message):  # type: ignore[no-untyped-def]
    """A message has come in: at the end of its group."""
    group = w.messages[message & (len(w.messages) - 1)].group
    row = w.groups[group & (len(w.groups) - 1)]
    mask = len(w.behind) - 1
    w.age[message & mask] = w.broker.ages
    w.broker.ages += 1
    w.behind[message & mask] = 0
    if row.head == 0:
        row.head = message + 1
        row.tail = message + 1
        open_group(w, group)
    else:
        w.behind[(row.tail - 1) & mask] = message + 1
        row.tail = message + 1


@rare()
def rejoin_group(w, message):  # type: ignore[no-untyped-def]
    """A message that was in flight is ready again: in its group by age."""
    row = w.groups[w.messages[message & (len(w.messages) - 1)].group & (len(w.groups) - 1)]
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


@rare()
def delivery_ended(w, message):  # type: ignore[no-untyped-def]
    """A message is not in flight any more; its group opens when none of it is."""
    group = w.messages[message & (len(w.messages) - 1)].group
    w.groups[group & (len(w.groups) - 1)].in_flight -= 1
    open_group(w, group)


@step
def take_head(w, row):  # type: ignore[no-untyped-def]
    """Take the first ready message of a group."""
    message = row.head - 1
    row.head = w.behind[message & (len(w.behind) - 1)]
    return message


@rare()
def head_expires(w, message):  # type: ignore[no-untyped-def]
    """The oldest of all ready messages, so the first of its group, has outlived its retention."""
    group = w.messages[message & (len(w.messages) - 1)].group
    row = w.groups[group & (len(w.groups) - 1)]
    if row.in_flight == 0:
        first_open_group(w)
    take_head(w, row)
    if row.in_flight == 0:
        open_group(w, group)


@rare(0)
def gather(w, most):  # type: ignore[no-untyped-def]
    """Note in ``chosen`` what a receive is given: as many of one group as possible, then of the next; how many."""
    count = 0
    while w.broker.open_groups > 0 and count < most:
        row = w.groups[first_open_group(w) & (len(w.groups) - 1)]
        while row.head > 0 and count < most:
            w.chosen[count] = take_head(w, row)
            row.in_flight += 1
            count += 1
    return count
