"""To which group a message belongs: drawn by its share, given by a trace, or its own."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from qtune.errors import ScenarioError
from qtune.scenario import Scenario
from qtune.simulation import Engine, simulate

ENGINES: tuple[Engine, ...] = ("kernel", "reference")


def scenario(**changes: object) -> Scenario:
    """Two workers for 40 messages a second, 100 s long; with the changes."""
    base = {
        "arrivals": {"kind": "poisson", "rate_per_s": 40.0},
        "service_time": {"family": "constant", "mean_s": 0.01},
        "queue": {"provider": "sqs"},
        "consumers": {"workers": 2},
        "horizon_s": 100.0,
    }
    return Scenario(**{**base, **changes})


@pytest.mark.parametrize("engine", ENGINES)
def test_each_group_has_its_share_of_the_messages(engine: Engine) -> None:
    """The counts of a Zipf workload are binomial around 1 : 1/2 : 1/3 : 1/4, which six sigma hold."""
    result = simulate(scenario(groups={"kind": "zipf", "count": 4, "exponent": 1.0}), engine=engine)
    counts = np.bincount(result.messages["group"], minlength=4)
    total = int(counts.sum())
    for group, count in enumerate(counts.tolist()):
        share = (1.0 / (group + 1)) / (25.0 / 12.0)
        assert abs(count - share * total) <= 6.0 * sqrt(total * share * (1.0 - share))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_group_without_weight_has_no_message(engine: Engine) -> None:
    """A weight of 0, first, inside or last, gives a group none of the messages."""
    result = simulate(scenario(groups={"kind": "weights", "weights": (0, 2, 0, 1, 0)}), engine=engine)
    assert set(result.messages["group"].tolist()) == {1, 3}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_groups_of_a_trace_are_numbered_as_they_appear(engine: Engine, tmp_path: Path) -> None:
    """Equal names are one group, and the first name in the file is group 0."""
    file = tmp_path / "named.csv"
    file.write_text("arrival_s,service_hint,group\n0,1,b\n1,1,a\n2,1,b\n3,1,c\n", encoding="utf-8")
    arrivals = {"kind": "trace", "file": str(file)}
    result = simulate(scenario(arrivals=arrivals, groups={"kind": "trace"}, horizon_s=10.0), engine=engine)
    assert result.messages["group"].tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_message_has_its_own_group_or_none(engine: Engine) -> None:
    """With groups of their own messages carry their own number, and without groups -1."""
    own = simulate(scenario(groups={"kind": "own"}), engine=engine).messages["group"]
    assert (own == np.arange(own.size)).all()
    assert (simulate(scenario(), engine=engine).messages["group"] == -1).all()


def test_groups_from_a_trace_need_a_trace() -> None:
    """Asking a workload without a group column for its groups is an error that says what is needed."""
    with pytest.raises(ScenarioError, match="group column"):
        scenario(groups={"kind": "trace"})
