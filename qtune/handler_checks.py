"""The rules between a handler, what it shares, and the clients that receive for it; asked with those of checks.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtune.providers.files import load_model
from qtune.providers.queue import Check, Provider
from qtune.providers.registry import get_provider
from qtune.records import Complaint
from qtune.units import format_count, format_size


def _refusals_take_time(scenario: Any) -> Iterator[Complaint]:
    downstream, provider = scenario.downstream, get_provider(scenario.queue.provider)
    if downstream is None or not downstream.rejects or scenario.failures.on_failure != "abandon":
        return
    if not downstream.refusal_s and _calls_take_no_time(scenario, provider):
        message = "a refused message is given back and received again in no time, for ever: set refusal"
        yield Complaint(path="downstream.refusal_s", message=message)


def _calls_take_no_time(scenario: Any, provider: Provider) -> bool:
    """Whether a message can be given back and received again at the same instant."""
    latency = load_model(scenario.model or provider.default_model).latency
    round_trips = (latency.settle.time.distribution(), latency.receive.time.distribution())
    return all(time.quantile(1e-9) <= 0.0 for time in round_trips)


def _breakers_can_open(scenario: Any) -> Iterator[Complaint]:
    """A circuit breaker needs failures that it sees, and a rejected message must not come back in no time."""
    handler, downstream, failures = scenario.handler, scenario.downstream, scenario.failures
    if handler.circuit_breaker is None:
        return
    path = "handler.circuit_breaker"
    if handler.takes == "batch" and handler.failure == "partial" and not (downstream and downstream.rejects):
        message = (
            "a handler that says which messages failed (failure: partial) does not fail itself, so nothing would open "
            "it: use failure: whole, or leave it out"
        )
        yield Complaint(path=path, message=message)
    waits = failures.retry is not None and any(failures.retry.waits_s())
    provider = get_provider(scenario.queue.provider)
    if failures.on_failure == "abandon" and not waits and _calls_take_no_time(scenario, provider):
        message = (
            "while it is open a message is given back and received again in no time, for ever: "
            "set failures.retry.base, or on_failure: lock_expiry"
        )
        yield Complaint(path=path, message=message)


def _batches_can_be_received(scenario: Any) -> Iterator[Complaint]:
    """A batch handler needs a client that hands it all that a receive brought."""
    provider, consumers = get_provider(scenario.queue.provider), scenario.consumers
    name = consumers.client or provider.default_client
    if scenario.handler.takes == "message" or name not in provider.clients:
        return
    traits = provider.clients[name]
    polling = consumers.polling or (traits.polling[0] if traits.polling else None)
    message = None
    if traits.discipline == "link_sliding":
        message = f"{name} hands out single messages: use another client, or takes: message"
    elif polling == "permits":
        others = " or ".join(f"polling: {other}" for other in traits.polling if other != "permits")
        message = f"polling by permits brings a message for each idle worker: use {others}, or takes: message"
    elif polling == "loop" and consumers.receivers not in (None, consumers.workers):
        message = (
            f"one worker takes all that a receive brings, so {consumers.workers} workers need as many receivers: "
            "leave consumers.receivers out"
        )
    if message is not None:
        yield Complaint(path="handler.takes", message=message)
        return
    adaptive = consumers.adaptive_batch
    batch = adaptive.max if adaptive else consumers.receive_batch or traits.receive_batch
    if scenario.handler.window_s is not None:
        yield from _windows_are_polled(scenario, traits.discipline == "poll" and polling == "loop")
    elif batch == 1:
        message = "a receive brings one message: use consumers.receive_batch of 2 or more, or takes: message"
        yield Complaint(path="handler.takes", message=message)
    elif scenario.handler.most is not None and scenario.handler.most > batch:
        message = (
            f"a receive brings at most {batch} messages (consumers.receive_batch), so a call never has more: "
            "give a window too, in which several receives fill a batch"
        )
        yield Complaint(path="handler.most", message=message)


def _windows_are_polled(scenario: Any, in_a_loop: bool) -> Iterator[Complaint]:
    """A window needs a loop whose receives have nothing else to follow."""
    message = None
    if not in_a_loop:
        message = "a window is open while a loop receives and nothing is handled: use polling: loop, or leave this out"
    elif scenario.consumers.adaptive_batch is not None:
        message = (
            "adaptive_batch gives receives another size, by how long the last took: leave one of both out"
        )
    elif scenario.handler.most is None and (scenario.consumers.receive_batch or 1) == 1:
        message = "the batch is full with one message, so there is nothing to wait for: give most, or leave this out"
    if message is not None:
        yield Complaint(path="handler.window_s", message=message)


def _batches_go_alone(scenario: Any) -> Iterator[Complaint]:
    """What is not simulated together with a batch handler, and what says nothing beside it."""
    if scenario.handler.takes == "message":
        return
    if scenario.failures.retry is not None:
        message = (
            "a call for a batch is made once, and what fails comes back: leave retry out, or takes: message"
        )
        yield Complaint(path="failures.retry", message=message)
    if scenario.consumers.renewal is not None:
        message = "locks of a batch are not renewed while it is handled: use a longer lock, or takes: message"
        yield Complaint(path="consumers.renewal", message=message)
    if scenario.consumers.settle_batch is not None:
        message = "a batch is settled in one call: leave settle_batch out"
        yield Complaint(path="consumers.settle_batch", message=message)


def _batches_mix_groups(scenario: Any) -> Iterator[Complaint]:
    provider, consumers = get_provider(scenario.queue.provider), scenario.consumers
    if (
        scenario.handler.takes == "message"
        or (consumers.client or provider.default_client) not in provider.clients
    ):
        return
    if provider.behaviour(scenario.queue, consumers).keeps_order:
        message = (
            "clients that keep the order of groups are simulated with single messages only: "
            "use consumers.keep_group_order: false, or takes: message"
        )
        yield Complaint(path="handler.takes", message=message)


def _adaptive_batches_are_polled(scenario: Any) -> Iterator[Complaint]:
    provider, consumers = get_provider(scenario.queue.provider), scenario.consumers
    name = consumers.client or provider.default_client
    if consumers.adaptive_batch is None or name not in provider.clients:
        return
    traits = provider.clients[name]
    polling = consumers.polling or (traits.polling[0] if traits.polling else None)
    if polling != "loop":
        has = f"{name} polls by {polling}" if polling else f"{name} does not poll"
        others = "use polling: loop, or" if "loop" in traits.polling else ""
        message = f"{has}, and the time of a batch is known only to a loop that waits for it: {others} leave this out"
        yield Complaint(path="consumers.adaptive_batch", message=message.replace(":  ", ": "))
    elif consumers.receive_batch is not None:
        message = "adaptive_batch says how many messages a receive asks for: leave receive_batch out"
        yield Complaint(path="consumers.receive_batch", message=message)


def _memory_holds_something(scenario: Any) -> Iterator[Complaint]:
    """A limit on memory is for clients that poll, and leaves each receiver room to work."""
    provider, consumers = get_provider(scenario.queue.provider), scenario.consumers
    limit, each = consumers.memory_limit_bytes, consumers.message_memory_bytes
    name = consumers.client or provider.default_client
    if (limit is None and each is None) or name not in provider.clients:
        return
    traits = provider.clients[name]
    path = "consumers.message_memory_bytes" if limit is None else "consumers.memory_limit_bytes"
    if limit is None:
        message = "nothing limits the memory: set memory_limit, or leave this out"
    elif each is None:
        message = "say what one message takes in memory: set message_memory, or leave this out"
    elif traits.discipline != "poll":
        message = f"{name} takes what it has credit for, and does not look at its memory: leave this out"
    else:
        receivers = provider.behaviour(scenario.queue, consumers).receivers
        polling = consumers.polling or traits.polling[0]
        adaptive, brings = consumers.adaptive_batch, consumers.receive_batch or traits.receive_batch
        most = scenario.handler.most_of(adaptive.max if adaptive else brings)
        needs = _least_held(scenario, most * (consumers.workers // receivers) if polling == "buffer" else 0)
        if limit >= needs * receivers * each:
            return
        message = (
            f"with messages of {format_size(each)} each of {format_count(receivers, 'receiver')} needs room for "
            f"{needs}: use {format_size(needs * receivers * each)} or more"
        )
    yield Complaint(path=path, message=message)


def _least_held(scenario: Any, handled: int) -> int:
    """How many messages a receiver must be able to hold, with so many of them in handlers besides."""
    adaptive = scenario.consumers.adaptive_batch
    least = adaptive.min if adaptive else 1
    return handled + max(least, 2 if scenario.handler.takes == "batch" else 1, scenario.handler.most or 1)


HANDLER_CHECKS: tuple[Check, ...] = (
    _refusals_take_time,
    _breakers_can_open,
    _batches_can_be_received,
    _batches_go_alone,
    _batches_mix_groups,
    _adaptive_batches_are_polled,
    _memory_holds_something,
)
