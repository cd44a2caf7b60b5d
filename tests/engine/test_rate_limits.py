"""Rate limits: which calls are refused, what they hold up, and what clients do about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_plans import Plan, Rows, at_once, due_at, limit, poisson, queue_plan, run, tables

from qtune.distributions import Constant
from qtune.engine.plan import LINK_SLIDING, POLL, SETTLE_BATCH, SETTLE_CONCURRENT
from qtune.result import (
    CALL_OK,
    CALL_THROTTLED,
    DELIVERY_COMPLETED,
    DELIVERY_UNSETTLED,
    MESSAGE_COMPLETED,
    MESSAGE_REJECTED,
    OP_ABANDON,
    OP_RECEIVE,
    OP_RENEW,
    OP_SEND,
    OP_SETTLE,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

BLINK_S = 0.125  # exact in binary, as are all sums of it here


def calls_of(rows: Rows, op: int) -> list[tuple[float, float, int]]:
    """Start, end and outcome of the calls of one kind."""
    calls = rows.calls[rows.calls["op"] == op]
    return [(row["start_s"], row["end_s"], row["outcome"]) for row in calls]


def polling(**fields: Any) -> Plan:
    """One worker that polls for one message at a time, over calls that take a moment."""
    moment = Constant(value=BLINK_S)
    times = {"receive": moment, "settle": moment, "send": moment, "service": moment, "renew": moment}
    plain = {"horizon_s": 60.0, "discipline": POLL, "wait_s": 20.0, "tables": tables(**times), **at_once(1)}
    return queue_plan(**{**plain, **fields})


def test_a_refused_send_is_tried_again_after_the_waits_of_its_client(engine: str) -> None:
    """A send above the limit costs its round trip, and the next tries come after the first and the second wait.

    The third try is in the next period of the limit, and the message is sent with it.
    """
    waits_s = np.array([1.0, 2.0])
    plan = polling(**at_once(2), senders=1, **limit(1.0, 3.0, calls={OP_SEND: 1.0}), throttled_wait_s=waits_s)
    rows = run(engine, plan)
    assert calls_of(rows, OP_SEND) == [
        (0.0, 0.125, CALL_OK),
        (0.125, 0.25, CALL_THROTTLED),
        (1.25, 1.375, CALL_THROTTLED),
        (3.375, 3.5, CALL_OK),
    ]
    assert rows.messages["sent_s"].tolist() == [0.0625, 3.4375]
    assert rows.messages["state"].tolist() == [MESSAGE_COMPLETED, MESSAGE_COMPLETED]


def test_a_send_that_is_given_up_loses_its_message(engine: str) -> None:
    """When the last try is refused too, the sender goes on with its next message, and this one is rejected."""
    one_wait = {"throttled_wait_s": np.array([1.0])}
    plan = polling(**at_once(3), senders=1, **limit(1.0, 10.0, calls={OP_SEND: 1.0}), **one_wait)
    rows = run(engine, plan)
    ends_s = [end_s for _, end_s, outcome in calls_of(rows, OP_SEND) if outcome == CALL_THROTTLED]
    assert ends_s == [0.25, 1.375, 1.5, 2.625]
    assert rows.messages["state"].tolist() == [MESSAGE_COMPLETED, MESSAGE_REJECTED, MESSAGE_REJECTED]
    assert rows.messages["left_s"][1:].tolist() == [1.375, 2.625]


def test_waits_with_jitter_are_a_random_part_of_the_longest(engine: str) -> None:
    """With jitter each wait is anything from 0 to the longest one, all equally likely."""
    longest_s, count = 4.0, 400
    plan = polling(
        **at_once(count + 1),
        senders=count + 1,
        **limit(1.0, 1e6, calls={OP_SEND: 1.0}),
        throttled_wait_s=np.array([longest_s]),
        retry_jitter=True,
    )
    calls = run(engine, plan).calls
    refused = calls[(calls["op"] == OP_SEND) & (calls["start_s"] > 0.0)]
    waits_s = refused["start_s"] - BLINK_S
    assert len(waits_s) == count
    assert waits_s.min() >= 0.0
    assert waits_s.max() < longest_s
    shares = np.sort(waits_s) / longest_s
    # Kolmogorov's statistic is above 2.5 with a chance of 2 exp(-2 * 2.5^2), 7 in a million.
    assert np.abs(shares - np.arange(1, count + 1) / count).max() * count**0.5 < 2.5


def test_a_quota_of_retry_tokens_ends_retries_early(engine: str) -> None:
    """Each retry takes tokens of the client object, and with too few left a call fails at its first refusal."""
    refusing = limit(1.0, 10.0, calls={OP_SEND: 1.0})
    quota = {"throttled_wait_s": np.array([0.5, 0.5, 0.5]), "retry_tokens": 10, "throttled_tokens": 5}
    plan = polling(**due_at(0.0, 1.0, 9.0, 10.0), senders=1, **refusing, **quota)
    outcomes = calls_of(run(engine, plan), OP_SEND)
    starts_s = [start_s for start_s, _, _ in outcomes]
    # The second message takes all tokens with two retries. The third has none, and the fourth needs none.
    assert starts_s == [0.0, 1.0, 1.625, 2.25, 9.0, 10.0]
    assert [outcome for _, _, outcome in outcomes] == [CALL_OK, *[CALL_THROTTLED] * 4, CALL_OK]


def test_a_retry_that_succeeds_gives_its_tokens_back(engine: str) -> None:
    """A client with tokens for one retry can retry again after that retry has succeeded."""
    refusing = limit(1.0, 4.0, calls={OP_SEND: 1.0})
    quota = {"throttled_wait_s": np.array([2.0]), "retry_tokens": 5, "throttled_tokens": 5}
    plan = polling(**due_at(0.0, 2.0, 6.5), senders=1, **refusing, **quota)
    outcomes = calls_of(run(engine, plan), OP_SEND)
    assert [start_s for start_s, _, _ in outcomes] == [0.0, 2.0, 4.125, 6.5, 8.625]
    assert [outcome for _, _, outcome in outcomes] == [
        *(CALL_OK, CALL_THROTTLED, CALL_OK, CALL_THROTTLED, CALL_OK),
    ]


@pytest.mark.parametrize("mode", [None, SETTLE_BATCH, SETTLE_CONCURRENT])
def test_a_settle_that_is_given_up_leaves_the_message_to_its_lock(engine: str, mode: int | None) -> None:
    """The handler's work was in vain: the message comes back when its lock runs out, and is handled again."""
    settling = {} if mode is None else {"settle_mode": mode}
    refusing = limit(1.0, 4.0, calls={OP_SETTLE: 2.0}, window_s=(0.0, 2.0), throttled_wait_s=np.array([0.25]))
    plan = polling(**due_at(0.0, 0.75), lock_s=8.0, **refusing, **settling)
    deliveries = run(engine, plan).deliveries
    second = deliveries[deliveries["message"] == 1]
    assert second["outcome"].tolist() == [DELIVERY_UNSETTLED, DELIVERY_COMPLETED]
    assert second["locked_s"][1] == second["locked_s"][0] + 8.0
    assert np.isnan(second["settled_s"][0])


