"""Rules between settings that any provider may use: bounds, and settings that a client does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from qtune.providers.base import Limit
from qtune.providers.queue import Check, ClientTraits
from qtune.records import Complaint
from qtune.units import format_duration, format_size


def bound_text(limit: Limit) -> str:
    """The bound as a person writes it: 12h, 1MiB, 10 messages."""
    if limit.value is None:
        return f"an unstated number of {limit.unit}"
    if limit.unit == "s":
        return format_duration(limit.value)
    if limit.unit == "bytes":
        return format_size(limit.value)
    return f"{limit.value:.15g} {limit.unit}"


def source_text(limit: Limit) -> str:
    """Where a limit is stated, and the date of that text."""
    return f"{limit.source}, as of {limit.as_of}"


def breach(limit: Limit, value: float) -> str | None:
    """The message for a value that breaks the limit, or None if it keeps it."""
    if limit.value is None or (value <= limit.value if limit.sense == "at most" else value >= limit.value):
        return None
    kind = "a hard limit" if limit.hard else "adjustable: ask the provider"
    return f"{limit.name} is {limit.sense} {bound_text(limit)} ({kind})"


def within(path: str, limit: Limit) -> Check:
    """The rule that the setting at ``path`` (None: not given) keeps the limit."""

    def check(scenario: Any) -> Iterator[Complaint]:
        value = scenario
        for name in path.split("."):
            value = None if value is None else getattr(value, name)
        message = None if value is None else breach(limit, float(value))
        if message is not None:
            yield Complaint(path=path, message=message, source=source_text(limit))

    return check


def batch_payload(limit_of: Callable[[Any], Limit]) -> Check:
    """The rule that a full batch of sends keeps a limit on its bytes."""

    def check(scenario: Any) -> Iterator[Complaint]:
        producers, limit = scenario.producers, limit_of(scenario)
        if producers is None or producers.batch == 1:
            return
        message = breach(limit, float(producers.batch * scenario.message_size_bytes))
        if message is not None:
            size = format_size(scenario.message_size_bytes)
            text = f"{producers.batch} messages of {size} are too many bytes: {message}"
            yield Complaint(path="producers.batch", message=text, source=source_text(limit))

    return check


def batches_are_whole(source: str) -> Check:
    """The rule that no entry of a batch fails alone, for brokers that take or refuse a batch as a whole."""

    def check(scenario: Any) -> Iterator[Complaint]:
        if scenario.producers is not None and scenario.producers.entry_failures > 0.0:
            message = "this broker takes or refuses a batch as a whole: leave it out"
            yield Complaint(path="producers.entry_failures", message=message, source=source)

    return check


def some_lock(path: str) -> Check:
    """The rule that a lock lasts longer than 0 s."""

    def check(scenario: Any) -> Iterator[Complaint]:
        section, name = path.split(".")
        if getattr(getattr(scenario, section), name) == 0.0:
            yield Complaint(
                path=path,
                message="0s locks nothing, so each receive returns the same messages: use more than 0s",
            )

    return check


def without_faults(**why: str) -> Check:
    """The rule that faults of these kinds cannot happen to this provider's clients, each with what to use instead."""

    def check(scenario: Any) -> Iterator[Complaint]:
        for index, fault in enumerate(scenario.faults):
            if fault.kind in why:
                yield Complaint(path=f"faults.{index}.kind", message=why[fault.kind])

    return check


def groups_go_with_the_queue(by_group: Callable[[Any], bool]) -> Check:
    """The rule that a queue which hands out by group has groups, and that only with it there is an order to keep."""

    def check(scenario: Any) -> Iterator[Complaint]:
        ordered = by_group(scenario.queue)
        if ordered and scenario.groups is None:
            message = (
                "each message of this queue belongs to a group: say to which, as in {kind: even, count: 100}"
            )
            yield Complaint(path="groups", message=message)
        if not ordered and scenario.consumers.keep_group_order is not None:
            message = "this queue has no order of groups to keep: leave it out"
            yield Complaint(path="consumers.keep_group_order", message=message)

    return check


def offered(scenario: Any, traits: ClientTraits, name: str) -> Iterator[Complaint]:
    """A complaint if a setting of the consumers is given that this client does not have."""
    value = getattr(scenario.consumers, name)
    if value is not None and name in traits.instead:
        source = traits.sources.get(name)
        yield Complaint(
            path=f"consumers.{name}", message=traits.instead[name].format(value=value or 10), source=source
        )
