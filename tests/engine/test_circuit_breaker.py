"""Circuit breakers round handlers: when they open, what they let through, and whose they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_models import write_model
from engine_plans import NEVER_S, at_once, due_at, queue_plan, run, tables

from qtune.distributions import Constant
from qtune.engine import streams
from qtune.engine.plan import Plan
from qtune.errors import ScenarioError
from qtune.scenario import Scenario
from qtune.simulation import simulate

ALWAYS = streams.chance_steps(1.0)
SECONDS = tables(service=Constant(value=1.0))


def guarded(**fields: Any) -> Plan:
    """One handler of a second a message, and a breaker that opens for 10 s after two failures in a row."""
    breaker = {
        "breaker_window": 2,
        "breaker_least": 2,
        "breaker_failures": 1.0,
        "breaker_open_s": 10.0,
        "breaker_trials": 1,
        "breaker_trials_least": 1,
    }
    return queue_plan(**{"horizon_s": 40.0, "abandons": False, "tables": SECONDS, **breaker, **fields})


def test_a_breaker_opens_and_tries_again(engine: str) -> None:
    """Two failures open it at 2 s, so the next attempts fail at once; at 12 s one is let through, and it opens again.

    After 23 s the next trial is due, which is the one at 30 s.
    """
    rows = run(engine, guarded(fail_steps=ALWAYS, **due_at(0.0, 1.0, 2.0, 3.0, 12.0, 13.0, 30.0)))
    assert rows.deliveries["attempts"].tolist() == [1, 1, 0, 0, 1, 0, 1]
    assert rows.deliveries["finished_s"].tolist() == [1.0, 2.0, 2.0, 3.0, 13.0, 13.0, 31.0]
    assert rows.states["breaker_openings"].tolist() == [0, 1, 2, 2, 3]
    assert rows.states["breaker_rejections"].tolist() == [0, 2, 3, 3, 3]


def test_a_good_trial_closes_it_with_nothing_remembered(engine: str) -> None:
    """A downstream of one connection refuses what two workers ask beside it; quiet times let the breaker close.

    Of two that come at once one is refused, a second pair makes two failures of the last four; the trial at 20 s is
    served, and a new pair is not enough to open it again.
    """
    plan = guarded(
        workers=2,
        breaker_window=4,
        breaker_least=4,
        breaker_failures=0.5,
        downstream_connections=1,
        downstream_rejects=True,
        **due_at(0.0, 0.0, 2.0, 2.0, 4.0, 20.0, 22.0, 22.0),
    )
    rows = run(engine, plan)
    assert rows.deliveries["attempts"].tolist() == [1, 0, 1, 0, 0, 1, 1, 0]
    assert rows.states["breaker_openings"][-1] == 1
    assert rows.states["breaker_rejections"][-1] == 1
    assert rows.states["refusals"][-1] == 3


def test_so_many_trials_are_let_through_at_a_time(engine: str) -> None:
    """Half open it lets two attempts through and rejects the third, and the first two outcomes decide."""
    plan = guarded(
        workers=3, breaker_trials=2, breaker_trials_least=2, fail_steps=ALWAYS, **due_at(0, 0, 0, 12, 12, 12)
    )
    rows = run(engine, plan)
    assert rows.deliveries["attempts"].tolist() == [1, 1, 1, 1, 1, 0]
    assert rows.states["breaker_openings"][-1] == 2


def test_an_outcome_counts_in_the_state_that_it_finds(engine: str) -> None:
    """An attempt of 15 s that began before the breaker opened ends while it is half open, and makes it open again."""
    plan = guarded(
        workers=3,
        fail_steps=ALWAYS,
        service_s=np.array([15.0, 1.0, 1.0, 10.0, 1.0]),
        **due_at(0.0, 0.0, 0.0, 12.0, 16.0),
    )
    rows = run(engine, plan)
    assert rows.deliveries["attempts"].tolist() == [1, 1, 1, 1, 0]
    assert rows.states["breaker_openings"][-1] == 2


def test_rejected_attempts_use_up_those_of_a_delivery(engine: str) -> None:
    """With waits of 4 s a delivery gets four attempts: two that fail, one that is rejected, one let through at 14 s."""
    plan = guarded(fail_steps=ALWAYS, backoff_s=np.array([4.0, 4.0, 4.0]), **at_once(1))
    rows = run(engine, plan)
    # 0 to 1, 5 to 6 (opens until 16), rejected at 10 and at 14.
    assert rows.deliveries["attempts"].tolist() == [2]
    assert rows.deliveries["finished_s"].tolist() == [14.0]
    later = run(engine, replace(plan, breaker_open_s=8.0))
    assert later.deliveries["attempts"].tolist() == [3]
    assert later.deliveries["finished_s"].tolist() == [15.0]


def test_each_process_has_a_breaker_and_starts_with_a_new_one(engine: str) -> None:
    """One that is open rejects only what its own process handles, and a killed process forgets that it was open."""
    two = guarded(consumers=2, fail_steps=ALWAYS, breaker_window=1, breaker_least=1, **at_once(4))
    rows = run(engine, two)
    assert sorted(zip(rows.deliveries["consumer"], rows.deliveries["attempts"], strict=True)) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    killed = guarded(
        fail_steps=ALWAYS,
        breaker_window=1,
        breaker_least=1,
        fleet_at_s=np.array([2.0]),
        fleet_count=np.array([1]),
        fleet_grace_s=np.array([0.0]),
        fleet_back_s=np.array([1.0]),
        **due_at(0.0, 5.0),
    )
    assert run(engine, killed).deliveries["attempts"].tolist() == [1, 1]
    assert run(engine, replace(killed, fleet_at_s=np.array([30.0]))).deliveries["attempts"].tolist() == [1, 0]


def expected_attempts(plan: Plan, good: list[bool]) -> list[int]:
    """What a breaker lets through of attempts that follow one another every second, by its rule, written anew."""
    attempts, outcomes, state, until_s = [], [], "closed", 0.0
    for number, succeeds in enumerate(good):
        if state == "open" and number >= until_s:
            state, outcomes = "half open", []
        attempts.append(0 if state == "open" else 1)
        if state == "open":
            continue
        outcomes.append(succeeds)
        last = outcomes[-plan.breaker_window :]
        least = plan.breaker_least if state == "closed" else plan.breaker_trials_least
        if len(last) >= least:
            if last.count(False) / len(last) >= plan.breaker_failures:
                state, until_s = "open", number + 0.5 + plan.breaker_open_s
            elif state == "half open":
                state, outcomes = "closed", []
    return attempts


@pytest.mark.parametrize(
    ("window", "least", "share", "trials"), [(10, 5, 0.5, 3), (7, 7, 0.7, 2), (3, 1, 0.4, 5)]
)
def test_the_window_slides(engine: str, window: int, least: int, share: float, trials: int) -> None:
    """The last outcomes decide, not all of them: attempt by attempt as the rule says, for a thousand that may fail."""
    plan = guarded(
        horizon_s=1000.0,
        tables=tables(service=Constant(value=0.5)),
        breaker_window=window,
        breaker_least=least,
        breaker_failures=share,
        breaker_trials=trials,
        breaker_trials_least=min(least, trials),
        **due_at(*[float(second) for second in range(1000)]),
    )
    failing = replace(plan, fail_steps=streams.chance_steps(0.4))
    unguarded = run(engine, replace(failing, breaker_window=0)).deliveries
    good = (unguarded["outcome"] == 1).tolist()
    found = run(engine, failing).deliveries["attempts"].tolist()
    assert found == expected_attempts(failing, good)
    assert 0.1 < np.mean(found) < 0.95


def test_a_batch_is_one_attempt(engine: str) -> None:
    """A call of which one message fails is one failure, and a rejected call leaves all of its messages unhandled."""
    plan = guarded(
        handler_batch=2,
        batch_fails_whole=True,
        in_hand_limit=2,
        fail_steps=ALWAYS,
        **at_once(6),
    )
    rows = run(engine, replace(plan, discipline=0, batch=2, refill_at=2, wait_s=20.0, lock_s=NEVER_S))
    assert rows.deliveries["attempts"].tolist() == [1, 1, 1, 1, 0, 0]
    assert rows.deliveries["finished_s"].tolist() == [2.0, 2.0, 4.0, 4.0, 4.0, 4.0]
    assert rows.states["breaker_openings"][-1] == 1
    assert rows.states["breaker_rejections"][-1] == 1


def test_a_breaker_in_words(engine: str, tmp_path: Any) -> None:
    """What a scenario says of a breaker is what the rows show, and a summary counts the openings."""
    scenario = Scenario(
        arrivals={"kind": "renewal", "rate_per_s": 1.0, "cv": 0.0},
        service_time={"family": "constant", "mean_s": 0.5},
        failures={"rate": 1.0, "on_failure": "lock_expiry"},
        handler={
            "circuit_breaker": {"failure_rate": 1.0, "window": 3, "open_for_s": 20.0, "half_open_calls": 1}
        },
        queue={"provider": "sqs", "visibility_timeout_s": 600.0},
        consumers={"workers": 1, "receive_wait_s": 20.0},
        horizon_s=60.0,
        model=write_model(tmp_path, "sqs"),
    )
    result = simulate(scenario, engine=engine)  # type: ignore[arg-type]
    ended = result.deliveries[~np.isnan(result.deliveries["finished_s"])]
    assert np.flatnonzero(ended["attempts"]).tolist() == [0, 1, 2, 23, 44]
    assert result.states["breaker_openings"][-1] == 3


@pytest.mark.parametrize(
    ("handler", "failures", "says"),
    [
        ({"circuit_breaker": {"window": 5, "min_calls": 6}}, {}, "it could never open"),
        ({"circuit_breaker": {"failure_rate": 0.0}}, {}, "without a failure"),
        ({"circuit_breaker": {}}, {"on_failure": "abandon"}, "received again in no time"),
        ({"circuit_breaker": {}, "takes": "batch", "failure": "partial"}, {}, "does not fail itself"),
    ],
)
def test_a_breaker_that_cannot_be_is_refused(
    tmp_path: Any, handler: dict[str, Any], failures: dict[str, Any], says: str
) -> None:
    """It needs outcomes to open by, and a rejected message must not come back at the same instant for ever."""
    with pytest.raises(ScenarioError, match=says):
        Scenario(
            arrivals={"kind": "burst_at_once", "messages": 10},
            service_time={"family": "constant", "mean_s": 1.0},
            failures={"rate": 0.5, "on_failure": "lock_expiry", **failures},
            handler=handler,
            queue={"provider": "sqs"},
            consumers={"workers": 1, "receive_batch": 5},
            horizon_s=60.0,
            model=write_model(tmp_path, "sqs"),
        )
