"""Laws of queues that hand out group by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qtune.result import Result

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Offence = tuple[str, Mask, str]


def group_offences(result: Result) -> Iterator[Offence]:
    """Which rows break the laws of groups, where the queue has any: (table, rows, law)."""
    hands_out = result.scenario.semantics().hands_out
    if hands_out == "by group":
        yield from offences_by_group(result, result.scenario.behaviour().batch)
    if hands_out == "by session":
        yield from offences_by_session(result)


def offences_by_group(result: Result, batch: int) -> Iterator[Offence]:
    """Which rows break the laws of a queue that hands out by group, up to ``batch`` messages to a receive."""
    if result.deliveries.size:
        yield from _one_receive_at_a_time(result, batch)
        yield from _oldest_first(result)


def offences_by_session(result: Result) -> Iterator[Offence]:
    """Which rows break the laws of sessions: one consumer has one, and its messages are first handed out in order."""
    if not result.deliveries.size:
        return
    order = _receives(result)[0]
    rows = result.deliveries[order]
    group, consumer = result.messages["group"][rows["message"]], rows["consumer"]
    begins = np.flatnonzero(np.append(True, (group[1:] != group[:-1]) | (consumer[1:] != consumer[:-1])))
    ends_s = np.maximum.reduceat(np.where(np.isnan(rows["lock_end_s"]), np.inf, rows["lock_end_s"]), begins)
    same = group[begins][1:] == group[begins][:-1]
    early = np.append(same & (rows["locked_s"][begins][1:] < ends_s[:-1]), False)
    yield "sessions by time", early, "the next consumer had it before all locks of the one before had ended"
    first = np.sort(np.unique(result.deliveries["message"], return_index=True)[1])
    group = result.messages["group"][result.deliveries["message"][first]]
    first = first[np.argsort(group, kind="stable")]
    message = result.deliveries["message"][first]
    group, sent_s = result.messages["group"][message], result.messages["sent_s"][message]
    older = sent_s[1:] < sent_s[:-1]
    if result.scenario.producers is None:
        older |= (sent_s[1:] == sent_s[:-1]) & (message[1:] < message[:-1])
    earlier = (group[1:] == group[:-1]) & older
    yield "first deliveries by session", np.append(earlier, False), "the next one is of an older message"


def _receives(result: Result) -> tuple[Numbers, Numbers]:
    """The deliveries by group and time, and where in these a receive begins: what is locked at one instant."""
    deliveries = result.deliveries
    group = result.messages["group"][deliveries["message"]]
    order = np.lexsort((deliveries["locked_s"], group))
    group, locked_s = group[order], deliveries["locked_s"][order]
    begins = np.append(True, (group[1:] != group[:-1]) | (locked_s[1:] != locked_s[:-1]))
    return order, np.flatnonzero(begins)


def _one_receive_at_a_time(result: Result, batch: int) -> Iterator[Offence]:
    """Of a group only what one receive took is in flight: the next begins when all locks of it have ended."""
    order, begins = _receives(result)
    rows = result.deliveries[order]
    group = result.messages["group"][rows["message"]][begins]
    ends_s = np.maximum.reduceat(np.where(np.isnan(rows["lock_end_s"]), np.inf, rows["lock_end_s"]), begins)
    same = group[1:] == group[:-1]
    early = np.append(same & (rows["locked_s"][begins][1:] < ends_s[:-1]), False)
    yield "receives by group", early, "the next one of its group came before all its locks had ended"
    # What is given back at the very instant at which it went out may go out again, and counts once.
    number = np.repeat(np.arange(begins.size), np.diff(np.append(begins, order.size)))
    once = np.unique(np.stack((number, rows["message"])), axis=1)[0]
    many = np.bincount(once, minlength=begins.size) > batch
    yield "receives by group", many, "more than one receive's worth of a group in flight"


def _oldest_first(result: Result) -> Iterator[Offence]:
    """What is handed out of a group is the oldest of it: all that were sent before have left, or go with it.

    Where several senders may have sent at one instant, the rows do not tell who came first, and such groups are left
    out.
    """
    messages = result.messages
    by_age = np.lexsort((np.arange(messages.size), messages["sent_s"], messages["group"]))
    place = np.empty(messages.size, np.int64)
    place[by_age] = np.arange(messages.size)
    left_s = np.where(np.isnan(messages["left_s"]), np.inf, messages["left_s"])[by_age]
    before_s = _latest_before_s(messages["group"][by_age], left_s)
    order, begins = _receives(result)
    rows = result.deliveries[order]
    told = _without_ties(result)[rows["message"]]
    at = place[rows["message"]]
    receive = np.cumsum(np.isin(np.arange(at.size), begins))
    inside = np.lexsort((at, receive))
    at, locked_s, told = at[inside], rows["locked_s"][inside], told[inside]
    first = np.append(True, receive[1:] != receive[:-1])
    wrong = first & (before_s[at] > locked_s)
    for jump in np.flatnonzero(~first & (np.diff(at, prepend=at[0]) > 1)):
        wrong[jump] = left_s[at[jump - 1] + 1 : at[jump]].max() > locked_s[jump]
    yield "deliveries by group", wrong & told, "handed out before an older one of its group"


def _latest_before_s(group: NDArray[Any], left_s: Floats) -> Floats:
    """For each message, by group and age, when the last of the older ones of its group left; -inf: there are none.

    The running maximum starts anew with each group, which it does over whole numbers that are larger in later groups.
    """
    ranked = np.sort(left_s)
    rank = np.searchsorted(ranked, left_s)
    number = np.cumsum(np.append(False, group[1:] != group[:-1])) * left_s.size
    highest = np.maximum.accumulate(rank + number)
    before = np.append(-1, highest[:-1]) - number
    return np.where(before < 0, -np.inf, ranked[np.maximum(before, 0)])


def _without_ties(result: Result) -> Mask:
    """Of each message, whether no two messages of its group were sent at one instant by different senders."""
    messages = result.messages
    if result.scenario.producers is None:
        return np.ones(messages.size, np.bool_)
    order = np.lexsort((messages["sent_s"], messages["group"]))
    group, sent_s = messages["group"][order], messages["sent_s"][order]
    tied = group[1:][(group[1:] == group[:-1]) & (sent_s[1:] == sent_s[:-1])]
    return ~np.isin(messages["group"], tied)
