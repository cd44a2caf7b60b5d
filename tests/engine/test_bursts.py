"""Bursts on top of the arrivals: when their messages fall due, whatever the arrivals are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qtune.errors import ScenarioError
from qtune.scenario import Scenario
from qtune.simulation import simulate

TRACE = "azure_llm_conv_2023.csv"


def bursting(arrivals: dict[str, Any], **burst: float) -> Scenario:
    """Consumers that do not matter, and one burst."""
    return Scenario(
        arrivals=arrivals,
        service_time={"family": "constant", "mean_s": 0.001},
        queue={"provider": "memory"},
        consumers={"workers": 4},
        faults=({"kind": "burst", **burst},),
        horizon_s=400.0,
    )


def due(scenario: Scenario, engine: str) -> np.ndarray[Any, Any]:
    """When the messages of a run fall due."""
    return simulate(scenario, engine=engine).messages["due_s"]  # type: ignore[arg-type]


def count(due_s: np.ndarray[Any, Any], from_s: float, to_s: float) -> int:
    """Messages due in [from, to)."""
    return int(np.count_nonzero((due_s >= from_s) & (due_s < to_s)))


@pytest.mark.parametrize("kind", ["poisson", "renewal", "piecewise", "bursts"])
def test_a_burst_raises_the_rate_while_it_lasts(engine: str, kind: str) -> None:
    """10 messages a second, and 30 more from 100 s to 200 s: the counts are within five standard deviations."""
    arrivals: dict[str, dict[str, Any]] = {
        "poisson": {"rate_per_s": 10.0},
        "renewal": {"rate_per_s": 10.0, "cv": 0.5},
        "piecewise": {
            "segments": [{"for_s": 150.0, "rate_per_s": 10.0}, {"for_s": 250.0, "rate_per_s": 10.0}]
        },
        "bursts": {"on_rate_per_s": 10.0, "off_rate_per_s": 10.0, "on_mean_s": 20.0, "off_mean_s": 30.0},
    }
    tried = bursting({"kind": kind, **arrivals[kind]}, at_s=100.0, for_s=100.0, rate_per_s=30.0)
    due_s = due(tried, engine)
    for from_s, to_s, expected in ((0.0, 100.0, 1000), (100.0, 200.0, 4000), (200.0, 400.0, 2000)):
        assert abs(count(due_s, from_s, to_s) - expected) < 5.0 * math.sqrt(expected)


def test_a_burst_comes_between_the_messages_of_a_trace(engine: str) -> None:
    """A trace keeps its instants, and the 50 messages of a burst of 10 s come evenly spaced between them."""
    with_burst = bursting({"kind": "trace", "file": TRACE}, at_s=100.0, for_s=10.0, rate_per_s=5.0)
    own_s, both_s = due(with_burst.with_(faults=()), engine), due(with_burst, engine)
    extra_s = np.sort(np.concatenate((own_s, 100.1 + 0.2 * np.arange(50))))
    assert both_s == pytest.approx(extra_s, abs=1e-9)
    assert np.isin(own_s, both_s).all()


def test_two_bursts_add_up(engine: str) -> None:
    """Where two bursts overlap, both rates count."""
    tried = bursting({"kind": "poisson", "rate_per_s": 1.0}, at_s=0.0, for_s=300.0, rate_per_s=20.0)
    second = {"kind": "burst", "at_s": 200.0, "for_s": 200.0, "rate_per_s": 40.0}
    due_s = due(tried.with_(faults=(*tried.faults, second)), engine)
    for from_s, to_s, expected in ((0.0, 200.0, 4200), (200.0, 300.0, 6100), (300.0, 400.0, 4100)):
        assert abs(count(due_s, from_s, to_s) - expected) < 5.0 * math.sqrt(expected)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"arrivals": {"kind": "closed_loop", "customers": 2, "think_time": {"family": "constant", "mean_s": 1.0}}},
         "nothing sends but its customers"),
        ({"arrivals": {"kind": "trace", "file": TRACE}, "service_time": {"family": "hints", "mean_s": 0.01}},
         "the trace has no service time for them"),
    ],
)  # fmt: skip
def test_a_burst_needs_messages_that_are_not_all_given(changes: dict[str, Any], why: str) -> None:
    """Where every message is known beforehand a burst has none to add, and the error says so."""
    plain = bursting({"kind": "poisson", "rate_per_s": 1.0}, at_s=1.0, for_s=1.0, rate_per_s=1.0)
    with pytest.raises(ScenarioError, match=why):
        plain.with_(**changes)
