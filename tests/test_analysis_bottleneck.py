"""What binds: each rule with the numbers of a scenario, and a change that lifts it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from qtune.analysis import Explanation, Finding, capacity_per_s, explain, setup_of, summarize
from qtune.analysis.lifting import ROOM
from qtune.analysis.rules import turns_s
from qtune.scenario import Scenario
from qtune.simulation import simulate

SQS: dict[str, Any] = {"provider": "sqs", "visibility_timeout_s": 30.0}
BUS: dict[str, Any] = {"provider": "servicebus", "tier": "standard", "lock_duration_s": 60.0}


def scenario(rate_per_s: float = 20.0, **changes: Any) -> Scenario:
    """Handlers of 0.1 s behind long polls."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": rate_per_s},
        "service_time": {"family": "constant", "mean_s": 0.1},
        "queue": SQS,
        "consumers": {"workers": 4, "receive_wait_s": 20.0},
        "horizon_s": 60.0,
    }
    return Scenario(**{**base, **changes})


def explained(tried: Scenario) -> Explanation:
    """The explanation of one run of a scenario."""
    return explain(summarize(simulate(tried)))


def rule(explanation: Explanation, number: str, subject: str | None = None) -> Finding:
    """The finding of one rule."""
    return next(
        finding
        for finding in explanation.findings
        if finding.rule == number and subject in (None, finding.subject)
    )


def changed(tried: Scenario, finding: Finding) -> Scenario:
    """The scenario with the change that a finding suggests."""
    assert finding.setting is not None
    assert finding.value is not None
    whole = finding.value == int(finding.value) and not finding.setting.endswith("_s")
    return tried.replace(finding.setting, int(finding.value) if whole else finding.value)


OVERLOADED: dict[str, Scenario] = {
    "workers": scenario(50.0, queue=BUS, consumers={"workers": 4}),
    "workers in a loop": scenario(50.0),
    "one receiver": scenario(80.0, consumers={"workers": 8, "receivers": 1, "receive_batch": 10}),
    "permits": scenario(80.0, consumers={"workers": 8, "receivers": 2, "polling": "permits"}),
    "a small buffer": scenario(
        900.0,
        service_time={"family": "constant", "mean_s": 0.001},
        consumers={"workers": 16, "receivers": 1, "polling": "buffer", "buffer": 5, "receive_batch": 10},
    ),
    "a processor's workers": scenario(50.0, queue=BUS, consumers={"workers": 4, "client": "azure-processor"}),
    "a processor's prefetch": scenario(
        200.0,
        queue=BUS,
        consumers={"workers": 100, "client": "azure-processor", "prefetch": 2, "credit_returned": "taken"},
        service_time={"family": "constant", "mean_s": 0.001},
    ),
    "senders": scenario(250.0, consumers={"workers": 50}, producers={"instances": 2, "senders": 1}),
    "a pool": scenario(
        25.0, consumers={"workers": 20, "receive_wait_s": 20.0}, downstream={"connections": 2}
    ),
    "cores": scenario(4500.0, consumers={"workers": 700, "receive_wait_s": 20.0}, horizon_s=5.0),
}


@pytest.mark.parametrize("name", OVERLOADED)
def test_the_binding_ceiling_is_named_and_its_change_lifts_it(name: str) -> None:
    """At overload the lowest ceiling binds; with the change suggested it has room for the load."""
    tried = OVERLOADED[name]
    explanation = explained(tried)
    binding = explanation.binding
    assert binding.rule in ("R4", "R5", "R13")
    assert binding.broken
    setup = setup_of(tried)
    assert setup.rate_per_s is not None
    assert binding.ratio == pytest.approx(setup.rate_per_s / capacity_per_s(tried))
    assert f"{binding.rule} ({binding.subject}) binds" in explanation.text
    assert binding.change in explanation.text
    lifted = changed(tried, binding)
    after = rule(explained(lifted.with_(horizon_s=5.0)), binding.rule, binding.subject)
    assert after.ratio <= ROOM + 1e-9
    assert capacity_per_s(lifted) > capacity_per_s(tried)


