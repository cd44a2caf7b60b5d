"""The models that are measured, as numbers, and as plans of qtune's engines."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import Any, Final

import numpy as np

from qtune.distributions import Constant, Distribution, Exponential, Lognormal
from qtune.engine import streams
from qtune.engine.plan import LINK_SLIDING, POLL, Plan
from qtune.engine.planning import make_plan
from qtune.scenario import Scenario

NEVER_S: Final = 1e9
NOTHING: Final = Constant(value=0.0)


@dataclass(frozen=True, kw_only=True)
class MessageModel:
    """A fleet that polls a queue with locks: Poisson arrivals, prefetch, batches, long polls, failures, dead letters.

    Each instance asks for up to ``batch`` messages as soon as ``refill_at`` of its ``buffer`` places are free; a place
    is free when a worker takes the message. A failed handler leaves its lock to run out. Times are lognormal with this
    mean and coefficient of variation; a receive call's round trip is one draw, half of it before the broker acts.
    """

    name: str
    rate_per_s: float
    lock_s: float = 30.0
    failures: float = 0.02
    instances: int = 8
    workers: int = 4
    buffer: int = 10
    batch: int = 10
    refill_at: int = 5
    wait_s: float = 20.0
    max_deliveries: int = 3
    service_mean_s: float = 0.100
    service_cv: float = 0.8
    settle_mean_s: float = 0.010
    settle_cv: float = 0.5
    call_mean_s: float = 0.016
    call_cv: float = 0.5 / sqrt(2.0)  # of the sum of a request and a response, each with 0.5

    def horizon_s(self, messages: int) -> float:
        """How long it takes for so many messages to fall due, on average."""
        return messages / self.rate_per_s


SCENARIOS: Final = (
    MessageModel(name="base", rate_per_s=230.0),
    MessageModel(name="backlog", rate_per_s=400.0),
    MessageModel(name="light", rate_per_s=40.0),
    MessageModel(name="shortvt", rate_per_s=180.0, lock_s=0.35, failures=0.1),
)
"""Load 0.8; a queue that grows; mostly waiting polls; locks that run out while messages are handled."""


def fleet(instances: int) -> MessageModel:
    """The base model with more instances and as much load on each."""
    base = SCENARIOS[0]
    return MessageModel(
        name=f"{instances} instances",
        rate_per_s=base.rate_per_s * instances / base.instances,
        instances=instances,
    )


def lognormal_parameters(mean: float, cv: float) -> tuple[float, float]:
    """Mean and deviation of the logarithm."""
    variance = log(1.0 + cv * cv)
    return log(mean) - 0.5 * variance, sqrt(variance)


def _tables(service: Distribution, receive: Distribution, settle: Distribution) -> tuple[Any, ...]:
    each = (Exponential(mean=1.0), service, NOTHING, receive, settle, NOTHING, NOTHING, NOTHING)
    return tuple((made.kind, made.values) for made in (one.table() for one in each))


def message_plan(model: MessageModel, messages: int, seed: int) -> Plan:
    """The plan of a message model for about so many messages."""
    horizon_s = model.horizon_s(messages)
    return Plan(
        seed=seed,
        horizon_s=horizon_s,
        sample_every_s=horizon_s / 500,
        segment_start_s=np.array([0.0]),
        segment_rate_per_s=np.array([model.rate_per_s]),
        fail_steps=streams.chance_steps(model.failures),
        lock_s=model.lock_s,
        max_deliveries=model.max_deliveries,
        consumers=model.instances,
        workers=model.workers,
        cores=model.workers,
        discipline=POLL,
        batch=model.batch,
        wait_s=model.wait_s,
        in_hand_limit=model.buffer,
        refill_at=model.refill_at,
        credit_at_settle=False,
        tables=_tables(
            Lognormal(mean=model.service_mean_s, cv=model.service_cv),
            Lognormal(mean=model.call_mean_s, cv=model.call_cv),
            Lognormal(mean=model.settle_mean_s, cv=model.settle_cv),
        ),
    )


def plan_of_everything(messages: int, seed: int) -> Plan:
    """A standard namespace of Service Bus with sessions, short of credits now and then, and pods that KEDA scales."""
    mean_per_s = 300.0
    scenario = Scenario(
        arrivals={
            "kind": "piecewise",
            "segments": [{"for_s": 20.0, "rate_per_s": 150.0}, {"for_s": 10.0, "rate_per_s": 600.0}],
            "repeat": True,
        },
        groups={"kind": "even", "count": 400},
        service_time={"family": "lognormal", "mean_s": 0.1, "cv": 0.8},
        producers={"senders": 64},
        queue={"provider": "servicebus", "tier": "standard", "requires_session": True, "settle_credits": 1},
        consumers={
            "client": "azure-processor",
            "instances": 16,
            "workers": 8,
            "session_idle_timeout_s": 1.0,
            "renewal": {"max_s": 300.0},
        },
        failures={"rate": 0.02},
        scaling={"kind": "keda", "min_instances": 4, "messages": 50.0, "scale_down_window_s": 30.0},
        horizon_s=messages / mean_per_s,
    )
    return make_plan(scenario, seed)


SERVERS: Final = 8
LOAD: Final = 0.8
SERVICE_S: Final = 1.0
RATE_PER_S: Final = LOAD * SERVERS / SERVICE_S

DISCIPLINES: Final[dict[str, dict[str, Any]]] = {
    "link, credit 1000": {"discipline": LINK_SLIDING, "in_hand_limit": 1000, "credit_at_settle": True},
    "poll, 8 permits": {
        "discipline": POLL,
        "batch": 8,
        "wait_s": NEVER_S,
        "in_hand_limit": 8,
        "credit_at_settle": True,
    },
    "poll, buffer 1000": {
        "discipline": POLL,
        "batch": 1000,
        "wait_s": NEVER_S,
        "in_hand_limit": 1000,
        "credit_at_settle": False,
    },
}
"""Three ways to say M/M/8 in a plan: all are exact when calls take no time."""


def queue_plan(discipline: str, messages: int, seed: int) -> Plan:
    """M/M/8 at load 0.8: one receiver, 8 workers, calls that take no time, and locks that never run out."""
    horizon_s = messages / RATE_PER_S
    return Plan(
        seed=seed,
        horizon_s=horizon_s,
        sample_every_s=horizon_s,
        segment_start_s=np.array([0.0]),
        segment_rate_per_s=np.array([RATE_PER_S]),
        lock_s=NEVER_S,
        workers=SERVERS,
        cores=SERVERS,
        tables=_tables(Exponential(mean=SERVICE_S), NOTHING, NOTHING),
        **DISCIPLINES[discipline],
    )


def erlang_c_sojourn_s() -> float:
    """The mean time from arrival to the end of service in this M/M/8, by Erlang's C formula."""
    offered = RATE_PER_S * SERVICE_S
    blocked = 1.0
    for servers in range(1, SERVERS + 1):
        blocked = offered * blocked / (servers + offered * blocked)
    waits = blocked / (1.0 - LOAD * (1.0 - blocked))
    return waits * SERVICE_S / (SERVERS * (1.0 - LOAD)) + SERVICE_S
