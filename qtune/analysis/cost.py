"""What a setting costs: the calls of a run at the provider's prices, its capacity by the hour, and the
instances.

A month has 730 hours (a year over twelve), and the run is taken as one stretch of an unchanging month.
Calls that the tables do not show, such as sends when the scenario has no producers, are not in the bill,
and this is said. Prices and what they count come from the provider model, which dates them; nothing here
knows a provider by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qtune.analysis.instances import instances_mean
from qtune.analysis.intervals import AT_LEAST_0, Estimate, across_replications, json_number
from qtune.analysis.measures import ended_calls
from qtune.analysis.setup import Setup, setup_of
from qtune.providers.prices import Prices, RequestPrice
from qtune.result import CALL_EMPTY, CALL_OPS, OP_RECEIVE, OP_SEND, REFUSED, Result
from qtune.scenario import Scenario

HOURS_PER_MONTH: Final = 730.0
_MONTH_S: Final = HOURS_PER_MONTH * 3600.0

KINDS: Final = (*CALL_OPS, "empty receive")
"""What is billed: the calls by what they do, and the receives that bring nothing, which count as these alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a month of this costs in US dollars, and where the prices come from.

    requests_per_month: billed requests. by_kind: the same by what they are, as in ``KINDS``.
    requests_usd, capacity_usd, compute_usd: a month of requests, of messaging units or the namespace with its
    connections, and of consumer instances; month_usd: their sum.
    million_messages_usd: the sum for a million completed messages; without a value when none was completed.
    assumptions: what a reader must know before quoting the figures.
    """

    requests_per_month: Estimate
    by_kind: Mapping[str, Estimate]
    requests_usd: Estimate
    capacity_usd: float
    compute_usd: float
    month_usd: Estimate
    million_messages_usd: Estimate
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "requests_per_month": self.requests_per_month.to_dict(),
            "by_kind": {kind: count.to_dict() for kind, count in self.by_kind.items()},
            "requests_usd": self.requests_usd.to_dict(),
            "capacity_usd": json_number(self.capacity_usd),
            "compute_usd": json_number(self.compute_usd),
            "month_usd": self.month_usd.to_dict(),
            "million_messages_usd": self.million_messages_usd.to_dict(),
            "assumptions": list(self.assumptions),
        }


def cost_of(results: Sequence[Result], *, warm_up_s: float, confidence: float) -> Cost:
    """The cost of replications of one scenario; calls made before ``warm_up_s`` are not counted."""
    scenario = results[0].scenario
    model = scenario.provider_model()
    plan = model.prices.plans[scenario.queue.plan]
    window_s = results[0].horizon_s - warm_up_s
    price = plan.requests
    kinds = [billed_by_kind(result, price, scenario.message_size_bytes, warm_up_s) for result in results]
    a_month = _MONTH_S / window_s
    monthly = [math.fsum(kind.values()) * a_month for kind in kinds]
    requests_usd = [price.usd(count) if price else 0.0 for count in monthly]
    capacity_usd = provider_usd_of(scenario)
    hour_usd = instance_usd_per_hour(scenario)
    computed = [hour_usd * instances_mean(result, warm_up_s) * HOURS_PER_MONTH for result in results]
    totals = [
        usd + capacity_usd + compute_usd for usd, compute_usd in zip(requests_usd, computed, strict=True)
    ]
    completed = [np.count_nonzero(result.messages["completed_s"] >= warm_up_s) for result in results]
    per_message = [
        usd / (count / window_s * _MONTH_S) if count else math.nan
        for usd, count in zip(totals, completed, strict=True)
    ]
    return Cost(
        requests_per_month=across_replications(monthly, possible=AT_LEAST_0, confidence=confidence),
        by_kind={
            kind: across_replications(
                [counts[kind] * a_month for counts in kinds], possible=AT_LEAST_0, confidence=confidence
            )
            for kind in KINDS
        },
        requests_usd=across_replications(
            requests_usd, possible=AT_LEAST_0, unit="USD", confidence=confidence
        ),
        capacity_usd=capacity_usd,
        compute_usd=math.fsum(computed) / len(computed),
        month_usd=across_replications(totals, possible=AT_LEAST_0, unit="USD", confidence=confidence),
        million_messages_usd=across_replications(
            [1e6 * usd for usd in per_message],
            possible=AT_LEAST_0,
            unit="USD",
            confidence=confidence,
            reason="no message was completed",
        ),
        assumptions=assumptions_of(scenario, results),
    )


def billed_requests(
    result: Result, price: RequestPrice | None, message_bytes: int, warm_up_s: float
) -> float:
    """How many requests the calls that ended from ``warm_up_s`` on are billed as, all kinds together."""
    return math.fsum(billed_by_kind(result, price, message_bytes, warm_up_s).values())


def billed_by_kind(
    result: Result, price: RequestPrice | None, message_bytes: int, warm_up_s: float
) -> dict[str, float]:
    """How many requests the calls that ended from ``warm_up_s`` on are billed as, for each of ``KINDS``.

    A call that carries payload (a send, a receive) counts once for each started chunk of it; another call
    counts once. Where messages are billed, each message in a call counts so. A receive that finds nothing, and a
    call that the broker refuses, count once, if the provider bills them.
    """
    if price is None:
        return dict.fromkeys(KINDS, 0.0)
    calls = ended_calls(result, warm_up_s)
    chunks_each = max(math.ceil(message_bytes / price.chunk_bytes), 1)
    count = calls["count"].astype(np.float64)
    empty = calls["outcome"] == CALL_EMPTY
    payload = (calls["op"] == OP_SEND) | (calls["op"] == OP_RECEIVE)
    if price.billed == "call":
        chunks = np.maximum(np.ceil(count * message_bytes / price.chunk_bytes), 1.0)
        billed = np.where(payload, chunks, 1.0)
    else:
        billed = np.where(payload, count * chunks_each, count)
    billed[empty] = 1.0 if price.empty_receives else 0.0
    billed[np.isin(calls["outcome"], REFUSED)] = 1.0 if price.refused_calls else 0.0
    kind = np.where(empty, len(CALL_OPS), calls["op"])
    found = dict(zip(KINDS, np.bincount(kind, billed, minlength=len(KINDS)).tolist(), strict=True))
    if price.billed == "message" and not (calls["op"] == OP_RECEIVE).any():
        # A client that is pushed its messages makes no receive calls, and is billed for them all the same.
        received = np.count_nonzero(result.deliveries["received_s"] >= warm_up_s)
        found[CALL_OPS[OP_RECEIVE]] += chunks_each * float(received)
    return found


def capacity_usd_of(scenario: Scenario) -> float:
    """A month of the provider's own capacity: a namespace or messaging units; 0 without such a price."""
    hours = scenario.provider_model().prices.plans[scenario.queue.plan].hours
    if hours is None:
        return 0.0
    units = (getattr(scenario.queue, "messaging_units", None) or 1) if hours.per == "messaging_unit" else 1
    return hours.usd * units * HOURS_PER_MONTH


