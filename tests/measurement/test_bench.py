"""`qtune bench` as a program: a scenario on a real queue, beside its simulation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.result import Result

COMMAND = [sys.executable, "-m", "qtune", "bench"]
MEMORY = """
name: orders
arrivals: {kind: poisson, rate: 30/s}
service_time: {family: exponential, mean: 20ms}
producers: {senders: 2}
queue: {provider: memory}
consumers: {workers: 2}
horizon: 2s
"""
BUS = """
name: bus
arrivals: {kind: poisson, rate: 5/s}
service_time: {family: exponential, mean: 20ms}
producers: {senders: 1}
queue: {provider: servicebus, tier: premium}
consumers: {workers: 1, client: azure-servicebus-7.15}
horizon: 60s
"""


def bench(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a scenario."""
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
    return subprocess.run(
        [*COMMAND, "scenario.yaml", *options], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_measured_run_stands_beside_its_simulation(tmp_path: Path) -> None:
    """Both have a column, with the machine's part below; --json has the same, and --save keeps the rows."""
    done = bench(tmp_path, MEMORY, "--json", "--save", "rows.npz")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["measured"]["sources"] == ["measured:memory"]
    assert found["simulated"]["sources"] == ["simulated:kernel"]
    assert 0.0 <= found["conditions"]["utilization"][0][1] <= 1.0
    rows = Result.load(tmp_path / "rows.npz")
    assert rows.messages.size > 30
    again = bench(tmp_path, MEMORY)
    assert "measured" in again.stdout
    assert "all cores busy" in again.stdout


def test_servers_that_cost_money_need_a_yes(tmp_path: Path) -> None:
    """Without an endpoint, a queue of a cloud is not touched before the user has agreed."""
    done = bench(tmp_path, BUS)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "60 s" in done.stderr


def test_rows_are_never_written_over_a_file(tmp_path: Path) -> None:
    """A file that exists is refused before the run begins."""
    (tmp_path / "rows.npz").touch()
    done = bench(tmp_path, MEMORY, "--save", "rows.npz")
    assert done.returncode == 2
    assert "not overwritten" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_an_interrupted_run_leaves_no_queue_behind(tmp_path: Path, number: int) -> None:
    """Ctrl-C ends the processes, removes the queue that the run made, and the command with 130."""
    (tmp_path / "scenario.yaml").write_text(BUS, encoding="utf-8")
    with ServiceBusEmulator() as emulator:
        command = [*COMMAND, "scenario.yaml", "--endpoint", f"127.0.0.1:{emulator.port}"]
        run = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while not any(queue["delivered"] for queue in emulator.counters()["queues"].values()):
            assert run.poll() is None, run.stderr and run.stderr.read()
            time.sleep(0.1)
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 130, errors
        assert "interrupted" in errors
        assert emulator.counters()["queues"] == {}
