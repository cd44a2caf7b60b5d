"""Parameters of a provider model: what runs tell of each, or why they do not, and which run would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from qtune.analysis.intervals import Estimate, missing
from qtune.calibration.client_cost import ClientCostFit
from qtune.calibration.latency import FEWEST, LatencyFit
from qtune.calibration.queueing import BrokerFit
from qtune.providers.model import ProviderModel

WHICH_RUN: Final = {
    "send": "with more messages",
    "receive": "in which messages wait for single receives without a prefetch (a busy one, receive_batch: 1)",
    "settle": "with more messages, on a client that waits for the answer to a settlement",
    "renew": "whose handlers outlast their locks, with renewal",
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a provider model and what runs tell of it.

    name: "latency.receive" is the mean of a call, "latency.receive.p95" its 95th percentile. identified: whether the
    model holds it; otherwise ``reason`` says why not, and what run would tell.
    """

    name: str
    estimate: Estimate
    identified: bool
    reason: str = ""


def latency_parameters(latencies: Mapping[str, LatencyFit | None]) -> Iterator[Parameter]:
    """How long calls take."""
    for op, fitted in latencies.items():
        if fitted is None:
            reason = f"fewer than {FEWEST} undisturbed calls were seen: add a run {WHICH_RUN[op]}"
            yield Parameter(
                name=f"latency.{op}", estimate=missing(reason, "s"), identified=False, reason=reason
            )
            continue
        yield Parameter(name=f"latency.{op}", estimate=fitted.mean_s, identified=True)
        yield Parameter(name=f"latency.{op}.p95", estimate=fitted.p95_s, identified=True)


def broker_parameters(broker: BrokerFit) -> Iterator[Parameter]:
    """What the broker serves at once."""
    yield Parameter(
        name="broker.calls_served_at_once",
        estimate=broker.at_once,
        identified=broker.known,
        reason=broker.at_once.reason,
    )
    for name, estimate in (
        ("broker.call_service", broker.service_s),
        ("broker.calls_per_s", broker.rate_per_s),
    ):
        yield Parameter(name=name, estimate=estimate, identified=broker.limited, reason=estimate.reason)


def client_parameters(client: str, cost: ClientCostFit) -> Iterator[Parameter]:
    """What the client costs."""
    for name, estimate in (("call_cost", cost.call), ("message_cost", cost.message)):
        yield Parameter(
            name=f"clients.{client}.{name}",
            estimate=estimate,
            identified=estimate.known,
            reason=estimate.reason,
        )


def left_out(start: ProviderModel) -> Iterator[Parameter]:
    """Parameters that no run of this kind tells."""
    said = {
        "latency.connect": (
            start.latency.connect,
            "a new connection is opened too rarely: it matters only with more calls at once than "
            "max_pool_connections",
        ),
        "broker.short_poll.share": (
            start.broker.short_poll,
            "which servers a receive without a wait asks is not to be seen from outside",
        ),
        "broker.traffic": (
            start.broker.traffic,
            "what a messaging unit carries shows only in a run with large messages that fills it",
        ),
    }
    for name, (there, reason) in said.items():
        if there is not None:
            yield Parameter(name=name, estimate=missing(reason), identified=False, reason=reason)
