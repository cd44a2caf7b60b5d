"""Measured runs in trouble: connections that drop, sends that are refused, a server that stands still for a while."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.invariants import check
from qtune.measurement import Live, measure
from qtune.result import MESSAGE_COMPLETED, Result
from qtune.scenario import Scenario

pytestmark = pytest.mark.slow

SCENARIO = Scenario(
    arrivals={"kind": "poisson", "rate_per_s": 12.0},
    service_time={"family": "exponential", "mean_s": 0.05},
    message_size_bytes=200,
    producers={"senders": 3},
    queue={"provider": "servicebus", "tier": "premium", "lock_duration_s": 5.0},
    consumers={"instances": 2, "workers": 1, "client": "azure-servicebus-7.15"},
    horizon_s=20.0,
)


class Trouble:
    """Does something once for each of some instants of a run."""

    def __init__(self, *steps: tuple[float, Callable[[], object]]) -> None:
        self.steps = list(steps)

    def __call__(self, live: Live) -> None:
        """Shown how the run goes."""
        while self.steps and live.time_s >= self.steps[0][0]:
            self.steps.pop(0)[1]()


def must_account_for_all(result: Result, least: int) -> None:
    """Fail when a message is lost or was completed twice, or when the run came to a standstill."""
    assert check(result) == []
    assert result.conditions is not None
    account = result.conditions.account
    assert account.lost == 0
    assert account.completed_twice == 0
    assert int((result.messages["state"] == MESSAGE_COMPLETED).sum()) >= least


def test_nothing_is_lost_when_connections_drop() -> None:
    """All connections are cut without a word, twice; the SDK connects again, and every message is done once."""
    with ServiceBusEmulator() as emulator:
        trouble = Trouble((3.0, emulator.drop_connections), (8.0, emulator.drop_connections))
        result = measure(SCENARIO, endpoint=f"127.0.0.1:{emulator.port}", watch=trouble)
    assert trouble.steps == []
    must_account_for_all(result, least=60)


def test_nothing_is_lost_when_sends_are_refused_as_busy() -> None:
    """Every seventh send is refused as by a throttled namespace; the SDK waits and sends it again."""
    with ServiceBusEmulator() as emulator:
        emulator.faults.server_busy_every = 7
        result = measure(SCENARIO, endpoint=f"127.0.0.1:{emulator.port}")
    must_account_for_all(result, least=60)


def test_nothing_is_lost_when_the_server_stands_still_for_ten_seconds() -> None:
    """A server that is frozen and goes on finds locks that ran out meanwhile; what they held is handled again."""
    command = [sys.executable, "-m", "qtune", "emulator", "servicebus"]
    server: Any = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = server.stdout.readline().split("//")[1].split(";")[0].strip("/")
        trouble = Trouble(
            (4.0, lambda: server.send_signal(signal.SIGSTOP)),
            (14.0, lambda: server.send_signal(signal.SIGCONT)),
        )
        result = measure(SCENARIO.with_(horizon_s=30.0), endpoint=address, watch=trouble)
    finally:
        server.send_signal(signal.SIGCONT)
        server.terminate()
        server.communicate(timeout=30)
    assert trouble.steps == []
    must_account_for_all(result, least=100)
