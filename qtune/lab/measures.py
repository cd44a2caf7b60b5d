"""What the lab counts in one run: the numbers of a summary, and those that tell an incident from a slow day.

Everything is counted from the scenario's warm-up on, or from the start when it has none. A measure that a run does
not show, such as when the last message was dead-lettered in a run without dead letters, is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from qtune.analysis.cost import HOURS_PER_MONTH, billed_requests
from qtune.analysis.intervals import Floats
from qtune.analysis.measures import SHARES, UNITS, measures_of
from qtune.analysis.setup import setup_of
from qtune.result import CALL_EMPTY, MESSAGE_COMPLETED, MESSAGE_DEAD_LETTERED, OP_RECEIVE, OP_SEND, Result

_DAY_S: Final = 86_400.0
_DAYS_PER_MONTH: Final = HOURS_PER_MONTH / 24.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One number of a run by name; unit: as in an Estimate ("s", "1/s", "USD", "1"), or "share"."""

    name: str
    unit: str
    meaning: str
    read: Callable[[Result], float]


def warm_up_s_of(result: Result) -> float:
    """From when on a run is counted."""
    asked = result.scenario.warm_up_s
    return 0.0 if asked == "auto" else float(asked)


def _of_summary(name: str) -> Callable[[Result], float]:
    return lambda result: measures_of(result, setup_of(result.scenario), warm_up_s_of(result))[name]


