"""The commands of `qtune`, called in this process: their options, their JSON and what they refuse."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from small_scenarios import STEADY

import qtune
from qtune.ui import cli, progress
from qtune.ui.cli import run


@pytest.fixture
def steady(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a scenario that keeps up, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steady.yaml").write_text(STEADY, encoding="utf-8")
    return "steady.yaml"


def parsed(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What was printed, which must be one JSON document that has no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found: dict[str, object] = json.loads(capsys.readouterr().out, parse_constant=refuse)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "absent.yaml"],
        ["simulate", "steady.yaml", "--seed", "-1"],
        ["simulate", "steady.yaml", "--engine", "karnel"],
        ["simulate", "steady.yaml", "--width", "5"],
        ["simulate", "steady.yaml", "--nonsense"],
        ["recommend", "steady.yaml"],
        ["recommend", "steady.yaml", "--target", "p96=1s"],
        ["recommend", "steady.yaml", "--target", "p95=1s", "--keep", "fetch"],
        ["recommend", "steady.yaml", "--target", "p95=1s", "--preset", "sqs-hihg-throughput"],
        ["recommend", "steady.yaml", "--target", "p95=1s", "--export", "absent/x.yaml"],
        ["models", "kafka"],
        ["init", "--provider", "kafka"],
        ["init", "absent/scenario.yaml"],
        ["nonsense"],
        [],
    ],
)
def test_what_cannot_be_done_ends_with_2(
    steady: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Whatever is wrong with the command line or a file ends with 2: words on stderr, nothing on stdout."""
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.strip()
    assert "Traceback" not in printed.err


def test_help_lists_the_commands_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """`qtune --help` names every command and what the exit codes mean."""
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in ("simulate", "recommend", "models", "init"))
    codes = ("0 the answer is yes", "1 it is no", "2 bad input", "3 a provider failed", "130 interrupted")
    assert all(code in " ".join(text.split()) for code in codes)