def test_a_rate_has_no_setting_that_lifts_it() -> None:
    """More load than the rate of an interface allows is said, and that nothing on this side gives it more room."""
    slow = scenario(25.0, consumers={"workers": 20, "receive_wait_s": 20.0}, downstream={"rate_per_s": 20.0})
    binding = explained(slow).binding
    assert (binding.rule, binding.subject, binding.setting) == ("R13", "downstream turns", None)
    assert binding.ratio == pytest.approx(25.0 / 20.0)
    assert "no single setting" in binding.change


def test_more_workers_than_a_refusing_downstream_takes_break_a_rule() -> None:
    """Three workers in each of two instances, for a downstream that takes four: two workers fit."""
    tried = scenario(
        40.0,
        consumers={"instances": 2, "workers": 3, "receive_wait_s": 20.0},
        downstream={"connections": 4, "when_full": "reject"},
        failures={"on_failure": "lock_expiry"},
    )
    finding = rule(explained(tried), "R13", "refused attempts")
    assert finding.broken
    assert (finding.setting, finding.value) == ("consumers.workers", 2)
    fitting = changed(tried, finding)
    assert not rule(explained(fitting), "R13", "refused attempts").broken
    assert summarize(simulate(fitting)).refusals.value == 0.0
    assert summarize(simulate(tried)).refusals.value > 0.0
    none_fits = tried.replace("downstream.connections", 1)
    assert "or fewer instances" in rule(explained(none_fits), "R13", "refused attempts").change


@pytest.mark.parametrize("name", OVERLOADED)
def test_next_is_what_the_same_change_does_not_relieve(name: str) -> None:
    """The rule that binds next is another bottleneck: with the change it is used up as far as before, or further."""
    tried = OVERLOADED[name]
    explanation = explained(tried)
    following = explanation.next
    assert following is not None
    assert following.key != explanation.binding.key
    before = {finding.key: finding.ratio for finding in explanation.findings}
    assert following.ratio >= before.get(following.key, 0.0) - 1e-9
    after = explained(changed(tried, explanation.binding).with_(horizon_s=5.0))
    assert following.key in [finding.key for finding in after.findings]
    assert f"next to bind is {following.name}: " in explanation.text or following.broken


def test_what_is_one_bottleneck_under_two_names_is_told_once() -> None:
    """With a loop for each worker more workers are more places too: both are lifted, and neither binds next."""
    explanation = explained(OVERLOADED["workers in a loop"])
    assert {explanation.binding.subject, *(f.subject for f in explanation.also_lifted)} >= {"workers"}
    assert "is broken too" not in explanation.text
    assert explanation.next is not None
    assert explanation.next.subject not in ("workers", "places in hand", "receive calls")
    written = explanation.to_dict()
    assert written["next"] == explanation.next.to_dict()
    assert written["binding"] == explanation.binding.to_dict()


def test_tries_that_run_out_break_rule_11() -> None:
    """Of handlers that fail in 5 of 100 tries one try is too few, and the change names how many are enough."""
    tried = scenario(failures={"rate": 0.05}, queue={**BUS, "max_delivery_count": 1})
    finding = rule(explained(tried), "R11", "tries")
    assert finding.ratio == pytest.approx(0.05 / 0.001)
    assert finding.change == "failures.retry.attempts: 1 -> 3, or more deliveries"
    enough = tried.with_(failures={"rate": 0.05, "retry": {"attempts": 3}})
    assert rule(explained(enough), "R11", "tries").ratio == pytest.approx(0.05**3 / 0.001)
    fewer = tried.with_(failures={"rate": 0.05, "retry": {"attempts": 2}})
    assert changed(fewer, rule(explained(fewer), "R11", "tries")).failures.attempts == 3
    hopeless = tried.with_(failures={"rate": 1.0, "retry": {"attempts": 2}})
    assert rule(explained(hopeless), "R11", "tries").change == "fewer failures"


def test_a_stop_longer_than_the_retention_breaks_rule_11() -> None:
    """Messages that nobody takes for two minutes are gone when they are kept for one."""
    pause = {"kind": "pause_handlers", "at_s": 1.0, "for_s": 120.0}
    queue = {**SQS, "message_retention_s": 60.0}
    finding = rule(explained(scenario(queue=queue, faults=(pause,))), "R11", "retention")
    assert finding.ratio == 2.0
    assert finding.change == "keep messages for 2min at least"
    assert not rule(explained(scenario(faults=(pause,))), "R11", "retention").broken


