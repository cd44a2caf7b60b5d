"""A bound on the memory of an instance: how many messages it holds, and what waits at the broker instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_models import write_model

from qtune.errors import ScenarioError
from qtune.invariants import check
from qtune.result import CALL_OK, OP_RECEIVE, Result, most_held
from qtune.scenario import Scenario
from qtune.simulation import simulate
from qtune.verification import verify

KIB = 1024


def burst(folder: Path, messages: int, **consumers: Any) -> Scenario:
    """So many messages of 1 s at once, on SQS without latencies, for one instance of four workers."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": messages},
        service_time={"family": "constant", "mean_s": 1.0},
        queue={"provider": "sqs", "visibility_timeout_s": 600.0},
        consumers={"workers": 4, "receive_batch": 10, "receive_wait_s": 20.0, **consumers},
        horizon_s=60.0,
        model=write_model(folder, "sqs"),
    )


def simulated(engine: str, scenario: Scenario) -> Result:
    """A run with the engine of this name."""
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("polling", "fits", "held"),
    [
        ({"polling": "loop"}, 23, 20),  # five for each of four receivers, and three places that none may have
        ({"polling": "loop"}, 4, 4),
        ({"polling": "permits"}, 3, 3),
        ({"polling": "permits"}, 9, 4),  # one for each worker, however much memory there is
        ({"polling": "buffer", "buffer": 50}, 11, 11),
        ({"polling": "buffer", "buffer": 50}, 100, 54),
    ],
)
def test_an_instance_holds_what_fits(
    engine: str, tmp_path: Path, polling: dict[str, Any], fits: int, held: int
) -> None:
    """Before a backlog it holds as many messages as its client would without a bound, or as fit into its memory."""
    tried = burst(tmp_path, 100, memory_limit_bytes=fits * 64 * KIB, message_memory_bytes=64 * KIB, **polling)
    result = simulated(engine, tried)
    assert most_held(result.deliveries) == held
    assert check(result) == []


def test_batches_in_handlers_take_memory_too(engine: str, tmp_path: Path) -> None:
    """Four handlers of up to five messages each leave the buffer seven places of 27, and it needs five of them."""
    tried = burst(
        tmp_path, 100, polling="buffer", buffer=50, memory_limit_bytes=27 * KIB, message_memory_bytes=KIB
    )
    tried = tried.with_(handler={"takes": "batch", "most": 5})
    result = simulated(engine, tried)
    assert 20 < most_held(result.deliveries) <= 27
    assert check(result) == []
    with pytest.raises(ScenarioError, match="needs room for 25"):
        tried.with_(consumers={"memory_limit_bytes": 24 * KIB})


def test_receives_ask_for_what_still_fits(engine: str, tmp_path: Path) -> None:
    """With a buffer and room for six, four work and two wait: then two places free make the next receive."""
    memory = {"memory_limit_bytes": 6 * KIB, "message_memory_bytes": KIB}
    tried = burst(tmp_path, 12, polling="buffer", buffer=10, **memory)
    calls = simulated(engine, tried).calls
    brought = calls[(calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_OK)]
    assert brought["count"].max() == 2
    assert brought["count"].sum() == 12


def test_a_law_sees_an_instance_that_holds_too_much(tmp_path: Path) -> None:
    """Rows of a run without a bound break the law of a scenario that has one."""
    free = simulate(burst(tmp_path, 100, polling="buffer", buffer=50))
    memory = {"memory_limit_bytes": 40 * KIB, "message_memory_bytes": KIB}
    (offence,) = check(replace(free, scenario=free.scenario.with_(consumers=memory)))
    assert offence == "deliveries: a consumer holds 54 messages, and its memory allows 40"


def test_assertion_9_is_judged_by_what_instances_hold(tmp_path: Path) -> None:
    """The document's memory bound passes where receives leave room, and the share of the memory is shown."""
    memory = {"memory_limit_bytes": 8 * KIB, "message_memory_bytes": KIB}
    steady = burst(tmp_path, 10, polling="buffer", buffer=50, **memory).with_(
        arrivals={"kind": "poisson", "rate_per_s": 2.0}
    )
    found = verify(steady).assertion(9)
    assert found.outcome == "PASS"
    assert found.evidence["memory"].value == 1.0
