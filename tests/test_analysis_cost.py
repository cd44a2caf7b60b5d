"""What a month costs, against bills that one can write by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade import fcfs

from qtune.analysis import least_month_usd, setup_of, summarize
from qtune.analysis.cost import (
    HOURS_PER_MONTH,
    billed_requests,
    capacity_usd_of,
    least_requests_per_message,
    provider_usd_of,
)
from qtune.providers import load_model
from qtune.result import (
    CALL,
    CALL_EMPTY,
    CALL_OK,
    CALL_OPS,
    CALL_THROTTLED,
    OP_RECEIVE,
    OP_RENEW,
    OP_SEND,
    OP_SETTLE,
    Result,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

KIB = 1024


def scenario(provider: str = "sqs", **changes: Any) -> Scenario:
    """A queue of one of the providers with one instance at 0.10 USD an hour."""
    queues: dict[str, dict[str, Any]] = {
        "sqs": {"provider": "sqs"},
        "standard": {"provider": "servicebus", "tier": "standard"},
        "premium": {"provider": "servicebus", "tier": "premium", "messaging_units": 2},
        "memory": {"provider": "memory", "max_queue_size": 1000, "when_full": "block"},
    }
    consumers: dict[str, Any] = {"workers": 1, "instance_price_usd_per_hour": 0.1}
    if provider == "memory":
        consumers |= {"receive_wait_s": 1.0, "polling": "permits"}
    base: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": 1.0},
        "service_time": {"family": "constant", "mean_s": 0.1},
        "queue": queues[provider],
        "consumers": consumers,
        "horizon_s": 100.0,
    }
    return Scenario(**{**base, **changes})


def test_connections_beyond_the_included_ones_are_paid_for() -> None:
    """Standard includes 1,000; each receiver and each sender has one, and a month of one more is 0.03 USD."""
    fleet = {"workers": 100, "instances": 11, "client": "azure-servicebus-7.15"}
    dear = scenario("standard", consumers=fleet, producers={"senders": 5})
    few = scenario("standard", consumers={**fleet, "instances": 9})
    assert provider_usd_of(dear) - provider_usd_of(few) == pytest.approx(0.03 * (1_100 + 5 - 1_000))
    assert provider_usd_of(scenario("premium", consumers=fleet)) == capacity_usd_of(scenario("premium"))


def run(tried: Scenario, *calls: tuple[float, int, int, int]) -> Result:
    """A hundred messages in a hundred seconds with these calls: end, operation, count and outcome."""
    rows = [(end_s, end_s, 0, op, count, outcome) for end_s, op, count, outcome in calls]
    made = fcfs(np.arange(100.0), np.full(100, 0.1), tried)
    return replace(made, calls=np.array(rows, CALL))


def price(provider: str, plan: str) -> Any:
    """The request prices of a plan of a shipped model."""
    return load_model(provider).prices.plans[plan].requests


@pytest.mark.parametrize(
    ("count", "size_bytes", "requests"),
    [
        (1, KIB, 1),
        (10, KIB, 1),
        (10, 64 * KIB, 10),
        (1, 64 * KIB + 1, 2),
        (4, 20 * KIB, 2),
        (1, 256 * KIB, 4),
    ],
)
def test_sqs_bills_a_call_once_for_every_64_kib(count: int, size_bytes: int, requests: int) -> None:
    """A receive is one request for each started 64 KiB of its messages, and a delete is always one."""
    found = run(scenario(), (1.0, OP_RECEIVE, count, CALL_OK), (2.0, OP_SETTLE, count, CALL_OK))
    assert billed_requests(found, price("sqs", "standard"), size_bytes, 0.0) == requests + 1


def test_sqs_bills_receives_that_find_nothing() -> None:
    """An empty receive and a change of visibility are requests like others."""
    found = run(scenario(), (1.0, OP_RECEIVE, 0, CALL_EMPTY), (2.0, OP_RENEW, 1, CALL_OK))
    assert billed_requests(found, price("sqs", "standard"), KIB, 0.0) == 2


@pytest.mark.parametrize(("provider", "plan"), [("sqs", "standard"), ("servicebus", "standard")])
@pytest.mark.parametrize("billed", [True, False])
def test_an_empty_receive_is_one_request_or_none(provider: str, plan: str, billed: bool) -> None:
    """Whether a receive that finds nothing is billed is a fact of the price list; it carries no message."""
    found = run(scenario(), (1.0, OP_RECEIVE, 0, CALL_EMPTY))
    tariff = price(provider, plan).model_copy(update={"empty_receives": billed})
    assert billed_requests(found, tariff, KIB, 0.0) == float(billed)


@pytest.mark.parametrize(("provider", "plan"), [("sqs", "standard"), ("servicebus", "standard")])
@pytest.mark.parametrize("billed", [True, False])
def test_every_refused_call_is_one_request_or_none(provider: str, plan: str, billed: bool) -> None:
    """Each attempt that the broker refuses is a request of its own, if the price list bills it at all."""
    refused = (1.0, OP_RECEIVE, 0, CALL_THROTTLED), (2.0, OP_SETTLE, 0, CALL_THROTTLED)
    tariff = price(provider, plan).model_copy(update={"refused_calls": billed})
    assert billed_requests(run(scenario(), *refused), tariff, 100 * KIB, 0.0) == 2.0 * billed


def test_whether_refused_calls_are_billed_is_said_when_there_are_any() -> None:
    """No provider states it, so a bill with refused calls in it names the assumption."""
    said = "calls that the broker refused are billed like others, which the provider does not state"
    refused = (50.0, OP_SETTLE, 0, CALL_THROTTLED)
    for calls, listed in (((refused,), True), ((), False)):
        found = run(scenario(), (50.0, OP_SETTLE, 1, CALL_OK), *calls)
        assert (said in summarize([found], warm_up=0.0).cost.assumptions) == listed


def test_service_bus_bills_messages() -> None:
    """Each message sent or received is an operation for every 64 KiB of it, and each settled one is one."""
    found = run(scenario("standard"), (1.0, OP_RECEIVE, 3, CALL_OK), (2.0, OP_SETTLE, 1, CALL_OK))
    found = replace(
        found, calls=np.concatenate([found.calls, np.array([(3.0, 3.0, 0, OP_SEND, 1, 0)], CALL)])
    )
    assert billed_requests(found, price("servicebus", "standard"), KIB, 0.0) == 3 + 1 + 1
    assert billed_requests(found, price("servicebus", "standard"), 100 * KIB, 0.0) == 6 + 1 + 2


def test_messages_that_are_pushed_are_billed_too() -> None:
    """A processor makes no receive calls, and its messages are operations all the same: one in, one settled."""
    tried = scenario("standard", consumers={"workers": 2, "client": "azure-processor"})
    result = simulate(tried)
    received = int(np.isfinite(result.deliveries["received_s"]).sum())
    settled = int((result.calls["op"] == OP_SETTLE).sum())
    assert received > 50
    assert billed_requests(result, price("servicebus", "standard"), KIB, 0.0) == received + settled


def test_calls_of_the_warm_up_and_open_calls_are_not_billed() -> None:
    """Only calls that ended in the window count, so that the month is that of the steady state."""
    found = run(
        scenario(),
        (1.0, OP_RECEIVE, 1, CALL_OK),
        (50.0, OP_RECEIVE, 1, CALL_OK),
        (np.nan, OP_RECEIVE, 0, CALL_OK),
    )
    assert billed_requests(found, price("sqs", "standard"), KIB, 0.0) == 2
    assert billed_requests(found, price("sqs", "standard"), KIB, 10.0) == 1


def test_idle_long_polls_cost_five_cents_a_month() -> None:
    """One poller at 20 s makes 131 400 requests in 730 hours, within the free million; at 1 s not.

    The same figures a month of 30 days has in the provider's price examples: 0.05 USD at 20 s, 1.04 USD at
    1 s.
    """
    thirty_days = 720.0 / HOURS_PER_MONTH
    for wait_s, per_month, usd in ((20.0, 129_600.0, 0.05), (1.0, 2_592_000.0, 1.04)):
        polls = [(end_s, OP_RECEIVE, 0, CALL_EMPTY) for end_s in np.arange(wait_s, 100.1, wait_s)]
        cost = summarize(run(scenario(), *polls), warm_up=0.0).cost
        assert cost.requests_per_month.value * thirty_days == pytest.approx(per_month)
        listed = price("sqs", "standard").tiers[0].usd_per_million * per_month / 1e6
        assert listed == pytest.approx(usd, abs=0.005)
        beyond_free = max(cost.requests_per_month.value - price("sqs", "standard").free_per_month, 0.0)
        assert cost.requests_usd.value == pytest.approx(beyond_free * 0.40 / 1e6)


def test_five_idle_pollers_cost_26_cents_in_thirty_days() -> None:
    """Lambda's five pollers ask three times a minute each and find nothing: 648,000 requests, 0.26 USD, in 30 days."""
    tried = Scenario(
        arrivals={"kind": "burst_at_once", "messages": 1},
        service_time={"family": "constant", "mean_s": 0.001},
        queue={"provider": "sqs"},
        consumers={"workers": 5, "receive_batch": 10, "receive_wait_s": 20.0},
        horizon_s=86_400.0,
    )
    cost = summarize(simulate(tried), warm_up=3600.0).cost
    thirty_days = 720.0 / HOURS_PER_MONTH
    asked = cost.by_kind["empty receive"].value
    # Between two polls there are a round trip and the client's own work, so there are a little fewer than 648,000.
    round_trip_s = setup_of(tried).calls.receive.mean
    assert asked * thirty_days == pytest.approx(648_000 * 20.0 / (20.0 + round_trip_s), rel=0.001)
    assert asked * thirty_days * price("sqs", "standard").tiers[0].usd_per_million / 1e6 == pytest.approx(
        0.26, abs=0.005
    )
    assert cost.requests_per_month.value == asked


