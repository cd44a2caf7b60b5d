"""The emulator of Service Bus: whether its round trip is the one asked for, and what the SDK makes of it.

The emulator runs in a process of its own, as `qtune emulator servicebus`: it shares the machine with its client and not
its interpreter. One worker on a deep backlog takes, handles and completes one message after the other; what a message
costs it is W + S + R / G: its work, the round trip of the settlement (none before azure-servicebus 7.15, which settles
ahead of the broker), and its share of the round trip that grants credit, which comes once in G = prefetch + 1 messages,
or once in as many as a receive asks for when nothing is prefetched. R is what a bare client sees in the same round,
because a busy machine delays both. What is measured is more than that by the CPU time of the SDK and the emulator.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from statistics import fmean

from measure import Row, Spread

from qtune.adapters.base import Outgoing
from qtune.adapters.servicebus import ServiceBusAdapter
from qtune.adapters.servicebus.place import sdk_version
from qtune.consumer import Consumers
from qtune.emulators.servicebus.frames import (
    AMQP_HEADER,
    Begin,
    Flow,
    FrameReader,
    Open,
    frame_bytes,
)
from qtune.providers.servicebus import SERVICEBUS

WORK_S = 0.005
RTTS_S = (0.005, 0.02)
FETCHES = ((0, 1), (0, 10), (9, 1), (99, 1))
"""Prefetch, and how many messages a receive asks for."""
BAR_RTT, BAR_CYCLE = 0.05, 0.10
_COMMAND = "python benchmarks/run.py servicebus"


@contextmanager
def emulator(rtt_s: float) -> Iterator[str]:
    """A running emulator with such a network; its address."""
    command = [sys.executable, "-m", "qtune", "emulator", "servicebus", "--rtt", f"{rtt_s}s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        try:
            assert running.stdout is not None
            yield running.stdout.readline().partition("//")[2].partition(";")[0]
        finally:
            running.terminate()


def round_trips_s(address: str, count: int) -> list[float]:
    """How long the emulator takes to answer a client that does nothing else: without an SDK, on a socket."""
    host, _, port = address.partition(":")
    reader, times = FrameReader(), []
    with socket.create_connection((host, int(port))) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def hear(kind: type) -> None:
            while True:
                for frame in reader.feed(wire.recv(65_536)):
                    if isinstance(frame.performative, kind):
                        return

        wire.sendall(AMQP_HEADER + frame_bytes(0, Open("bench")) + frame_bytes(0, Begin(None, 0, 999, 999)))
        hear(Begin)
        for _ in range(count):
            started_s = time.perf_counter()
            wire.sendall(frame_bytes(0, Flow(0, 999, 0, 999, echo=True)))
            hear(Flow)
            times.append(time.perf_counter() - started_s)
    return times


def cycle_s(address: str, prefetch: int, most: int, count: int) -> tuple[float, float]:
    """What a message costs one worker on a backlog, and of it the work, both in seconds."""
    adapter = ServiceBusAdapter(emulator=address)
    adapter.create()
    sender = adapter.sender()
    sender.send([Outgoing(number=number, body=b"x" * 256) for number in range(count + 100)])
    sender.close()
    behaviour = SERVICEBUS.behaviour(adapter.queue, Consumers(workers=1, prefetch=prefetch))
    receiver, done, worked_s = adapter.receiver(behaviour), 0, 0.0
    started_s = time.perf_counter()
    while done < count:
        for received in receiver.receive(most, 5.0):
            begun_s = time.perf_counter()
            time.sleep(WORK_S)
            worked_s += time.perf_counter() - begun_s
            receiver.complete([received])
            done += 1
    taken_s = time.perf_counter() - started_s
    receiver.close()
    adapter.remove()
    return taken_s / done, worked_s / done


def compare_round_trips(quick: bool, _full: bool) -> list[Row]:
    """The emulator's round trip against the one asked for, and the SDK's cycle against the formula."""
    rounds, trips, messages = (1, 30, 60) if quick else (5, 100, 150)
    rows = []
    for rtt_s in RTTS_S:
        with emulator(rtt_s) as address:
            seen = [sorted(round_trips_s(address, trips)) for _ in range(rounds)]
            rows.append(_round_trip_row(rtt_s, seen))
            rows += [_cycle_row(address, rtt_s, fetch, rounds, messages) for fetch in FETCHES]
    return [*rows, _cpu_row(10 * messages)]


def _round_trip_row(rtt_s: float, seen: list[list[float]]) -> Row:
    """The fastest tenth: what takes longer has waited for a core."""
    spread, half = (Spread.of(times[len(times) // part] / rtt_s for times in seen) for part in (10, 2))
    return Row(
        what=f"round trip of {rtt_s * 1000:.0f} ms, fastest tenth against asked",
        bar=f"1 +- {BAR_RTT:.0%}",
        measured=spread.text(),
        met=abs(spread.middle - 1.0) <= BAR_RTT,
        command=_COMMAND,
        notes=(f"the median is {half.text()} of what was asked",),
    )


def _cycle_row(address: str, rtt_s: float, fetch: tuple[int, int], rounds: int, messages: int) -> Row:
    """What a message costs, against the formula with the round trip that a bare client sees before and after."""
    prefetch, most = fetch
    share = prefetch + 1 if prefetch else most
    waits = 1.0 if sdk_version() >= (7, 15) else 0.0
    against, excess, asked = [], [], []
    for _ in range(rounds):
        seen = round_trips_s(address, messages // 4)
        measured_s, work_s = cycle_s(address, prefetch, most, messages)
        seen += round_trips_s(address, messages // 4)
        formula_s = work_s + fmean(seen) * (waits + 1.0 / share)
        against.append(measured_s / formula_s)
        excess.append(1000.0 * (measured_s - formula_s))
        asked.append(measured_s / (WORK_S + rtt_s * (waits + 1.0 / share)))
    spread = Spread.of(against)
    return Row(
        what=f"round trip {1000 * rtt_s:.0f} ms, prefetch {prefetch}, {most} a receive: cycle / (W + S + R/{share})",
        bar=f"1 +- {BAR_CYCLE:.0%}",
        measured=spread.text(),
        met=abs(spread.middle - 1.0) <= BAR_CYCLE,
        command=_COMMAND,
        notes=(
            f"azure-servicebus {metadata.version('azure-servicebus')}; {Spread.of(excess).text(' ms')} more than the "
            f"formula; with the round trip and the work asked for: {Spread.of(asked).text()}",
        ),
    )


def _cpu_row(messages: int) -> Row:
    """CPU time of the emulator's process for a message that is sent in a batch, received and completed one by one."""

    def ended_cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before_s = ended_cpu_s()
    with emulator(0.0):
        pass
    idle_s = ended_cpu_s() - before_s
    with emulator(0.0) as address:
        adapter = ServiceBusAdapter(emulator=address)
        adapter.create()
        sender = adapter.sender()
        for _ in range(messages // 100):
            sender.send([Outgoing(number=number, body=b"x" * 256) for number in range(100)])
        sender.close()
        receiver, done = adapter.receiver(), 0
        while done < messages // 100 * 100:
            done += sum(receiver.complete(receiver.receive(1, 5.0)))
        receiver.close()
    used_s = ended_cpu_s() - before_s - 2.0 * idle_s
    return Row(
        what="CPU time of the emulator",
        measured=f"{1e6 * used_s / done:.0f} us a message",
        command=_COMMAND,
    )
