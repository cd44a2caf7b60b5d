"""`qtune emulator servicebus` as a program: what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

COMMAND = [sys.executable, "-m", "qtune", "emulator", "servicebus"]


def started(*options: str) -> subprocess.Popen[str]:
    """The command, as a shell would start it in the foreground."""
    return subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_what_clients_need_and_ends_when_asked(sign: signal.Signals) -> None:
    """The first line is the connection string; Ctrl-C and an orderly kill end it with the counters, and with 0."""
    with started("--queue", "orders", "--session-queue", "chats", "--lock", "5s") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        connection_string = running.stdout.readline().strip()
        address = running.stderr.readline().split()[1]
        with (
            ServiceBusClient.from_connection_string(connection_string) as client,
            client.get_queue_sender("chats") as sender,
        ):
            sender.send_messages(ServiceBusMessage("hello", session_id="one"))
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert json.load(answer)["queues"]["chats"]["sent"] == 1
        running.send_signal(sign)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    counters = json.loads(out)["queues"]
    assert counters["orders"]["sent"] == 0
    assert counters["chats"]["now_ready"] == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--rtt", "5"), "needs a unit"),
        (("--rtt", "-5ms"), "not negative"),
        (("--lock", "0s"), "must be more than 0"),
        (("--hand-out", "best"), "is not one of"),
        (("--port", "70000"), "65535"),
        (("--host", "192.0.2.1"), "cannot listen there"),
        (("--queue", "q", "--queue", "$q"), "none can be called so"),
        (("--queue", "a", "--session-queue", "A"), "there is a queue 'A'"),
    ],
)
def test_bad_input_ends_with_2(options: tuple[str, ...], word: str) -> None:
    """What cannot be used is told in words, and nothing is started."""
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr
