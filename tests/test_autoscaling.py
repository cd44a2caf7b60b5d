"""Scalers: what each wants, by the worked examples of its system, and what a scenario may say of them."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.autoscaling import FunctionsTarget, Keda, LambdaPollers, TargetTracking
from qtune.engine.scaling import settled, stepped, wanted, within, woken
from qtune.errors import ScenarioError
from qtune.presets import dump_scenario, load_scenario
from qtune.recommendation import recommend
from qtune.scenario import Scenario
from qtune.verification import verify


def scenario(provider: str = "sqs", instances: int = 10, **scaling: Any) -> Scenario:
    """A queue whose consumers are scaled."""
    queue = {"provider": provider, **({"tier": "premium"} if provider == "servicebus" else {})}
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 5.0},
        service_time={"family": "exponential", "mean_s": 0.5},
        queue=queue,
        consumers={"instances": instances, "workers": 1},
        scaling=scaling,
        horizon_s=100.0,
    )


@pytest.mark.parametrize(
    ("messages", "target", "current", "instances"),
    [(1500, 100.0, 10, 15), (30, 10.0, 1, 3), (40, 10.0, 1, 4), (1000, 16.0, 1, 63)],
)
def test_the_number_wanted_is_that_of_the_worked_examples(
    messages: int, target: float, current: int, instances: int
) -> None:
    """1,500 visible messages at a backlog of 100 want 15 instances, and 30 with a queueLength of 10 want 3 pods.

    1,000 messages want 63 instances of Azure Functions with 16 executions each.
    """
    assert wanted(messages, target, current, 0.1) == instances


def test_a_metric_twice_the_target_doubles_and_one_of_half_halves() -> None:
    """A pod's 200m against 100m doubles the pods, and 50m halves them; within the tolerance nothing changes."""
    assert (wanted(8, 1.0, 4, 0.1), wanted(2, 1.0, 4, 0.1)) == (8, 2)
    assert (wanted(109, 10.0, 10, 0.1), wanted(112, 10.0, 10, 0.1)) == (10, 12)


def test_pods_double_or_grow_by_four_in_a_step() -> None:
    """From one pod, unlimited demand gives 1, 5, 10, 20, 40, 80 and 100."""
    keda = Keda().rule("sqs", 10)
    pods = [1]
    while pods[-1] < 100:
        pods.append(within(1, stepped(pods[-1], 10**6, keda.up_share, keda.up_count), 100))
    assert pods == [1, 5, 10, 20, 40, 80, 100]


def test_functions_add_four_instances_at_a_time() -> None:
    """63 instances of Azure Functions are reached in steps of four."""
    rule, number, steps = FunctionsTarget().rule("servicebus", 1), 0, 0
    while number < 63:
        number, steps = stepped(number, 63, rule.up_share, rule.up_count), steps + 1
    assert steps == 16


def test_functions_want_an_instance_for_eight_messages_of_sessions_or_sixteen_others() -> None:
    """maxConcurrentSessions is 8 by default and maxConcurrentCalls 16, unless the target executions are given."""
    assert [FunctionsTarget().rule("servicebus", 1, sessions).target for sessions in (True, False)] == [8, 16]
    assert FunctionsTarget(executions=1000.0).rule("servicebus", 1, True).target == 1000


def test_what_was_wanted_lately_holds_a_number() -> None:
    """A number moves into what was wanted lately: up to the lowest of it, down to the highest, or not at all."""
    assert [settled(5, low, high) for low, high in ((7, 9), (1, 3), (2, 8))] == [7, 3, 5]


def test_a_fleet_sleeps_below_its_activation_whatever_it_wants() -> None:
    """With a threshold of 10 and an activation of 50, 40 messages want 4 pods and get none."""
    assert wanted(40, 10.0, 1, 0.1) == 4
    assert woken(40, 50.0, 1, 0, 0, 301.0, 300.0) == 0
    assert woken(40, 50.0, 1, 0, 0, 299.0, 300.0) == 1
    assert woken(51, 50.0, 0, 0, 0, 301.0, 300.0) == 1


def test_a_fleet_with_an_idle_count_sleeps_below_its_fewest() -> None:
    """With a fewest of 3 and an idle count of 1, an idle fleet goes to 1, and a message brings 3."""
    assert (woken(0, 0.0, 5, 3, 1, 301.0, 300.0), woken(1, 0.0, 1, 3, 1, 301.0, 300.0)) == (1, 3)
    assert woken(0, 0.0, 0, 3, 1, 301.0, 300.0) == 0


def test_the_scalers_count_different_messages() -> None:
    """KEDA counts messages in flight of SQS and not of Service Bus; AWS counts visible ones; Lambda all."""
    assert [Keda().rule(provider, 1).counts_in_flight for provider in ("sqs", "servicebus")] == [True, False]
    assert Keda(groups=1.0).rule("servicebus", 1).counts_in_flight is True
    assert Keda(scale_on_in_flight=False).rule("sqs", 1).counts_in_flight is False
    assert TargetTracking(backlog=100.0).rule("sqs", 1).counts_in_flight is False
    assert LambdaPollers().rule("sqs", 10).counts_in_flight is True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"kind": "keda", "provider": "memory", "instances": 1, "min_instances": 0},
            "cannot see a queue of memory",
        ),
        ({"kind": "functions"}, "cannot see a queue of sqs"),
        ({"kind": "keda", "min_instances": 10}, "nothing would scale"),
        ({"kind": "keda", "start_instances": 11}, "between min_instances"),
        ({"kind": "keda", "on_scale_in": "kill", "grace_s": 5.0}, "so nothing drains"),
        ({"kind": "keda", "min_instances": 1, "cooldown_s": 60.0}, "only where min_instances is 0"),
        ({"kind": "keda", "min_instances": 2, "idle_instances": 2}, "fewer instances than one that is awake"),
        ({"kind": "keda", "idle_instances": 0}, "fewer instances than one that is awake"),
        ({"kind": "keda", "fallback": {"failure_threshold": 3, "replicas": 11}}, "no more than"),
        ({"kind": "lambda", "instances": 1300}, "1,250 concurrent batches"),
        ({"kind": "kedar"}, 'Did you mean "keda"'),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    """A scaler that cannot see the queue, has no room or has a setting without effect is an error that says so."""
    with pytest.raises(ScenarioError, match=said):
        scenario(**changes)


def test_a_scaler_is_written_and_read_back() -> None:
    """A scenario with a scaler survives its file, and a scaler without a minimum starts with none."""
    for scaling in (
        {"kind": "keda", "messages": 7.0},
        {"kind": "target_tracking", "backlog": 50.0, "min_instances": 2},
        {
            "kind": "keda",
            "min_instances": 2,
            "idle_instances": 0,
            "fallback": {"failure_threshold": 3, "replicas": 6},
        },
    ):
        written = scenario(**scaling)
        assert load_scenario(dump_scenario(written)) == written
    assert scenario(kind="keda").scaling.starts_with == 0  # type: ignore[union-attr]


def test_a_scaled_fleet_is_recommended_and_verified() -> None:
    """A recommendation keeps the scaler and the most instances, and its assertions are judged."""
    asked = scenario(kind="keda", min_instances=1, instances=4).with_(horizon_s=600.0)
    found = recommend(asked, "p95=20s")
    assert found.scenario.scaling == asked.scaling
    assert found.scenario.consumers.instances == 4
    assert {assertion.number for assertion in verify(asked).assertions} == set(range(1, 17))
