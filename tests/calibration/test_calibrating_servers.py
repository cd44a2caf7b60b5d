"""`qtune calibrate` against servers on this machine, over the providers' SDKs, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.emulators.sqs import SqsEmulator
from qtune.providers import load_model

COMMAND = [sys.executable, "-m", "qtune", "calibrate", "--name", "mine", "--busiest", "1.1"]
AWS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any-secret", "AWS_DEFAULT_REGION": "us-east-1"}


def calibrate(folder: Path, *options: str) -> dict[str, object]:
    """What the command says on a short calibration, as data; how well it predicts depends on the machine."""
    done = subprocess.run(
        [*COMMAND, "--run-time", "2", "--held-out", "2", "--json", *options],
        cwd=folder,
        env={**os.environ, **AWS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.nightly
def test_a_server_like_sqs(tmp_path: Path) -> None:
    """Its calls are measured, no queue stays behind, and no credential is in any file that is left."""
    with SqsEmulator() as emulator:
        found = calibrate(tmp_path, "--provider", "sqs", "--endpoint-url", emulator.endpoint_url)
    model = load_model(tmp_path / str(found["model"]))
    assert model.calibration is not None
    assert "boto3" in model.calibration.versions
    assert not {"send", "receive", "settle", "client_cost"} & model.priors("boto3")
    for file in (tmp_path / "models").rglob("*"):
        assert file.is_dir() or b"any-secret" not in file.read_bytes()


@pytest.mark.nightly
def test_an_emulated_namespace(tmp_path: Path) -> None:
    """The same over azure-servicebus, of the version that is installed."""
    with ServiceBusEmulator() as emulator:
        found = calibrate(tmp_path, "--provider", "servicebus", "--endpoint", f"127.0.0.1:{emulator.port}")
        assert emulator.counters()["queues"] == {}
    model = load_model(tmp_path / str(found["model"]))
    assert model.calibration is not None
    assert not {"send", "receive", "settle"} & model.priors(model.calibration.client)


def test_an_interrupted_calibration_leaves_no_queue_behind(tmp_path: Path) -> None:
    """Ctrl-C removes the queue of the run that is under way, writes no model, and keeps the runs that are over."""
    with ServiceBusEmulator() as emulator:
        place = ["--provider", "servicebus", "--endpoint", f"127.0.0.1:{emulator.port}"]
        run = subprocess.Popen(
            [*COMMAND, *place, "--run-time", "4"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        kept = tmp_path / "models" / "mine-runs" / "probe.npz"
        while not (kept.exists() and emulator.counters()["queues"]):
            assert run.poll() is None, run.stderr and run.stderr.read()
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 130, errors
        assert emulator.counters()["queues"] == {}
    assert not (tmp_path / "models" / "mine.yaml").exists()


def test_a_server_that_is_not_there_has_failed(tmp_path: Path) -> None:
    """Exit code 3, which says nothing of the model, and no traceback."""
    done = subprocess.run(
        [*COMMAND, "--provider", "servicebus", "--endpoint", "127.0.0.1:9"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
