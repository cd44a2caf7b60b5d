"""How the fewest workers are looked for, and how a search words what it found."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recommending import in_memory, on_sqs

from qtune.analysis import Estimate
from qtune.recommendation import Check, Targets, recommend
from qtune.recommendation.search import _bracket_above, _bracket_below
from qtune.recommendation.trials import Laboratory, Trial, why_not
from qtune.scenario import Scenario


@given(
    fewest=st.integers(1, 200),
    guess=st.integers(1, 40),
    most=st.integers(1, 64),
    step=st.sampled_from([1, 2, 4]),
)
def test_a_bracket_holds_the_fewest_that_pass(fewest: int, guess: int, most: int, step: int) -> None:
    """From any guess the search ends between a number of workers that misses and one that does not, if any does not."""
    guess, most = min(guess, most) * step, most * step
    tried: list[int] = []

    def passes(workers: int) -> bool:
        tried.append(workers)
        return workers >= fewest

    below = guess >= fewest
    low, high = _bracket_below(passes, 0, guess, step) if below else _bracket_above(passes, guess, most, step)
    if most < fewest:
        assert (low, high) == (0, 0)
    else:
        assert low < fewest <= high <= most
    assert all(0 < workers <= most and workers % step == 0 for workers in tried)


def test_far_more_workers_than_needed_are_tried_once_at_most() -> None:
    """When a few more workers than guessed do not help, the most are tried, and then no other number far above."""
    tried: list[int] = []

    def passes(workers: int) -> bool:
        tried.append(workers)
        return workers >= 12

    assert _bracket_above(passes, 8, 64, 1) == (10, 14)
    assert tried == [10, 64, 14]


@pytest.mark.parametrize(
    ("scenario", "looks"), [(in_memory(), False), (on_sqs(), True)], ids=["free", "paid"]
)
def test_a_bill_that_no_call_changes_is_not_looked_at_first(
    scenario: Scenario, looks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where requests cost something, one run shows the bill of a setting first; where they are free, none does."""
    once: list[bool] = []
    trial = Laboratory.trial

    def noted(self: Laboratory, *setting: Any, **how: bool) -> Trial:
        once.append(how.get("once", False))
        return trial(self, *setting, **how)

    monkeypatch.setattr(Laboratory, "trial", noted)
    recommend(scenario, "p95=1s")
    assert once
    assert any(once) == looks


@pytest.mark.parametrize(
    ("target", "estimate", "said"),
    [
        ("p95=500ms", Estimate(value=0.75, low=0.5, high=1.0, unit="s"), "750ms (500ms to 1s)"),
        ("p95=500ms", Estimate(value=0.75, low=0.5, unit="s"), "750ms (500ms or more)"),
        ("p95=500ms", Estimate(value=0.75, unit="s"), "750ms by one run"),
        ("utilization=40%", Estimate(value=0.5, low=0.25, high=0.75), "50% (25% to 75%)"),
        ("throughput=20/s", Estimate(value=10.0, low=9.0, high=11.0, unit="1/s"), "10/s (9/s to 11/s)"),
        (
            "cost=9USD/month",
            Estimate(value=10.0, low=9.5, high=11.0, unit="USD"),
            "$10.00/month ($9.50/month to",
        ),
    ],
)
def test_why_not_is_said_in_the_unit_of_the_target(target: str, estimate: Estimate, said: str) -> None:
    """A reason shows the value and its interval as the target's bound is written, and never a bare number."""
    (wanted,) = Targets.parse(target)
    check = Check(target=wanted, status="missed", estimate=estimate, margin=math.nan, reason="")
    assert why_not([check]).startswith(f"{wanted} is missed: {said}")


def test_no_more_workers_are_tried_than_a_downstream_that_refuses_has_room_for() -> None:
    """A worker beyond the connections of a downstream that refuses is only ever refused, so none is recommended."""
    downstream = {"connections": 6, "when_full": "reject", "refusal_s": 0.001}
    found = recommend(
        on_sqs(60.0, queue={"provider": "sqs", "visibility_timeout_s": 10.0}, downstream=downstream),
        "p95=2s,error_rate=0.1%",
        seed=1,
    )
    assert 1 <= found.scenario.consumers.instances * found.scenario.consumers.workers <= 6
    for candidate in (*found.runners_up, *found.failed):
        if candidate.runs:
            consumers = candidate.scenario.consumers
            assert consumers.instances * consumers.workers <= 6