def test_a_rule_that_is_broken_comes_before_one_that_is_not() -> None:
    """Receives that find nothing cost money only, and bind all the same when nothing else is broken."""
    explanation = explained(scenario(2.0, consumers={"workers": 4, "receive_wait_s": 0.0}))
    assert explanation.binding.rule == "R8"
    assert "R8 (empty receives) binds" in explanation.text
    overloaded = explained(scenario(200.0, consumers={"workers": 4, "receive_wait_s": 0.0}))
    assert overloaded.binding.rule != "R8"


def test_the_change_is_the_smallest_that_lifts() -> None:
    """One worker fewer than suggested would leave too little room."""
    tried = OVERLOADED["workers"]
    binding = explained(tried).binding
    assert binding.value is not None
    fewer = tried.replace("consumers.workers", int(binding.value) - 1)
    assert capacity_per_s(fewer) < 50.0 / ROOM <= capacity_per_s(changed(tried, binding))


def test_a_setting_with_room_has_nothing_to_change() -> None:
    """Far from every bound the closest rule is named, and no change is asked for."""
    explanation = explained(scenario(4.0))
    assert explanation.broken == ()
    assert "comes closest to binding" in explanation.text
    assert "smallest change" not in explanation.text
    assert explanation.next is not None
    assert explanation.next.ratio <= explanation.binding.ratio