def test_the_first_line_names_the_example(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a scenario the first line says which shipped example is used; with --json it is on stderr."""
    said = "no scenario was named: this is the shipped example llm-conversations"
    assert run(["simulate", "--replications", "1"]) == 0
    assert capsys.readouterr().out.startswith(said)
    assert run(["simulate", "--replications", "1", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(said)
    assert json.loads(printed.out)["scenario"] == "llm-conversations"


def test_recommend_without_a_target_lists_the_targets(
    steady: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --target the command says which targets there are, and shows one."""
    assert run(["recommend", steady]) == 2
    told = capsys.readouterr().err
    known = qtune.catalogue()
    evaluated = [name for name, metric in known.metrics.items() if metric.not_evaluated is None]
    assert evaluated
    assert all(f"  {name}=" in told for name in evaluated)
    assert all(profile in told for profile in known.profiles)
    assert "qtune recommend --target p95=500ms" in told


def test_recommend_never_overwrites(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A second recommendation gets a numbered name, which is said, and the first file stays as it was."""
    arguments = ["recommend", steady, "--target", "p95=200ms", "--export", "mine.yaml"]
    assert run(arguments) == 0
    assert "\nwrote mine.yaml\n" in capsys.readouterr().out
    text = Path("mine.yaml").read_text(encoding="utf-8")
    assert run(arguments) == 0
    assert "\nwrote mine-2.yaml\n" in capsys.readouterr().out
    assert Path("mine.yaml").read_text(encoding="utf-8") == text
    assert qtune.load_tuned("mine-2.yaml") is not None


def test_no_is_an_answer_in_json_too(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json an impossible target gives a document that says no and why, and the code is 1."""
    assert run(["recommend", steady, "--target", "p95=1ms", "--json"]) == 1
    found = parsed(capsys)
    assert found["answer"] == "no"
    assert "p95 <= 1ms" in str(found["reason"])
    assert found["data"]


def test_simulate_gives_the_same_numbers_as_python(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of `qtune simulate` is the summary of the same replications in Python."""
    assert run(["simulate", steady, "--seed", "7", "--replications", "3", "--json"]) == 0
    found = parsed(capsys)
    summary = qtune.summarize(qtune.replicate(qtune.load_scenario(steady), 3, seed=7))
    assert found["seeds"] == [7, 8, 9]
    assert found["numbers"] == summary.to_dict()["numbers"]


def test_the_engines_print_the_same(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--engine reference gives the numbers of the kernel, and says which engine it was."""
    answers = []
    for engine in ("kernel", "reference"):
        assert run(["simulate", steady, "--replications", "1", "--engine", engine, "--json"]) == 0
        answers.append(parsed(capsys))
    assert answers[0]["numbers"] == answers[1]["numbers"]
    assert [answer["sources"] for answer in answers] == [["simulated:kernel"], ["simulated:reference"]]


def test_width_runs_until_the_interval_is_narrow(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--width 10% stops when the p95 is known that well, and says after how many runs."""
    assert run(["simulate", steady, "--width", "10%", "--json"]) == 0
    found = parsed(capsys)
    p95 = found["numbers"]["latency_s_p95"]
    assert p95["high"] - p95["low"] <= 2 * 0.1 * p95["value"] * (1 + 1e-9)
    assert f"after {found['replications']} replications" in found["note"]


def test_replications_bound_a_width(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --width, --replications is the most that is run, and it is said that the width was not reached."""
    assert run(["simulate", steady, "--width", "0.01%", "--replications", "6", "--json"]) == 0
    found = parsed(capsys)
    assert found["replications"] == 6
    assert "the budget was spent" in found["note"]


def test_saved_rows_are_those_of_the_first_run(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--save keeps the rows of the first run, says of which seed, and never replaces a file."""
    assert run(["simulate", steady, "--replications", "2", "--seed", "5", "--save", "rows"]) == 0
    assert "seed 5 are in rows.npz" in capsys.readouterr().err
    saved = qtune.Result.load("rows.npz")
    again = qtune.simulate(qtune.load_scenario(steady), seed=5)
    assert saved.messages.tobytes() == again.messages.tobytes()
    content = Path("rows.npz").read_bytes()
    assert run(["simulate", steady, "--save", "rows.npz"]) == 2
    assert "rows.npz exists" in capsys.readouterr().err
    assert Path("rows.npz").read_bytes() == content


def test_a_shipped_example_has_a_name(capsys: pytest.CaptureFixture[str], steady: str) -> None:
    """A shipped example is simulated by its name, from anywhere."""
    assert run(["simulate", "memory-pipeline", "--replications", "1", "--json"]) == 0
    assert parsed(capsys)["scenario"] == "memory-pipeline"


@pytest.mark.parametrize("provider", ["sqs", "servicebus", "memory"])
def test_a_new_scenario_loads_and_keeps_up(
    provider: str, steady: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`qtune init` writes a scenario of the provider that loads, keeps up, and tells how to go on."""
    assert run(["init", "--provider", provider, "new.yaml"]) == 0
    assert "qtune simulate new.yaml" in capsys.readouterr().out
    scenario = qtune.load_scenario("new.yaml")
    assert scenario.queue.provider == provider
    assert run(["simulate", "new.yaml", "--replications", "1"]) == 0
    assert "# " in Path("new.yaml").read_text(encoding="utf-8")


def test_init_never_overwrites(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`qtune init` refuses to replace a file, and leaves it as it is."""
    assert run(["init", steady]) == 2
    assert "steady.yaml exists and is not overwritten" in capsys.readouterr().err
    assert Path(steady).read_text(encoding="utf-8") == STEADY


def test_init_says_in_json_what_it_wrote(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--json of `qtune init` is the path and the provider."""
    assert run(["init", "--json"]) == 0
    assert parsed(capsys) == {"path": "scenario.yaml", "provider": "sqs"}


@pytest.mark.parametrize("name", ["sqs", "servicebus", "memory"])
def test_models_tells_everything_it_knows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`qtune models NAME` has every limit, price and client, each source once, and what is not modelled."""
    assert run(["models", name]) == 0
    text = " ".join(capsys.readouterr().out.split())
    known = qtune.catalogue(name)
    provider, model = known.provider_of(name), known.models[name]
    for limit in provider.limits:
        assert limit.name in text
        assert limit.modelled or " ".join(limit.reason.split()) in text
    for price in model.prices.rows():
        assert price.as_of in text
    assert all(f"Client {client}" in text for client in provider.clients)
    assert all(preset in text for preset in known.presets_of(provider.name))
    assert text.count("prior") >= sum(
        getattr(model.latency, call).prior for call in ("send", "receive", "settle", "renew")
    )


def test_models_without_a_name_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`qtune models` lists models, presets, targets with their bounds, profiles and examples."""
    assert run(["models"]) == 0
    text = capsys.readouterr().out
    known = qtune.catalogue()
    names = [*known.models, *known.presets, *known.profiles, *known.examples]
    assert all(name in text for name in [*names, *known.metrics])


def test_models_as_json_has_the_sources(capsys: pytest.CaptureFixture[str]) -> None:
    """--json of `qtune models` has each limit with value, source, date and where it is checked."""
    assert run(["models", "--json"]) == 0
    for model in parsed(capsys)["models"].values():
        assert {"latency", "prices", "clients", "limits", "traits"} <= model.keys()
        for limit in model["limits"]:
            assert limit["source"]
            assert limit["as_of"]
            assert limit["checked"]


def test_recommend_says_everything_in_json(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--json of `qtune recommend` has the setting, the evidence, and the file that was written."""
    assert run(["recommend", steady, "--target", "p95=200ms", "--json"]) == 0
    found = parsed(capsys)
    assert {"settings", "checks", "summary", "probe", "headroom", "assumptions", "seeds"} <= found.keys()
    written = Path(str(found["preset"]))
    assert qtune.load_scenario(written).consumers.workers == found["settings"]["consumers.workers"]


def test_a_kept_setting_stays(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--keep workers leaves the number of workers alone, with the section before it or without."""
    for name in ("workers", "consumers.workers"):
        assert run(["recommend", steady, "--target", "p95=200ms", "--keep", name, "--json"]) == 0
        assert parsed(capsys)["settings"]["consumers.workers"] == 4


def test_a_preset_is_where_the_search_starts(steady: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--preset takes over queue and consumers of a preset, so another provider is tuned for the same load."""
    arguments = ["recommend", steady, "--target", "p95=1s", "--preset", "sqs-high-throughput", "--json"]
    assert run(arguments) == 0
    assert parsed(capsys)["scenario"]["queue"]["provider"] == "sqs"


def test_a_bug_is_told_in_one_line(
    steady: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is one line that asks for a report; QTUNE_TRACEBACK=1 shows where it was."""

    def broken(summary: object) -> None:
        raise ZeroDivisionError("of all\nthings")

    monkeypatch.setattr(qtune, "describe", broken)
    assert run(["models"]) == cli.UNEXPECTED
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "ZeroDivisionError: of all things" in told
    monkeypatch.setenv("QTUNE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run(["models"])


def test_a_failing_provider_ends_with_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that fails says nothing about the question: its words go to stderr, and the code is 3."""

    def fails(name: str | None) -> None:
        raise qtune.ProviderFailure("the broker did not answer")

    monkeypatch.setattr(qtune, "catalogue", fails)
    assert run(["models"]) == 3
    assert capsys.readouterr().err == "the broker did not answer\n"


def test_long_work_is_told_at_intervals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal a step is told at most every few seconds, on stderr; what is quick is not told."""
    clock_s = iter([0.0, 1.0, 5.5, 5.5, 6.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock_s))
    with progress.progress() as steps:
        steps.at("simulating", 1, 9)
        steps.at("simulating", 2, 9)
        steps.at("simulating", 3, 9)
    assert capsys.readouterr().err == "qtune: simulating: 2 of 9\n"


def test_a_wait_for_the_compiler_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When getting ready takes long, it is said that the simulator is being compiled; otherwise nothing is."""
    with progress.progress() as steps:
        progress.make_ready(steps)
        capsys.readouterr()
        progress.make_ready(steps)
    assert capsys.readouterr().err == ""
    said, simulate = threading.Event(), qtune.simulate

    class Listening(progress.Steps):
        def say(self, text: str) -> None:
            super().say(text)
            said.set()

    def until_said(scenario: qtune.Scenario) -> qtune.Result:
        said.wait(30.0)  # as long as the compiler may take: however busy the machine, it is not over before
        return simulate(scenario)

    monkeypatch.setattr(progress, "COMPILING_AFTER_S", 0.0)
    monkeypatch.setattr(qtune, "simulate", until_said)
    progress.make_ready(Listening(None, None))
    assert capsys.readouterr().err == f"qtune: {progress.COMPILING}\n"
