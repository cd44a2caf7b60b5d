"""Laws that every run obeys, whatever was simulated or measured: what breaks one is a bug, never a finding.

Each law is stated in the docstring of the function that checks it. ``check`` asks all of them and is fast
enough to be called after every test run. A NaN, what had not happened or was not seen, breaks no law of
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qtune.invariants.calls import calls_match_rows, rates_are_kept
from qtune.invariants.groups import group_offences
from qtune.invariants.handlers import (
    batches_end_together,
    breakers_stay_open,
    calls_of,
    downstream_keeps_its_bounds,
    memory_is_bounded,
)
from qtune.invariants.offenders import offenders
from qtune.invariants.states import delays_are_kept, littles_law, samples_match_rows
from qtune.result import (
    CALL_OPS,
    CALL_OUTCOMES,
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_DROPPED,
    DELIVERY_LATE,
    DELIVERY_LOST,
    DELIVERY_OUTCOMES,
    DELIVERY_RELEASED,
    DELIVERY_UNSETTLED,
    MESSAGE_COMPLETED,
    MESSAGE_DELAYED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
    MESSAGE_STATES,
    MESSAGE_UNSENT,
    OP_SEND,
    Result,
    Table,
)

Mask = NDArray[np.bool_]


def check(result: Result) -> list[str]:
    """Every law that the rows break, a sentence each with its first offender; empty when all is well."""
    laws = [
        _codes_are_known,
        _clocks_run_forward,
        _states_match_times,
        _messages_are_conserved,
        _locks_are_exclusive,
        _deliveries_are_counted,
        _settled_while_locked,
        _workers_do_one_thing,
        calls_match_rows,
        rates_are_kept,
        _locks_are_few,
        _groups_are_in_order,
        littles_law,
        delays_are_kept,
    ]
    if result.source.startswith("simulated"):  # an adapter samples while things go on
        laws += [samples_match_rows, downstream_keeps_its_bounds, breakers_stay_open, memory_is_bounded]
    return [broken for law in laws for broken in law(result)]


def _codes_are_known(result: Result) -> Iterator[str]:
    """Every code has a name, and every consumer, worker and message number exists."""
    scenario, messages = result.scenario, result.messages
    deliveries, calls = result.deliveries, result.calls
    consumers = scenario.consumers
    senders = scenario.producers.instances * scenario.producers.senders if scenario.producers else 0
    callers = np.where(calls["op"] == OP_SEND, senders, consumers.instances)
    started = ~np.isnan(deliveries["started_s"])
    ranges: list[tuple[str, Mask, str]] = [
        ("messages", _outside(messages["state"], len(MESSAGE_STATES)), "the state has no name"),
        ("messages", _outside(messages["delivery"], deliveries.size, least=-1), "no such delivery"),
        ("deliveries", _outside(deliveries["outcome"], len(DELIVERY_OUTCOMES)), "the outcome has no name"),
        ("deliveries", _outside(deliveries["message"], messages.size), "no such message"),
        ("deliveries", _outside(deliveries["consumer"], consumers.instances), "no such consumer"),
        ("deliveries", (deliveries["worker"] < 0) & started, "a handler started without a worker"),
        ("calls", _outside(calls["op"], len(CALL_OPS)), "the operation has no name"),
        ("calls", _outside(calls["outcome"], len(CALL_OUTCOMES)), "the outcome has no name"),
        ("calls", _outside(calls["consumer"], callers), "no such caller"),
    ]
    worker = deliveries["worker"]
    home = (worker >= 0) & (worker // consumers.workers != deliveries["consumer"])
    ranges.append(("deliveries", home, "the worker belongs to another consumer"))
    for where, mask, law in ranges:
        yield from offenders(where, mask, law)


def _outside(values: NDArray[Any], below: int | NDArray[Any], least: int = 0) -> Mask:
    outside: Mask = (values < least) | (values >= below)
    return outside


def _clocks_run_forward(result: Result) -> Iterator[str]:
    """due <= sent <= locked <= received <= started <= finished <= settled, and nothing after the horizon."""
    messages, deliveries, calls = result.messages, result.deliveries, result.calls
    due_s = messages["due_s"]
    yield from offenders("messages", np.append(np.diff(due_s) < 0.0, False), "the next one is due earlier")
    steps = [
        ("messages", ("due_s", "sent_s", "completed_s", "settled_s"), messages),
        ("messages", ("sent_s", "left_s"), messages),
        ("deliveries", ("locked_s", "received_s", "started_s", "finished_s", "settled_s"), deliveries),
        ("deliveries", ("locked_s", "lock_end_s"), deliveries),
        ("calls", ("start_s", "end_s"), calls),
    ]
    for where, names, table in steps:
        for i, first in enumerate(names):
            for then in names[i + 1 :]:
                yield from offenders(where, table[then] < table[first], f"{then} is before {first}")
        for name in names:
            yield from offenders(where, table[name] > result.horizon_s, f"{name} is after the horizon")
    early = deliveries["locked_s"] < messages["sent_s"][deliveries["message"]]
    yield from offenders("deliveries", early, "locked before it was sent")
    ends_s = calls["end_s"][~np.isnan(calls["end_s"])]
    in_order = bool((np.diff(ends_s) >= 0.0).all()) and not np.isnan(calls["end_s"][: ends_s.size]).any()
    if not in_order:
        yield "calls: rows are in the order of end_s, and open calls come last"


def _states_match_times(result: Result) -> Iterator[str]:
    """A message has left if and only if its state says so; what is in the broker has been sent and locked."""
    messages = result.messages
    state = messages["state"]
    stays = np.isin(state, (MESSAGE_UNSENT, MESSAGE_DELAYED, MESSAGE_READY, MESSAGE_LOCKED))
    yield from offenders("messages", stays != np.isnan(messages["left_s"]), "left_s contradicts the state")
    sent = ~np.isnan(messages["sent_s"])
    yield from offenders("messages", (state == MESSAGE_UNSENT) & sent, "unsent, with a time of sending")
    here = np.isin(state, (MESSAGE_DELAYED, MESSAGE_READY, MESSAGE_LOCKED, MESSAGE_COMPLETED))
    yield from offenders("messages", here & ~sent, "in the broker without having been sent")
    done = state == MESSAGE_COMPLETED
    for name in ("completed_s", "settled_s"):
        yield from offenders("messages", done == np.isnan(messages[name]), f"{name} contradicts the state")
    live = result.deliveries["message"][np.isnan(result.deliveries["lock_end_s"])]
    locks = np.bincount(live, minlength=messages.size)
    locked = state == MESSAGE_LOCKED
    yield from offenders("messages", locked != (locks == 1), "the state contradicts the live locks")


def _messages_are_conserved(result: Result) -> Iterator[str]:
    """Every message is in one state, and each completed one has one completing delivery, which is its own."""
    messages, deliveries = result.messages, result.deliveries
    done = messages["state"] == MESSAGE_COMPLETED
    completing = deliveries["outcome"] == DELIVERY_COMPLETED
    per_message = np.bincount(deliveries["message"][completing], minlength=messages.size)
    yield from offenders("messages", per_message != done, "completed by no delivery, or by several")
    row = messages["delivery"]
    yield from offenders("messages", done & (row < 0), "completed, without its delivery")
    own = np.flatnonzero(done & (row >= 0))
    named = deliveries[row[own]]
    wrong = np.zeros(messages.size, dtype=np.bool_)
    wrong[own] = (
        (named["message"] != own)
        | (named["outcome"] != DELIVERY_COMPLETED)
        | (named["finished_s"] != messages["completed_s"][own])
        | (named["settled_s"] != messages["settled_s"][own])
    )
    yield from offenders("messages", wrong, "differs from the delivery that completed it")


def _by_message(deliveries: Table) -> tuple[Table, Mask]:
    """The deliveries sorted by message, in hand-out order, and where the next row is of the same message."""
    ordered = deliveries[np.argsort(deliveries["message"], kind="stable")]
    return ordered, ordered["message"][1:] == ordered["message"][:-1]


def _locks_are_exclusive(result: Result) -> Iterator[str]:
    """A message has no two locks at a time: the next begins when the one before has ended.

    When a real broker locked a message its client does not see, and so does not say.
    """
    ordered, same = _by_message(result.deliveries)
    apart = ordered["locked_s"][1:] >= ordered["lock_end_s"][:-1]
    if not result.source.startswith("simulated"):
        apart |= np.isnan(ordered["locked_s"][1:])
    yield from offenders("deliveries by message", same & ~apart, "locked again while it was locked")


def _deliveries_are_counted(result: Result) -> Iterator[str]:
    """Delivery numbers start at 1 and rise by one, but for a delivery that was given back uncounted."""
    ordered, same = _by_message(result.deliveries)
    number, released = ordered["delivery_no"], ordered["outcome"] == DELIVERY_RELEASED
    step = np.diff(number)
    right = (step == 1) | (released[:-1] & (step == 0))
    yield from offenders("deliveries by message", same & ~right, "the next delivery number is not one more")
    first = np.append(True, ~same)[: ordered.size]
    yield from offenders("deliveries by message", first & (number != 1), "the first one has another number")
    every = np.bincount(result.deliveries["message"], minlength=result.messages.size)
    counted = result.deliveries["message"][result.deliveries["outcome"] != DELIVERY_RELEASED]
    least = np.bincount(counted, minlength=result.messages.size)
    told = result.messages["deliveries"]
    yield from offenders("messages", (told < least) | (told > every), "its count of deliveries is wrong")


def _settled_while_locked(result: Result) -> Iterator[str]:
    """A delivery is completed or abandoned only while it holds the lock, and the lock ends with that.

    Some brokers let a handler complete its message after its lock has run out.
    """
    deliveries = result.deliveries
    outcome, settled_s = deliveries["outcome"], deliveries["settled_s"]
    settled = (outcome == DELIVERY_COMPLETED) | (outcome == DELIVERY_ABANDONED)
    missing = settled & np.isnan(settled_s)
    yield from offenders("deliveries", missing, "settled at no time")
    late = settled & (settled_s > deliveries["lock_end_s"])
    if result.scenario.semantics().accepts_late:
        late &= outcome != DELIVERY_COMPLETED
    yield from offenders("deliveries", late, "settled after its lock had ended")
    dead = (outcome == DELIVERY_LATE) | (outcome == DELIVERY_DROPPED)
    given_up = outcome == DELIVERY_UNSETTLED
    yield from offenders("deliveries", given_up & ~np.isnan(settled_s), "settled though its client gave up")
    yield from offenders("deliveries", dead & ~np.isnan(settled_s), "settled though its lock was lost")
    alive = dead & np.isnan(deliveries["lock_end_s"])
    yield from offenders("deliveries", alive, "said to have lost a lock that has not ended")


def _workers_do_one_thing(result: Result) -> Iterator[str]:
    """A worker makes one handler call at a time: it starts the next after it has finished the one before, or lost it.

    A call is for one delivery, or for several if the handler takes batches; those have one start and one end.
    """
    handled = calls_of(result)
    ordered = handled[np.lexsort((handled["started_s"], handled["worker"]))]
    same = ordered["worker"][1:] == ordered["worker"][:-1]
    apart = ordered["started_s"][1:] >= ordered["finished_s"][:-1]
    apart |= (ordered["outcome"][:-1] == DELIVERY_LOST) & np.isnan(ordered["finished_s"][:-1])
    yield from offenders("deliveries by worker", same & ~apart, "started before the one before had ended")
    yield from batches_end_together(result)


def _locks_are_few(result: Result) -> Iterator[str]:
    """Never are more messages locked at once than the broker allows."""
    most = result.scenario.semantics().in_flight_most
    if most:
        yield from offenders("states", result.states["in_flight"] > most, f"more than {most} in flight")


def _groups_are_in_order(result: Result) -> Iterator[str]:
    """Where messages are handed out by group, a group goes to one receive at a time, and its oldest messages first."""
    for where, mask, law in group_offences(result):
        yield from offenders(where, mask, law)
