"""A measured run: the scenario's load on a real queue, by real processes, written down like a simulated one."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Final

import numpy as np

from qtune.adapters.base import QueueAdapter
from qtune.conditions import Conditions
from qtune.errors import ProviderFailure
from qtune.faults import KillConsumers, PauseHandlers
from qtune.measurement.client import Orders
from qtune.measurement.live import Looker, Watch
from qtune.measurement.logs import clock_s
from qtune.measurement.machine import Machine
from qtune.measurement.measurable import check_measurable
from qtune.measurement.process import Task
from qtune.measurement.processes import OwnProcess, Process, ThreadsInstead
from qtune.measurement.rows import Ran, account, lateness_s, tables
from qtune.measurement.senders import SendOrders
from qtune.producer import Producers
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.workload import Workload

START_AFTER_S: Final = 0.3
LOOK_EVERY_S: Final = 0.25
SHOW_EVERY: Final = 4
"""Every so many looks the run is shown: reading its rows costs a little of what is measured."""


def run_on(
    scenario: Scenario,
    adapter: QueueAdapter,
    *,
    seed: int | None = None,
    watch: Watch | None = None,
) -> Result:
    """Run a scenario on a real queue up to its horizon, in real time.

    The queue is made before the run, if it was not given, and removed after it, also after Ctrl-C. The result holds
    the scenario as it was run: with the producers that a real queue needs.

    seed: of the workload; None takes the scenario's own. A simulation with the same seed has the same messages.
    InputError for what cannot be measured; ProviderFailure when the broker cannot be reached.
    """
    scenario = scenario if scenario.producers else scenario.with_(producers=Producers(senders=8))
    check_measurable(scenario, adapter)
    used = scenario.seed if seed is None else seed
    workload = Workload(scenario, used)
    with tempfile.TemporaryDirectory(prefix="qtune-") as folder:
        adapter.create()
        try:
            run = _Run(scenario, adapter, workload, Path(folder))
            ran, machine = run.to_the_end(watch)
            left = _left(adapter)
        finally:
            adapter.remove()
        messages, deliveries, calls, states = tables(ran)
        return Result(
            messages=messages,
            deliveries=deliveries,
            calls=calls,
            states=states,
            scenario=scenario,
            seed=used,
            source=f"measured:{scenario.queue.provider}",
            horizon_s=scenario.horizon_s,
            versions={"qtune": version("qtune"), "python": python_version(), **adapter.versions()},
            conditions=run.conditions(ran, machine, left),
        )


@dataclass
class _Run:
    """The processes of one run, from their start to their end."""

    scenario: Scenario
    adapter: QueueAdapter
    workload: Workload
    folder: Path
    consumers: list[Process] = field(default_factory=list)
    producers: list[Process] = field(default_factory=list)
    clock_error_s: float = 0.0

    def to_the_end(self, watch: Watch | None) -> tuple[Ran, Machine]:
        """Run to the horizon."""
        machine = Machine()
        try:
            self._begin()
            self.clock_error_s = max(process.clock_error_s() for process in self._all)
            start_s = clock_s() + START_AFTER_S
            for process in self._all:
                process.start(start_s)
            killed_s, core_s = self._look_on(start_s, machine, watch)
        finally:
            self._end()
        return self._ran(start_s, killed_s, core_s), machine

    def conditions(self, ran: Ran, machine: Machine, left: int | None) -> Conditions:
        """What a reader must know of the machine, and where the messages are."""
        late_s = lateness_s(ran)
        return Conditions(
            machine=machine.name,
            clock_error_s=self.clock_error_s,
            utilization=tuple(machine.utilization),
            late_s_p95=float(np.quantile(late_s, 0.95)) if late_s.size else 0.0,
            account=account(ran, left),
        )

    @property
    def _all(self) -> list[Process]:
        return [*self.consumers, *self.producers]

    def _begin(self) -> None:
        kind = ThreadsInstead if self.adapter.in_process else OwnProcess
        scenario = self.scenario
        assert scenario.producers is not None
        pauses = [fault for fault in scenario.faults if isinstance(fault, PauseHandlers)]
        orders = Orders(
            adapter=self.adapter,
            workload=self.workload,
            behaviour=scenario.behaviour(),
            workers=scenario.consumers.workers,
            lock_s=scenario.semantics().lock_s,
            abandons=scenario.failures.on_failure == "abandon",
            cpu_share=scenario.handler.cpu_share,
            pauses_s=tuple((fault.at_s, fault.end_s) for fault in pauses),
        )
        sends = SendOrders(
            adapter=self.adapter,
            workload=self.workload,
            producers=scenario.producers,
            body_bytes=scenario.message_size_bytes,
        )
        for number in range(scenario.consumers.instances):
            self.consumers.append(kind(Task(orders=orders, folder=self.folder, number=number)))
        for number in range(scenario.producers.instances):
            self.producers.append(kind(Task(orders=sends, folder=self.folder, number=number)))
        for process in self._all:
            process.wait_until_ready()

    def _look_on(
        self, start_s: float, machine: Machine, watch: Watch | None
    ) -> tuple[list[float], list[tuple[float, float]]]:
        """Wait for the horizon, kill whom the scenario kills, and see how busy the machine is."""
        horizon_s = self.scenario.horizon_s
        kills = sorted(
            (fault.at_s, fault.count) for fault in self.scenario.faults if isinstance(fault, KillConsumers)
        )
        killed_s = [float("inf")] * len(self.consumers)
        core_s: list[tuple[float, float]] = []
        looker, turn = Looker(self.folder, self.workload.due_s, horizon_s), 0
        while (now_s := clock_s() - start_s) < horizon_s:
            self._all_alive()
            machine.look(now_s)
            core_s.append((now_s, sum(process.core_s() for process in self.consumers)))
            if watch is not None and turn % SHOW_EVERY == 0:
                watch(looker.look(start_s, now_s))
            turn += 1
            next_s = min(now_s + LOOK_EVERY_S, horizon_s, *(at_s for at_s, _ in kills[:1]))
            time.sleep(max(0.0, start_s + next_s - clock_s()))
            while kills and kills[0][0] <= clock_s() - start_s:
                for number in [n for n, at_s in enumerate(killed_s) if at_s == float("inf")][
                    : kills.pop(0)[1]
                ]:
                    self.consumers[number].kill()
                    killed_s[number] = clock_s() - start_s
        self._all_alive()
        if watch is not None:
            watch(looker.look(start_s, horizon_s))
        return killed_s, core_s

    def _all_alive(self) -> None:
        """ProviderFailure when a process has ended by itself: what is left is not the scenario any more."""
        for process in self._all:
            failure = process.failure()
            if failure is not None:
                raise ProviderFailure(f"{process.task.name} ended during the run: {failure}")

    def _end(self) -> None:
        """Stop everything; who does not end soon, because it waits in a long poll, has written its rows already."""
        for process in self._all:
            process.stop()
        deadline_s = clock_s() + 1.0
        for process in self._all:
            with suppress(OSError):
                process.ended(max(0.0, deadline_s - clock_s()))
            process.kill()

    def _ran(self, start_s: float, killed_s: list[float], core_s: list[tuple[float, float]]) -> Ran:
        return Ran(
            folder=self.folder,
            workload=self.workload,
            start_s=start_s,
            horizon_s=self.scenario.horizon_s,
            consumers=len(self.consumers),
            senders=self.scenario.producers.senders_total if self.scenario.producers else 0,
            killed_s=np.array(killed_s),
            core_s=np.array(core_s).reshape(-1, 2),
            dead=self.scenario.semantics().max_deliveries,
        )


def _left(adapter: QueueAdapter) -> int | None:
    """How many messages the queue and its dead letters hold; None when the provider does not say."""
    try:
        depth = adapter.depth()
    except ProviderFailure:
        return None
    if depth.ready is None or depth.in_flight is None or depth.dead_lettered is None:
        return None
    return depth.ready + depth.in_flight + depth.dead_lettered
