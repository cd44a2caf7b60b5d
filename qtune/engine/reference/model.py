"""The model put together, and its run."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from qtune.engine.plan import Plan
from qtune.engine.reference.background import Background
from qtune.engine.reference.broker import Broker
from qtune.engine.reference.clients import Client
from qtune.engine.reference.clock import Clock, Slot
from qtune.engine.reference.consumer import Consumer
from qtune.engine.reference.downstream import Downstream
from qtune.engine.reference.draws import Draws
from qtune.engine.reference.fleet import Fleet
from qtune.engine.reference.rows import Rows, Table
from qtune.engine.reference.scaler import Scaler
from qtune.engine.reference.source import Source
from qtune.engine.slots import slots_of


class Model:
    """A plan as SimPy processes: the specification of what is simulated.

    To add an actor of your own, make a model, start a process on ``model.clock`` that looks at or acts on
    ``model.broker``, ``model.consumers`` or ``model.source``, and call :meth:`run`.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.slots = plan, slots_of(plan)
        self.clock = Clock()
        self.draws = Draws(plan)
        self.rows = Rows()
        self.service_s: list[float] = plan.service_s.tolist()
        self.buffered = self.busy_workers = 0
        self.breaker_openings = self.breaker_rejections = 0
        self.core_busy_s = 0.0
        self.pauses: list[tuple[float, float]] = list(
            zip(plan.pause_start_s.tolist(), plan.pause_end_s.tolist(), strict=True)
        )
        slow = (plan.slow_start_s, plan.slow_end_s, plan.slow_factor, plan.slow_extra_s)
        self.slow = list(zip(*(column.tolist() for column in slow), strict=True))
        self.drops: list[float] = plan.drop_s.tolist()
        self.clients = [Client(self) for _ in range(plan.clients)]
        self.broker = Broker(self)
        self.downstream = Downstream(plan, self.clock)
        self.background = Background(self)
        self.source = Source(self)
        self.fleet = Fleet(self)
        if plan.scale_every_s:
            self.scaler = Scaler(self)
        self.clock.process(self.end_pauses())
        self.clock.process(self.sample())

    def run(self) -> tuple[Table, Table, Table, Table]:
        """Run to the horizon; the tables of messages, deliveries, calls and states."""
        queue, step, horizon_s = self.clock._queue, self.clock.step, self.plan.horizon_s
        while queue and queue[0][0] <= horizon_s:
            step()
        return self.rows.tables(self.plan.horizon_s)

    @property
    def consumers(self) -> list[Consumer]:
        """The consumers that have not ended."""
        return self.fleet.consumers

    def round_trip_s(self, table: int, stream: int, a: int, b: int) -> float:
        """How long a call that begins now is on its way there and back."""
        now_s: float = self.clock.now
        time_s = self.draws.value(table, stream, a, b)
        for start_s, end_s, factor, extra_s in self.slow:
            if start_s <= now_s < end_s:
                time_s = time_s * factor + extra_s
        return time_s

    def broke_since(self, start_s: float) -> bool:
        """Whether connections have broken after this instant."""
        return any(start_s < drop_s <= self.clock.now for drop_s in self.drops)

    def paused_until_s(self) -> float:
        """When the present pause of all handlers ends; 0 when there is none."""
        if not self.pauses:
            return 0.0
        now_s: float = self.clock.now
        for start_s, end_s in self.pauses:
            if start_s <= now_s < end_s:
                return end_s
        return 0.0

    def end_pauses(self) -> Generator[Any, Any, None]:
        """After a pause the idle workers of every receiver start on what has gathered."""
        slot = Slot(self.clock, self.slots.pause)
        for _, end_s in self.pauses:
            yield slot.at(end_s)
            for consumer in self.consumers:
                for receiver in consumer.receivers:
                    receiver.resume()

    def sample(self) -> Generator[Any, Any, None]:
        """Write the state down on an even grid."""
        slot = Slot(self.clock, self.slots.samples)
        for tick in range(self.plan.samples):
            yield slot.at(tick * self.plan.sample_every_s)
            broker = self.broker
            self.rows.states.append(
                (
                    self.clock.now,
                    self.core_busy_s,
                    self.fleet.instance_s,
                    self.downstream.worked_s(self.consumers),
                    self.downstream.refusals,
                    self.breaker_openings,
                    self.breaker_rejections,
                    self.source.unsent,
                    len(broker.delays.messages) if broker.delays else 0,
                    broker.backlog,
                    broker.in_flight,
                    self.buffered,
                    self.busy_workers,
                    self.fleet.running,
                )
            )


def run(plan: Plan) -> tuple[Table, Table, Table, Table]:
    """Simulate a plan; see :class:`Model`."""
    return Model(plan).run()
