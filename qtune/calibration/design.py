"""How fast the runs of a calibration are, and how long: by what was seen before, not by what one server does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from qtune.calibration.place import Place, Setting
from qtune.calibration.runs import AROUND_S, Runs
from qtune.calibration.settings import (
    BATCHES,
    HELD_OUT,
    IDLE,
    MODERATE,
    NOISE_RUNS,
    PROBE,
    SATURATING,
    SATURATING_BATCHES,
)
from qtune.errors import ProviderFailure
from qtune.result import CALL_OK, CALL_OPS, OP_SEND, OP_SETTLE, Result
from qtune.scenario import Scenario
from qtune.units import format_duration, format_usd

WARM_UP_SHARE: Final = 0.1
LONGEST: Final = 6.0
"""Where few messages a second are possible, a run is longer, up to so many times."""
MESSAGES_PER_S: Final = 20.0
"""A run is long enough when it has so many messages for each second of its usual length."""
TRIES: Final = 4
_SATURATED: Final = 0.93
_PROBE_PER_S: Final = 4.0
_CALLS_WAITED_FOR: Final = {"single": 2.0, "several": 1.2, "batch": 1.0, "deep": 1.0, "bulk": 1.0}
"""How many calls a worker waits for with each message, about."""


@dataclass(frozen=True, kw_only=True)
class Expense:
    """What a calibration takes before it is begun.

    time_s: of all runs, where calls are quick; more where they are slow. messages: at most. usd: at the model's prices,
    without what a month has free; 0 on this machine.
    """

    time_s: float
    messages: int
    usd: float
    server: str

    @property
    def text(self) -> str:
        """What it takes, in a line."""
        spent = f"up to {self.messages:,} messages on {self.server}"
        cost = f"about {format_usd(self.usd)}" if self.usd else "at no cost"
        return f"about {format_duration(self.time_s)}, {spent}, {cost}"


def expense_of(place: Place, *, run_s: float, held_out: int, noise: bool) -> Expense:
    """Time, messages and money, by the longest runs and the most messages that workers can handle."""
    fitted = (PROBE, IDLE, MODERATE, BATCHES, SATURATING, SATURATING_BATCHES)
    settings = [*fitted, *HELD_OUT[:held_out], *(HELD_OUT[:1] * NOISE_RUNS if noise else ())]
    messages = sum(_most_per_s(setting) * setting.load * run_s for setting in settings)
    time_s = len(settings) * (run_s + AROUND_S)
    return Expense(
        time_s=time_s,
        messages=math.ceil(messages),
        usd=0.0 if place.is_here else _usd(place, messages, time_s),
        server=place.server,
    )


def _usd(place: Place, messages: float, time_s: float) -> float:
    scenario = scenario_for(place, MODERATE, rate_per_s=1.0, run_s=1.0, send_s=0.0, seed=1)
    plan = place.model.prices.plans[scenario.queue.plan]
    calls = 3.0 * messages + time_s * max(setting.workers for setting in HELD_OUT)
    requests_usd = (
        0.0 if plan.requests is None else calls / 1e6 * max(t.usd_per_million for t in plan.requests.tiers)
    )
    return requests_usd + (0.0 if plan.hours is None else math.ceil(time_s / 3600.0) * plan.hours.usd)


def _most_per_s(setting: Setting) -> float:
    return setting.instances * setting.workers / setting.service_s


def scenario_for(
    place: Place, setting: Setting, *, rate_per_s: float, run_s: float, send_s: float, seed: int
) -> Scenario:
    """The setting under so many messages a second, for long enough, with senders that keep up."""
    horizon_s = min(max(run_s, MESSAGES_PER_S * run_s / rate_per_s), LONGEST * run_s)
    return place.scenario(
        setting,
        rate_per_s=rate_per_s,
        horizon_s=horizon_s,
        warm_up_s=WARM_UP_SHARE * horizon_s,
        senders=min(max(4, math.ceil(3.0 * rate_per_s * send_s)), 32),
        seed=seed,
    )


class Designer:
    """Runs what the model is fitted to, each run at a rate that the ones before it suggest."""

    def __init__(self, runs: Runs, run_s: float) -> None:
        self.place, self.runs, self.run_s = runs.place, runs, run_s
        self.call_s = self.send_s = 0.0

    def fitted_runs(self) -> list[Result]:
        """The probe, the idle, the moderate and the saturating runs."""
        probe = self._probe()
        self._learn(probe)
        idle = self._measured(IDLE, IDLE.load * self._possible_per_s(IDLE), seed=2)
        moderate = self._kept_up(MODERATE, seed=3)
        self._learn(moderate)
        batches = self._kept_up(BATCHES, seed=4)
        saturating = self._saturated(SATURATING, seed=5)
        saturating_batches = self._saturated(SATURATING_BATCHES, seed=6)
        return [probe, idle, moderate, batches, saturating, saturating_batches]

    def _learn(self, run: Result) -> None:
        """How long calls take, by the last run: of the settlements, for which workers wait, and of the sends."""
        self.call_s, self.send_s = call_s_of(run, OP_SETTLE), call_s_of(run, OP_SEND)

    def _probe(self) -> Result:
        """A few messages at a rate that asks little of any server."""
        horizon_s = max(0.5 * self.run_s, 1.0)
        return self.runs(
            self.place.scenario(
                PROBE, rate_per_s=_PROBE_PER_S, horizon_s=horizon_s, warm_up_s=0.0, senders=4, seed=1
            )
        )

    def _measured(self, setting: Setting, rate_per_s: float, seed: int) -> Result:
        place, run_s, send_s = self.place, self.run_s, self.send_s
        return self.runs(
            scenario_for(place, setting, rate_per_s=rate_per_s, run_s=run_s, send_s=send_s, seed=seed)
        )

    def _kept_up(self, setting: Setting, seed: int) -> Result:
        """Measured at its load, or at half of it as often as the queue does not keep up with that."""
        return self._tried(setting, setting.load * self._possible_per_s(setting), 0.5, seed, saturated=False)

    def _saturated(self, setting: Setting, seed: int) -> Result:
        """Measured at its load, or at twice that as often as the queue keeps up with it all the same."""
        return self._tried(setting, setting.load * self._possible_per_s(setting), 2.0, seed, saturated=True)

    def _tried(
        self, setting: Setting, rate_per_s: float, factor: float, seed: int, *, saturated: bool
    ) -> Result:
        for attempt in range(TRIES):
            named = (
                setting
                if not attempt
                else Setting(**{**vars(setting), "name": f"{setting.name}-{attempt + 1}"})
            )
            found = self._measured(named, rate_per_s, seed)
            if is_saturated(found) == saturated:
                break
            rate_per_s *= factor
        return found

    def _possible_per_s(self, setting: Setting) -> float:
        """What the workers can do if each waits for its calls, and nothing else hinders them."""
        cycle_s = setting.service_s + _CALLS_WAITED_FOR[setting.way] * self.call_s
        return setting.instances * setting.workers / cycle_s


def call_s_of(run: Result, op: int) -> float:
    """The median time of the calls of a kind, neither of which waits for messages.

    ProviderFailure when none was answered within the run.
    """
    calls = run.calls[(run.calls["outcome"] == CALL_OK) & (run.calls["op"] == op)]
    if not calls.size:
        text = f"no {CALL_OPS[op]} was answered within {run.horizon_s:g} s: is the server up, and may it be called?"
        raise ProviderFailure(text)
    return float(median((calls["end_s"] - calls["start_s"]).tolist()))


def is_saturated(run: Result) -> bool:
    """Whether clearly less was completed than came in, after the warm-up."""
    warm_up_s = float(run.scenario.warm_up_s)
    due = int(np.count_nonzero(run.messages["due_s"] >= warm_up_s))
    completed = int(np.count_nonzero(run.messages["completed_s"] >= warm_up_s))
    return completed < _SATURATED * due
