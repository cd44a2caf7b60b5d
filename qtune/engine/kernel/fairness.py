"""The line of a queue that hands out fairly: messages of noisy groups are set aside when their turn comes.

All that is ready waits in ``ready`` first. What is set aside of a group is a list from ``head`` through ``behind`` to
``tail``, as in groups.py, and ``age`` is one more than its number among all that was ever set aside; 0: it is not. The
groups that have something aside are ``open_group``, in no order.
"""

from __future__ import annotations

from qtune.engine.kernel.compiled import rare, step
from qtune.result import MESSAGE_READY

NOBODY = -2
"""No group has anything aside; -1 is that of messages without a group."""


@rare()
def wait_fairly(w, message, is_new):  # type: ignore[no-untyped-def]
    """A message waits behind all others."""
    b = w.broker
    mask = len(w.messages) - 1
    group = w.groups[w.messages[message & mask].group & (len(w.groups) - 1)]
    group.waiting += 1
    if is_new:
        group.sent_s = w.messages[message & mask].sent_s
    w.age[message & mask] = 0
    w.ready[b.ready_tail & mask] = message
    b.ready_tail += 1


@rare()
def ended_fairly(w, message):  # type: ignore[no-untyped-def]
    """A message is not in flight any more."""
    w.groups[w.messages[message & (len(w.messages) - 1)].group & (len(w.groups) - 1)].in_flight -= 1


@rare()
def withdraw_fairly(w, message):  # type: ignore[no-untyped-def]
    """A ready message does not wait any more; in ``ready`` its state tells that."""
    mask = len(w.behind) - 1
    group = w.groups[w.messages[message & (len(w.messages) - 1)].group & (len(w.groups) - 1)]
    if w.age[message & mask] > 0:
        before, here = 0, group.head
        while here != message + 1:
            before, here = here, w.behind[(here - 1) & mask]
        after = w.behind[message & mask]
        if before == 0:
            group.head = after
        else:
            w.behind[(before - 1) & mask] = after
        if after == 0:
            group.tail = before
        if group.head == 0:
            forget_aside(w, w.messages[message & (len(w.messages) - 1)].group)
    one_less(group)


@step
def one_less(group):  # type: ignore[no-untyped-def]
    """One message less of a group waits; with its backlog gone it is quiet."""
    group.waiting -= 1
    if group.waiting == 0:
        group.noisy = 0


@step
def forget_aside(w, number):  # type: ignore[no-untyped-def]
    """A group has nothing aside any more."""
    b = w.broker
    b.asides -= 1
    for place in range(b.asides):
        if w.open_group[place] == number:
            w.open_group[place] = w.open_group[b.asides]
            break


@step
def is_noisy(w, group, in_flight, now_s):  # type: ignore[no-untyped-def]
    """Whether other groups come before this one now, with so many messages in flight in all."""
    p = w.plan
    if group.noisy == 1 and now_s >= group.sent_s + p.fair_quiet_s:
        group.noisy = 0
    if group.in_flight >= p.fair_least and group.in_flight > p.fair_share * in_flight:
        group.noisy = 1
    return group.noisy == 1


@step
def set_aside(w, group, number, message):  # type: ignore[no-untyped-def]
    """Let a message wait until no quiet group has one."""
    b = w.broker
    mask = len(w.behind) - 1
    b.ages += 1
    w.age[message & mask] = b.ages
    w.behind[message & mask] = 0
    if group.head == 0:
        group.head = message + 1
        w.open_group[b.asides] = number
        b.asides += 1
    else:
        w.behind[(group.tail - 1) & mask] = message + 1
    group.tail = message + 1


@step
def first_aside(w, of_quiet, in_flight, now_s):  # type: ignore[no-untyped-def]
    """The group whose message is next of what is aside: of the quiet ones the oldest, or else of the noisy ones."""
    mask, best, least, age = len(w.age) - 1, NOBODY, 0, 0
    for place in range(w.broker.asides):
        number = w.open_group[place]
        group = w.groups[number & (len(w.groups) - 1)]
        if of_quiet and is_noisy(w, group, in_flight, now_s):
            continue
        its_age, its = w.age[(group.head - 1) & mask], 0 if of_quiet else group.in_flight
        if best == NOBODY or its < least or (its == least and its_age < age):
            best, least, age = number, its, its_age
    return best


@step
def next_of_ready(w, in_flight, now_s):  # type: ignore[no-untyped-def]
    """The oldest message that was not set aside, of a group that is not noisy; -1: there is none."""
    b = w.broker
    mask = len(w.messages) - 1
    while b.ready_head < b.ready_tail:
        message = w.ready[b.ready_head & mask]
        b.ready_head += 1
        if message < b.messages_from or w.messages[message & mask].state != MESSAGE_READY:
            continue
        number = w.messages[message & mask].group
        group = w.groups[number & (len(w.groups) - 1)]
        if not is_noisy(w, group, in_flight, now_s):
            return message
        set_aside(w, group, number, message)
    return -1


@rare(0)
def gather_fairly(w, most, now_s):  # type: ignore[no-untyped-def]
    """Note in ``chosen`` what a receive is given, one by one; how many."""
    b = w.broker
    mask = len(w.messages) - 1
    for count in range(most):
        in_flight = b.in_flight + count
        message = -1
        number = first_aside(w, True, in_flight, now_s)
        if number == NOBODY:
            message = next_of_ready(w, in_flight, now_s)
        if message < 0:
            if number == NOBODY:
                number = first_aside(w, False, in_flight, now_s)
            row = w.groups[number & (len(w.groups) - 1)]
            message = row.head - 1
            row.head = w.behind[message & mask]
            if row.head == 0:
                forget_aside(w, number)
        group = w.groups[w.messages[message & mask].group & (len(w.groups) - 1)]
        w.age[message & mask] = 0
        one_less(group)
        group.in_flight += 1
        w.chosen[count] = message
    return most
