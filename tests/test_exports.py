"""What leaves qtune: presets that repeat their prediction to the digit, and reports that say what was found."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from small_scenarios import OVERLOADED, STEADY

import qtune
from qtune.analysis import Estimate
from qtune.errors import ScenarioError
from qtune.exports.quantities import interval_text, value_text


@pytest.fixture(scope="module")
def found() -> qtune.Recommendation:
    """A real recommendation for a small scenario."""
    return qtune.recommend(qtune.load_scenario(STEADY), "p95=200ms, memory=80%")


def section(report: object, start: str) -> object:
    """The section of a report whose title starts so."""
    return next(part for part in report.sections if part.title.startswith(start))


def words(part: object) -> str:
    """All texts of a section."""
    return "\n".join([*("  ".join(row) for row in part.rows), *part.notes])


def test_an_exported_preset_repeats_its_prediction(found: qtune.Recommendation, tmp_path: Path) -> None:
    """The exported scenario, simulated with the stored seeds, gives every figure again, to the last digit."""
    path = qtune.export(found, tmp_path / "tuned.yaml")
    scenario, tuned = qtune.load_scenario(path), qtune.load_tuned(path)
    assert tuned is not None
    assert scenario == found.scenario
    assert tuned.seeds == found.seeds
    summary = qtune.predict(scenario, seeds=tuned.seeds)
    assert tuned.differences(summary) == ()
    predicted = found.summary.estimates()
    assert {name for name, estimate in predicted.items() if estimate.known} == tuned.prediction.keys()
    for name, figure in tuned.prediction.items():
        estimate = predicted[name]
        ends = [end if math.isfinite(end) else None for end in (estimate.low, estimate.high)]
        assert [figure.value, figure.low, figure.high] == [estimate.value, *ends], name


def test_other_runs_are_seen_to_differ(found: qtune.Recommendation, tmp_path: Path) -> None:
    """Other seeds give other figures, and the preset says which."""
    tuned = qtune.load_tuned(qtune.export(found, tmp_path / "tuned.yaml"))
    assert tuned is not None
    summary = qtune.predict(found.scenario, seeds=[seed + 1000 for seed in tuned.seeds])
    assert "latency_s_p95" in tuned.differences(summary)
    assert "compute_usd" not in tuned.differences(summary)


def test_a_preset_says_what_it_rests_on(found: qtune.Recommendation, tmp_path: Path) -> None:
    """The section `tuned` has targets, seeds, model, versions, date and what nobody has measured."""
    path = qtune.export(found, tmp_path / "tuned.yaml")
    tuned = yaml.safe_load(path.read_text(encoding="utf-8"))["tuned"]
    model = found.scenario.provider_model()
    assert tuned["model"] == f"{model.name} {model.version}"
    assert tuned["targets"] == [str(target) for target in found.targets]
    assert set(tuned["priors"]) == found.scenario.priors()
    assert tuned["versions"]["qtune"] == qtune.__version__
    assert len(str(tuned["made"])) == len("2026-01-01")


def test_an_existing_file_is_never_overwritten(found: qtune.Recommendation, tmp_path: Path) -> None:
    """Each export to one name gets the next number, and the returned path is the one that was written."""
    paths = [qtune.export(found, tmp_path / "tuned.yaml") for _ in range(3)]
    assert [path.name for path in paths] == ["tuned.yaml", "tuned-2.yaml", "tuned-3.yaml"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_a_folder_that_is_not_there_is_an_input_error(found: qtune.Recommendation, tmp_path: Path) -> None:
    """A file that cannot be written is an InputError that names it."""
    with pytest.raises(qtune.InputError, match=r"absent/tuned\.yaml"):
        qtune.export(found, tmp_path / "absent" / "tuned.yaml")


def test_a_scenario_that_was_not_exported_has_no_tuned_section(tmp_path: Path) -> None:
    """load_tuned of an ordinary scenario is None, and of a wrong section an error at its line."""
    plain, wrong = tmp_path / "plain.yaml", tmp_path / "wrong.yaml"
    plain.write_text(STEADY, encoding="utf-8")
    wrong.write_text(f"{STEADY}tuned: {{sedes: [1]}}\n", encoding="utf-8")
    assert qtune.load_tuned(plain) is None
    assert qtune.load_scenario(wrong) == qtune.load_scenario(plain)
    with pytest.raises(ScenarioError, match=r"wrong\.yaml:7:9: tuned\.sedes\n.*Did you mean \"seeds\"\?"):
        qtune.load_tuned(wrong)


def test_a_report_on_a_summary_has_every_number_with_its_reason() -> None:
    """The report shows what the summary holds, and its data is the JSON of the summary with the explanation."""
    summary = qtune.predict(qtune.load_scenario(STEADY), replications=3)
    report = qtune.describe(summary)
    assert report.verdict == summary.verdict.text
    assert report.good is True
    assert value_text(summary.latency_s_p95) in words(section(report, "Latency"))
    assert interval_text(summary.latency_s_p95) in words(section(report, "Latency"))
    assert value_text(summary.utilization, "share") in words(section(report, "Utilization"))
    assert value_text(summary.cost.month_usd) in words(section(report, "Cost"))
    assert all(stage.name in words(section(report, "The latency by stage")) for stage in summary.stages)
    for name in summary.scenario.priors():
        assert name in words(section(report, "What this rests on"))
    assert summary.to_dict().items() <= json.loads(json.dumps(report.data, allow_nan=False)).items()


def test_a_report_on_an_unstable_queue_has_no_percentile() -> None:
    """A queue that does not keep up is no good, and its report has reasons where percentiles would be."""
    report = qtune.describe(qtune.predict(qtune.load_scenario(OVERLOADED), replications=1))
    assert report.good is False
    assert "no value: a queue that does not keep up has no percentile" in words(section(report, "Latency"))


def test_a_report_on_a_recommendation_is_complete(found: qtune.Recommendation) -> None:
    """It has the setting, each target with its status, the prediction, rivals, headroom, probe and assumptions."""
    report = qtune.describe(found)
    used = {row[0]: row[1] for row in section(report, "Use").rows}
    assert used["consumers.workers"] == str(found.scenario.consumers.workers)
    assert used["consumers.receive_wait"] == "1s"
    targets = section(report, "Targets").rows
    assert [row[:2] for row in targets] == [(str(check.target), check.status) for check in found.checks]
    assert "not evaluated" in [row[1] for row in targets]
    predicted = words(section(report, "Predicted"))
    assert all(interval_text(found.summary.numbers[f"latency_s_p{p}"]) in predicted for p in (50, 95, 99))
    assert len(section(report, "Runners-up").rows) == len(found.runners_up)
    assert found.probe.text in words(section(report, "More load"))
    assert f"{found.headroom.factor:.4g} times the load" in words(section(report, "More load"))
    rests_on = section(report, "What this rests on").notes
    assert set(found.assumptions) < set(rests_on)
    assert all(name in rests_on[0] for name in ("priors", *found.scenario.priors()))
    json.dumps(report.data, allow_nan=False)


def test_a_target_within_the_uncertainty_is_said_to_be_open(found: qtune.Recommendation) -> None:
    """When a bound lies inside an interval, the verdict does not claim that the target is met."""
    first, *others = found.checks
    unsure = replace(found, checks=(replace(first, status="open"), *others))
    assert f"{first.target} lies within the uncertainty" in qtune.describe(unsure).verdict
    assert "meets 1 target; 1 cannot be judged" in qtune.describe(found).verdict


@pytest.mark.parametrize(
    ("estimate", "value", "interval"),
    [
        (Estimate(value=0.4464, low=0.44, high=0.45, unit="s"), "446ms", "440ms to 450ms"),
        (Estimate(value=5.53, low=5.5, high=5.56, unit="1/s"), "5.53/s", "5.5/s to 5.56/s"),
        (Estimate(value=84.232, unit="USD", reason="one run"), "$84.23", "one run"),
        (Estimate(value=19383.8, low=19381.6, high=19385.9), "19,384", "19,382 to 19,386"),
        (Estimate(value=1.00097, low=1.0, high=1.002), "1.001", "1 to 1.002"),
        (Estimate(value=math.nan, unit="s", reason="not reached"), "no value", "not reached"),
        (
            Estimate(value=14.6, low=0.42, unit="s", reason="the upper end is not reached"),
            "14.6s",
            "420ms or more (the upper end is not reached)",
        ),
    ],
)
def test_estimates_read_well(estimate: Estimate, value: str, interval: str) -> None:
    """An estimate is its value with a unit, its interval, or the reason why it has none."""
    assert value_text(estimate) == value
    assert interval_text(estimate) == interval


def test_a_share_is_shown_in_percent() -> None:
    """A share is shown in percent, both its value and its interval."""
    share = Estimate(value=0.277, low=0.27, high=0.28)
    assert (value_text(share, "share"), interval_text(share, "share")) == ("27.7%", "27% to 28%")


def test_the_catalogue_knows_models_by_provider_too() -> None:
    """A model is found by its own name, by its provider's and by path; an unknown name suggests the nearest."""
    assert list(qtune.catalogue("servicebus").models) == ["servicebus"]
    assert qtune.catalogue().whole
    assert set(qtune.catalogue().models) >= {"memory", "servicebus", "sqs"}
    with pytest.raises(qtune.InputError, match='Did you mean "servicebus"'):
        qtune.catalogue("service-bus")
    for path in qtune.catalogue().examples.values():
        assert qtune.load_scenario(path)
