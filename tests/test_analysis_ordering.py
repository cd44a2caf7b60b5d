"""Rules R2, R6 and R7 of sessions and groups: their locks, what they let through, and whether a client keeps order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qtune.analysis import Finding, explain, setup_of, summarize
from qtune.analysis.open_sessions import held_at_once
from qtune.analysis.ordering import order_findings
from qtune.analysis.rules import of_scenario
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


def sessions(slots: int, rate_per_s: float, **consumers: Any) -> Scenario:
    """Messages of 0.1 s that are sessions of their own, with so many slots for them."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": rate_per_s},
        groups={"kind": "own"},
        service_time={"family": "constant", "mean_s": 0.1},
        queue={"provider": "servicebus", "tier": "premium", "requires_session": True},
        consumers={"workers": slots, "sessions": slots, "client": "azure-processor", **consumers},
        horizon_s=600.0,
    )


def test_short_sessions_break_rule_6_until_their_timeout_is_shorter() -> None:
    """Ten slots that wait for a minute let ten messages a minute through; the change is a timeout that makes room."""
    tried = sessions(10, 1.0)
    explanation = explain(summarize(simulate(tried)))
    binding = explanation.binding
    assert (binding.rule, binding.subject) == ("R6", "sessions")
    assert binding.ratio == pytest.approx(60.1 / 10.0, rel=0.01)
    assert binding.setting == "consumers.session_idle_timeout_s"
    assert binding.change == "consumers.session_idle_timeout: 60s -> 7s"
    assert binding.value is not None
    changed = explain(summarize(simulate(tried.replace(binding.setting, binding.value))))
    assert next(f for f in changed.findings if f.subject == "sessions").ratio <= 0.8
    longer = explain(summarize(simulate(tried.replace(binding.setting, binding.value + 1.0))))
    assert next(f for f in longer.findings if f.subject == "sessions").ratio > 0.8


def coming_back(slots: int, **consumers: Any) -> Scenario:
    """200 sessions that have a message every 100 s each, handled in 0.1 s, with so many slots for them."""
    return sessions(slots, 2.0, **consumers).with_(groups={"kind": "even", "count": 200})


def test_sessions_that_come_back_take_a_slot_until_their_timeout() -> None:
    """A session is held for the share 1 - (1 - r) exp(-a T) of its time; with fewer slots, messages wait for one."""
    finding = next(f for f in explained(coming_back(60)) if f.subject == "open sessions")
    held = 200.0 * (1.0 - math.exp(-60.0 / 100.0))
    assert finding.ratio == pytest.approx(held / 60.0, rel=0.01)
    assert finding.value is not None
    p95_s = {
        name: summarize(simulate(tried)).latency_s_p95.value
        for name, tried in {
            "as asked": coming_back(60),
            "more slots": coming_back(math.ceil(1.25 * held)),
            "shorter": coming_back(60).replace("consumers.session_idle_timeout_s", 0.5 * finding.value),
        }.items()
    }
    assert p95_s["as asked"] > 5.0
    assert p95_s["more slots"] < 1.0
    assert p95_s["shorter"] < 1.0


def test_so_many_sessions_are_held_at_a_time_as_the_formula_says() -> None:
    """With a slot for each, the time from the first message of a visit to the timeout after its last adds up to it."""
    idle_s, settings = 20.0, coming_back(200, session_idle_timeout_s=20.0).with_(horizon_s=4000.0)
    result = simulate(settings)
    its = np.sort(result.deliveries[~np.isnan(result.deliveries["settled_s"])], order="locked_s")
    group = result.messages["group"][its["message"]]
    order = np.argsort(group, kind="stable")
    its, group = its[order], group[order]
    begins = np.append(
        True, (group[1:] != group[:-1]) | (its["locked_s"][1:] > its["settled_s"][:-1] + idle_s)
    )
    ends = np.append(begins[1:], True)
    held_s = float((its["settled_s"][ends] + idle_s).sum() - its["locked_s"][begins].sum())
    setup = setup_of(settings)
    found = held_at_once(setup, np.full(200, 0.01), idle_s)
    assert held_s / 4000.0 == pytest.approx(found, rel=4.0 / math.sqrt(np.count_nonzero(begins)))


def test_the_timeout_that_is_advised_is_the_longest_that_fits() -> None:
    """With it all open sessions have a slot, and with a second more they do not."""
    finding = next(f for f in explained(coming_back(60)) if f.subject == "open sessions")
    assert finding.value is not None
    for idle_s, broken in ((finding.value, False), (finding.value + 1.0, True)):
        tried = coming_back(60).replace("consumers.session_idle_timeout_s", idle_s)
        assert next(f for f in explained(tried) if f.subject == "open sessions").broken is broken


def explained(scenario: Scenario) -> list[Finding]:
    """The rules at the rate at which messages arrive."""
    setup = setup_of(scenario)
    assert setup.rate_per_s is not None
    return of_scenario(scenario, setup, setup.rate_per_s)


def test_where_no_timeout_is_short_enough_there_must_be_more_slots() -> None:
    """Twenty messages a second are too many for ten slots, even when these wait for a second only."""
    binding = explain(summarize(simulate(sessions(10, 20.0).with_(horizon_s=60.0)))).binding
    assert binding.rule == "R6"
    assert binding.setting in ("consumers.workers", "consumers.instances", None)
    assert "session_idle_timeout" not in binding.change


def test_a_handler_that_outlasts_the_lock_of_its_session_breaks_rule_2() -> None:
    """The lock of a session is as long as that of a message, and is renewed for a handler that takes longer."""
    tried = sessions(2, 0.1).with_(
        service_time={"family": "constant", "mean_s": 8.0},
        queue={"provider": "servicebus", "tier": "premium", "requires_session": True, "lock_duration_s": 5.0},
    )
    for renewal, broken in ((None, True), ({"max_s": 60.0}, False)):
        setup = setup_of(tried.with_(consumers={"renewal": renewal}))
        found = next(each for each in of_scenario(tried, setup, 0.1) if each.rule == "R2")
        assert found.broken is broken


def test_the_lock_of_a_session_in_memory_is_the_one_to_change() -> None:
    """Where it is too short the change names the session's lock, and not that of messages without sessions."""
    tried = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 0.1},
        groups={"kind": "own"},
        service_time={"family": "constant", "mean_s": 8.0},
        queue={"provider": "memory", "session_lock_duration_s": 5.0},
        consumers={"workers": 2},
        horizon_s=600.0,
    )
    found = next(each for each in of_scenario(tried, setup_of(tried), 0.1) if each.rule == "R2")
    assert (found.setting, found.value) == ("queue.session_lock_duration_s", 9.0)