def test_an_abandonment_that_is_given_up_leaves_the_message_to_its_lock(engine: str) -> None:
    """A failed delivery that cannot be given back comes back when its lock runs out."""
    refusing = limit(1.0, 60.0, calls={OP_ABANDON: 1.0})
    plan = polling(**refusing, poison_steps=1 << 53, lock_s=8.0, max_deliveries=2, horizon_s=30.0)
    rows = run(engine, plan)
    assert [outcome for _, _, outcome in calls_of(rows, OP_ABANDON)] == [CALL_OK, CALL_THROTTLED]
    assert rows.deliveries["outcome"].tolist()[1] == DELIVERY_UNSETTLED
    assert rows.messages["left_s"][0] == rows.deliveries["locked_s"][1] + 8.0


def test_a_renewal_that_is_given_up_costs_the_lock(engine: str) -> None:
    """A renewer whose call is refused to the last try renews no more, and the lock runs out under the handler."""
    slow = tables(service=Constant(value=9.0), receive=Constant(value=BLINK_S), renew=Constant(value=BLINK_S))
    renewing = {"renewers": 1, "renew_after_s": 2.0, "renew_max_s": 60.0, "lock_s": 4.0, "tables": slow}
    plan = polling(**renewing, **limit(1.0, 60.0, calls={OP_RENEW: 1.0}), throttled_wait_s=np.array([0.25]))
    rows = run(engine, plan)
    first = rows.deliveries[0]
    renewals = [call for call in calls_of(rows, OP_RENEW) if call[0] < first["finished_s"]]
    renewed_s = BLINK_S / 2 + 2.0 + BLINK_S
    again_s = renewed_s + 2.0
    assert renewals == [
        (renewed_s - BLINK_S, renewed_s, CALL_OK),
        (again_s, again_s + BLINK_S, CALL_THROTTLED),
        (again_s + BLINK_S + 0.25, again_s + 2 * BLINK_S + 0.25, CALL_THROTTLED),
    ]
    assert first["renewals"] == 1
    assert first["lock_end_s"] == renewed_s + 4.0


