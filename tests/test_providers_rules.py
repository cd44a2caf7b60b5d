"""The rules of each provider: all with a source, and what is said to be modelled can be set or seen."""

from __future__ import annotations

import pytest

import qtune
from qtune.consumer import Consumers, Failures
from qtune.downstream import Downstream
from qtune.handler import Handler
from qtune.producer import Producers
from qtune.providers import all_providers
from qtune.providers.base import Rule
from qtune.records import yaml_name
from qtune.scenario import Scenario
from qtune.ui.cli import run

PROVIDERS = {name: all_providers()[name] for name in ("memory", "servicebus", "sqs")}
RULES = [(name, rule) for name, provider in PROVIDERS.items() for rule in provider.rules]


def settings_of(provider: str) -> set[str]:
    """Every place in a scenario for this provider, as YAML has it."""
    sections = {
        "queue": PROVIDERS[provider].queue_type,
        "consumers": Consumers,
        "downstream": Downstream,
        "failures": Failures,
        "producers": Producers,
        "handler": Handler,
    }
    found = {yaml_name(name) for name in Scenario.model_fields}
    for section, record in sections.items():
        found |= {f"{section}.{yaml_name(name)}" for name in record.model_fields}
    return found


@pytest.mark.parametrize(
    ("provider", "rule"), RULES, ids=lambda value: value.rule if isinstance(value, Rule) else value
)
def test_a_rule_has_a_source_and_a_setting_or_a_reason(provider: str, rule: Rule) -> None:
    """A rule says where it is stated; a modelled one where it is set, if it can be; any other why it is left out."""
    assert rule.source
    assert rule.as_of
    assert bool(rule.reason) != rule.modelled
    assert rule.setting == "" or (rule.modelled and rule.setting in settings_of(provider))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_rule_is_listed_twice(provider: str) -> None:
    """Each rule stands once, as modelled or as not."""
    rules = [rule.rule for rule in PROVIDERS[provider].rules]
    assert rules
    assert len(set(rules)) == len(rules)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_models_prints_every_rule(provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`qtune models NAME` lists what runs obey and what they do not, each with its reason, and JSON has the same."""
    assert run(["models", provider]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for rule in PROVIDERS[provider].rules:
        assert rule.rule in text
        assert rule.reason in text
    modelled = sum(rule.modelled for rule in PROVIDERS[provider].rules)
    assert f"Rules that are modelled ({modelled})" in text
    data = qtune.describe(qtune.catalogue(provider)).data
    (model,) = data["models"].values()  # type: ignore[attr-defined]
    assert len(model["rules"]) == len(PROVIDERS[provider].rules)