def _last(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else math.nan


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _completed(result: Result) -> float:
    return float(np.count_nonzero(result.messages["state"] == MESSAGE_COMPLETED))


def _completed_share(result: Result) -> float:
    return _share(_completed(result), result.messages.size)


def _late_goodput_per_s(result: Result) -> float:
    """Of the last quarter of the run: what a collapse leaves."""
    from_s = 0.75 * result.horizon_s
    done = np.count_nonzero(result.messages["completed_s"] >= from_s)
    return float(done) / (result.horizon_s - from_s)


def _last_dead_letter_s(result: Result) -> float:
    messages = result.messages
    return _last(messages["left_s"][messages["state"] == MESSAGE_DEAD_LETTERED])


def _least_lock_left_s(result: Result) -> float:
    """Of messages whose lock is not renewed: what was left of it when a handler took them."""
    deliveries = result.deliveries
    taken = ~np.isnan(deliveries["started_s"]) & (deliveries["renewals"] == 0)
    left_s = setup_of(result.scenario).semantics.lock_s - (deliveries["started_s"] - deliveries["locked_s"])
    return float(left_s[taken].min()) if taken.any() else math.nan


def _started_expired(result: Result) -> float:
    deliveries = result.deliveries
    return float(np.count_nonzero(deliveries["started_s"] >= deliveries["lock_end_s"]))


def _longest_expired_s(result: Result) -> float:
    deliveries = result.deliveries
    expired = deliveries["started_s"] >= deliveries["lock_end_s"]
    over_s = deliveries["started_s"][expired] - deliveries["lock_end_s"][expired]
    return float(over_s.max()) if over_s.size else math.nan


def _sends_per_s(result: Result) -> float:
    calls = result.calls[result.calls["end_s"] >= warm_up_s_of(result)]
    return float(np.count_nonzero(calls["op"] == OP_SEND)) / (result.horizon_s - warm_up_s_of(result))


def _calls_per_message(result: Result) -> float:
    """Handler starts of each message that a handler has seen."""
    started = ~np.isnan(result.deliveries["started_s"])
    messages = result.deliveries["message"][started]
    return _share(float(messages.size), float(np.unique(messages).size))


def _repeated_share(result: Result) -> float:
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


def _most_busy(result: Result) -> float:
    return _most_at_once(result.deliveries["started_s"], result.deliveries["finished_s"])


def _most_waiting(result: Result) -> float:
    """Received by one consumer and not yet taken by a handler: the hidden prefetch."""
    most = 0.0
    for consumer in np.unique(result.deliveries["consumer"]):
        own = result.deliveries[result.deliveries["consumer"] == consumer]
        most = max(most, _most_at_once(own["received_s"], own["started_s"]))
    return most


def _longest_silence_s(result: Result) -> float:
    """The longest time between two messages that reached a client, one after the other."""
    received_s = np.sort(result.deliveries["received_s"])
    received_s = received_s[~np.isnan(received_s)]
    return float(np.diff(received_s).max()) if received_s.size > 1 else math.nan


def _empty(result: Result) -> float:
    calls = result.calls[result.calls["end_s"] >= warm_up_s_of(result)]
    return float(np.count_nonzero((calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_EMPTY)))


def _empty_per_day(result: Result) -> float:
    return _empty(result) / (result.horizon_s - warm_up_s_of(result)) * _DAY_S


def _missed_receives(result: Result) -> float:
    """Receives that found nothing, from beginning to end in a time in which one message was there and free."""
    calls, first = result.calls, result.deliveries[result.deliveries["delivery_no"] == 1]
    empty = calls[(calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_EMPTY)]
    locked_s = np.full(result.messages.size, result.horizon_s)
    locked_s[first["message"]] = first["locked_s"]
    sent_s = result.messages["sent_s"]
    begun = np.sort(empty["start_s"])
    inside = np.searchsorted(begun, sent_s), np.searchsorted(np.sort(empty["end_s"]), locked_s)
    return float(np.maximum(inside[1] - inside[0], 0).sum())


def _largest_receive(result: Result) -> float:
    """The most messages that one receive call brought."""
    brought = result.calls["count"][result.calls["op"] == OP_RECEIVE]
    return float(brought.max()) if brought.size else math.nan


def _requests_usd_per_day(result: Result) -> float:
    scenario, from_s = result.scenario, warm_up_s_of(result)
    price = scenario.provider_model().prices.plans[scenario.queue.plan].requests
    count = billed_requests(result, price, scenario.message_size_bytes, from_s)
    monthly = count / (result.horizon_s - from_s) * _DAY_S * _DAYS_PER_MONTH
    return price.usd(monthly) / _DAYS_PER_MONTH if price is not None else 0.0


def _repeated_calls_share(result: Result) -> float:
    starts = np.count_nonzero(~np.isnan(result.deliveries["started_s"]))
    first = np.unique(result.deliveries["message"][~np.isnan(result.deliveries["started_s"])]).size
    return _share(float(starts - first), float(starts))


def _latency_s(share: float) -> Callable[[Result], float]:
    """A quantile of due to completed, counting what is not completed as slower than any."""

    def read(result: Result) -> float:
        counted = result.messages[result.messages["due_s"] >= warm_up_s_of(result)]
        waited_s = np.where(np.isnan(counted["completed_s"]), math.inf, counted["completed_s"])
        ordered_s = np.sort(waited_s - counted["due_s"])
        if not ordered_s.size:
            return math.nan
        value_s = float(ordered_s[min(math.ceil(share * ordered_s.size) - 1, ordered_s.size - 1)])
        return value_s if math.isfinite(value_s) else math.nan

    return read


_OWN: Final = (
    Measure(name="completed", unit="1", meaning="messages completed", read=_completed),
    Measure(name="completed_share", unit="share", meaning="of the messages completed", read=_completed_share),
    Measure(
        name="last_completed_s",
        unit="s",
        meaning="when the last message was completed",
        read=lambda result: _last(result.messages["completed_s"]),
    ),
    Measure(
        name="last_settled_s",
        unit="s",
        meaning="when the last message was settled",
        read=lambda result: _last(result.messages["settled_s"]),
    ),
    Measure(
        name="last_dead_letter_s",
        unit="s",
        meaning="when the last message was dead-lettered",
        read=_last_dead_letter_s,
    ),
    Measure(
        name="late_goodput_per_s",
        unit="1/s",
        meaning="messages completed in the last quarter of the run",
        read=_late_goodput_per_s,
    ),
    Measure(
        name="least_lock_left_s",
        unit="s",
        meaning="the least that was left of a lock when a handler took the message",
        read=_least_lock_left_s,
    ),
    Measure(
        name="started_expired",
        unit="1",
        meaning="handlers that took a message whose lock had run out",
        read=_started_expired,
    ),
    Measure(
        name="longest_expired_s",
        unit="s",
        meaning="the longest time from the end of a lock until a handler took the message",
        read=_longest_expired_s,
    ),
    Measure(name="sends_per_s", unit="1/s", meaning="send calls that ended", read=_sends_per_s),
    Measure(
        name="last_sent_s",
        unit="s",
        meaning="when the last message was in the broker",
        read=lambda result: _last(result.messages["sent_s"]),
    ),
    Measure(
        name="handler_calls_per_message",
        unit="1",
        meaning="handler calls for each message that was handled",
        read=_calls_per_message,
    ),
    Measure(
        name="repeated_share",
        unit="share",
        meaning="of the handled messages, given to a handler twice or more",
        read=_repeated_share,
    ),
    Measure(
        name="repeated_calls_share",
        unit="share",
        meaning="of the handler calls, for a message that a handler had before",
        read=_repeated_calls_share,
    ),
    Measure(name="most_busy", unit="1", meaning="handlers at work at the same time", read=_most_busy),
    Measure(
        name="most_waiting",
        unit="1",
        meaning="messages that waited at the same time in one client",
        read=_most_waiting,
    ),
    Measure(
        name="longest_silence_s",
        unit="s",
        meaning="the longest time between two messages that reached a client",
        read=_longest_silence_s,
    ),
    Measure(name="empty_receives", unit="1", meaning="receives that found nothing", read=_empty),
    Measure(
        name="empty_receives_per_day",
        unit="1",
        meaning="receives that find nothing, a day",
        read=_empty_per_day,
    ),
    Measure(
        name="missed_receives",
        unit="1",
        meaning="receives that found nothing while a message was there",
        read=_missed_receives,
    ),
    Measure(
        name="largest_receive", unit="1", meaning="messages in one receive, at most", read=_largest_receive
    ),
    Measure(
        name="requests_usd_per_day",
        unit="USD",
        meaning="what the requests of a day cost",
        read=_requests_usd_per_day,
    ),
    Measure(name="latency_s_p50", unit="s", meaning="median latency", read=_latency_s(0.50)),
    Measure(name="latency_s_p95", unit="s", meaning="95th percentile of the latency", read=_latency_s(0.95)),
)

_OF_SUMMARY: Final = (
    ("goodput_per_s", "messages completed"),
    ("throughput_per_s", "handlers ended"),
    ("amplification", "deliveries for each message that was delivered"),
    ("duplicates", "of the messages, handled with success twice or more"),
    ("lost_locks", "locks that ran out before the message was settled"),
    ("handler_calls", "handlers started"),
    ("wasted_handler_calls", "handlers that ended well after their lock had run out"),
    ("dead_letters", "messages dead-lettered"),
    ("expired", "messages deleted unread"),
    ("rejected", "messages that the queue refused"),
    ("error_rate", "of the messages, dead-lettered, expired or rejected"),
    ("utilization", "of the workers' time in handlers"),
    ("backlog_most", "messages in the broker that no one holds, at most"),
    ("empty_receives_per_s", "receives that find nothing"),
    ("refused_calls_per_s", "calls that the broker refused"),
    ("refusals", "attempts that a downstream refused"),
    ("downstream_utilization", "of the time of a downstream's connections in use"),
    ("batch_efficiency", "of the most that a receive may bring, when it brings any"),
    ("calls_per_message", "calls for each completed message, without sends"),
)

MEASURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {
        **{
            name: Measure(
                name=name,
                unit="share" if name in SHARES else UNITS[name],
                meaning=meaning,
                read=_of_summary(name),
            )
            for name, meaning in _OF_SUMMARY
        },
        **{measure.name: measure for measure in _OWN},
    }
)
"""Every measure that an incident may name."""
