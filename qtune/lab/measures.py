"""What an incident may count: the numbers of a summary, and those that tell an incident from a slow day.

Everything is counted from the scenario's warm-up on, or from the start when it has none. A measure that a run does
not show, such as when the last message was dead-lettered in a run without dead letters, is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from qtune.analysis.measures import SHARES, UNITS
from qtune.lab import counting
from qtune.result import Result


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One number of a run by name; unit: as in an Estimate ("s", "1/s", "USD", "1"), or "share"."""

    name: str
    unit: str
    meaning: str
    read: Callable[[Result], float]


_OF_SUMMARY: Final = (
    ("goodput_per_s", "messages completed"),
    ("throughput_per_s", "handlers ended"),
    ("amplification", "deliveries for each message that was delivered"),
    ("duplicates", "of the messages, handled with success twice or more"),
    ("lost_locks", "locks that ran out before the message was settled"),
    ("handler_calls", "handlers started"),
    ("wasted_handler_calls", "handlers that ended well after their lock had run out"),
    ("dead_letters", "messages dead-lettered"),
    ("dead_letters_deleted", "dead letters deleted when their own retention ended"),
    ("expired", "messages deleted unread"),
    ("rejected", "messages that the queue refused"),
    ("error_rate", "of the messages, dead-lettered, expired or rejected"),
    ("utilization", "of the workers' time in handlers"),
    ("backlog_most", "messages in the broker that no one holds, at most"),
    ("empty_receives_per_s", "receives that find nothing"),
    ("refused_calls_per_s", "calls that the broker refused"),
    ("refusals", "attempts that a downstream refused"),
    ("breaker_openings", "times that a circuit breaker opened"),
    ("breaker_rejections", "attempts that an open circuit breaker let fail at once"),
    ("downstream_utilization", "of the time of a downstream's connections in use"),
    ("batch_efficiency", "of the most that a receive may bring, when it brings any"),
    ("calls_per_message", "calls for each completed message, without sends"),
)

_OWN: Final[tuple[tuple[str, str, str, Callable[[Result], float]], ...]] = (
    ("completed", "1", "messages completed", counting.completed),
    ("completed_share", "share", "of the messages completed", counting.completed_share),
    ("last_completed_s", "s", "when the last message was completed", counting.last_of("completed_s")),
    ("last_settled_s", "s", "when the last message was settled", counting.last_of("settled_s")),
    ("last_dead_letter_s", "s", "when the last message was dead-lettered", counting.last_dead_letter_s),
    ("last_send_s", "s", "when the last send was answered", counting.last_send_s),
    (
        "least_dead_letter_left_s",
        "s",
        "the least that was left of a dead letter's retention when it came into its queue",
        counting.least_dead_letter_left_s,
    ),
    (
        "late_goodput_per_s",
        "1/s",
        "messages completed in the last quarter of the run",
        counting.late_goodput_per_s,
    ),
    (
        "least_lock_left_s",
        "s",
        "the least that was left of a lock when a handler took the message",
        counting.least_lock_left_s,
    ),
    ("started_expired", "1", "handlers that took a message whose lock had run out", counting.started_expired),
    (
        "longest_expired_s",
        "s",
        "the longest time from the end of a lock until a handler took the message",
        counting.longest_expired_s,
    ),
    (
        "handler_calls_per_message",
        "1",
        "handler calls for each message that was handled",
        counting.calls_per_message,
    ),
    (
        "repeated_share",
        "share",
        "of the handled messages, given to a handler twice or more",
        counting.repeated_share,
    ),
    (
        "repeated_calls_share",
        "share",
        "of the handler calls, for a message that a handler had before",
        counting.repeated_calls_share,
    ),
    (
        "order_violations",
        "1",
        "messages begun before the one before them in their group had ended",
        counting.order_violations,
    ),
    ("most_busy", "1", "handlers at work at the same time", counting.most_busy),
    ("most_waiting", "1", "messages that waited at the same time in one client", counting.most_waiting),
    (
        "longest_silence_s",
        "s",
        "the longest time between two messages that reached a client",
        counting.longest_silence_s,
    ),
    ("sent_per_s", "1/s", "messages that the broker took", counting.sent_per_s),
    ("sends_per_s", "1/s", "send calls that ended", counting.sends_per_s),
    ("empty_receives", "1", "receives that found nothing", counting.empty_receives),
    ("empty_receives_per_day", "1", "receives that find nothing, a day", counting.empty_per_day),
    (
        "missed_receives",
        "1",
        "receives that found nothing while a message was there",
        counting.missed_receives,
    ),
    ("in_flight_most", "1", "messages locked at the same time, as sampled", counting.in_flight_most),
    ("killed_at_work", "1", "handlers at work when their instance was killed", counting.killed_at_work),
    ("most_instances", "1", "instances at the same time, as sampled", counting.most_instances),
    ("instance_changes", "1", "changes of the number of instances, as sampled", counting.instance_changes),
    ("first_scale_in_s", "s", "when an instance was removed for the first time", counting.first_scale_in_s),
    (
        "fewest_instances_after_scale_out",
        "1",
        "instances from when there were the most of them, at least",
        counting.fewest_after_scale_out,
    ),
    ("largest_receive", "1", "messages in one receive, at most", counting.largest_receive),
    ("requests_usd_per_day", "USD", "what the requests of a day cost", counting.requests_usd_per_day),
    ("latency_s_p50", "s", "median latency", counting.latency_s(0.50)),
    ("latency_s_p95", "s", "95th percentile of the latency", counting.latency_s(0.95)),
)


def _of_summary(name: str, meaning: str) -> Measure:
    unit = "share" if name in SHARES else UNITS[name]
    return Measure(name=name, unit=unit, meaning=meaning, read=counting.of_summary(name))


MEASURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {name: _of_summary(name, meaning) for name, meaning in _OF_SUMMARY}
    | {name: Measure(name=name, unit=unit, meaning=meaning, read=read) for name, unit, meaning, read in _OWN}
)
"""Every measure that an incident may name."""