def test_a_refused_poll_goes_on_after_its_pause(engine: str) -> None:
    """A receive loop whose call fails pauses as after finding nothing, and polls again."""
    refusing = limit(1.0, 5.0, calls={OP_RECEIVE: 1.0}, idle_pause_s=0.5)
    rows = run(engine, polling(**at_once(2), **refusing, horizon_s=6.0))
    receives = calls_of(rows, OP_RECEIVE)
    assert receives[0] == (0.0, 0.125, CALL_OK)
    starts_s = [start_s for start_s, _, _ in receives[1:] if start_s < 5.0]
    assert starts_s == [0.375 + 0.625 * number for number in range(len(starts_s))]
    assert starts_s[-1] > 4.0
    answered = {end_s for _, end_s, outcome in receives if outcome == CALL_OK}
    assert len(answered) == 2
    assert 5.0 < max(answered) < 5.0 + 0.625 + 0.125


def test_a_limit_on_received_messages_holds_a_link_up(engine: str) -> None:
    """What is pushed down a link is no call: it waits at the broker until the limit's next period begins."""
    textbook = {"tables": tables(service=Constant(value=BLINK_S)), "discipline": LINK_SLIDING}
    plan = queue_plan(
        workers=5, horizon_s=9.0, **textbook, **at_once(5), **limit(2, 4.0, messages={OP_RECEIVE: 1})
    )
    rows = run(engine, plan)
    assert rows.deliveries["locked_s"].tolist() == [0.0, 0.0, 4.0, 4.0, 8.0]
    assert not (rows.calls["outcome"] == CALL_THROTTLED).any()


def test_a_limit_that_ends_lets_go_what_it_held_up(engine: str) -> None:
    """A limit that applies for a while holds nothing up after its end, in whichever period that falls."""
    textbook = {"tables": tables(service=Constant(value=BLINK_S)), "discipline": LINK_SLIDING}
    held = limit(2, 4.0, messages={OP_RECEIVE: 1}, window_s=(0.0, 3.0))
    rows = run(engine, queue_plan(workers=5, horizon_s=9.0, **textbook, **at_once(5), **held))
    assert rows.deliveries["locked_s"].tolist() == [0.0, 0.0, 3.0, 3.0, 3.0]


def test_the_unused_credits_of_a_period_are_lost(engine: str) -> None:
    """After an hour without a call no more are answered in a second than in any other."""
    calls = limit(3.0, 1.0, calls={OP_SEND: 1.0})
    plan = polling(**due_at(*[3600.0] * 9), senders=9, horizon_s=3602.0, **calls)
    sends = calls_of(run(engine, plan), OP_SEND)
    assert sum(outcome == CALL_OK for _, _, outcome in sends) == 3


def test_the_last_call_of_a_period_may_overdraw_it(engine: str) -> None:
    """A batch is refused only when nothing is left, and what it takes too much is not taken from the next period."""
    settling = {
        "settle_mode": SETTLE_BATCH,
        "settle_batch": 4,
        "batch": 4,
        "in_hand_limit": 4,
        "refill_at": 4,
    }
    few = limit(2.0, 10.0, messages={OP_SETTLE: 1.0})
    rows = run(engine, polling(**due_at(*[0.0] * 8, *[10.0] * 4), **settling, **few, horizon_s=15.0))
    settles = rows.calls[rows.calls["op"] == OP_SETTLE]
    assert settles["outcome"].tolist() == [CALL_OK, CALL_THROTTLED, CALL_OK, CALL_OK]
    assert settles["count"].tolist() == [4, 0, 1, 3]


