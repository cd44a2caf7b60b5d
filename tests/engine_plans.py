"""Plans for the tests of the engines: tables by name, queues without latency, and a run as named tables."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qtune.consumer import Consumers
from qtune.distributions import Constant, Distribution, Exponential
from qtune.downstream import Downstream
from qtune.engine.plan import LINK_BURST, LINK_SLIDING, POLL, Plan
from qtune.handler import CircuitBreaker, Handler
from qtune.result import CALL_OPS, Result
from qtune.scenario import Scenario

Table = np.ndarray[Any, np.dtype[Any]]
Floats = NDArray[np.float64]

NEVER_S = 1e9
NOTHING = Constant(value=0.0)


class Rows(NamedTuple):
    """The four tables of one run."""

    messages: Table
    deliveries: Table
    calls: Table
    states: Table


def run(engine: str, plan: Plan) -> Rows:
    """Simulate a plan with the engine of this name."""
    return Rows(*import_module(f"qtune.engine.{engine}").run(plan))


def tables(
    *,
    gap: Distribution | None = None,
    service: Distribution = NOTHING,
    send: Distribution = NOTHING,
    receive: Distribution = NOTHING,
    settle: Distribution = NOTHING,
    renew: Distribution = NOTHING,
    broker: Distribution = NOTHING,
    think: Distribution = NOTHING,
    connect: Distribution = NOTHING,
    turn: Distribution = NOTHING,
) -> tuple[tuple[int, Floats], ...]:
    """The tables of a plan by the name of what they time; gaps are exponential and all else takes no time."""
    each = (gap or Exponential(mean=1.0), service, send, receive, settle, renew, broker, think, connect, turn)
    return tuple((table.kind, table.values) for table in (one.table() for one in each))


def poisson(rate_per_s: float) -> dict[str, Any]:
    """The fields of a plan with Poisson arrivals."""
    return {"segment_start_s": np.array([0.0]), "segment_rate_per_s": np.array([rate_per_s])}


def due_at(*due_s: float) -> dict[str, Any]:
    """The fields of a plan with messages that fall due at these instants."""
    return {"due_s": np.array(due_s, np.float64), "explicit": True}


def at_once(count: int) -> dict[str, Any]:
    """The fields of a plan with a backlog at time 0."""
    return due_at(*[0.0] * count)


def queue_plan(*, workers: int = 1, **fields: Any) -> Plan:
    """The textbook's queue: calls take no time, each idle worker has credit, and locks outlast the run."""
    textbook: dict[str, Any] = {
        "seed": 1,
        "sample_every_s": fields["horizon_s"] / 4.0,
        "lock_s": NEVER_S,
        "discipline": LINK_SLIDING,
        "in_hand_limit": workers,
        "credit_at_settle": True,
        "abandons": True,
    }
    return Plan(workers=workers, **{**textbook, **fields})


@lru_cache(maxsize=512)
def _scenario_like(
    discipline: int,
    instances: int,
    workers: int,
    on_failure: str,
    senders: int,
    horizon_s: float,
    downstream: Downstream | None,
    breaker: CircuitBreaker | None,
    most: int,
    delay_s: float,
) -> Scenario:
    client = {LINK_SLIDING: "azure-processor", LINK_BURST: "azure-servicebus-7.15"}.get(discipline)
    queue: dict[str, Any] = {"provider": "servicebus", "tier": "premium"}
    if discipline == POLL:
        queue = {"provider": "sqs", "delay_s": delay_s}
    like = Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 1.0},
        service_time={"family": "exponential", "mean_s": 1.0},
        failures={"on_failure": on_failure},
        downstream=downstream,
        producers={"senders": senders} if senders else None,
        queue=queue,
        consumers=Consumers(instances=instances, workers=workers, client=client),
        horizon_s=horizon_s,
    )
    batches: dict[str, Any] = {"takes": "batch", "most": most} if most > 1 else {}
    handler = Handler(circuit_breaker=breaker, **batches)
    return like.model_copy(update={"handler": handler})  # not every client here can have it


def _breaker_of(plan: Plan) -> CircuitBreaker | None:
    if not plan.has_breaker:
        return None
    return CircuitBreaker(
        failure_rate=plan.breaker_failures,
        window=plan.breaker_window,
        min_calls=plan.breaker_least,
        open_for_s=plan.breaker_open_s,
        half_open_calls=plan.breaker_trials,
    )


def _downstream_of(plan: Plan) -> Downstream | None:
    if not plan.has_downstream:
        return None
    gap_s = plan.downstream_gap_s
    return Downstream(
        connections=plan.downstream_connections or None,
        rate_per_s=1.0 / gap_s if gap_s else None,
        burst=1 + round(plan.downstream_ahead_s / gap_s) if gap_s else None,
        when_full="reject" if plan.downstream_rejects else "wait",
        refusal_s=plan.refusal_s if plan.downstream_rejects else None,
    )


def result_of(engine: str, plan: Plan) -> Result:
    """A run of a plan as a result, with a scenario that has the same fleet, discipline and rule for failures.

    Some plans are beyond what any provider offers; laws and comparisons read only these parts of a scenario.
    """
    rows = run(engine, plan)
    return Result(
        messages=rows.messages,
        deliveries=rows.deliveries,
        calls=rows.calls,
        states=rows.states,
        scenario=_scenario_like(
            plan.discipline,
            plan.consumers,
            plan.receivers * plan.workers,
            "abandon" if plan.abandons else "lock_expiry",
            plan.senders,
            plan.horizon_s,
            _downstream_of(plan),
            _breaker_of(plan),
            plan.handler_batch,
            plan.delay_s,
        ),
        seed=plan.seed,
        source=f"simulated:{engine}",
        horizon_s=plan.horizon_s,
    )


def limit(
    most: float, period_s: float, *, calls: dict[int, float] | None = None, **fields: Any
) -> dict[str, Any]:
    """The fields of a plan with one limit; ``calls`` and ``messages`` say what a kind of call costs."""
    messages, window_s = fields.pop("messages", {}), fields.pop("window_s", (0.0, np.inf))
    by_call, by_message = np.zeros(len(CALL_OPS)), np.zeros(len(CALL_OPS))
    for costs, table in ((calls or {}, by_call), (messages, by_message)):
        for op, cost in costs.items():
            table[op] = cost
    return {
        "limit_credits": np.array([most]),
        "limit_period_s": np.array([period_s]),
        "limit_start_s": np.array(window_s[:1]),
        "limit_end_s": np.array(window_s[1:]),
        "limit_call_cost": by_call,
        "limit_message_cost": by_message,
        **fields,
    }
