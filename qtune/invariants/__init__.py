"""Laws that every run obeys, whatever was simulated or measured: what breaks one is a bug, never a finding.

Each law is stated in the docstring of the function that checks it. ``check`` asks all of them and is fast
enough to be called after every test run. A NaN, what had not happened or was not seen, breaks no law of
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qtune.invariants.groups import group_offences
from qtune.invariants.handlers import (
    batches_end_together,
    calls_of,
    downstream_keeps_its_bounds,
    most_in_a_call,
)
from qtune.invariants.offenders import offenders
from qtune.providers.base import CALLS
from qtune.result import (
    CALL_EMPTY,
    CALL_OPS,
    CALL_OUTCOMES,
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_DROPPED,
    DELIVERY_FAILED,
    DELIVERY_LATE,
    DELIVERY_LOST,
    DELIVERY_OUTCOMES,
    DELIVERY_RELEASED,
    DELIVERY_UNSETTLED,
    MESSAGE_COMPLETED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
    MESSAGE_STATES,
    MESSAGE_UNSENT,
    OP_ABANDON,
    OP_RECEIVE,
    OP_SEND,
    OP_SETTLE,
    REFUSED,
    Result,
    Table,
)

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_SAMPLING_ERRORS: Final = 6.0


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
        _calls_match_rows,
        _rates_are_kept,
        _locks_are_few,
        _groups_are_in_order,
        _littles_law,
    ]
    if result.source.startswith("simulated"):  # an adapter samples while things go on
        laws += [_samples_match_rows, downstream_keeps_its_bounds]
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
    stays = (state == MESSAGE_UNSENT) | (state == MESSAGE_READY) | (state == MESSAGE_LOCKED)
    yield from offenders("messages", stays != np.isnan(messages["left_s"]), "left_s contradicts the state")
    sent = ~np.isnan(messages["sent_s"])
    yield from offenders("messages", (state == MESSAGE_UNSENT) & sent, "unsent, with a time of sending")
    here = (state == MESSAGE_READY) | (state == MESSAGE_LOCKED) | (state == MESSAGE_COMPLETED)
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
    """A message has no two locks at a time: the next begins when the one before has ended."""
    ordered, same = _by_message(result.deliveries)
    apart = ordered["locked_s"][1:] >= ordered["lock_end_s"][:-1]
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


def _calls_match_rows(result: Result) -> Iterator[str]:
    """What the calls carried is what the rows say: received, completed and abandoned, one for one."""
    calls, deliveries = result.calls, result.deliveries
    ended = calls[~np.isnan(calls["end_s"])]
    brought = np.isin(ended["outcome"], REFUSED) | (ended["count"] > 0)
    empty = (ended["outcome"] == CALL_EMPTY) != ((ended["op"] == OP_RECEIVE) & ~brought)
    yield from offenders("calls", empty, "empty is a receive that brought nothing, and nothing else")
    refused = np.isin(ended["outcome"], REFUSED)
    yield from offenders(
        "calls", refused & (ended["count"] != 0), "refused, and carried messages all the same"
    )
    outcome = deliveries["outcome"]
    right = (outcome == DELIVERY_COMPLETED) | (outcome == DELIVERY_LATE)
    told: list[tuple[str, int, Mask]] = [("completed or late", OP_SETTLE, right)]
    if result.scenario.failures.on_failure == "abandon":
        failed = (outcome == DELIVERY_ABANDONED) | (outcome == DELIVERY_FAILED)
        told.append(("abandoned or failed", OP_ABANDON, failed))
    if result.scenario.behaviour().discipline == "poll":
        told.append(("received", OP_RECEIVE, ~np.isnan(deliveries["received_s"])))
    for name, op, mask in told:
        carried, rows = int(ended["count"][ended["op"] == op].sum()), int(np.count_nonzero(mask))
        if carried != rows:
            yield f"calls: {CALL_OPS[op]} calls carried {carried} messages, but {rows} deliveries are {name}"


def _locks_are_few(result: Result) -> Iterator[str]:
    """Never are more messages locked at once than the broker allows."""
    most = result.scenario.semantics().in_flight_most
    if most:
        yield from offenders("states", result.states["in_flight"] > most, f"more than {most} in flight")


def _groups_are_in_order(result: Result) -> Iterator[str]:
    """Where messages are handed out by group, a group goes to one receive at a time, and its oldest messages first."""
    for where, mask, law in group_offences(result):
        yield from offenders(where, mask, law)


def _rates_are_kept(result: Result) -> Iterator[str]:
    """In no period of a limit do calls take more than its credits and what its last call may overdraw.

    A settle, an abandonment, a renewal and a send count when they end, a message when it is handed out. When a poll
    reached the broker is not in the rows, nor when a send did that a full queue held up, so these are not looked at.
    """
    calls, handed_s = result.calls, result.deliveries["locked_s"]
    semantics = result.scenario.semantics()
    held_up = bool(semantics.capacity_messages) and not semantics.rejects_when_full
    seen = (calls["op"] != OP_RECEIVE) & ~(held_up & (calls["op"] == OP_SEND))
    done = calls[seen & ~np.isin(calls["outcome"], REFUSED)]
    for limit in result.scenario.rate_limits():
        costs = [(limit.call_cost.get(op, 0), limit.message_cost.get(op, 0)) for op in CALLS]
        by_op = np.zeros((len(CALL_OPS), 2))
        for op, cost in zip(CALLS, costs, strict=True):
            by_op[CALL_OPS.index(op)] = cost
        each = by_op[done["op"], 0] + by_op[done["op"], 1] * done["count"]
        times_s = np.append(done["end_s"], handed_s)
        each = np.append(each, np.full(handed_s.size, by_op[OP_RECEIVE, 1]))
        counted = (times_s >= limit.start_s) & (times_s < limit.end_s) & (each > 0.0)
        if not counted.any():
            continue
        used = np.bincount((times_s[counted] / limit.period_s).astype(np.int64), weights=each[counted])
        most = limit.credits + float(each[counted].max()) - 1.0
        if used.max() > most:
            yield f"calls: {used.max():g} credits of {limit.name} in one period, of which there are {limit.credits}"


def _littles_law(result: Result) -> Iterator[str]:
    """The mean number in the system over time is the sum of all times in it, over the length of the run.

    From the rows alone it is an identity, which an order of rows or a time that is wrong breaks. The sampled
    states must agree with it within the error that comes from looking only now and then; what happens at the very
    instant of a look may be counted or not.
    """
    times_s, horizon_s = result.states["time_s"], result.horizon_s
    due_s, left_s = np.sort(result.messages["due_s"]), np.sort(result.messages["left_s"])
    left_s = left_s[~np.isnan(left_s)]
    waited_s = float((np.fmin(result.messages["left_s"], horizon_s) - result.messages["due_s"]).sum())
    area_s = float(_area_s(due_s, np.array([horizon_s]))[0] - _area_s(left_s, np.array([horizon_s]))[0])
    if abs(area_s - waited_s) > 1e-9 * (waited_s + horizon_s) * max(due_s.size, 1) ** 0.5:
        yield f"messages: {area_s:g} message seconds in the system, but {waited_s:g} of waiting"
    if times_s.size < 2:
        return
    exact_s = np.diff(_area_s(due_s, times_s) - _area_s(left_s, times_s))
    number = sum(result.states[name] for name in ("unsent", "backlog", "in_flight"))
    seen_s = np.asarray(number, dtype=np.float64)[:-1] * np.diff(times_s)
    rows = np.searchsorted(due_s, times_s[:-1], "right") - np.searchsorted(left_s, times_s[:-1], "right")
    error_s = exact_s - rows * np.diff(times_s)  # of looking once a step at what the rows say
    fewest, most = _between(due_s, left_s, times_s[:-1])
    allowed_s = _SAMPLING_ERRORS * float(np.sqrt((error_s**2).sum())) + abs(float(error_s.sum()))
    allowed_s += float(((most - fewest) * np.diff(times_s)).sum())
    if abs(float(seen_s.sum() - exact_s.sum())) > allowed_s + 1e-9 * float(exact_s.sum()):
        mean, of_rows = float(seen_s.sum()) / horizon_s, float(exact_s.sum()) / horizon_s
        yield f"states: {mean:g} messages in the system on average, but {of_rows:g} by Little's law"


def _area_s(instants_s: Floats, times_s: Floats) -> Floats:
    """For each time, the sum of what has passed since every instant before it; instants ascending."""
    before = np.searchsorted(instants_s, times_s, side="right")
    sums = np.append(0.0, np.cumsum(instants_s))
    area: Floats = before * times_s - sums[before]
    return area


def _samples_match_rows(result: Result) -> Iterator[str]:
    """At each sampled instant the counts of the state are those of the rows.

    What happens at the very instant of a sample may be counted or not, so each count has a lowest and a
    highest value. A worker is busy from the take to the end of its settlement, which takes longer than its
    handler.
    """
    messages, deliveries, states = result.messages, result.deliveries, result.states
    times_s = states["time_s"]
    never_sent = messages["left_s"][np.isnan(messages["sent_s"])]
    in_broker = messages[~np.isnan(messages["sent_s"])]
    unsent = _between(messages["due_s"], np.append(in_broker["sent_s"], never_sent), times_s)
    in_flight = _between(deliveries["locked_s"], deliveries["lock_end_s"], times_s)
    stored = _between(in_broker["sent_s"], in_broker["left_s"], times_s)
    backlog = stored[0] - in_flight[1], stored[1] - in_flight[0]
    ranges: list[tuple[str, Counts, Counts]] = [
        ("unsent", *unsent),
        ("in_flight", *in_flight),
        ("backlog", *backlog),
    ]
    made = calls_of(result)
    handling = _between(made["started_s"], made["finished_s"], times_s)
    # When a handler ended that was lost with its consumer is not written down.
    lost = (made["outcome"] == DELIVERY_LOST) & np.isnan(made["finished_s"])
    ended = np.searchsorted(np.sort(made["started_s"][lost]), times_s, side="right")
    handling = np.maximum(handling[0] - ended, 0), handling[1]
    workers = result.scenario.consumers.instances * result.scenario.consumers.workers
    ranges.append(("busy_workers", handling[0], np.full(times_s.size, workers)))
    instances = np.full(times_s.size, result.scenario.consumers.instances)
    ranges.append(("consumers", np.zeros_like(instances), instances))
    idle = np.maximum(states["busy_workers"] - handling[0], 0)
    ranges.append(("buffered", *_buffered(deliveries, idle * most_in_a_call(result), times_s)))
    for name, low, high in ranges:
        wrong = (states[name] < low) | (states[name] > high)
        yield from offenders("states", wrong, f"{name} is not what the rows say")


def _buffered(deliveries: Table, taken: Counts, times_s: Floats) -> tuple[Counts, Counts]:
    """How many messages wait in clients: received and not started.

    When a message that was never started left the buffer is not written down, so it may be counted or not.
    A worker that is busy without handling may hold what it has taken and not yet started: so many at most.
    """
    never = np.isnan(deliveries["started_s"])
    waits = _between(deliveries["received_s"][~never], deliveries["started_s"][~never], times_s)
    maybe = np.searchsorted(np.sort(deliveries["received_s"][never]), times_s, side="right")
    return np.maximum(waits[0] - taken, 0), waits[1] + maybe


def _between(begin_s: Floats, end_s: Floats, times_s: Floats) -> tuple[Counts, Counts]:
    """The lowest and highest number of intervals that contain each time; an end of NaN is still to come."""
    begin_s, end_s = np.sort(begin_s), np.sort(end_s)
    low = np.searchsorted(begin_s, times_s, "left") - np.searchsorted(end_s, times_s, "right")
    high = np.searchsorted(begin_s, times_s, "right") - np.searchsorted(end_s, times_s, "left")
    return low, high