def provider_usd_of(scenario: Scenario) -> float:
    """A month of what the provider charges whatever is sent: its capacity, and the connections that stand open.

    Each receiver and each sender has one, as the limits of a namespace count them.
    """
    price = scenario.provider_model().prices.plans[scenario.queue.plan].connections
    capacity_usd = capacity_usd_of(scenario)
    if price is None:
        return capacity_usd
    setup = setup_of(scenario)
    return capacity_usd + max(setup.receivers + setup.senders - price.included, 0) * price.usd_per_month


def instance_usd_per_hour(scenario: Scenario) -> float:
    """The price of one consumer instance: the scenario's own, or the one that the price list assumes."""
    own = scenario.consumers.instance_price_usd_per_hour
    return scenario.provider_model().prices.instance.usd_per_hour if own is None else own


def compute_usd_of(scenario: Scenario) -> float:
    """A month of all consumer instances; of the fewest where a scaler adds and removes them."""
    fewest = scenario.consumers.instances if scenario.scaling is None else scenario.scaling.fewest
    return instance_usd_per_hour(scenario) * fewest * HOURS_PER_MONTH


def least_month_usd(scenario: Scenario) -> float:
    """No run of this scenario costs less a month, provided that all its messages are completed.

    Every batch is full, no receive finds nothing, and nothing is renewed or delivered twice without need. A
    closed loop, whose rate is an outcome, is taken at 0 messages a second.
    """
    setup = setup_of(scenario)
    price = scenario.provider_model().prices.plans[scenario.queue.plan].requests
    requests_usd = 0.0
    if price is not None and setup.rate_per_s is not None:
        per_message = least_requests_per_message(setup, price)
        requests_usd = price.usd(per_message * setup.rate_per_s * _MONTH_S)
    return requests_usd + provider_usd_of(scenario) + compute_usd_of(scenario)


def least_requests_per_message(setup: Setup, price: RequestPrice) -> float:
    """The least number of billed requests per message: sent if there are producers, received, settled."""
    work = setup.work
    if price.billed == "message":
        chunks_each = max(math.ceil(setup.message_bytes / price.chunk_bytes), 1)
        return chunks_each * (work.deliveries + bool(setup.senders)) + work.settles

    def least(most: int) -> float:
        """The least requests for each message of a call with payload."""
        chunks = (
            max(math.ceil(count * setup.message_bytes / price.chunk_bytes), 1) / count
            for count in range(1, most + 1)
        )
        return min(chunks)

    sent = least(setup.producers.batch) if setup.producers else 0.0
    return (
        work.deliveries * least(setup.most_per_receive) + sent + work.settles / setup.behaviour.settle_batch
    )


def assumptions_of(scenario: Scenario, results: Sequence[Result]) -> tuple[str, ...]:
    """What the figures rest on, a sentence each."""
    prices: Prices = scenario.provider_model().prices
    plan = prices.plans[scenario.queue.plan]
    found = [f"a month of {HOURS_PER_MONTH:g} hours at the load of the run"]
    priced = [line for line in (plan.requests, plan.hours, plan.connections) if line is not None]
    found += [f"prices of {line.as_of.isoformat()}: {line.source}" for line in priced]
    if plan.requests is not None and not any((result.calls["op"] == OP_SEND).any() for result in results):
        found.append("sends are not in the bill: the scenario has no producers")
    if plan.requests is not None and plan.requests.free_per_month:
        free = plan.requests.free_per_month
        found.append(f"the first {free:,} requests of a month are free, and all of them go to this queue")
    if plan.requests is not None and any(np.isin(run.calls["outcome"], REFUSED).any() for run in results):
        billed = "are billed like others" if plan.requests.refused_calls else "are not billed"
        found.append(f"calls that the broker refused {billed}, which the provider does not state")
    if scenario.consumers.instance_price_usd_per_hour is None:
        note = "assumed" if prices.instance.assumption else f"of {prices.instance.as_of.isoformat()}"
        hour = f"{prices.instance.usd_per_hour:g} USD an hour"
        found.append(f"an instance at {hour} ({note}): {prices.instance.source}")
    return tuple(found)