def test_a_month_is_billed_by_kind() -> None:
    """Every call, renewal, retry and empty receive stands in the bill by what it is, and together they are all."""
    tried = scenario(
        failures={"rate": 0.2, "on_failure": "abandon"},
        producers={"instances": 1, "senders": 2},
        service_time={"family": "constant", "mean_s": 2.0},
        queue={"provider": "sqs", "visibility_timeout_s": 2.0},
        consumers={"workers": 4, "receive_wait_s": 1.0, "renewal": {"max_s": 30.0}},
    )
    result = simulate(tried)
    cost = summarize(result, warm_up=0.0).cost
    for op, name in enumerate(CALL_OPS):
        ended = (result.calls["op"] == op) & ~np.isnan(result.calls["end_s"])
        brought = int(np.count_nonzero(ended & (result.calls["outcome"] != CALL_EMPTY)))
        assert cost.by_kind[name].value == pytest.approx(brought / 100.0 * 3600 * HOURS_PER_MONTH)
    assert all(cost.by_kind[name].value > 0.0 for name in ("send", "receive", "settle", "abandon", "renew"))
    assert sum(count.value for count in cost.by_kind.values()) == pytest.approx(cost.requests_per_month.value)


def test_a_premium_namespace_costs_its_messaging_units() -> None:
    """Two messaging units for 730 hours, and no operations."""
    cost = summarize(run(scenario("premium"), (1.0, OP_RECEIVE, 1, CALL_OK)), warm_up=0.0).cost
    assert cost.capacity_usd == pytest.approx(2 * 0.928 * HOURS_PER_MONTH)
    assert cost.requests_usd.value == 0.0


