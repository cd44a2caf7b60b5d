"""A run simulated again under another provider model: the same messages, handlers and consumers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from qtune.engine import kernel, streams
from qtune.engine.plan import Plan
from qtune.engine.planning import make_plan
from qtune.providers.files import in_no_file
from qtune.providers.model import ProviderModel
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.shapes import ConstantTime, TimeShape

TABLES: Final = {
    "send": streams.SEND,
    "receive": streams.RECEIVE,
    "settle": streams.SETTLE,
    "renew": streams.RENEW,
}


class Again:
    """One run, to be simulated with its own seed on a broker and with a client as the model has them."""

    def __init__(self, run: Result, model: ProviderModel) -> None:
        with in_no_file(model) as name:
            scenario: Scenario = run.scenario.with_(model=name)
            self._run, self._plan = run, make_plan(scenario, run.seed)

    def simulated(self) -> Result:
        """The run again."""
        return self._of(self._plan)

    def serving(self, at_once: int, service_s: float, times: Mapping[str, TimeShape]) -> Result:
        """The run on a broker that serves so many calls at once (0: any number), each for so long; ``times`` of calls
        are without that."""
        tables = list(self._plan.tables)
        for op, time in {**times, "service": ConstantTime(mean_s=service_s)}.items():
            table = time.distribution().table()
            tables[TABLES.get(op, streams.BROKER)] = (table.kind, table.values)
        return self._of(replace(self._plan, calls_served_at_once=at_once, tables=tuple(tables)))

    def _of(self, plan: Plan) -> Result:
        messages, deliveries, calls, states = kernel.run(plan)
        return replace(
            self._run,
            messages=messages,
            deliveries=deliveries,
            calls=calls,
            states=states,
            source="simulated:kernel",
            conditions=None,
        )
