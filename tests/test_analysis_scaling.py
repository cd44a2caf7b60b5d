"""Rule R12: handlers against the time that an instance has when a scaler removes it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from qtune.analysis import Finding, explain, setup_of, summarize
from qtune.analysis.scaling_in import scaling_findings
from qtune.lab import load_incident
from qtune.scenario import Scenario
from qtune.simulation import simulate


def finding_of(scenario: Scenario) -> Finding | None:
    """What the rule says about a scenario."""
    return next(scaling_findings(scenario, setup_of(scenario)), None)


def scaled(workers: int = 1, **scaling: Any) -> Scenario:
    """Handlers of a minute behind KEDA and SQS, up to ten instances."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 0.05},
        service_time={"family": "constant", "mean_s": 60.0},
        queue={"provider": "sqs", "visibility_timeout_s": 600.0},
        consumers={"instances": 10, "workers": workers, "receive_wait_s": 20.0},
        scaling={"kind": "keda", **scaling},
        horizon_s=600.0,
    )


def test_a_handler_longer_than_the_grace_breaks_rule_12() -> None:
    """A handler of a minute needs a grace of a minute, and KEDA's pods have half of that; the change lifts it."""
    finding = finding_of(scaled())
    assert finding is not None
    assert finding.rule == "R12"
    assert finding.ratio == pytest.approx(2.0)
    assert finding.change == "scaling.grace: 30s -> 60s"
    longer = finding_of(scaled(grace_s=60.0))
    assert longer is not None
    assert not longer.broken
    assert finding_of(scaled(grace_s=None)) is None


def test_an_instance_that_is_killed_has_no_time_at_all() -> None:
    """A kill breaks the rule by more than any number, which JSON says as null."""
    finding = finding_of(scaled(on_scale_in="kill"))
    assert finding is not None
    assert math.isinf(finding.ratio)
    assert finding.change == "scaling.on_scale_in: drain, with a grace of 60s"
    explanation = explain(summarize(simulate(scaled(on_scale_in="kill"))))
    assert explanation.binding.rule == "R12"
    json.dumps(explanation.to_dict(), allow_nan=False)


def test_work_keeps_its_instances_where_all_of_it_counts() -> None:
    """With messages in flight counted, and no more asked for than an instance has workers, none is removed at work."""
    assert finding_of(scaled(workers=5)) is None
    assert finding_of(scaled(workers=5, scale_on_in_flight=False)) is not None
    fixed = load_incident("I1").fixed
    assert fixed is not None
    assert finding_of(fixed) is None


def test_a_fleet_that_stays_has_no_such_rule() -> None:
    """Without a scaler the rule says nothing."""
    assert finding_of(load_incident("A1").reported) is None