def test_the_parts_add_up_and_are_shared_by_the_messages() -> None:
    """A month is requests, capacity and instances; a million messages cost their share of it."""
    tried = scenario("standard", consumers={"workers": 1, "instances": 3, "instance_price_usd_per_hour": 0.1})
    summary = summarize(run(tried, (1.0, OP_RECEIVE, 1, CALL_OK)), warm_up=0.0)
    cost = summary.cost
    assert cost.compute_usd == pytest.approx(3 * 0.1 * HOURS_PER_MONTH)
    assert cost.month_usd.value == pytest.approx(
        cost.requests_usd.value + cost.capacity_usd + cost.compute_usd
    )
    per_month = summary.goodput_per_s.value * 3600 * HOURS_PER_MONTH
    assert cost.million_messages_usd.value == pytest.approx(1e6 * cost.month_usd.value / per_month)


def test_an_instance_is_paid_for_while_it_is_there() -> None:
    """Of two instances, one of them killed half-way, a month costs one and a half, and the workers count so too."""
    scenario = Scenario(
        arrivals={"kind": "burst_at_once", "messages": 1},
        service_time={"family": "constant", "mean_s": 30.0},
        queue={"provider": "sqs", "visibility_timeout_s": 90.0},
        consumers={"instances": 2, "workers": 1, "instance_price_usd_per_hour": 0.1},
        faults=({"kind": "kill_consumers", "at_s": 50.0},),
        horizon_s=100.0,
    )
    summary = summarize(simulate(scenario), warm_up=0.0)
    assert summary.cost.compute_usd == pytest.approx(1.5 * 0.1 * HOURS_PER_MONTH)
    assert summary.utilization.value == pytest.approx(30.0 / 150.0)


