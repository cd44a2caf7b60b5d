"""The work of a run, which a measurement shares with a simulation of the same scenario and seed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from qtune.errors import InputError
from qtune.scenario import Scenario
from qtune.simulation import simulate
from qtune.workload import Workload

PLAIN = {
    "arrivals": {"kind": "poisson", "rate_per_s": 40.0},
    "service_time": {"family": "lognormal", "mean_s": 0.1, "cv": 1.0},
    "queue": {"provider": "sqs", "visibility_timeout_s": 5.0, "max_receive_count": 6},
    "consumers": {"workers": 8, "receive_wait_s": 1.0},
    "horizon_s": 30.0,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "arrivals": {
                "kind": "bursts",
                "on_rate_per_s": 80.0,
                "off_rate_per_s": 5.0,
                "on_mean_s": 3.0,
                "off_mean_s": 4.0,
            }
        },
        {"arrivals": {"kind": "burst_at_once", "messages": 200}},
        {"groups": {"kind": "zipf", "count": 7, "exponent": 1.0}, "queue": {"type": "fifo"}},
        {"failures": {"rate": 0.3, "poison": 0.05, "retry": {"attempts": 3, "base_s": 0.05, "jitter": 0.5}}},
    ],
)
def test_a_workload_is_what_a_simulation_with_its_seed_works_on(changes: dict[str, object]) -> None:
    """Due instants and groups are those of the simulated rows, and every handler takes as long as its attempts say."""
    scenario = Scenario(**PLAIN).with_(**changes)
    run = simulate(scenario, seed=5, engine="reference")
    workload = pickle.loads(pickle.dumps(Workload(scenario, 5)))
    assert workload.due_s.tolist() == run.messages["due_s"].tolist()
    assert workload.groups.tolist() == run.messages["group"].tolist()
    done = run.deliveries[~np.isnan(run.deliveries["finished_s"])]
    assert done.size > 20
    for row in done:
        message, delivery_no = int(row["message"]), int(row["delivery_no"])
        took_s = row["finished_s"] - row["started_s"]
        expected_s, attempt, fails = 0.0, 0, True
        while fails and attempt < row["attempts"]:
            service_s, fails = workload.attempt(message, delivery_no, attempt)
            expected_s += service_s
            if fails and attempt + 1 < row["attempts"]:
                expected_s += workload.backoff_s(message, delivery_no, attempt) or 0.0
            attempt += 1
        assert took_s == pytest.approx(expected_s, abs=1e-9)
        assert (workload.backoff_s(message, delivery_no, int(row["attempts"]) - 1) is None) or not fails


def test_a_closed_loop_has_no_workload_of_its_own() -> None:
    """Its customers send when they have been served, which nobody knows before."""
    closed = {"kind": "closed_loop", "customers": 3, "think_time": {"family": "constant", "mean_s": 1.0}}
    with pytest.raises(InputError, match="closed loop"):
        Workload(Scenario(**PLAIN).with_(arrivals=closed), 1)
