"""Models that say how wrong they are: their file, and what their error does to predictions and recommendations."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from calibrated_models import calibrated, held_out, written
from recommending import PINNED, in_memory
from small_scenarios import STEADY

import qtune
from qtune.analysis.intervals import Estimate
from qtune.analysis.model_error import throughput, widened, with_model_error
from qtune.errors import AnswerIsNo, ModelError
from qtune.presets import load_scenario
from qtune.providers import dump_model, load_model
from qtune.ui.cli import run


def test_a_calibrated_model_survives_writing_to_the_digit(tmp_path: Path) -> None:
    """What was measured, predicted and fitted is read back as it was, with every digit."""
    model = calibrated()
    assert load_model(written(model, tmp_path)) == model


def test_the_section_is_read_strictly(tmp_path: Path) -> None:
    """A key that does not exist is an error at its line, and so is a calibration without a held-out latency."""
    path = tmp_path / "model.yaml"
    text = dump_model(calibrated())
    path.write_text(text.replace("  machine: Linux", "  machine: Linux").replace("identified:", "identifed:"))
    with pytest.raises(ModelError, match=r"identifed.*\n.*Did you mean \"identified\"") as raised:
        load_model(path)
    assert f"{path.name}:" in raised.value.problems[0].where
    with pytest.raises(ModelError, match="below saturation"):
        calibrated("memory", held_out("full", 1.4, throughput=(100.0, 101.0)))


def test_a_model_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario names a model in the folder ``models`` beside it, or where one works, as it names a shipped one."""
    path = written(calibrated(), tmp_path)
    (tmp_path / "scenario.yaml").write_text(STEADY + "model: my-memory\n", encoding="utf-8")
    assert load_scenario(tmp_path / "scenario.yaml").model == str(path)
    monkeypatch.chdir(tmp_path)
    assert load_scenario(STEADY).with_(model="my-memory").provider_model().name == "my-memory"


def test_the_margin_is_the_worst_error_below_saturation() -> None:
    """Latencies are compared below saturation; throughput also at it, since that is where a model can be wrong."""
    model = calibrated(
        "memory",
        held_out("2", 0.5, p95=(1.0, 0.92), throughput=(50.0, 50.5)),
        held_out("3", 0.8, p95=(1.0, 1.05), throughput=(80.0, 80.0)),
        held_out("4", 1.5, throughput=(100.0, 107.0)),
    )
    assert model.calibration is not None
    assert model.margins["p95"] == pytest.approx(0.08)
    assert model.margins["throughput"] == pytest.approx(0.07)
    assert model.calibration.typical("p95") == pytest.approx(0.065)
    assert load_model("memory").margins == {}


def test_an_interval_covers_every_truth_for_which_the_model_is_off_by_so_much() -> None:
    """A truth t that is predicted as t (1 + e), with e within the error, lies in the widened interval, and no other."""
    error, estimate = 0.2, Estimate(value=1.0, low=0.9, high=1.1, unit="s", method="Student t")
    wide = widened(estimate, error)
    assert wide.low * (1.0 + error) == pytest.approx(estimate.low)
    assert wide.high * (1.0 - error) == pytest.approx(estimate.high)
    assert "held-out error of 20%" in wide.method
    assert widened(estimate, 0.0) == estimate
    assert math.isnan(
        widened(estimate, 1.0).high
    )  # a model that is off by all of it says nothing of the upper end


def test_throughput_is_what_comes_in_unless_the_model_may_be_wrong_about_the_most() -> None:
    """A queue that keeps up with room to spare completes what comes in, whatever its model is off by."""
    estimate = Estimate(value=50.0, low=49.0, high=51.0, unit="1/s", method="Student t")
    assert throughput(estimate, 100.0, 0.1, keeps_up=True) == estimate
    near = throughput(estimate, 52.0, 0.1, keeps_up=True)
    assert near.low == pytest.approx(52.0 / 1.1)
    assert near.high == estimate.high


def test_a_prediction_carries_the_error_of_its_model(tmp_path: Path) -> None:
    """The value is that of the runs; the interval is theirs, moved by the error on settings the fit had not seen."""
    scenario = load_scenario(STEADY).with_(model=str(written(calibrated(), tmp_path)))
    seeds = (1, 2, 3)
    summary = qtune.predict(scenario, seeds=seeds)
    by_chance = qtune.summarize([qtune.simulate(scenario, seed=seed) for seed in seeds])
    assert summary.latency_s_p95.value == by_chance.latency_s_p95.value
    assert summary.latency_s_p95.high == pytest.approx(by_chance.latency_s_p95.high / 0.9)
    assert summary.latency_s_p50 == by_chance.latency_s_p50
    assert summary.utilization == by_chance.utilization
    said = [note for part in qtune.describe(summary).sections for note in part.notes]
    assert any("off by 10% in the median and 10% at most" in note for note in said)
    assert not any("prior" in note for note in said)
    assert with_model_error(replace(summary, sources=("measured:memory",))) == replace(
        summary, sources=("measured:memory",)
    )


def test_a_target_is_met_only_if_the_widened_interval_holds_it(tmp_path: Path) -> None:
    """Between the prediction and the prediction with its error, fewer workers are no answer any more."""
    sure = in_memory(model=str(written(calibrated("memory", _right("p95", 1.0)), tmp_path)))
    found = qtune.recommend(sure, "p95=250ms", keep=PINNED)
    fewest = found.scenario.consumers.workers
    error = 0.15
    assert found.summary.latency_s_p95.high / (1.0 - error) > 0.25, (
        "the same setting would hold it with the error too"
    )
    doubted = calibrated("memory", _right("p95", 1.0 + error), name="doubted")
    careful = qtune.recommend(in_memory(model=str(written(doubted, tmp_path))), "p95=250ms", keep=PINNED)
    assert careful.scenario.consumers.workers > fewest
    check = careful.check("p95")
    assert check is not None
    assert check.status == "met"
    assert check.estimate.high <= 0.25
    assert check.estimate.high > check.estimate.value / (1.0 - error)
    lines = qtune.describe(careful).section("What this rests on").notes
    assert any("a target is met only if its interval holds it" in line for line in lines)
    assert not any("prior" in line or "nobody has measured" in line for line in lines)
    hopeless = calibrated("memory", _right("p95", 1.99), name="hopeless")
    with pytest.raises(AnswerIsNo):
        qtune.recommend(in_memory(model=str(written(hopeless, tmp_path))), "p95=250ms", keep=PINNED)


def _right(metric: str, factor: float) -> dict[str, object]:
    """A setting of which every number was predicted as measured, but for one by a factor."""
    numbers = {name: (1.0, factor if name == metric else 1.0) for name in ("p50", "p95", "p99", "throughput")}
    return held_out("usual", 0.7, **numbers)


def test_commands_take_a_model_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`qtune simulate --model NAME` predicts with it, and `qtune models NAME` shows what it is worth."""
    monkeypatch.chdir(tmp_path)
    written(calibrated(), tmp_path)
    (tmp_path / "steady.yaml").write_text(STEADY, encoding="utf-8")
    assert run(["simulate", "steady.yaml", "--model", "my-memory", "--replications", "2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert "held-out error" in data["numbers"]["latency_s_p95"]["method"]
    assert data["priors"] == []
    assert run(["models", "my-memory"]) == 0
    shown = capsys.readouterr().out
    assert "550ms" in shown
    assert "no lock was renewed" in shown
    assert run(["simulate", "steady.yaml", "--model", "my-memroy"]) == 2
