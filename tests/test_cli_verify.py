"""`qtune verify` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_scenarios import OVERLOADED, STEADY

import qtune
from qtune.ui.cli import run


@pytest.fixture
def steady(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A scenario that keeps up, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steady.yaml").write_text(STEADY, encoding="utf-8")
    return "steady.yaml"


def test_a_setting_that_holds_ends_with_0(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The count of outcomes comes first, then the list, then every assertion with its rule and its numbers."""
    assert run(["verify", steady, "--target", "p95=200ms"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("13 of 13 assertions pass")
    assert out.index("Assertions") < out.index("1 PASS: the system maintains") < out.index("16 PASS: ")


def test_an_assertion_that_fails_ends_with_1(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A queue that does not keep up fails, and a script sees it by the exit code."""
    Path("overloaded.yaml").write_text(OVERLOADED, encoding="utf-8")
    assert run(["verify", "overloaded.yaml"]) == 1
    assert "1   FAIL            sustained throughput" in capsys.readouterr().out


def test_json_is_what_python_gives(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command and the function say the same to the digit."""
    assert run(["verify", steady, "--json", "--seed", "7"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = qtune.verify(qtune.load_scenario(steady), seed=7)
    assert printed == json.loads(json.dumps(found.to_dict()))
    assert printed["seeds"] == [7, 8, 9, 10, 11]


def test_a_preset_replaces_queue_and_consumers(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --preset the scenario gives the load, and the preset what is verified."""
    assert run(["verify", steady, "--preset", "memory-testing", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["assertions"][0]["outcome"] == "FAIL"  # one worker for 50 messages a second of 20 ms each


def test_a_tuned_preset_is_verified_by_what_it_was_tuned_for(
    steady: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --target the targets are those that the file says it was tuned for."""
    assert run(["recommend", steady, "--target", "p95=200ms", "--target", "cost=90USD/month"]) == 0
    capsys.readouterr()
    run(["verify", "steady-tuned.yaml", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["targets"] == ["p95 <= 200ms", "cost <= $90.00/month"]
    assert printed["assertions"][4]["outcome"] == "PASS"


def test_a_bad_target_ends_with_2(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no target is bad input, as it is for a recommendation."""
    assert run(["verify", steady, "--target", "p95=fast"]) == 2
    assert "p95" in capsys.readouterr().err
