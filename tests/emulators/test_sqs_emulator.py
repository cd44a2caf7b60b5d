"""The server that answers like SQS: for this machine alone, and gone when it is not needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qtune.adapters.base import Outgoing
from qtune.adapters.sqs import SqsAdapter
from qtune.emulators import sqs
from qtune.emulators.sqs import LOOPBACK, SqsEmulator
from qtune.errors import BrokerDown, InputError


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any will do."""
    for name, value in (
        ("ACCESS_KEY_ID", "any"),
        ("SECRET_ACCESS_KEY", "any"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)


def round_trip(endpoint_url: str) -> None:
    """A queue there works."""
    queue = SqsAdapter(endpoint_url=endpoint_url)
    queue.create()
    assert queue.sender().send([Outgoing(number=1, body=b"x")]) == (True,)
    receiver = queue.receiver()
    assert receiver.complete(receiver.receive(1, 5.0)) == (True,)
    queue.remove()


def listening(process: int) -> set[str]:
    """The addresses at which a process listens, as Linux tells them."""
    ours = {
        os.readlink(file)
        for file in Path(f"/proc/{process}/fd").iterdir()
        if file.exists() or file.is_symlink()
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in ours:
                found.add(fields[1])
    return found


def test_it_listens_on_the_loopback_interface_and_on_one_port_only() -> None:
    """Nobody on the network reaches it, whatever else the server could serve."""
    with SqsEmulator() as emulator:
        assert emulator._process is not None
        address = "".join(f"{int(part):02X}" for part in reversed(LOOPBACK.split(".")))
        assert listening(emulator._process.pid) == {f"{address}:{emulator.port:04X}"}


def test_two_run_side_by_side_and_know_nothing_of_each_other() -> None:
    """Each has a free port and its own queues."""
    with SqsEmulator() as one, SqsEmulator() as other:
        assert one.port != other.port
        round_trip(one.endpoint_url)
        round_trip(other.endpoint_url)


def test_it_ends_with_its_block() -> None:
    """Afterwards nothing listens there, and ending it again does nothing."""
    emulator = SqsEmulator().start()
    assert emulator._process is not None
    process = emulator._process
    emulator.close()
    emulator.close()
    assert process.poll() is not None
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((LOOPBACK, emulator.port))


def test_a_port_in_use_is_bad_input() -> None:
    """It says which, and what to do."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match="use another port"):
            SqsEmulator(port=port).start()


def test_where_it_is_not_installed_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named; the finder of modules is told to find none, since it is installed here."""
    monkeypatch.setattr(sqs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'qtune\[sqs-emulator\]'"):
        SqsEmulator().start()


def test_a_server_that_ends_at_once_is_reported_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its last line is in the error."""
    broken = tmp_path / "ministack.py"
    broken.write_text("raise SystemExit('no room')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BrokerDown, match="no room"):
        SqsEmulator().start()


def test_modules_of_the_folder_at_hand_do_not_get_into_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file there that is called as a library of the server changes nothing."""
    (tmp_path / "h2.py").write_text("raise SystemExit('wrong one')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with SqsEmulator() as emulator:
        round_trip(emulator.endpoint_url)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_and_ends_when_told_to(end: signal.Signals) -> None:
    """stdout holds the endpoint and nothing else; after Ctrl-C neither the command nor the server is left."""
    command = [sys.executable, "-m", "qtune", "emulator", "sqs"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        endpoint_url = process.stdout.readline().decode().strip()
        assert process.stderr.readline().startswith(b"qtune: boto3 needs")
        round_trip(endpoint_url)
        process.send_signal(end)
        rest, complaint = process.communicate(timeout=30)
    assert (rest, complaint, process.returncode) == (b"", b"", 0)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((LOOPBACK, int(endpoint_url.rpartition(":")[2])))


def test_the_server_ends_even_when_its_starter_is_killed() -> None:
    """A command that gets SIGKILL cannot end anything, and still leaves nothing behind."""
    with subprocess.Popen(
        [sys.executable, "-m", "qtune", "emulator", "sqs"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().decode().strip().rpartition(":")[2])
        process.kill()
    end_s = time.monotonic() + 20.0
    while (answers := _answers(port)) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert not answers


def _answers(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port)).close()
    except ConnectionRefusedError:
        return False
    return True