@pytest.mark.parametrize(
    ("consumers", "number", "turns", "setting"),
    [
        ({"workers": 1, "client": "azure-processor", "prefetch": 1000}, "R1", 1000, "consumers.prefetch"),
        (
            {"workers": 1, "client": "azure-processor", "prefetch": 1000, "credit_returned": "taken"},
            "R1",
            1001,
            "consumers.prefetch",
        ),
        ({"workers": 10, "client": "azure-processor", "prefetch": 1000}, "R1", 100, "consumers.prefetch"),
        (
            {"workers": 2, "client": "azure-servicebus-7.15", "prefetch": 999},
            "R1",
            1000,
            "consumers.prefetch",
        ),
        (
            {"workers": 2, "client": "azure-servicebus-7.15", "receive_batch": 700},
            "R3",
            700,
            "consumers.receive_batch",
        ),
    ],
)
def test_a_buffer_must_fit_the_lock(consumers: dict[str, Any], number: str, turns: int, setting: str) -> None:
    """The last message needs its lock for all handlings before it; the change is the most that fits."""
    tried = scenario(1.0, queue=BUS, consumers=consumers)
    finding = rule(explained(tried), number)
    setup = setup_of(tried)
    assert finding.ratio == pytest.approx(turns_s(setup, turns) / 60.0)
    if turns < 500:
        assert finding.change == ""
        return
    assert finding.setting == setting
    after = rule(explained(changed(tried, finding)), number)
    assert 0.99 < after.ratio <= 1.0
    more = tried.replace(setting, int(finding.value or 0) + setup.workers_each // setup.behaviour.receivers)
    assert rule(explained(more), number).broken


def test_renewal_covers_the_turn_of_the_message_itself() -> None:
    """A renewer keeps the lock of the message being handled, so that only the wait before it counts."""
    consumers = {"workers": 1, "client": "azure-processor", "prefetch": 3}
    tried = scenario(
        0.01, queue=BUS, consumers=consumers, service_time={"family": "constant", "mean_s": 25.0}
    )
    renewing = tried.with_(consumers={**consumers, "renewal": {"max_s": 300.0}})
    assert rule(explained(tried), "R1").ratio == pytest.approx(75.0 / 60.0, rel=0.01)
    assert rule(explained(renewing), "R1").ratio == pytest.approx(50.0 / 60.0, rel=0.01)


def test_several_turns_take_their_mean_and_a_margin() -> None:
    """A hundred exponential handlings take 100 means and 2.33 times their spread, in 99 of 100 cases."""
    tried = scenario(1.0, service_time={"family": "exponential", "mean_s": 0.1})
    setup = setup_of(tried)
    around_s = setup.behaviour.message_cost_s + setup.calls.settle.mean + setup.behaviour.call_cost_s
    assert turns_s(setup, 100) == pytest.approx(100 * (0.1 + around_s) + 2.326 * 0.1 * 10.0)
    assert turns_s(setup, 1) == pytest.approx(-0.1 * math.log(0.01) + around_s)
    assert turns_s(setup, 0) == 0.0


def test_a_handler_must_fit_the_lock() -> None:
    """Handlers of 60 to 90 s under a timeout of 30 s break R2, and a longer lock or renewal is asked for."""
    tried = scenario(
        0.01, service_time={"family": "uniform", "low_s": 60.0, "high_s": 90.0}, horizon_s=3600.0
    )
    explanation = explained(tried)
    finding = rule(explanation, "R2")
    assert finding.ratio == pytest.approx(89.7 / 30.0, rel=0.01)
    assert finding.change == "queue.visibility_timeout: 30s -> 90s, or lock renewal"
    assert not rule(explained(changed(tried, finding)), "R2").broken
    assert explanation.next is not None
    assert explanation.next.subject != "lock of handled messages"
    renewed = {"workers": 4, "receive_wait_s": 20.0, "renewal": {"max_s": 600.0}}
    assert not rule(explained(tried.with_(consumers=renewed)), "R2").broken


def test_no_lock_is_asked_for_that_the_provider_does_not_have() -> None:
    """Service Bus has no lock beyond 5 minutes, so that a handler of 10 needs renewal."""
    tried = scenario(
        0.01, queue=BUS, service_time={"family": "constant", "mean_s": 600.0}, horizon_s=3600.0
    ).with_(consumers={"receive_wait_s": None})
    finding = rule(explained(tried), "R2")
    assert finding.change == "lock renewal: no lock is longer than 5min"
    assert finding.setting is None


def test_each_long_handler_needs_a_renewer() -> None:
    """Eight handlers that outlast their locks need eight renewers, and four keep only four locks alive."""
    consumers: dict[str, Any] = {
        "workers": 8,
        "receive_wait_s": 20.0,
        "renewal": {"max_s": 600.0, "renewers": 4},
    }
    tried = scenario(
        0.05, consumers=consumers, service_time={"family": "constant", "mean_s": 100.0}, horizon_s=6000.0
    )
    explanation = explained(tried)
    assert explanation.binding.rule == "R9"
    assert explanation.binding.ratio == 2.0
    assert explanation.binding.change == "consumers.renewal.renewers: 4 -> 8"
    assert explained(changed(tried, explanation.binding)).binding.rule != "R9"


def test_receives_that_find_nothing_are_named_with_the_longest_wait() -> None:
    """Short polling at a low load mostly finds nothing; SQS lets a receive wait for 20 s."""
    tried = scenario(2.0, consumers={"workers": 4, "receive_wait_s": 0.0})
    finding = rule(explained(tried), "R8")
    assert finding.broken
    assert finding.change == "consumers.receive_wait: 0s -> 20s"
    assert rule(explained(changed(tried, finding)), "R8").ratio < 0.1


def test_a_closed_loop_is_held_to_what_it_got() -> None:
    """The demand of a closed loop is what it got: its goodput, which is near the lowest ceiling."""
    closed = {"kind": "closed_loop", "customers": 40, "think_time": {"family": "constant", "mean_s": 0.1}}
    explanation = explained(scenario(arrivals=closed))
    assert explanation.binding.rule in ("R4", "R5")
    assert 0.9 < explanation.binding.ratio < 1.1


def test_the_verdict_comes_first_and_the_slowest_last() -> None:
    """The text starts with the verdict and ends with where the slowest messages spend their time."""
    lines = explained(scenario(20.0)).text.splitlines()
    assert lines[0].startswith("stable: ")
    assert lines[-1].startswith("the slowest 5 % of the messages spend")
    unstable = explained(scenario(100.0)).text.splitlines()
    assert unstable[0].startswith("unstable: ")
    assert "the slowest" not in unstable[-1]


def test_an_explanation_can_be_written() -> None:
    """An explanation is JSON without NaN, with every finding."""
    explanation = explained(scenario(20.0))
    written = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    assert [finding["rule"] for finding in written["findings"]] == [f.rule for f in explanation.findings]
