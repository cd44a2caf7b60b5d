"""Providers: their words, limits, clients and models, translated to the neutral records that engines read."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from qtune.consumer import Consumers
from qtune.providers.base import (
    CallModel,
    DeliverySemantics,
    Limit,
    Price,
    RateLimit,
    ReceiveBehaviour,
    Retries,
)
from qtune.providers.files import dump_model, load_model, model_names
from qtune.providers.model import ProviderModel
from qtune.providers.queue import Provider, QueueSettings, lock_field
from qtune.providers.registry import all_providers, get_provider

__all__ = [
    "CallModel",
    "DeliverySemantics",
    "Limit",
    "Price",
    "Provider",
    "ProviderModel",
    "QueueSettings",
    "RateLimit",
    "ReceiveBehaviour",
    "Retries",
    "all_providers",
    "behaviour",
    "call_model",
    "client_name",
    "dump_model",
    "get_provider",
    "load_model",
    "lock_field",
    "model_names",
    "model_of",
    "priors",
    "rate_limits",
    "retries",
    "semantics",
]


class HasQueue(Protocol):
    """The part of a scenario that a provider translates."""

    @property
    def queue(self) -> QueueSettings:
        """The queue, in its provider's words."""

    @property
    def consumers(self) -> Consumers:
        """The consumers."""

    @property
    def message_size_bytes(self) -> int:
        """The size of each message."""

    @property
    def model(self) -> str | None:
        """The name or path of a provider model, or None for the provider's own."""


def client_name(scenario: HasQueue) -> str:
    """The client library in use: the one named, or the provider's default."""
    return scenario.consumers.client or get_provider(scenario.queue.provider).default_client


def model_of(scenario: HasQueue) -> ProviderModel:
    """The provider model in use: the one named, or the provider's default."""
    return load_model(scenario.model or get_provider(scenario.queue.provider).default_model)


def semantics(scenario: HasQueue) -> DeliverySemantics:
    """What the scenario's broker does with a message."""
    provider = get_provider(scenario.queue.provider)
    found, room = (
        provider.semantics(scenario.queue),
        provider.room(scenario.queue, scenario.message_size_bytes),
    )
    return replace(found, capacity_messages=room, rejects_when_full=True) if room else found


def behaviour(scenario: HasQueue) -> ReceiveBehaviour:
    """How the scenario's consumers get and settle messages, with the CPU cost of their client."""
    cost = model_of(scenario).clients[client_name(scenario)]
    translated = get_provider(scenario.queue.provider).behaviour(scenario.queue, scenario.consumers)
    return replace(translated, call_cost_s=cost.call_cost_s, message_cost_s=cost.message_cost_s)


def call_model(scenario: HasQueue) -> CallModel:
    """How long the scenario's calls to the broker take."""
    return get_provider(scenario.queue.provider).calls(scenario.queue, model_of(scenario).call_model())


def priors(scenario: HasQueue) -> frozenset[str]:
    """The parameters of the model on which the scenario's answers rest and which nobody has measured."""
    receiving = behaviour(scenario)
    unused = {"traffic"} - {limit.parameter for limit in rate_limits(scenario)}
    polls = receiving.discipline == "poll"
    if not polls or receiving.wait_s > 0.0:
        unused |= {"short_poll"}
    if not polls or receiving.wait_s <= 0.0:
        unused |= {"long_poll"}
    if not receiving.renewers:
        unused |= {"renew"}
    if receiving.calls_at_once(scenario.consumers.workers) <= receiving.pool_connections:
        unused |= {"connect"}  # but for the first calls of a run
    if scenario.consumers.instances * receiving.receivers == 1:
        unused |= {"hand_out"}
    return model_of(scenario).priors(client_name(scenario)) - unused


def rate_limits(scenario: HasQueue) -> tuple[RateLimit, ...]:
    """The rates above which the scenario's broker refuses calls at any time."""
    provider = get_provider(scenario.queue.provider)
    return provider.rate_limits(scenario.queue, model_of(scenario), scenario.message_size_bytes)


def retries(scenario: HasQueue) -> Retries:
    """What the scenario's clients do when a call is refused: their retry mode, with the attempts that are set."""
    consumers = scenario.consumers
    modes = get_provider(scenario.queue.provider).clients[client_name(scenario)].retries
    mode = modes[consumers.retry_mode or next(iter(modes))]
    return mode if consumers.max_attempts is None else replace(mode, attempts=consumers.max_attempts)
