"""A provider model: how long a provider's calls take, what its clients cost in CPU, and what it charges.

It is data with provenance, so that a calibrated model replaces an assumed one without a line of code. What
nobody has measured says ``prior: true``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal

from pydantic import field_validator

from qtune.errors import ModelError
from qtune.providers.base import CallModel
from qtune.providers.calibration import Calibration
from qtune.providers.prices import Prices
from qtune.records import (
    Count,
    CountOrZero,
    Fraction,
    PositiveSeconds,
    Record,
    Seconds,
    Text,
    YesOrNo,
    refuse,
)
from qtune.shapes import RandomTime
from qtune.shown import Shown


class Latency(Record):
    """A random time with its provenance; ``prior`` is True if nobody has measured it for this model."""

    error_type = ModelError

    time: RandomTime
    prior: YesOrNo
    source: Text
    as_of: date


class ClientCost(Record):
    """CPU time of one client library: per call, and per message in a call, with its provenance."""

    error_type = ModelError

    call_cost_s: Seconds
    message_cost_s: Seconds
    prior: YesOrNo
    source: Text
    as_of: date


class Latencies(Record):
    """Round trips of the four kinds of call, without any waiting for messages.

    connect: how long a new connection takes to be open, by its handshakes; None: a call needs no connection.
    """

    error_type = ModelError

    send: Latency
    receive: Latency
    settle: Latency
    renew: Latency
    connect: Latency | None = None


class Sampling(Record):
    """The chance that a receive sees any one of the messages that are ready, with its provenance."""

    error_type = ModelError

    share: Fraction
    prior: YesOrNo
    source: Text
    as_of: date

    @field_validator("share")
    @classmethod
    def _sees_some(cls, share: float) -> float:
        if share == 0.0:
            raise refuse("a receive that sees no message never gets one: use more than 0")
        return share


class HandOut(Record):
    """Which of the receivers that wait gets the next message, with its provenance.

    A broker in one piece may serve them in turn; one of many servers may serve any of them.
    """

    error_type = ModelError

    to: Literal["longest_waiting", "any"]
    prior: YesOrNo
    source: Text
    as_of: date


class Looking(Record):
    """How often the broker looks for messages for a receive that waits, with its provenance.

    Its next look finds what has come meanwhile, so a message waits for half of ``every`` on average when one receive
    waits, and less the more of them do.
    """

    error_type = ModelError

    every_s: PositiveSeconds
    prior: YesOrNo
    source: Text
    as_of: date


class Traffic(Record):
    """What a messaging unit carries each way in a second, with its provenance."""

    error_type = ModelError

    bytes_per_unit: Count
    prior: YesOrNo
    source: Text
    as_of: date


class Broker(Record):
    """How many calls the broker serves at once (0 = no limit), and how long it works on each.

    short_poll: what a receive that does not wait sees of the messages that are ready; None: all of them.
    hand_out: which receiver gets the next message; None: taken to be the one that has waited longest.
    long_poll: how often the broker looks for a receive that waits; None: it is answered as soon as there is a message.
    traffic: what a messaging unit carries; None: anything.
    """

    error_type = ModelError

    calls_served_at_once: CountOrZero = 0
    call_service: Latency
    hand_out: HandOut | None = None
    short_poll: Sampling | None = None
    long_poll: Looking | None = None
    traffic: Traffic | None = None


class ProviderModel(Record, Shown):
    """Everything about a provider that is measured or charged rather than documented as behaviour.

    calibration: from which runs its numbers were fitted, and how far its predictions of others were off; None: they
    were not.
    """

    error_type = ModelError

    name: Text
    provider: Text
    version: Text
    as_of: date
    summary: Text
    latency: Latencies
    broker: Broker
    clients: dict[str, ClientCost]
    prices: Prices
    calibration: Calibration | None = None

    @property
    def margins(self) -> Mapping[str, float]:
        """By how much to doubt predictions, as a share, by p50, p95, p99 and throughput; {} if that is not known."""
        return {} if self.calibration is None else self.calibration.margins

    def priors(self, client: str) -> frozenset[str]:
        """Names of the parameters that nobody has measured, for one client."""
        named: dict[str, Latency | ClientCost | Sampling | Looking | Traffic] = {
            "send": self.latency.send,
            "receive": self.latency.receive,
            "settle": self.latency.settle,
            "renew": self.latency.renew,
            "client_cost": self.clients[client],
        }
        if self.latency.connect is not None:
            named["connect"] = self.latency.connect
        if self.broker.calls_served_at_once:
            named["call_service"] = self.broker.call_service
        if self.broker.short_poll is not None:
            named["short_poll"] = self.broker.short_poll
        if self.broker.long_poll is not None:
            named["long_poll"] = self.broker.long_poll
        if self.broker.traffic is not None:
            named["traffic"] = self.broker.traffic
        assumed = {name for name, parameter in named.items() if parameter.prior}
        if self.broker.hand_out is None or self.broker.hand_out.prior:
            assumed |= {"hand_out"}
        return frozenset(assumed)

    def call_model(self) -> CallModel:
        """The part that an engine draws from."""
        return CallModel(
            send=self.latency.send.time.distribution(),
            receive=self.latency.receive.time.distribution(),
            settle=self.latency.settle.time.distribution(),
            renew=self.latency.renew.time.distribution(),
            connect=self.latency.connect.time.distribution() if self.latency.connect else None,
            calls_served_at_once=self.broker.calls_served_at_once,
            call_service=self.broker.call_service.time.distribution(),
            hands_out_to=self.broker.hand_out.to if self.broker.hand_out else "longest_waiting",
            look_every_s=self.broker.long_poll.every_s if self.broker.long_poll else 0.0,
            short_poll_share=self.broker.short_poll.share if self.broker.short_poll else 1.0,
        )
