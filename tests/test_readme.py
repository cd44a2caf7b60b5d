"""The README does what it says: its commands are the ones that are checked, and its example runs."""

from __future__ import annotations

import doctest
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import qtune
from qtune.ui.cli import app, run

pytestmark = pytest.mark.checkout


@pytest.fixture
def commands(checkout: Path) -> list[str]:
    """The README's set-up commands: the lines that make an environment, as they stand."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("python3 -m venv ")]


def test_two_lines_set_everything_up(commands: list[str]) -> None:
    """One line takes a clone to its first recommendation, and one line takes it through all tests."""
    main_job, suite = commands
    assert main_job.endswith("&& .venv/bin/qtune recommend --target p95=500ms")
    assert suite.split(" && ")[-1].startswith(".venv/bin/pytest")


def test_the_suite_line_runs_the_whole_suite(commands: list[str]) -> None:
    """The test command leaves out only what runs for long: it lifts the filter that a plain `pytest` has."""
    assert shlex.split(commands[1])[-2:] == ["-m", "not nightly"]


def test_the_lines_install_extras_that_exist(checkout: Path, commands: list[str]) -> None:
    """Every extra that the README installs is one that pyproject.toml defines."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (checkout / "README.md").read_text(encoding="utf-8")
    named = {
        extra for group in re.findall(r"\.\[([\w,]+)\]|qtune\[([\w,]+)\]", text) for extra in group if extra
    }
    assert named
    for group in named:
        assert set(group.split(",")) <= set(project["optional-dependencies"])
    assert "[test]" in commands[1]


def test_the_checks_run_the_line_that_the_readme_shows(checkout: Path, commands: list[str]) -> None:
    """`.ci/run` takes the test command out of the README, finds exactly that one, and does not repeat it."""
    script = (checkout / ".ci" / "run").read_text(encoding="utf-8")
    found = re.search(r"""test_line=\$\(grep -E '(?P<pattern>[^']+)' "\$root/README.md"\)""", script)
    assert found is not None
    text = (checkout / "README.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if re.search(found["pattern"], line)] == [commands[1]]
    assert 'bash -c "set -e; $test_line"' in script
    assert commands[1] not in script


def test_the_example_runs_and_prints_what_it_shows(checkout: Path) -> None:
    """The README's Python example, typed as it stands, prints what stands under it."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    example = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    assert example.examples
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(
        example, out=report.append
    )
    assert report == []


def blocks(checkout: Path, language: str) -> list[str]:
    """The fenced blocks of the README in one language."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def test_the_output_that_is_shown_is_what_it_prints(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every section that the README shows of the first recommendation is what the command prints, line by line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (shown,) = blocks(checkout, "text")
    assert run(["recommend", "--target", "p95=500ms"]) == 0
    printed = capsys.readouterr().out
    parts = shown.split("\n\n")
    assert [part.splitlines()[0] for part in parts[1:3]] == ["Use", "Targets"]
    for part in parts:
        assert part.rstrip() in printed


def test_the_scenario_that_is_shown_loads(checkout: Path) -> None:
    """The README's scenario is read without a complaint."""
    (shown,) = blocks(checkout, "yaml")
    assert qtune.load_scenario(shown).name == "thumbnails"


def test_every_preset_and_command_that_is_named_exists(checkout: Path) -> None:
    """The README names every shipped preset, and the commands it lists are those of `qtune --help`."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in qtune.catalogue().presets)
    listed = re.findall(r"^\| `qtune (\w+) ", text, flags=re.MULTILINE)
    commands = [command.callback.__name__ for command in app.registered_commands]
    groups = [group.typer_instance.info.name for group in app.registered_groups]
    assert sorted(listed) == sorted(commands + groups)


def test_links_to_files_lead_somewhere(checkout: Path) -> None:
    """Every relative link in the README leads to a file of the project."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (checkout / target).exists(), target
