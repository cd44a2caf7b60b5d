"""The pool of a client's connections, which makes a call that finds none wait for a handshake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model
from engine_plans import Floats, at_once, due_at, poisson, run, tables
from numpy.typing import NDArray

from qtune.analysis.finding import Finding
from qtune.analysis.rules import of_scenario
from qtune.analysis.setup import setup_of
from qtune.distributions import Constant
from qtune.engine.plan import POLL, Plan
from qtune.engine.planning import make_plan
from qtune.errors import ScenarioError
from qtune.result import CALL_FAILED, CALL_OK, OP_RECEIVE, OP_SEND
from qtune.scenario import Scenario
from qtune.shipped import models_dir
from qtune.simulation import simulate

SEND_S, CONNECT_S = 0.1, 0.03


def sending(rate_per_s: float, **fields: Any) -> Plan:
    """Senders of one client, as many as are needed, which call whenever a message falls due."""
    given: dict[str, Any] = {
        "seed": 1,
        "horizon_s": 20.0,
        "sample_every_s": 5.0,
        "senders": 200,
        "senders_each": 200,
        "pool_connections": 3,
        "tables": tables(send=Constant(value=SEND_S), connect=Constant(value=CONNECT_S)),
        "discipline": POLL,
        "wait_s": 20.0,
        **poisson(rate_per_s),
    }
    return Plan(**{**given, **fields})


def sends(engine: str, plan: Plan) -> tuple[Floats, Floats]:
    """When sends began and ended, in the order in which they began."""
    calls = run(engine, plan).calls
    calls = calls[calls["op"] == OP_SEND]
    calls = calls[np.argsort(calls["start_s"], kind="stable")]
    return calls["start_s"], calls["end_s"]


def finds_none(start_s: Floats, end_s: Floats, kept: int) -> NDArray[np.bool_]:
    """Which calls find no kept connection, by playing the begins and ends of all through once more."""
    ends = [(time_s, 1, call) for call, time_s in enumerate(end_s)]
    idle, none = 0, np.zeros(start_s.size, np.bool_)
    for _, begins, call in sorted(ends + [(time_s, 2, call) for call, time_s in enumerate(start_s)]):
        if begins == 1:
            idle = min(idle + 1, kept)
        elif idle:
            idle -= 1
        else:
            none[call] = True
    return none


def test_calls_in_a_row_share_one_connection(engine: str) -> None:
    """Who makes one call after the other waits for a handshake once."""
    start_s, end_s = sends(engine, sending(0.0, senders=1, **at_once(5)))
    assert end_s - start_s == pytest.approx([SEND_S + CONNECT_S, *[SEND_S] * 4])


def test_a_call_waits_for_a_handshake_when_no_idle_connection_is_kept(engine: str) -> None:
    """A call takes an idle connection if one is kept, else it opens one; a full pool closes what comes back."""
    start_s, end_s = sends(engine, sending(60.0))
    paid = end_s - start_s > SEND_S + 0.5 * CONNECT_S
    ended = end_s < 20.0
    assert (paid == finds_none(start_s, end_s, kept=3))[ended].all()
    assert paid.any()
    assert not paid.all()


def test_a_pool_of_k_saves_all_but_one_of_k_plus_1_handshakes(engine: str) -> None:
    """Where many calls begin and end independently of each other, one of k + 1 finds the pool of k empty.

    Calls begin as often as they end, so the number of idle connections is a random walk between 0 and k whose steps up
    and down are equally likely: all its k + 1 values are.
    """
    replications, kept, paid = 8, 3, []
    for seed in range(replications):
        brief = tables(send=Constant(value=SEND_S), connect=Constant(value=1e-4))
        plan = sending(400.0, seed=seed, horizon_s=8.0, tables=brief)
        start_s, end_s = sends(engine, plan)
        paid.append(float(np.mean((end_s - start_s > SEND_S + 0.5e-4)[start_s > 1.0])))
    error = 5.0 * float(np.std(paid, ddof=1)) / np.sqrt(replications)
    assert np.mean(paid) == pytest.approx(1.0 / (kept + 1), abs=error)
    assert error < 0.02


def test_a_call_that_waits_to_be_made_again_holds_no_connection(engine: str) -> None:
    """While a client waits after a failed call, another call can have its connection."""
    plan = sending(
        0.0,
        senders=1,
        failed_wait_s=np.array([1.0]),
        throttled_wait_s=np.array([1.0]),
        outage_start_s=np.array([0.0]),
        outage_end_s=np.array([0.5]),
        **at_once(1),
    )
    rows = run(engine, plan).calls
    sent = rows[rows["op"] == OP_SEND]
    assert sent["outcome"].tolist() == [CALL_FAILED, CALL_OK]
    assert sent["end_s"] - sent["start_s"] == pytest.approx([SEND_S + CONNECT_S, SEND_S])


def test_a_consumer_that_starts_again_has_no_connections(engine: str) -> None:
    """A process that ends takes its connections with it."""
    plan = sending(
        0.0,
        senders=0,
        wait_s=1.0,
        tables=tables(receive=Constant(value=0.1), connect=Constant(value=CONNECT_S)),
        fleet_at_s=np.array([5.0]),
        fleet_count=np.array([1]),
        fleet_grace_s=np.array([0.0]),
        fleet_back_s=np.array([2.0]),
        **due_at(100.0),
    )
    polls = run(engine, plan).calls
    polls = polls[polls["op"] == OP_RECEIVE]
    with_handshake = polls["start_s"][polls["end_s"] - polls["start_s"] > 1.1 + 0.5 * CONNECT_S]
    assert with_handshake == pytest.approx([0.0, 7.0])


def test_a_call_of_a_plan_without_a_pool_needs_no_connection(engine: str) -> None:
    """Links stand open, and calls inside one process need none: then no call waits for a handshake."""
    start_s, end_s = sends(engine, replace(sending(60.0), pool_connections=0))
    assert end_s - start_s == pytest.approx(np.full(start_s.size, SEND_S))


def scenario(model: str, **consumers: Any) -> Scenario:
    """Handlers of 100 ms behind SQS."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": 60},
        service_time={"family": "constant", "mean_s": 0.1},
        queue={"provider": "sqs"},
        consumers={"workers": 12, "receive_wait_s": 20.0, **consumers},
        horizon_s=30.0,
        model=model,
    )


