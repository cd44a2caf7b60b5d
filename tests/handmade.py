"""Runs made by hand, in which the right answer to every question is known: a queue without a network.

Messages are served in the order in which they fall due, by workers without any delay around them; the
waiting times follow from Lindley's recursion. All four tables are filled in as an engine would.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qtune.result import (
    CALL,
    CALL_OK,
    DELIVERY,
    DELIVERY_COMPLETED,
    DELIVERY_OPEN,
    MESSAGE,
    MESSAGE_COMPLETED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
    OP_RECEIVE,
    OP_SETTLE,
    STATE,
    Result,
)
from qtune.scenario import Scenario

Floats = NDArray[np.float64]
SAMPLES = 201


def scenario_of(**changes: Any) -> Scenario:
    """One in-process worker for 8 messages a second of 0.1 s each, for 1000 s; with the changes."""
    base: dict[str, Any] = {
        "name": "by hand",
        "arrivals": {"kind": "poisson", "rate_per_s": 8.0},
        "service_time": {"family": "exponential", "mean_s": 0.1},
        "queue": {"provider": "memory", "max_queue_size": 1_000_000, "when_full": "block"},
        "consumers": {"instances": 1, "workers": 1, "receive_wait_s": 1.0, "polling": "permits"},
        "horizon_s": 1000.0,
    }
    return Scenario(**{**base, **changes})


def lindley(gaps_s: Floats, service_s: Floats, first_wait_s: float = 0.0) -> Floats:
    """The wait of each customer of one server: w' = max(w + service - gap, 0), from the first one's wait."""
    walk = np.concatenate([[first_wait_s], first_wait_s + np.cumsum(service_s[:-1] - gaps_s[1:])])
    return walk - np.minimum(np.minimum.accumulate(walk), 0.0)


def fcfs(
    due_s: Floats,
    service_s: Floats,
    scenario: Scenario | None = None,
    *,
    seed: int = 1,
    starts_s: Floats | None = None,
) -> Result:
    """The run of a queue that serves these messages in order; starts_s: when each starts, if given."""
    scenario = scenario or scenario_of()
    workers = scenario.consumers.instances * scenario.consumers.workers
    horizon_s = scenario.horizon_s
    due_s = due_s[due_s <= horizon_s]
    free = [(0.0, worker) for worker in range(workers)]
    started_s, worker_of = np.empty(due_s.size), np.zeros(due_s.size, dtype=np.int32)
    for i, due in enumerate(due_s.tolist()):
        at, worker = heapq.heappop(free)
        started_s[i] = max(at, due) if starts_s is None else starts_s[i]
        worker_of[i] = worker
        heapq.heappush(free, (started_s[i] + service_s[i], worker))
    finished_s = started_s + service_s[: due_s.size]
    finished_s[finished_s > horizon_s] = np.nan
    begun = started_s <= horizon_s
    done = ~np.isnan(finished_s)

    messages = np.zeros(due_s.size, MESSAGE)
    messages["due_s"] = messages["sent_s"] = due_s
    messages["completed_s"] = messages["settled_s"] = messages["left_s"] = finished_s
    messages["delivery"] = np.where(begun, np.cumsum(begun) - 1, -1)
    messages["group"] = -1
    messages["deliveries"] = begun
    messages["state"] = np.where(done, MESSAGE_COMPLETED, np.where(begun, MESSAGE_LOCKED, MESSAGE_READY))

    deliveries = np.zeros(int(begun.sum()), DELIVERY)
    deliveries["message"] = np.flatnonzero(begun)
    for name in ("locked_s", "received_s", "started_s"):
        deliveries[name] = started_s[begun]
    for name in ("finished_s", "settled_s", "lock_end_s"):
        deliveries[name] = finished_s[begun]
    deliveries["delivery_no"] = 1
    deliveries["worker"] = worker_of[begun]
    deliveries["consumer"] = deliveries["worker"] // scenario.consumers.workers
    deliveries["attempts"] = done[begun]
    deliveries["outcome"] = np.where(done[begun], DELIVERY_COMPLETED, DELIVERY_OPEN)
    return Result(
        messages=messages,
        deliveries=deliveries,
        calls=_calls(deliveries),
        states=_states(messages, deliveries, horizon_s),
        scenario=scenario,
        seed=seed,
        source="simulated:by hand",
        horizon_s=horizon_s,
        versions={"numpy": np.__version__},
    )


def _calls(deliveries: NDArray[np.void]) -> NDArray[np.void]:
    """A receive and a settle for each delivery, neither of which takes any time."""
    parts = []
    for name, op in (("received_s", OP_RECEIVE), ("settled_s", OP_SETTLE)):
        at = deliveries[~np.isnan(deliveries[name])]
        calls = np.zeros(at.size, CALL)
        calls["start_s"] = calls["end_s"] = at[name]
        calls["consumer"], calls["op"], calls["count"], calls["outcome"] = at["consumer"], op, 1, CALL_OK
        parts.append(calls)
    together = np.concatenate(parts)
    return together[np.argsort(together["end_s"], kind="stable")]


def _states(messages: NDArray[np.void], deliveries: NDArray[np.void], horizon_s: float) -> NDArray[np.void]:
    times_s = np.linspace(0.0, horizon_s, SAMPLES)

    def passed(instants_s: Floats) -> NDArray[np.int64]:
        return np.searchsorted(np.sort(instants_s[~np.isnan(instants_s)]), times_s, side="right")

    states = np.zeros(times_s.size, STATE)
    states["time_s"] = times_s
    states["backlog"] = passed(messages["sent_s"]) - passed(deliveries["locked_s"])
    states["in_flight"] = passed(deliveries["locked_s"]) - passed(deliveries["lock_end_s"])
    states["busy_workers"] = states["in_flight"]
    return states


def poisson_run(
    rng: np.random.Generator,
    *,
    rate_per_s: float = 8.0,
    service_mean_s: float = 0.1,
    scenario: Scenario | None = None,
    seed: int = 1,
) -> Result:
    """An M/M/c run that starts empty, up to the horizon of the scenario."""
    scenario = scenario or scenario_of(
        arrivals={"kind": "poisson", "rate_per_s": rate_per_s},
        service_time={"family": "exponential", "mean_s": service_mean_s},
    )
    count = int(rate_per_s * scenario.horizon_s + 10.0 * (rate_per_s * scenario.horizon_s) ** 0.5 + 10.0)
    due_s = np.cumsum(rng.exponential(1.0 / rate_per_s, count))
    return fcfs(due_s, rng.exponential(service_mean_s, count), scenario, seed=seed)
