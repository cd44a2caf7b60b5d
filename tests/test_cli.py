"""The `qtune` command as a program: what it prints where, and with which exit code it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_scenarios import OVERLOADED, STEADY

import qtune

SCRIPT = [str(Path(sys.executable).with_name("qtune"))]
MODULE = [sys.executable, "-m", "qtune"]

Done = subprocess.CompletedProcess[str]


def command(folder: Path, *arguments: str, program: list[str] = SCRIPT, **variables: str) -> Done:
    """Run the command as a user does, in a folder, without a terminal."""
    return subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a scenario that keeps up and one that does not."""
    (tmp_path / "steady.yaml").write_text(STEADY, encoding="utf-8")
    (tmp_path / "overloaded.yaml").write_text(OVERLOADED, encoding="utf-8")
    return tmp_path


def test_a_queue_that_keeps_up_ends_with_0(folder: Path) -> None:
    """`qtune simulate` says first that the queue keeps up, then how late messages are, and ends with 0."""
    done = command(folder, "simulate", "steady.yaml", "--replications", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stable: ")
    order = ["p50", "p95", "p99", "The latency by stage", "goodput", "Utilization", "Cost", "What binds"]
    places = [done.stdout.index(word) for word in order]
    assert places == sorted(places)


def test_a_queue_that_does_not_keep_up_ends_with_1(folder: Path) -> None:
    """An overloaded queue is called unstable in the first word, has no percentile, and the command ends with 1."""
    done = command(folder, "simulate", "overloaded.yaml", "--replications", "2")
    assert done.returncode == 1
    assert done.stdout.startswith("unstable: ")
    assert "p95  no value" in done.stdout


def test_bad_input_ends_with_2_and_names_the_line(folder: Path) -> None:
    """A scenario that cannot be read ends the command with 2, with the line and the next step on stderr only."""
    (folder / "bad.yaml").write_text(STEADY.replace("50/s", "50").replace("workers", "wrokers"))
    done = command(folder, "simulate", "bad.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "bad.yaml:2:" in done.stderr
    assert 'Did you mean "workers"?' in done.stderr
    assert "Traceback" not in done.stderr


def test_recommend_writes_a_preset_that_simulate_repeats(folder: Path) -> None:
    """The recommended setting is in a file, and `qtune simulate` with it prints the predicted percentiles again."""
    done = command(folder, "recommend", "steady.yaml", "--target", "p95=200ms")
    assert done.returncode == 0, done.stderr
    assert "wrote steady-tuned.yaml" in done.stdout.splitlines()[-2:]
    again = command(folder, "simulate", "steady-tuned.yaml")
    assert again.returncode == 0
    assert "to the last digit" in again.stderr
    for percent in (50, 95, 99):
        said = [line.split()[2:] for line in done.stdout.splitlines() if f"latency p{percent} " in line]
        shown = [line.split()[1:] for line in again.stdout.splitlines() if line.startswith(f"  p{percent} ")]
        assert said == shown
        assert len(shown) == 1


def test_an_impossible_target_ends_with_1_and_why(folder: Path) -> None:
    """When no setting can meet the target the answer is no, with the reason, and no file is written."""
    done = command(folder, "recommend", "steady.yaml", "--target", "p95=1ms")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("infeasible: p95 <= 1ms")
    assert sorted(file.name for file in folder.iterdir()) == ["overloaded.yaml", "steady.yaml"]


def test_init_writes_what_simulate_reads(folder: Path) -> None:
    """`qtune init` writes a scenario, says how to go on, and ends with 0; a second time it refuses with 2."""
    done = command(folder, "init")
    assert (done.returncode, done.stdout) == (0, "wrote scenario.yaml\nnext: qtune simulate scenario.yaml\n")
    assert qtune.load_scenario(folder / "scenario.yaml").queue.provider == "sqs"
    again = command(folder, "init")
    assert (again.returncode, again.stdout) == (2, "")
    assert "scenario.yaml exists and is not overwritten" in again.stderr


def test_the_module_is_the_command(folder: Path) -> None:
    """`python -m qtune` is the same command as `qtune`, and both know their version."""
    answers = [command(folder, "--version", program=program) for program in (SCRIPT, MODULE)]
    assert {done.stdout for done in answers} == {f"qtune {qtune.__version__}\n"}
    assert {done.returncode for done in answers} == {0}


@pytest.mark.parametrize("arguments", [["models"], ["--help"]])
def test_a_reader_that_leaves_ends_it_quietly(folder: Path, arguments: list[str]) -> None:
    """A closed pipe (`qtune models | head`) ends the command without a word, and not with the code for "no"."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([*SCRIPT, *arguments], stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
def test_an_interrupt_ends_with_130(folder: Path) -> None:
    """Ctrl-C ends the command with 130 and one word at once, even while the simulator is being compiled."""
    nothing_compiled = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "NUMBA_DISABLE_JIT": "0"}
    with subprocess.Popen(
        [*SCRIPT, "simulate", "steady.yaml"],
        cwd=folder,
        env=nothing_compiled,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell ignores Ctrl-C in what it runs in the background, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert running.stderr is not None
        line = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert "compiling the simulator, once per machine" in line
    assert (running.returncode, out, err) == (130, "", "qtune: interrupted\n")


def test_colours_are_only_for_terminals_that_want_them(folder: Path) -> None:
    """Into a pipe goes plain text, and a line that is no wider than 80 columns."""
    done = command(folder, "models", "servicebus")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_no_color_is_honoured(folder: Path) -> None:
    """A terminal gets colours, and none when NO_COLOR is set."""
    import pty

    def shown(**variables: str) -> str:
        parent, child = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **variables}
        environment = {name: value for name, value in environment.items() if value}
        arguments = [*SCRIPT, "simulate", "steady.yaml", "--replications", "1"]
        with subprocess.Popen(
            arguments, cwd=folder, env=environment, stdout=child, stderr=subprocess.DEVNULL
        ) as run:
            os.close(child)
            text = b""
            while run.poll() is None or not text:
                try:
                    text += os.read(parent, 65536)
                except OSError:  # the other end is closed
                    break
        os.close(parent)
        return text.decode()

    assert "\x1b[1;32mstable" in shown(NO_COLOR="")
    assert "32m" not in shown(NO_COLOR="1")