def test_boto3_keeps_ten_connections_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    """Twelve workers that poll at one time open twelve, and ten are kept.

    So two of those who settle open theirs again, and once more when the ten others wait in long polls.
    """
    model = write_model(tmp_path, "sqs", round_trip="10ms", connect="30ms")
    for kept, handshakes in ((None, 12 + 2 + 2), (12, 12)):
        calls = simulate(scenario(model, max_pool_connections=kept)).calls
        took_s = calls["end_s"] - calls["start_s"]
        assert int(((took_s > 0.039) & (took_s < 0.041)).sum()) == handshakes


def test_a_pool_needs_a_model_that_knows_handshakes() -> None:
    """A number of connections that would change nothing is an error."""
    model = str(models_dir() / "lab" / "round-trips" / "sqs-20ms.yaml")
    assert make_plan(scenario(model), 1).pool_connections == 0
    with pytest.raises(ScenarioError, match=r"says nothing of handshakes: give it latency\.connect"):
        scenario(model, max_pool_connections=5)


def test_an_explanation_says_how_many_connections_are_short() -> None:
    """Rule R9: what an instance calls at a time, against what its client keeps open; never before what costs more."""
    tried = scenario("sqs", workers=16)
    short = of_pool(tried)
    assert short is not None
    assert (short.broken, short.setting, short.value) == (True, "consumers.max_pool_connections", 16)
    assert of_pool(tried.replace(short.setting or "", short.value)) is None


def of_pool(tried: Scenario) -> Finding | None:
    """What the rule for connections says, if it is broken."""
    found = of_scenario(tried, setup_of(tried), 1.0)
    return next((finding for finding in found if finding.key == ("R9", "connections")), None)
