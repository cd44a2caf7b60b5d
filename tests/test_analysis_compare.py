"""Two settings under the same messages: paired differences and what they are worth."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade import fcfs, scenario_of

from qtune.analysis import compare, summarize
from qtune.errors import InputError
from qtune.result import MESSAGE_DEAD_LETTERED, Result
from qtune.scenario import Scenario

SLOW, FAST = 0.1, 0.08


def runs(factor: float, seeds: range, *, workers: int = 1) -> list[Result]:
    """M/M/1 runs in which handlers take ``factor`` times their work, with the same messages for each seed."""
    scenario = scenario_of(
        arrivals={"kind": "poisson", "rate_per_s": 7.0},
        service_time={"family": "exponential", "mean_s": 0.1 * factor},
        consumers={"workers": workers, "receive_wait_s": 1.0, "polling": "permits"},
        horizon_s=400.0,
    )
    made = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        due_s, work_s = np.cumsum(rng.exponential(1.0 / 7.0, 3_500)), rng.exponential(0.1, 3_500)
        made.append(fcfs(due_s, work_s * factor, scenario, seed=seed))
    return made


def test_the_difference_of_a_constant_is_that_constant() -> None:
    """A setting that is a tenth of a second slower for every message differs by exactly that."""
    fast = fcfs(np.arange(100.0), np.full(100, 0.5), scenario_of(horizon_s=200.0))
    slow = fcfs(np.arange(100.0), np.full(100, 0.6), scenario_of(horizon_s=200.0))
    found = compare(fast, slow, warm_up=0.0)
    assert found.latency_s.value == pytest.approx(0.1)
    assert found.latency_s.half_width == pytest.approx(0.0, abs=1e-12)
    assert found.differences["latency_s_p95"].value == pytest.approx(0.1)
    assert found.differences["goodput_per_s"].value == 0.0
    assert (found.faster, found.slower, found.left_out) == (0.0, 1.0, 0)


def test_shorter_handlers_are_seen_with_far_fewer_runs() -> None:
    """With the same messages, the paired interval is much narrower than two separate ones, and below 0."""
    a, b = runs(1.0, range(1, 9)), runs(0.8, range(1, 9))
    found = compare(a, b)
    assert found.same_messages
    assert found.latency_s.high < 0.0
    p95 = found.differences["latency_s_p95"]
    assert p95.high < 0.0
    separate = math.hypot(*(summarize(side).latency_s_p95.half_width for side in (a, b)))
    assert p95.half_width < separate
    assert found.variance_ratio > 2.0
    assert found.faster > 0.99


def test_the_paired_difference_is_the_difference_of_the_means() -> None:
    """Pairing changes how sure the difference is, and not what it is."""
    a, b = runs(1.0, range(1, 5)), runs(0.8, range(1, 5))
    found = compare(a, b, warm_up=0.0)
    for name in ("latency_s_p95", "utilization", "goodput_per_s"):
        difference = found.b.numbers[name].value - found.a.numbers[name].value
        assert found.differences[name].value == pytest.approx(difference, abs=1e-12)


def test_messages_that_only_one_setting_completed_are_counted_and_not_paired() -> None:
    """A message that one setting lost has no difference; how many there are is said."""
    a = fcfs(np.arange(100.0), np.full(100, 0.5), scenario_of(horizon_s=200.0))
    b = fcfs(np.arange(100.0), np.full(100, 0.6), scenario_of(horizon_s=200.0))
    b.messages["completed_s"][:7] = np.nan
    b.messages["state"][:7] = MESSAGE_DEAD_LETTERED
    found = compare(a, b, warm_up=0.0)
    assert found.left_out == 7
    assert found.latency_s.value == pytest.approx(0.1)
    assert not found.differences["latency_s_p95"].known
    assert found.differences["latency_s_p95"].reason == "one of the two settings has no value"
    assert found.differences["dead_letters"].value == 7.0


def test_different_messages_are_not_paired() -> None:
    """Runs of different messages still differ as runs, but no message has a partner."""
    a = runs(1.0, range(1, 4))
    b = [replace(run, messages=run.messages.copy()) for run in runs(0.8, range(1, 4))]
    for run in b:
        run.messages["due_s"] += 1e-6
    found = compare(a, b)
    assert not found.same_messages
    assert "different messages" in found.latency_s.reason
    assert found.differences["latency_s_p95"].known
    assert math.isnan(found.variance_ratio)


def test_pairs_need_the_same_seeds_and_horizons() -> None:
    """Without common seeds there is no pair, and two horizons do not compare; both are said."""
    a, b = runs(1.0, range(1, 4)), runs(0.8, range(2, 5))
    with pytest.raises(InputError, match=r"run b with those"):
        compare(a, b)
    short = replace(a[0], horizon_s=300.0)
    with pytest.raises(InputError, match="300 s and 400 s"):
        compare(a[0], short)


def test_the_order_of_the_replications_does_not_matter() -> None:
    """Replications are paired by seed, in whatever order they come."""
    a, b = runs(1.0, range(1, 5)), runs(0.8, range(1, 5))
    assert compare(a, b[::-1]).to_dict() == compare(a, b).to_dict()


def test_both_settings_lose_the_longer_warm_up() -> None:
    """The same messages are counted on both sides, from the end of the longer warm-up."""
    found = compare(runs(1.0, range(1, 5)), runs(0.5, range(1, 5)))
    assert found.a.warm_up.cut_s == found.b.warm_up.cut_s
    cuts = [summarize(runs(factor, range(1, 5))).warm_up.cut_s for factor in (1.0, 0.5)]
    assert found.a.warm_up.cut_s == max(cuts)


def test_an_unstable_setting_has_no_difference_in_latency() -> None:
    """The percentile of a queue that cannot keep up is no number, so its difference is none either."""
    found = compare(runs(1.0, range(1, 3)), runs(2.0, range(1, 3)))
    assert found.b.verdict.kind == "unstable"
    assert not found.differences["latency_s_p95"].known
    assert found.differences["utilization"].value > 0.0


def test_a_comparison_can_be_written_and_tabulated() -> None:
    """A comparison is JSON without NaN, and a frame with a row for each number."""
    found = compare(runs(1.0, range(1, 3)), runs(0.8, range(1, 3)))
    json.dumps(found.to_dict(), allow_nan=False)
    frame = found.to_frame().set_index("name")
    row: Any = frame.loc["utilization"]
    assert row["b"] - row["a"] == pytest.approx(row["difference"])


def test_common_messages_need_no_agreement_between_scenarios() -> None:
    """Any two scenarios with the same arrivals can be compared: that is what comparing is for."""
    more = runs(1.0, range(1, 3), workers=2)
    assert isinstance(more[0].scenario, Scenario)
    assert compare(runs(1.0, range(1, 3)), more).same_messages
