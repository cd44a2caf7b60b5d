"""Providers whose parameters are known, and the runs that a calibration makes on them, simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qtune.providers import dump_model, load_model
from qtune.providers.model import Latency, ProviderModel
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.shapes import FittedTime
from qtune.simulation import simulate

SHORT = {
    "arrivals": {"kind": "poisson", "rate_per_s": 5.0},
    "service_time": {"family": "exponential", "mean_s": 0.02},
    "producers": {"senders": 8},
    "horizon_s": 60.0,
}
SQS: dict[str, Any] = {"provider": "sqs", "visibility_timeout_s": 30.0}
BUS: dict[str, Any] = {"provider": "servicebus", "tier": "premium", "lock_duration_s": 30.0}

# A model that is not the shipped one: what is fitted cannot come from where the fit starts.
TIMES: Mapping[str, tuple[str, float, float]] = {
    "send": ("lognormal", 0.004, 0.5),
    "receive": ("gamma", 0.006, 0.4),
    "settle": ("lognormal", 0.005, 0.6),
    "renew": ("gamma", 0.007, 0.5),
}
CALL_COST_S, MESSAGE_COST_S = 0.0004, 0.00006


def truth(provider: str, folder: Path, **broker: Any) -> tuple[ProviderModel, str]:
    """A provider's model with times of its own, and the path of its file. broker: changes of that part."""
    start = load_model(provider)
    times = {
        op: Latency(
            time=FittedTime(family=family, mean_s=mean_s, cv=cv),  # type: ignore[arg-type]
            prior=False,
            source="known",
            as_of=start.as_of,
        )
        for op, (family, mean_s, cv) in TIMES.items()
    }
    clients = {
        name: cost.model_copy(update={"call_cost_s": CALL_COST_S, "message_cost_s": MESSAGE_COST_S})
        for name, cost in start.clients.items()
    }
    model = start.model_copy(
        update={
            "latency": start.latency.model_copy(update=times),
            "broker": start.broker.model_copy(update=broker),
            "clients": clients,
        }
    )
    path = folder / f"{provider}-truth.yaml"
    path.write_text(dump_model(model), encoding="utf-8")
    return model, str(path)


def run(queue: Mapping[str, Any], model: str, seed: int, **changes: Any) -> Result:
    """A simulated run on a provider with known parameters."""
    scenario = Scenario(**{**SHORT, "queue": queue, "consumers": {"workers": 1}}, model=model)
    return simulate(scenario.with_(**changes), seed=seed)


def with_a_real_clock(result: Result, seed: int, off: float = 0.02) -> Result:
    """The run as a machine shows it, whose processor times are not exact: each step is off by a few per cent."""
    states = result.states.copy()
    steps_s = np.diff(states["core_busy_s"], prepend=0.0)
    states["core_busy_s"] = np.cumsum(
        steps_s * np.random.default_rng(seed).normal(1.0, off * 5.0, steps_s.size)
    )
    return replace(result, states=states)
