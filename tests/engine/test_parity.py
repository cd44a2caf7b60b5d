"""The kernel does what the reference says, row for row and bit for bit, and both break no law."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from engine_features import FROM_CODES, FROM_ROWS, FROM_SETTINGS, ONLY_IN_PLANS, features
from engine_plans import result_of
from engine_random import LOST_RELEASE, any_plan, by_chance, plans
from engine_scenarios import any_scenario, scenarios
from hypothesis import HealthCheck, example, given, settings

from qtune.engine.plan import BY_GROUP, BY_SESSION, POLL, Plan
from qtune.engine.planning import make_plan
from qtune.invariants import check
from qtune.invariants.groups import offences_by_group, offences_by_session
from qtune.result import Result, same_rows
from qtune.scenario import Scenario
from qtune.shipped import models_dir
from qtune.simulation import simulate

SLOWLY = [HealthCheck.too_slow, HealthCheck.data_too_large]
EVERYTHING = FROM_CODES | FROM_SETTINGS | FROM_ROWS

LOOKS = "  long_poll: {every: 100ms, prior: true, source: assumed, as_of: 2026-11-25}\n"


@pytest.fixture(scope="module")
def slow_sqs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shipped model of SQS, but two calls at once in the broker and 20 ms of work in the client."""
    text = (models_dir() / "sqs.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("calls_served_at_once: 0", "calls_served_at_once: 2"),
        ("call_cost: 0.228ms", "call_cost: 20ms"),
        ("to: longest_waiting", "to: any"),
        ("  short_poll:", LOOKS + "  short_poll:"),
    ):
        assert old in text
        text = text.replace(old, new)
    path: Path = tmp_path_factory.mktemp("models") / "slow_sqs.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def must_agree(kernel: Result, reference: Result) -> None:
    """Fail unless two runs have the same rows and these break no law."""
    assert same_rows(kernel, reference) is None
    assert check(kernel) == []
    assert check(reference) == []


def agree_on_plans(examples: int) -> Counter[str]:
    """Compare the engines on so many random plans, and count in how many of them each feature happened.

    Hypothesis makes the choices of a quarter of them, and chance those of the others.
    """
    seen: Counter[str] = Counter()

    def compare(plan: Plan) -> None:
        kernel = result_of("kernel", plan)
        must_agree(kernel, result_of("reference", plan))
        if plan.hands_out == BY_GROUP:
            batch = plan.batch if plan.discipline == POLL else 1
            assert not any(rows.any() for _, rows, _ in offences_by_group(kernel, batch))
        if plan.hands_out == BY_SESSION:
            assert not any(rows.any() for _, rows, _ in offences_by_session(kernel))
        seen.update(features(plan, kernel))

    settled = settings(max_examples=examples // 4, suppress_health_check=SLOWLY)
    settled(example(LOST_RELEASE)(given(plans())(compare)))()
    for seed in range(examples - examples // 4):
        compare(any_plan(*by_chance(seed)))
    return seen


def agree_on_scenarios(examples: int, slow_sqs: str) -> Counter[str]:
    """The same for random scenarios."""
    seen: Counter[str] = Counter()

    def compare(scenario: Scenario) -> None:
        kernel = simulate(scenario)
        must_agree(kernel, simulate(scenario, engine="reference"))
        seen.update(features(make_plan(scenario, scenario.seed), kernel))

    settings(max_examples=examples // 4, suppress_health_check=SLOWLY)(given(scenarios(slow_sqs))(compare))()
    for seed in range(examples - examples // 4):
        compare(any_scenario(*by_chance(seed), slow_sqs))
    return seen


def test_both_engines_have_the_same_rows_whatever_the_scenario(slow_sqs: str) -> None:
    """Kernel and reference agree in every bit of every row, and break no law, on anything a user can write.

    The scenarios are random. Together they make happen everything that can happen, each thing in several
    runs.
    """
    seen = agree_on_scenarios(1_100, slow_sqs)
    assert {name: seen[name] for name in EVERYTHING if seen[name] < 3} == {}


def test_both_engines_have_the_same_rows_whatever_the_plan() -> None:
    """The same holds for combinations of features that no provider has together."""
    seen = agree_on_plans(1_200)
    assert {name: seen[name] for name in EVERYTHING | ONLY_IN_PLANS if seen[name] < 3} == {}


@pytest.mark.nightly
def test_both_engines_have_the_same_rows_in_twenty_thousand_runs(slow_sqs: str) -> None:
    """The same holds on samples large enough for coincidences of three or four features."""
    seen = agree_on_scenarios(8_000, slow_sqs) + agree_on_plans(12_000)
    assert {name: seen[name] for name in EVERYTHING | ONLY_IN_PLANS if seen[name] < 50} == {}
