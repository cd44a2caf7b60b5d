"""How many replications are run, and that it is said why no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from handmade import poisson_run, scenario_of

from qtune.analysis import Summary, run_until_narrow
from qtune.errors import InputError
from qtune.result import Result
from qtune.scenario import Scenario


class Queue:
    """Runs M/M/1 at a load of half, as often as asked, and remembers the seeds."""

    def __init__(self, rate_per_s: float = 5.0) -> None:
        self.rate_per_s = rate_per_s
        self.seeds: list[int] = []

    def __call__(self, scenario: Scenario, /, *, seed: int) -> Result:
        self.seeds.append(seed)
        rng = np.random.default_rng(seed)
        return poisson_run(rng, rate_per_s=self.rate_per_s, scenario=scenario, seed=seed)


def scenario(rate_per_s: float = 5.0, **changes: Any) -> Scenario:
    """M/M/1 for 200 s with seeds from 10 on."""
    return scenario_of(
        arrivals={"kind": "poisson", "rate_per_s": rate_per_s}, horizon_s=200.0, seed=10, **changes
    )


def test_replications_are_added_until_the_interval_is_narrow() -> None:
    """It stops at the first replication, from the fifth on, at which the p95 is known as well as asked."""
    queue, seen = Queue(), list[Summary]()
    summary = run_until_narrow(scenario(), queue, width=0.1, progress=seen.append)
    assert queue.seeds == list(range(10, 10 + summary.replications))
    assert summary.replications >= 5
    widths = [step.latency_s_p95.relative_half_width for step in seen]
    assert widths[-1] <= 0.1
    assert all(width > 0.1 for width in widths[:-1])
    assert summary.note.startswith(
        f"ended after {summary.replications} replications: latency_s_p95 is known to"
    )
    assert [step.replications for step in seen] == list(range(5, summary.replications + 1))


def test_a_budget_of_replications_is_kept_and_said() -> None:
    """When the budget is spent the summary says how well the number is known, and what was asked."""
    summary = run_until_narrow(scenario(), Queue(), width=0.001, most_replications=6)
    assert summary.replications == 6
    assert "the budget was spent after 6 replications" in summary.note
    assert "only; ±0.1% was asked" in summary.note


def test_a_budget_of_messages_is_kept() -> None:
    """Messages are counted over all replications; the one that passes the budget is the last."""
    summary = run_until_narrow(scenario(), Queue(), width=0.001, most_messages=6_500)
    assert summary.replications == 7


def test_a_queue_that_cannot_keep_up_ends_early() -> None:
    """No number of replications makes the percentile of an unstable queue narrow, so five are enough."""
    summary = run_until_narrow(scenario(15.0), Queue(15.0), width=0.001)
    assert summary.replications == 5
    assert summary.note == "ended after 5 replications: the queue does not keep up"


def test_any_number_can_be_the_goal() -> None:
    """The interval asked for may be that of another number of the summary."""
    summary = run_until_narrow(scenario(), Queue(), number="utilization", width=0.05)
    assert "utilization is known to" in summary.note
    assert summary.utilization.relative_half_width <= 0.05


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"width": 0.0}, "0.05 asks for an interval"),
        ({"width": 5.0}, "0.05 asks for an interval"),
        ({"most_replications": 4}, "at least 5 replications"),
        ({"most_messages": 0}, "at least 1"),
        ({"number": "latency_p95"}, 'Did you mean "latency_s_p95"'),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, Any], told: str) -> None:
    """A width, a budget or a number that makes no sense is refused with the way to write it."""
    with pytest.raises(InputError, match=told):
        run_until_narrow(scenario(), Queue(), **changes)
