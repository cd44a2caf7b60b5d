"""Rule R7: how much a group lets through, and whether a client keeps to its order."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.analysis import Finding, explain, setup_of, summarize
from qtune.analysis.ordering import order_findings
from qtune.scenario import Scenario
from qtune.simulation import simulate


def fifo(groups: int, **consumers: Any) -> Scenario:
    """Handlers of 1 s on a FIFO queue, with so many groups and 20 messages a second."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 20.0},
        groups={"kind": "even", "count": groups},
        service_time={"family": "constant", "mean_s": 1.0},
        queue={"provider": "sqs", "type": "fifo"},
        consumers={"workers": 40, "receive_wait_s": 20.0, **consumers},
        horizon_s=60.0,
    )


def in_order(scenario: Scenario) -> Finding | None:
    """What the rule says about the order in a group."""
    return next(order_findings(setup_of(scenario)), None)


def test_too_few_groups_break_rule_7() -> None:
    """Ten groups let no more than ten messages a second of 1 s through, and a hundred are enough for 20."""
    explanation = explain(summarize(simulate(fifo(10))))
    assert (explanation.binding.rule, explanation.binding.subject) == ("R7", "groups")
    assert explanation.binding.ratio == pytest.approx(2.0, rel=0.05)
    enough = explain(summarize(simulate(fifo(100))))
    assert next(f for f in enough.findings if f.subject == "groups").ratio == pytest.approx(0.2, rel=0.05)


def test_workers_that_share_a_batch_of_a_group_break_its_order() -> None:
    """Ten workers behind one receive of ten may be at ten messages of a group at once, unless they keep the order."""
    loose = {"receivers": 1, "receive_batch": 10, "workers": 20, "keep_group_order": False}
    finding = in_order(fifo(3, **loose))
    assert finding is not None
    assert finding.rule == "R7"
    assert finding.ratio == 10.0
    assert finding.change.startswith("consumers.keep_group_order: true")
    assert in_order(fifo(3, **{**loose, "keep_group_order": True})) is None
    single = in_order(fifo(3, **{**loose, "receive_batch": 1}))
    assert single is not None
    assert not single.broken
