"""Targets: what they say, how they are written, and which of them a run can tell anything about."""

from __future__ import annotations

import math

import pytest

from qtune.errors import InputError
from qtune.targets import METRICS, PROFILES, Target, Targets


def refused(text: str) -> list[str]:
    """The text of each problem with some targets."""
    with pytest.raises(InputError) as caught:
        Targets.parse(text)
    return [str(problem) for problem in caught.value.problems]


def test_each_metric_has_a_bound_a_sense_and_a_unit() -> None:
    """Every metric can be written as its own example says."""
    for metric in METRICS.values():
        (target,) = Targets.parse(f"{metric.name}={metric.example}")
        assert (target.metric, target.sense, target.unit) == (metric.name, metric.sense, metric.unit)


def test_bounds_are_read_in_their_units() -> None:
    """Times in seconds, rates per second, shares as fractions, money in dollars a month."""
    targets = Targets.parse("p95=500ms, p99=1s,throughput=60/min,error_rate=0.1%,dead_letters=0,cost=500")
    assert [target.bound for target in targets] == [0.5, 1.0, 1.0, 0.001, 0.0, 500.0]
    for text in ("cost=500USD/month", "cost=500 USD", "cost=$500"):
        assert Targets.parse(text).items == (Target(metric="cost", bound=500.0),)


def test_targets_may_come_in_several_texts() -> None:
    """One text with commas and several texts are the same."""
    assert Targets.parse(["p95=500ms", "p99=1s"]) == Targets.parse("p95=500ms,p99=1s")
    assert str(Targets.parse("p95=500ms,throughput=1000/s")) == "p95 <= 500ms, throughput >= 1000/s"


def test_a_bound_is_met_when_it_is_reached_and_unknown_for_nan() -> None:
    """At most includes the bound, at least too; a value that was not reached is neither met nor missed."""
    p95, throughput = Targets.parse("p95=500ms,throughput=10/s")
    assert [p95.is_met(value) for value in (0.4, 0.5, 0.6, math.nan)] == [True, True, False, None]
    assert [throughput.is_met(value) for value in (9.0, 10.0, 11.0)] == [False, True, True]


def test_production_is_as_documented() -> None:
    """The targets of the production environment, all of them."""
    assert str(Targets.parse("production")) == (
        "throughput >= 1000/s, batch_efficiency >= 90%, sustained >= 60min, p50 <= 100ms, p95 <= 500ms, "
        "p99 <= 1s, api_call <= 50ms, error_rate <= 0.1%, availability >= 99.9%, circuit_breaker <= 1/d, "
        "cpu <= 70%, memory <= 80%, connection_pool >= 95%"
    )


def test_development_is_as_documented() -> None:
    """The targets of the development environment, all of them."""
    assert str(Targets.parse("development")) == (
        "throughput >= 100/s, batch_efficiency >= 80%, p95 <= 1s, api_call <= 200ms, error_rate <= 1%, "
        "availability >= 95%"
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_no_target_of_a_profile_is_dropped(profile: str) -> None:
    """What a run cannot tell is listed as not evaluated, each with its reason."""
    targets = Targets.parse(profile)
    assert targets.profile == profile
    assert {target.metric for target in targets} == set(PROFILES[profile])
    assert len(targets.evaluated()) + len(targets.not_evaluated()) == len(targets)
    assert all(target.not_evaluated for target in targets.not_evaluated())


def test_memory_is_not_evaluated_because_there_is_no_model_of_it() -> None:
    """Memory is a target that can be set, and the answer says why it was not looked at."""
    assert Targets.parse("memory=80%").evaluated() == ()
    (memory,) = Targets.parse("memory=80%").not_evaluated()
    assert memory.not_evaluated == METRICS["memory"].not_evaluated
    assert (memory.not_evaluated or "").startswith("there is no model of memory")


def test_a_target_beside_a_profile_replaces_its_bound() -> None:
    """A profile is a start: what is given beside it counts."""
    targets = Targets.parse("p95=300ms,production,cost=100")
    assert targets.get("p95") == Target(metric="p95", bound=0.3)
    assert targets.get("p99") == Target(metric="p99", bound=1.0)
    assert targets.get("cost") == Target(metric="cost", bound=100.0)
    assert targets.get("duplicates") is None


def test_an_unknown_metric_is_an_error_with_the_list() -> None:
    """The known metrics are listed, and the nearest is suggested."""
    assert refused("throughputs=1/s") == [
        f'targets: throughputs\n  unknown metric; there are {", ".join(METRICS)}. Did you mean "throughput"?'
    ]


def test_all_errors_are_listed() -> None:
    """Each part that cannot be read is one problem, with an example of how to write it."""
    assert refused("p95=500,p95<1s,cost=much,p99=1s,p99=2s,production,development") == [
        "targets: production, development\n  give one profile",
        'targets: p95: 500\n  a duration needs a unit: write it as "500ms", "30s", "5min", "2h" or "4d" '
        "(here: p95=500ms)",
        "targets: p95<1s\n  write a target as metric=bound, such as p95=500ms, or name a profile: "
        'production, development. Did you mean "p95"?',
        'targets: cost: much\n  this is no amount of US dollars a month: write it as "500" or "500USD/month" '
        "(here: cost=500USD/month)",
        "targets: p99=2s\n  p99 is given twice: keep one of the two",
    ]


def test_a_misspelt_profile_is_suggested() -> None:
    """A word that is no target may be meant as a profile."""
    assert refused("prodution") == [
        "targets: prodution\n  write a target as metric=bound, such as p95=500ms, or name a profile: "
        'production, development. Did you mean "production"?'
    ]


@pytest.mark.parametrize("text", ["cost=nan", "cost=-1", "cost=1e400", "cost=", "error_rate=120%", "p95=-1s"])
def test_a_bound_is_a_possible_value(text: str) -> None:
    """Negative, unbounded and missing bounds are errors."""
    assert len(refused(text)) == 1
