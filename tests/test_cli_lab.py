"""`qtune lab` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qtune.lab import incident_names
from qtune.ui.cli import run


def test_the_list_has_every_incident(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name every case is listed, those that cannot be shown with the reason."""
    assert run(["lab"]) == 0
    words = capsys.readouterr().out.split()
    assert set(incident_names()) <= set(words)


def test_one_is_run_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A name, in any case, runs that incident: the verdict first, then what was reported, and the answer."""
    assert run(["lab", "a1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("reproduced, gone after the fix of the source, gone with the recommended setting")
    assert out.index("https://github.com/dapr/dapr/issues/1526") < out.index("R1: ") < out.index("recommends")


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json there is one document with the ranges, the values, the rules and the recommendation."""
    assert run(["lab", "A1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["reproduced"] is printed["cured"] is printed["answered"] is True
    assert (
        printed["symptom"][0] | {"measure": "completed", "values": [1.0], "holds": True}
        == printed["symptom"][0]
    )
    assert printed["rules"][0]["rule"] == "R1"
    assert printed["recommendation"]["settings"]["consumers.prefetch"] == 0


def test_a_case_that_does_not_come_out_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script sees by the exit code that a case does not show what its file says."""
    (tmp_path / "mine.yaml").write_text(
        """
id: X1
title: a queue that is said to lose messages
kind: published figure
grade: C
source: [https://github.com/owner/repository]
happened: a claim
scenario:
  arrivals: {kind: burst_at_once, messages: 3}
  service_time: {family: constant, mean: 1s}
  queue: {provider: sqs}
  consumers: {workers: 1, receive_wait: 20s}
  horizon: 1min
symptom:
  - {measure: completed, equals: 2, basis: reported, why: one is lost}
""",
        encoding="utf-8",
    )
    assert run(["lab", str(tmp_path / "mine.yaml")]) == 1
    assert "the published figure does not come out" in capsys.readouterr().out


def test_an_unknown_incident_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none is bad input, with the names there are."""
    assert run(["lab", "Z9"]) == 2
    assert "there are A1, A3" in capsys.readouterr().err


def test_an_incident_that_is_not_reproduced_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A case that cannot be shown is told with its source and the reason, and nothing is run."""
    assert run(["lab", "C11"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("not reproduced: a scenario with a visibility timeout of 0 is refused")


def test_the_list_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the list has what each file says, its scenario included."""
    assert run(["lab", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["incidents"]
    assert [incident["id"] for incident in printed] == list(incident_names())
    assert printed[0]["scenario"]["consumers"]["prefetch"] == 1000
    assert all((one["scenario"] is None) == (one["not_reproduced"] is not None) for one in printed)


def test_a_name_and_all_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """`--all` runs every case, so that a name beside it is bad input."""
    assert run(["lab", "A1", "--all"]) == 2
    assert "give either a name or --all" in capsys.readouterr().err


@pytest.mark.slow
def test_all_are_run_and_told_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`--all` runs every case that can be shown, and each comes out as its file says."""
    assert run(["lab", "--all"]) == 0
    out = capsys.readouterr().out
    assert "all as expected" in out.splitlines()[0]
    assert max(map(len, out.splitlines())) <= 80
