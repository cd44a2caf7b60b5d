"""Predictions: which runs are made, how many, and what is said while they are."""

from __future__ import annotations

import pytest
from small_scenarios import STEADY

import qtune


def test_a_prediction_is_the_summary_of_its_replications() -> None:
    """predict gives what replicate and summarize give, from the scenario's seed or another."""
    scenario = qtune.load_scenario(STEADY)
    for seed in (None, 5):
        predicted = qtune.predict(scenario, replications=2, seed=seed)
        by_hand = qtune.summarize(qtune.replicate(scenario, 2, seed=seed))
        assert predicted.seeds == by_hand.seeds
        assert predicted.to_dict() == by_hand.to_dict()


def test_seeds_can_be_given_one_by_one() -> None:
    """The runs are those of the seeds, in their order, and progress is told after each."""
    told: list[tuple[int, int]] = []
    summary = qtune.predict(
        qtune.load_scenario(STEADY), seeds=[3, 11], progress=lambda done, of: told.append((done, of))
    )
    assert summary.seeds == (3, 11)
    assert told == [(1, 2), (2, 2)]


def test_a_width_decides_how_many_runs_there_are() -> None:
    """A wide interval is reached by the fewest runs that can show one; progress knows the most there can be."""
    told: list[tuple[int, int]] = []
    summary = qtune.predict(
        qtune.load_scenario(STEADY), width="90%", progress=lambda done, of: told.append((done, of))
    )
    assert summary.replications == 5
    assert told == [(run, 40) for run in range(1, 6)]


@pytest.mark.parametrize("changes", [{"width": "120%"}, {"width": "5"}, {"replications": 2}, {"seed": 3}])
def test_contradictions_are_refused(changes: dict[str, object]) -> None:
    """A width that is no share is refused, and so are seeds together with anything that would choose others."""
    with pytest.raises(qtune.InputError):
        qtune.predict(qtune.load_scenario(STEADY), seeds=None if "width" in changes else [1], **changes)
