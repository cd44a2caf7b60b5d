"""What the lab reads from the rows of one run, each a plain number; NaN for what the run does not show."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from qtune.analysis.cost import HOURS_PER_MONTH, billed_requests
from qtune.analysis.dead_letters import deleted_s
from qtune.analysis.intervals import Floats
from qtune.analysis.measures import measures_of
from qtune.analysis.setup import setup_of
from qtune.result import (
    CALL_EMPTY,
    DELIVERY_LOST,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    OP_RECEIVE,
    OP_SEND,
    Result,
)

_DAY_S: Final = 86_400.0
_DAYS_PER_MONTH: Final = HOURS_PER_MONTH / 24.0


def warm_up_s_of(result: Result) -> float:
    """From when on a run is counted."""
    asked = result.scenario.warm_up_s
    return 0.0 if asked == "auto" else float(asked)


def of_summary(name: str) -> Callable[[Result], float]:
    """The reader of a number that a summary has too."""
    return lambda result: measures_of(result, setup_of(result.scenario), warm_up_s_of(result))[name]


def _last(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else math.nan


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def completed(result: Result) -> float:
    """Messages completed."""
    return float(np.count_nonzero(result.messages["state"] == MESSAGE_COMPLETED))


def completed_share(result: Result) -> float:
    """The share of the messages completed."""
    return _share(completed(result), result.messages.size)


def last_of(column: str) -> Callable[[Result], float]:
    """The reader of the last instant in a column of the messages."""
    return lambda result: _last(result.messages[column])


def last_send_s(result: Result) -> float:
    """When the last send was answered."""
    return _last(result.calls["end_s"][result.calls["op"] == OP_SEND])


def late_goodput_per_s(result: Result) -> float:
    """Of the last quarter of the run: what a collapse leaves."""
    from_s = 0.75 * result.horizon_s
    done = np.count_nonzero(result.messages["completed_s"] >= from_s)
    return float(done) / (result.horizon_s - from_s)


def last_dead_letter_s(result: Result) -> float:
    """When the last message was dead-lettered."""
    messages = result.messages
    return _last(messages["left_s"][messages["state"] == MESSAGE_DEAD_LETTERED])


def least_dead_letter_left_s(result: Result) -> float:
    """The least time between the dead-lettering of a message and its end in the dead-letter queue."""
    left_s = deleted_s(result) - result.messages["left_s"]
    known = left_s[~np.isnan(left_s)]
    return float(known.min()) if known.size else math.nan


def least_lock_left_s(result: Result) -> float:
    """Of messages whose lock is not renewed: what was left of it when a handler took them."""
    deliveries = result.deliveries
    taken = ~np.isnan(deliveries["started_s"]) & (deliveries["renewals"] == 0)
    left_s = setup_of(result.scenario).semantics.lock_s - (deliveries["started_s"] - deliveries["locked_s"])
    return float(left_s[taken].min()) if taken.any() else math.nan


def started_expired(result: Result) -> float:
    """Handlers that took a message whose lock had run out."""
    deliveries = result.deliveries
    return float(np.count_nonzero(deliveries["started_s"] >= deliveries["lock_end_s"]))


def longest_expired_s(result: Result) -> float:
    """The longest time from the end of a lock until a handler took the message."""
    deliveries = result.deliveries
    expired = deliveries["started_s"] >= deliveries["lock_end_s"]
    over_s = deliveries["started_s"][expired] - deliveries["lock_end_s"][expired]
    return float(over_s.max()) if over_s.size else math.nan


def sends_per_s(result: Result) -> float:
    """Send calls that ended, a second."""
    calls = result.calls[result.calls["end_s"] >= warm_up_s_of(result)]
    return float(np.count_nonzero(calls["op"] == OP_SEND)) / (result.horizon_s - warm_up_s_of(result))


def calls_per_message(result: Result) -> float:
    """Handler starts of each message that a handler has seen."""
    started = ~np.isnan(result.deliveries["started_s"])
    messages = result.deliveries["message"][started]
    return _share(float(messages.size), float(np.unique(messages).size))


def repeated_share(result: Result) -> float:
    """Messages that handlers were given twice or more, of those they were given at all."""
    started = ~np.isnan(result.deliveries["started_s"])
    counts = np.bincount(result.deliveries["message"][started], minlength=result.messages.size)
    return _share(float(np.count_nonzero(counts > 1)), float(np.count_nonzero(counts)))


def _most_at_once(start_s: Floats, end_s: Floats) -> float:
    """The most of these spans that hold one instant; an end comes before a start at the same time."""
    begun = ~np.isnan(start_s)
    instants = np.concatenate([start_s[begun], end_s[begun & ~np.isnan(end_s)]])
    steps = np.concatenate([np.ones(int(begun.sum())), -np.ones(instants.size - int(begun.sum()))])
    order = np.lexsort((steps, instants))
    return float(np.cumsum(steps[order]).max()) if instants.size else 0.0


def most_busy(result: Result) -> float:
    """Handlers at work at the same time, at most."""
    return _most_at_once(result.deliveries["started_s"], result.deliveries["finished_s"])


def most_waiting(result: Result) -> float:
    """Received by one consumer and not yet taken by a handler: the hidden prefetch."""
    most = 0.0
    for consumer in np.unique(result.deliveries["consumer"]):
        own = result.deliveries[result.deliveries["consumer"] == consumer]
        most = max(most, _most_at_once(own["received_s"], own["started_s"]))
    return most


def longest_silence_s(result: Result) -> float:
    """The longest time between two messages that reached a client, one after the other."""
    received_s = np.sort(result.deliveries["received_s"])
    received_s = received_s[~np.isnan(received_s)]
    return float(np.diff(received_s).max()) if received_s.size > 1 else math.nan


def empty_receives(result: Result) -> float:
    """Receives that found nothing."""
    calls = result.calls[result.calls["end_s"] >= warm_up_s_of(result)]
    return float(np.count_nonzero((calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_EMPTY)))


def empty_per_day(result: Result) -> float:
    """The same, a day."""
    return empty_receives(result) / (result.horizon_s - warm_up_s_of(result)) * _DAY_S


def missed_receives(result: Result) -> float:
    """Receives that found nothing, while from beginning to end a message was there that nobody had been given yet."""
    calls, first = result.calls, result.deliveries[result.deliveries["delivery_no"] == 1]
    empty = calls[(calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_EMPTY)]
    locked_s = np.full(result.messages.size, math.inf)
    locked_s[first["message"]] = first["locked_s"]
    in_time = np.argsort(result.messages["sent_s"])  # what is not sent, NaN, comes last
    sent_s = result.messages["sent_s"][in_time]
    there_until_s = np.maximum.accumulate(np.concatenate([[-math.inf], locked_s[in_time]]))
    sent = np.searchsorted(sent_s, empty["start_s"], side="right")
    return float(np.count_nonzero(there_until_s[sent] > empty["end_s"]))


def order_violations(result: Result) -> float:
    """Messages whose first handler began before the one of the message before it in their group had ended."""
    first = result.deliveries[result.deliveries["delivery_no"] == 1]
    begun = first[~np.isnan(first["started_s"])]
    in_order = begun[np.lexsort((begun["message"], result.messages["group"][begun["message"]]))]
    group = result.messages["group"][in_order["message"]]
    ended_s = np.where(np.isnan(in_order["finished_s"]), math.inf, in_order["finished_s"])
    early = (group[1:] == group[:-1]) & (in_order["started_s"][1:] < ended_s[:-1])
    return float(np.count_nonzero(early))


def sent_per_s(result: Result) -> float:
    """Messages that the broker took, a second."""
    sent = result.messages["sent_s"] >= warm_up_s_of(result)
    return float(np.count_nonzero(sent)) / (result.horizon_s - warm_up_s_of(result))


def in_flight_most(result: Result) -> float:
    """The most messages that were locked when the state was sampled."""
    return float(result.states["in_flight"].max()) if result.states.size else math.nan


def most_instances(result: Result) -> float:
    """The most instances that took messages when the state was sampled."""
    return float(result.states["consumers"].max()) if result.states.size else math.nan


def instance_changes(result: Result) -> float:
    """How often the number of instances was another than in the sample before."""
    return float(np.count_nonzero(np.diff(result.states["consumers"])))


def first_scale_in_s(result: Result) -> float:
    """When there were fewer instances than before for the first time, as sampled."""
    fewer = np.flatnonzero(np.diff(result.states["consumers"]) < 0)
    return float(result.states["time_s"][fewer[0] + 1]) if fewer.size else math.nan


def fewest_after_scale_out(result: Result) -> float:
    """The fewest instances from when there were the most of them."""
    consumers = result.states["consumers"]
    return float(consumers[int(np.argmax(consumers)) :].min()) if consumers.size else math.nan


def killed_at_work(result: Result) -> float:
    """Handlers that were at work when their instance was killed."""
    deliveries = result.deliveries
    lost = (deliveries["outcome"] == DELIVERY_LOST) & ~np.isnan(deliveries["started_s"])
    return float(np.count_nonzero(lost))


def largest_receive(result: Result) -> float:
    """The most messages that one receive call brought."""
    brought = result.calls["count"][result.calls["op"] == OP_RECEIVE]
    return float(brought.max()) if brought.size else math.nan


def requests_usd_per_day(result: Result) -> float:
    """What the requests of a day cost, in US dollars."""
    scenario, from_s = result.scenario, warm_up_s_of(result)
    price = scenario.provider_model().prices.plans[scenario.queue.plan].requests
    count = billed_requests(result, price, scenario.message_size_bytes, from_s)
    monthly = count / (result.horizon_s - from_s) * _DAY_S * _DAYS_PER_MONTH
    return price.usd(monthly) / _DAYS_PER_MONTH if price is not None else 0.0


def repeated_calls_share(result: Result) -> float:
    """The share of the handler calls for a message that a handler had before."""
    starts = np.count_nonzero(~np.isnan(result.deliveries["started_s"]))
    first = np.unique(result.deliveries["message"][~np.isnan(result.deliveries["started_s"])]).size
    return _share(float(starts - first), float(starts))


def latency_s(part: float) -> Callable[[Result], float]:
    """A quantile of due to completed, counting what is not completed as slower than any."""

    def read(result: Result) -> float:
        counted = result.messages[result.messages["due_s"] >= warm_up_s_of(result)]
        waited_s = np.where(np.isnan(counted["completed_s"]), math.inf, counted["completed_s"])
        ordered_s = np.sort(waited_s - counted["due_s"])
        if not ordered_s.size:
            return math.nan
        value_s = float(ordered_s[min(math.ceil(part * ordered_s.size) - 1, ordered_s.size - 1)])
        return value_s if math.isfinite(value_s) else math.nan

    return read
