"""Where the warm-up ends, and that it is said."""

from __future__ import annotations

import numpy as np
from handmade import lindley

from qtune.analysis.warmup import find_warm_up, mser5


def test_a_step_is_cut_where_it_ends() -> None:
    """A run that is fast for 100 messages and steady from then on loses exactly those."""
    rng = np.random.default_rng(1)
    values = rng.normal(10.0, 1.0, 1_000)
    values[:100] -= 8.0
    assert mser5(values) == 100


def test_a_steady_run_loses_next_to_nothing() -> None:
    """Without a warm-up MSER-5 cuts a tenth at most, in nine of ten runs."""
    rng = np.random.default_rng(2)
    cuts = [mser5(rng.normal(10.0, 1.0, 1_000)) for _ in range(100)]
    assert sum(cut is not None and cut <= 100 for cut in cuts) >= 80


def test_a_run_that_never_settles_has_no_cut() -> None:
    """When the whole run is a trend, no steady state was seen, and nothing is cut in secret."""
    assert mser5(np.arange(1_000.0)) is None
    found = find_warm_up([(np.arange(1_000.0), np.arange(1_000.0))])
    assert (found.cut_s, found.found) == (0.0, False)
    assert "no steady state" in found.reason


def test_few_messages_are_not_judged() -> None:
    """Fewer than 50 messages are too few for MSER-5, and the warm-up says so."""
    assert mser5(np.ones(49)) is None
    assert "49 messages are too few" in find_warm_up([(np.arange(49.0), np.ones(49))]).reason


def test_the_cut_is_the_best_score_of_the_definition() -> None:
    """MSER-5 takes the cut with the least sum of squares over the squared number of batches that are left."""
    rng = np.random.default_rng(3)
    values = np.cumsum(rng.normal(size=600)) * 0.1 + 5.0
    means = values.reshape(-1, 5).mean(axis=1)
    scores = [
        float(((means[cut:] - means[cut:].mean()) ** 2).sum() / (means.size - cut) ** 2)
        for cut in range(means.size // 2 + 1)
    ]
    best = int(np.argmin(scores))
    assert mser5(values) == (None if best == means.size // 2 else 5 * best)


def test_a_queue_that_starts_full_is_cut_when_it_has_emptied() -> None:
    """A backlog of 200 s is worked off at half a second a second; the cut lies where it is gone."""
    rng = np.random.default_rng(4)
    gaps_s, services_s = rng.exponential(2.0, 4_000), rng.exponential(1.0, 4_000)
    waits_s = lindley(gaps_s, services_s, 200.0)
    due_s = np.cumsum(gaps_s)
    emptied_s = float(due_s[int(np.argmax(waits_s == 0.0))])
    found = find_warm_up([(due_s, waits_s + services_s)])
    assert found.found
    assert 0.7 * emptied_s <= found.cut_s <= 1.5 * emptied_s
    assert found.reason.startswith("the first ")


def test_replications_are_averaged_before_the_cut() -> None:
    """A start that noise hides in one run shows in the mean of many, and all lose the same time."""
    rng = np.random.default_rng(5)
    due_s = np.arange(1_000.0)
    runs = [(due_s, rng.normal(10.0, 30.0, 1_000) - np.where(due_s < 200.0, 20.0, 0.0)) for _ in range(200)]
    found = find_warm_up(runs)
    assert 150.0 <= found.cut_s <= 250.0
