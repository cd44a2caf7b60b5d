"""Rules for a downstream that refuses: how many may ask, how fast, and how often a refused message comes again."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.analysis import Finding, explain, setup_of, summarize
from qtune.analysis.refusing import refusal_findings
from qtune.lab import load_incident
from qtune.scenario import Scenario
from qtune.simulation import simulate


def scenario(workers: int, downstream: dict[str, Any], most: int | None = 3, **changes: Any) -> Scenario:
    """Four messages at once for handlers of 3 s that need a downstream which refuses."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "burst_at_once", "messages": 4},
        "service_time": {"family": "constant", "mean_s": 3.0},
        "queue": {"provider": "sqs", "max_receive_count": most},
        "consumers": {"workers": workers, "receive_wait_s": 20.0},
        "downstream": {"when_full": "reject", **downstream},
        "horizon_s": 600.0,
    }
    return Scenario(**{**base, **changes})


def rules(tried: Scenario) -> dict[str, Finding]:
    """The findings about refusals by what they are about."""
    return {finding.subject: finding for finding in refusal_findings(setup_of(tried))}


@pytest.mark.parametrize(("most", "broken"), [(1, True), (2, True), (3, True), (4, False), (5, False)])
def test_a_burst_needs_as_many_deliveries_as_rounds(most: int, broken: bool) -> None:
    """Four messages for one connection take four rounds, and are dead-lettered with fewer deliveries than that.

    That is what a run shows too: 3, 2, 1, 0 and 0 of them end in the dead-letter queue.
    """
    incident = load_incident("G2")
    tried = incident.reported.with_(queue={"max_receive_count": most})
    finding = rules(tried)["rounds of a burst"]
    assert finding.rule == "R10"
    assert finding.ratio == 4 / most
    assert finding.broken is broken
    assert summarize(simulate(tried)).dead_letters.value == max(0, 4 - most)


def test_fewer_workers_than_messages_bound_a_burst() -> None:
    """What is at once is no more than the workers take: two of them need two rounds of one."""
    finding = rules(scenario(2, {"connections": 1}))["rounds of a burst"]
    assert finding.ratio == pytest.approx(2 / 3)
    assert finding.change == ""
    capped = rules(scenario(1, {"connections": 1}))["rounds of a burst"]
    assert capped.ratio == pytest.approx(1 / 3)


def test_without_a_bound_on_deliveries_no_round_is_too_many() -> None:
    """A message that may be delivered for ever gets its turn at last."""
    assert "rounds of a burst" not in rules(scenario(64, {"connections": 1}, most=None))


def test_workers_ask_faster_than_a_rate_allows() -> None:
    """Ten workers of 3 s ask for 3.33 requests a second before a backlog; of 1/s the rest is refused."""
    finding = rules(scenario(10, {"rate_per_s": 1.0}))["refused requests"]
    assert finding.rule == "R13"
    assert finding.ratio == pytest.approx(10 / 3)
    assert finding.setting == "consumers.workers"
    assert finding.value == 3
    slow = rules(scenario(10, {"rate_per_s": 0.1}))["refused requests"]
    assert slow.setting is None
    assert slow.change.startswith("downstream.when_full: wait")
    assert not rules(scenario(3, {"rate_per_s": 1.0}))["refused requests"].broken


def test_a_downstream_that_lets_wait_refuses_nothing() -> None:
    """Neither rule speaks of a downstream for which attempts wait."""
    assert rules(scenario(10, {"rate_per_s": 1.0, "when_full": "wait"})) == {}


def test_a_backlog_bounds_what_waits_in_a_buffer() -> None:
    """A prefetch of 1,000 holds no more than the 20 messages there are, and the last waits for 19 handlings."""
    incident = load_incident("A1")
    explanation = explain(summarize(simulate(incident.reported)))
    assert explanation.binding.rule == "R1"
    assert explanation.binding.ratio == pytest.approx(20 * 45.0 / 60.0, rel=0.01)
    assert "has 19 handlings before its own" in explanation.binding.text


@pytest.mark.parametrize(("rate", "ratio"), [(0.0, 0.00025), (0.5, (3.0 + 0.5 * 43_200.0) / 12_000.0)])
def test_messages_in_flight_are_held_to_the_quota(rate: float, ratio: float) -> None:
    """Ten messages a second, locked for 3 s each, take 30 of the broker's places; unsettled ones take many more."""
    tried = Scenario(
        arrivals={"kind": "renewal", "rate_per_s": 10.0, "cv": 0.0},
        service_time={"family": "constant", "mean_s": 3.0},
        failures={"rate": rate, "on_failure": "lock_expiry"},
        queue={"provider": "sqs", "visibility_timeout_s": 43_200.0, "max_receive_count": 1},
        consumers={"workers": 40, "receive_wait_s": 20.0},
        horizon_s=60.0,
    )
    explanation = explain(summarize(simulate(tried)))
    finding = next(f for f in explanation.findings if f.subject == "messages in flight")
    assert finding.rule == "R5"
    assert finding.ratio == pytest.approx(ratio, rel=0.02)
    assert finding.broken is (ratio > 1.0)
    assert bool(finding.change) is finding.broken