def test_every_admitted_call_fits_the_credits_whatever_the_load(engine: str) -> None:
    """Of a load far above a limit exactly its credits are answered in every full period."""
    plan = polling(
        **{**poisson(300.0), "explicit": False, "due_s": np.empty(0)},
        senders=100,
        horizon_s=10.0,
        **limit(50.0, 0.5, calls={OP_SEND: 1.0}),
        throttled_wait_s=np.array([0.1, 0.1]),
    )
    sends = np.array(
        [end_s for _, end_s, outcome in calls_of(run(engine, plan), OP_SEND) if outcome == CALL_OK]
    )
    per_period = np.bincount((sends / 0.5).astype(int), minlength=20)
    assert (per_period[1:19] == 50).all()


def standard(rate_per_s: float, **queue: Any) -> Scenario:
    """Messages through a standard namespace of Service Bus, evenly spaced, with consumers to spare."""
    return Scenario(
        arrivals={"kind": "renewal", "rate_per_s": rate_per_s, "cv": 0.0},
        service_time={"family": "constant", "mean_s": 0.001},
        producers={"senders": 100},
        queue={"provider": "servicebus", "tier": "standard", **queue},
        consumers={"workers": 40, "client": "azure-processor", "prefetch": 100},
        horizon_s=20.0,
    )


@pytest.mark.parametrize(("rate_per_s", "throttled"), [(480.0, False), (520.0, True)])
def test_a_standard_namespace_is_throttled_above_500_messages_a_second(
    engine: str, rate_per_s: float, throttled: bool
) -> None:
    """A message takes one credit of 1,000 a second when it is sent and one when it is received.

    Azure documentation, Throttling operations on Azure Service Bus.
    """
    calls = simulate(standard(rate_per_s), engine=engine).calls  # type: ignore[arg-type]
    assert (calls["outcome"] == CALL_THROTTLED).any() == throttled


def test_a_raised_quota_of_credits_carries_more() -> None:
    """A namespace whose credits were raised to 4,000 a second is not throttled at 520 messages a second."""
    calls = simulate(standard(520.0, credits_per_s=4000.0)).calls
    assert not (calls["outcome"] == CALL_THROTTLED).any()


@pytest.mark.parametrize(
    ("units", "rate_per_s", "throttled"), [(1, 38.0, False), (1, 42.0, True), (2, 42.0, False)]
)
def test_messaging_units_carry_so_many_bytes_a_second(
    engine: str, units: int, rate_per_s: float, throttled: bool
) -> None:
    """One unit carries 4 MB a second each way: 40 messages of 100 kB a second in, and as many out.

    Azure documentation, Best practices for performance improvements using Service Bus.
    """
    premium = standard(rate_per_s).with_(
        queue={"tier": "premium", "messaging_units": units}, message_size_bytes=100_000
    )
    result = simulate(premium, engine=engine)  # type: ignore[arg-type]
    refused = (result.calls["outcome"] == CALL_THROTTLED) & (result.calls["op"] == OP_SEND)
    assert refused.any() == throttled
    per_s = np.bincount(result.deliveries["locked_s"].astype(np.int64))
    assert per_s.max() <= 41 * units  # the last message of a second may overdraw


def test_settles_take_credits_where_a_user_says_so() -> None:
    """With a credit for every settle a message takes three, and 400 a second are too many for 1,000 credits."""
    free = simulate(standard(400.0)).calls
    paid = simulate(standard(400.0, settle_credits=1)).calls
    assert not (free["outcome"] == CALL_THROTTLED).any()
    assert (paid["outcome"] == CALL_THROTTLED).any()


@pytest.mark.parametrize(("elsewhere_per_s", "throttled"), [(20.0, False), (60.0, True)])
def test_credits_that_others_take_are_not_left_to_a_queue(elsewhere_per_s: float, throttled: bool) -> None:
    """At 480 messages a second 960 credits are taken here, so others in the namespace may take 40."""
    calls = simulate(standard(480.0, credits_elsewhere_per_s=elsewhere_per_s)).calls
    assert (calls["outcome"] == CALL_THROTTLED).any() == throttled
