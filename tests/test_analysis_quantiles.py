"""Quantiles of latencies of which some are not known yet, and intervals that hold what they promise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from handmade import lindley
from scipy.stats import binom

from qtune.analysis.intervals import (
    ANY,
    AT_LEAST_0,
    SHARE,
    Estimate,
    Floats,
    across_replications,
    batch_means,
    check_confidence,
    student_interval,
    within_one_run,
)
from qtune.analysis.quantiles import Lateness, estimate_quantile, quantile_s
from qtune.errors import InputError

HORIZON_S = 1000.0


def lateness(due_s: Sequence[float] | Floats, latency_s: Sequence[float] | Floats) -> Lateness:
    """Messages as one sees them at the horizon: a latency that would end later is not known yet."""
    due, latency = np.array(due_s, dtype=float), np.array(latency_s, dtype=float)
    seen = np.where(due + latency > HORIZON_S, np.inf, latency)
    return Lateness(due_s=due, latency_s=seen, horizon_s=HORIZON_S)


def test_a_quantile_is_the_value_that_enough_do_not_exceed() -> None:
    """Of twenty latencies 1 to 20 the p95 is 19, the p50 is 10 and the p99 is 20."""
    seen = lateness(list(range(20)), list(range(20, 0, -1)))
    assert [quantile_s(seen, p)[0] for p in (0.5, 0.95, 0.99)] == [10.0, 19.0, 20.0]
    assert (
        quantile_s(lateness(range(100), range(1, 101)), 0.07)[0] == 7.0
    )  # 0.07 * 100 is above 7 in floating point


def test_a_quantile_among_the_missing_is_not_reached() -> None:
    """When more than 5 % are never completed, there is no p95, and the reason says how many are missing."""
    latency_s = [1.0] * 94 + [math.inf] * 6
    seen = lateness([float(i) for i in range(100)], latency_s)
    assert math.isnan(quantile_s(seen, 0.95)[0])
    assert quantile_s(seen, 0.9)[0] == 1.0
    estimate = estimate_quantile([seen], 0.95, 0.95)
    assert not estimate.known
    assert estimate.reason == "not reached: 6 of 100 messages were not completed, so the p95 is among them"


def test_the_youngest_messages_do_not_make_a_queue_look_slow() -> None:
    """A fifth of the messages is still on its way because the run ends, and not because they are slow.

    All take 200 s and come evenly over 1000 s. Those of the last 200 s are open; the p95 is 200 s all the
    same.
    """
    due_s = [float(i) for i in range(1000)]
    value_s, counted = quantile_s(lateness(due_s, [200.0] * 1000), 0.95)
    assert value_s == 200.0
    assert counted == 801


def test_the_youngest_messages_do_not_make_a_queue_look_fast() -> None:
    """Every tenth message takes 300 s, the others 1 s; of the last 300 s only the fast ones are complete.

    Counting completed messages only would find 7 % slow ones; the p91 is 300 s.
    """
    latency_s = [300.0 if i % 10 == 0 else 1.0 for i in range(1000)]
    seen = lateness([float(i) for i in range(1000)], latency_s)
    finite = seen.latency_s[np.isfinite(seen.latency_s)]
    assert np.quantile(finite, 0.91) == 1.0
    assert quantile_s(seen, 0.91)[0] == 300.0
    assert quantile_s(seen, 0.89)[0] == 1.0


def test_a_quantile_is_not_read_from_a_small_early_part() -> None:
    """When latencies grow with time, only the first messages were seen to their end, and they are fast.

    The latency of a message due at t is 1.2 t. Those old enough for their own p80 are the first 46 % of all.
    """
    growing = lateness(range(1000), [1.2 * t for t in range(1000)])
    assert math.isnan(quantile_s(growing, 0.8)[0])
    value_s, counted = quantile_s(growing, 0.5)
    assert counted >= 500
    assert value_s == pytest.approx(1.2 * (math.ceil(0.5 * counted) - 1))
    assert value_s <= HORIZON_S - (counted - 1)  # the youngest of those counted was seen for as long


def test_nothing_is_known_without_a_completed_message() -> None:
    """Without messages, or with none completed, there is no quantile and no failure either."""
    assert math.isnan(quantile_s(lateness([], []), 0.5)[0])
    assert math.isnan(quantile_s(lateness([1.0, 2.0], [math.inf, math.inf]), 0.5)[0])
    assert estimate_quantile([lateness([], [])], 0.5, 0.95).reason == "no message fell due"


@pytest.mark.parametrize("p", [0.5, 0.95, 0.99])
def test_the_censored_quantile_is_the_uncensored_one(p: float) -> None:
    """Cutting a run off does not move a quantile: a longer look at the same messages gives the same one."""
    rng = np.random.default_rng(2)
    due_s = np.sort(rng.uniform(0.0, HORIZON_S, 5_000))
    latency_s = rng.exponential(100.0, 5_000)
    value_s, counted = quantile_s(lateness(due_s, latency_s), p)
    assert counted >= 2_500
    assert value_s == pytest.approx(np.quantile(latency_s[:counted], p, method="inverted_cdf"))


def test_many_open_messages_do_not_hide_a_quantile() -> None:
    """Every tenth message takes 300 s, so 3 % of all are open at the end: more than the 2 % beyond the p98.

    Those who were seen for 300 s and more show that it is 300 s.
    """
    latency_s = [300.0 if i % 10 == 0 else 1.0 for i in range(1000)]
    assert quantile_s(lateness(range(1000), latency_s), 0.98) == (300.0, 701)


SERVICE_S, GAP_S = 1.0, 1.0 / 0.6
P95_S = -math.log(0.05) / (1.0 / SERVICE_S - 1.0 / GAP_S)


def m_m_1(rng: np.random.Generator, count: int) -> Lateness:
    """Sojourn times of M/M/1 at load 0.6 that starts in its steady state, with all messages completed."""
    gaps_s, services_s = rng.exponential(GAP_S, count), rng.exponential(SERVICE_S, count)
    first_s = rng.exponential(1.0 / (1.0 - 0.6)) if rng.random() < 0.6 else 0.0
    waits_s = lindley(gaps_s, services_s, first_s)
    due_s = np.cumsum(gaps_s)
    return Lateness(
        due_s=due_s,
        latency_s=waits_s + services_s,
        horizon_s=float(due_s[-1]) + 1e6,
    )


@pytest.mark.parametrize("replications", [1, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(replications: int) -> None:
    """Of 95 % intervals for the p95 of M/M/1 about 95 % hold it, from one run or from five.

    Of 200 intervals at least as many as all but one in a thousand samples would have at a coverage of 92 %.
    """
    rng = np.random.default_rng(replications)
    held = 0
    for _ in range(200):
        runs = [m_m_1(rng, 20_000 // replications) for _ in range(replications)]
        estimate = estimate_quantile(runs, 0.95, 0.95)
        held += estimate.low <= P95_S <= estimate.high
    assert held >= binom.ppf(0.001, 200, 0.92)
    assert held < 200


def test_how_an_interval_was_made_is_said() -> None:
    """Replications, batch means and independent messages are kinds of certainty, and are labelled."""
    rng = np.random.default_rng(4)
    long, short = m_m_1(rng, 1_000), m_m_1(rng, 40)
    assert estimate_quantile([long], 0.5, 0.95).method == "batch means (20 batches of one run)"
    assert "taken as independent" in estimate_quantile([short], 0.5, 0.95).method
    assert estimate_quantile([long, short], 0.5, 0.95).method == "Student t over 2 replications, ended at 0"


def test_an_open_upper_end_is_open() -> None:
    """With few messages the p99 has a value, but nobody can say how much higher it may be."""
    estimate = estimate_quantile([m_m_1(np.random.default_rng(5), 60)], 0.99, 0.95)
    assert estimate.known
    assert math.isnan(estimate.high)
    assert "upper end" in estimate.reason


def test_one_replication_without_a_value_leaves_no_mean() -> None:
    """A mean over those replications that reached the quantile would be a statistic of survivors."""
    estimate = across_replications([1.0, math.nan, 2.0], possible=AT_LEAST_0, unit="s", reason="not reached")
    assert not estimate.known
    assert estimate.reason == "not reached in 1 of 3 replications"


def test_an_interval_does_not_leave_what_is_possible() -> None:
    """No latency is below 0 s and no share above 1: an interval ends there and says so. A difference does not."""
    few = across_replications([1.0, 9.0], possible=AT_LEAST_0, unit="s")
    assert few.low == 0.0 < few.value < few.high
    assert few.method == "Student t over 2 replications, ended at 0"
    share = across_replications([0.5, 1.0], possible=SHARE)
    assert (share.low, share.high) == (0.0, 1.0)
    assert share.method.endswith("ended at 0 and 1")
    assert across_replications([1.0, 9.0], possible=ANY).low < 0.0
    assert within_one_run(np.arange(50.0) ** 8, possible=AT_LEAST_0, unit="s", confidence=0.99).low == 0.0


def test_an_interval_that_ends_at_0_holds_the_truth_as_often() -> None:
    """Cutting off what cannot be takes no true value away: an interval holds the mean exactly if the whole one did."""
    rng, mean = np.random.default_rng(6), 1.0
    cut = 0
    for _ in range(500):
        values = rng.exponential(mean, 3)
        _, low, high = student_interval(values, 0.95)
        found = across_replications(values, possible=AT_LEAST_0)
        assert (found.low <= mean <= found.high) == (low <= mean <= high)
        cut += low < 0.0
    assert cut > 0


def test_student_intervals_are_the_textbook_ones() -> None:
    """For 1, 2, 3 the 95 % interval is 2 +- 4.303 / sqrt(3)."""
    assert student_interval([1.0, 2.0, 3.0], 0.95) == pytest.approx(
        (2.0, 2.0 - 2.48414, 2.0 + 2.48414), abs=1e-5
    )
    assert math.isnan(student_interval([1.0], 0.95)[1])


def test_batches_are_means_of_neighbours() -> None:
    """Batches are consecutive, of equal size, and no more than 20; fewer than 50 values are too few."""
    assert batch_means(np.arange(50.0)).tolist() == [4.5, 14.5, 24.5, 34.5, 44.5]
    assert batch_means(np.arange(1_000.0)).size == 20
    assert batch_means(np.arange(49.0)).size == 0
    assert (
        "too few for batch means"
        in within_one_run(np.arange(49.0), possible=AT_LEAST_0, unit="s", confidence=0.95).reason
    )


@pytest.mark.parametrize("confidence", [0.0, 0.4, 1.0, 95.0, math.nan])
def test_a_confidence_is_a_share(confidence: float) -> None:
    """A confidence of 95 instead of 0.95 is refused with the way to write it."""
    with pytest.raises(InputError, match=r"write 0\.95"):
        check_confidence(confidence)


def test_an_estimate_in_json_has_null_for_what_is_missing() -> None:
    """JSON has no NaN: an end that is open is null, and the reason stands beside it."""
    written = Estimate(value=1.0, low=0.5, unit="s", reason="open").to_dict()
    assert (written["value"], written["high"], written["reason"]) == (1.0, None, "open")
    assert float(Estimate(value=1.0)) == 1.0
    assert Estimate(value=2.0, low=1.0, high=3.0).relative_half_width == 0.5
