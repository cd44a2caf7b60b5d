"""Sessions of any provider: what a scenario needs for them, and the receivers that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from qtune.consumer import Consumers
from qtune.providers.queue import Check
from qtune.records import Complaint

SETTINGS = ("sessions", "session_idle_timeout_s")
"""The settings of consumers that only a queue with sessions has."""


def sessions_go_with_the_queue(
    has_sessions: Callable[[Any], bool], instead: str, source: str | None = None
) -> Check:
    """The rule that only a queue with sessions has settings of sessions, and that these do not contradict each other.

    instead: what to do where the queue has none. source: where it is stated.
    """

    def check(scenario: Any) -> Iterator[Complaint]:
        if has_sessions(scenario.queue):
            yield from _of_sessions(scenario, source)
            return
        for name in SETTINGS:
            if getattr(scenario.consumers, name) is not None:
                message = f"this queue has no sessions: {instead}"
                yield Complaint(path=f"consumers.{name}", message=message, source=source)

    return check


def _of_sessions(scenario: Any, source: str | None) -> Iterator[Complaint]:
    consumers = scenario.consumers
    if scenario.groups is None:
        message = "each message of a queue with sessions belongs to one: say to which, as in {kind: even, count: 100}"
        yield Complaint(path="groups", message=message, source=source)
    if consumers.sessions is not None and consumers.workers % consumers.sessions:
        message = f"each session has the same number of calls at a time, so it divides workers ({consumers.workers})"
        yield Complaint(path="consumers.sessions", message=message, source=source)
    if consumers.renewal is not None and consumers.renewal.renewers is not None:
        message = "a session has one lock, which its receiver renews: leave it out"
        yield Complaint(path="consumers.renewal.renewers", message=message, source=source)
    if scenario.failures.on_failure != "abandon":
        message = "a message of a session is abandoned when its handler fails: use on_failure: abandon"
        yield Complaint(path="failures.on_failure", message=message, source=source)


def session_fields(consumers: Consumers, *, idle_s: float, accept_wait_s: float) -> dict[str, Any]:
    """The part of a ReceiveBehaviour that sessions decide: a receiver for each that is held at a time.

    idle_s: the idle timeout by default. accept_wait_s: for how long a receiver asks for a session before it asks again.
    """
    sessions = consumers.sessions or consumers.workers
    in_hand_limit = consumers.prefetch or consumers.workers // sessions
    return {
        "discipline": "link_sliding",
        "receivers": sessions,
        "batch": 1,
        "in_hand_limit": in_hand_limit,
        "refill_at": in_hand_limit,
        "credit_returned": "settled",
        "session_idle_s": consumers.session_idle_timeout_s or idle_s,
        "accept_wait_s": accept_wait_s,
        "renews_sessions": consumers.renewal is not None,
        "renewers": 0,
    }