def test_without_a_completed_message_there_is_no_price_of_one() -> None:
    """A price per message needs a message; the month has its price all the same."""
    cost = summarize(fcfs(np.empty(0), np.empty(0), scenario("memory")), warm_up=0.0).cost
    assert cost.million_messages_usd.reason == "no message was completed"
    assert cost.month_usd.value == pytest.approx(0.1 * HOURS_PER_MONTH)


def test_what_is_assumed_is_listed() -> None:
    """The figures say what they rest on: the month, the prices' date, an assumed instance, missing sends."""
    own = summarize(run(scenario(), (1.0, OP_RECEIVE, 1, CALL_OK))).cost.assumptions
    assumed = summarize(
        run(scenario(consumers={"workers": 1}), (1.0, OP_RECEIVE, 1, CALL_OK))
    ).cost.assumptions
    assert any("730 hours" in line for line in own)
    assert any("sends are not in the bill" in line for line in own)
    assert any("first 1,000,000 requests" in line for line in own)
    assert not any("an instance at" in line for line in own)
    assert any("an instance at 0.05 USD an hour (assumed)" in line for line in assumed)


@pytest.mark.parametrize("provider", ["sqs", "standard", "premium", "memory"])
def test_no_run_costs_less_than_the_least(provider: str) -> None:
    """The least cost of a month is below that of a run in which everything was completed, and not by much."""
    tried = scenario(
        provider, arrivals={"kind": "poisson", "rate_per_s": 5.0}, producers={"instances": 1, "senders": 4}
    )
    result = simulate(tried)
    completed = int(np.isfinite(result.messages["completed_s"]).sum())
    least_usd = least_month_usd(tried.with_(arrivals={"kind": "poisson", "rate_per_s": completed / 100.0}))
    cost = summarize(result, warm_up=0.0).cost
    assert least_usd <= cost.month_usd.value
    assert least_usd >= 0.5 * cost.month_usd.value


def test_full_batches_need_fewest_requests() -> None:
    """At ten messages a receive and a delete, SQS needs 0.2 requests a message; one by one it needs 2."""
    consumers: dict[str, Any] = {"workers": 10, "receivers": 1, "receive_batch": 10, "receive_wait_s": 20.0}
    batched = scenario(consumers={**consumers, "settle": "batch", "settle_batch": 10})
    single = scenario(consumers={"workers": 10, "receive_wait_s": 20.0})
    tariff = price("sqs", "standard")
    assert least_requests_per_message(setup_of(batched), tariff) == pytest.approx(0.2)
    assert least_requests_per_message(setup_of(single), tariff) == pytest.approx(2.0)
    large = batched.with_(message_size_bytes=40 * KIB)
    # The best is 8 messages in 5 chunks of 64 KiB.
    assert least_requests_per_message(setup_of(large), tariff) == pytest.approx(5 / 8 + 0.1)
    assert least_requests_per_message(setup_of(scenario("standard")), price("servicebus", "standard")) == 2.0
