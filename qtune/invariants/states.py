"""Laws of the states that a run writes down at every sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.invariants.handlers import calls_of, most_in_a_call
from qtune.invariants.offenders import offenders
from qtune.result import (
    DELIVERY_LOST,
    MESSAGE_DELAYED,
    Result,
    Table,
)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_SAMPLING_ERRORS: Final = 6.0


def littles_law(result: Result) -> Iterator[str]:
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
    number = sum(result.states[name] for name in ("unsent", "delayed", "backlog", "in_flight"))
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


def samples_match_rows(result: Result) -> Iterator[str]:
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
    delayed = states["delayed"]  # see :func:`delays_are_kept`
    backlog = stored[0] - in_flight[1] - delayed, stored[1] - in_flight[0] - delayed
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


def delays_are_kept(result: Result) -> Iterator[str]:
    """No message is received before its delay is over, and until then it is counted as delayed."""
    delay_s = result.scenario.semantics().delay_s
    if not delay_s:
        return
    messages, deliveries, states = result.messages, result.deliveries, result.states
    ready_s = messages["sent_s"] + delay_s
    early = deliveries["locked_s"] < ready_s[deliveries["message"]]
    yield from offenders("deliveries", early, "received before its delay was over")
    waits = (ready_s > result.horizon_s) & np.isnan(messages["left_s"])
    wrong = waits != (messages["state"] == MESSAGE_DELAYED)
    yield from offenders("messages", wrong, "its delay contradicts the state")
    if result.source.startswith("simulated"):
        sent = ~np.isnan(messages["sent_s"])
        low, high = _between(messages["sent_s"][sent], ready_s[sent], states["time_s"])
        wrong = (states["delayed"] < low) | (states["delayed"] > high)
        yield from offenders("states", wrong, "delayed is not what the rows say")


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
