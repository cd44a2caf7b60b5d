"""Prefetch against lock duration: reported incidents, with the numbers that arithmetic gives for them.

A message that waits in the client ages under its lock. Where all times are constant the outcome is exact;
where they are random, ranges are stated. Calls take no time here, so nothing else disturbs the arithmetic.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model
from engine_plans import Rows, at_once, poisson, queue_plan, run, tables

from qtune.distributions import Constant, Distribution, Exponential
from qtune.engine.plan import Plan
from qtune.result import (
    DELIVERY_COMPLETED,
    DELIVERY_DROPPED,
    DELIVERY_LATE,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

TENTH = Constant(value=0.1)


def link(service: Distribution, places: int, *, taken: bool, lock_s: float = 60.0, **fields: Any) -> Plan:
    """One consumer behind a link with so many places, which come back when taken or when settled."""
    link_fields = {"in_hand_limit": places, "credit_at_settle": not taken, "lock_s": lock_s}
    return queue_plan(tables=tables(service=service), **{"max_deliveries": 10, **link_fields, **fields})


def simulated(engine: str, scenario: Scenario) -> np.ndarray[Any, np.dtype[Any]]:
    """The messages of a run with the engine of this name."""
    return simulate(scenario, engine=engine).messages  # type: ignore[arg-type]


def count(rows: Rows, state: int) -> int:
    """How many messages ended in this state."""
    return int(np.count_nonzero(rows.messages["state"] == state))


def wasted(rows: Rows) -> int:
    """How many handler calls were in vain because the lock had run out."""
    return int(np.count_nonzero(rows.deliveries["outcome"] == DELIVERY_LATE))


def handler_calls(rows: Rows) -> int:
    """How many times a handler was started."""
    return int(np.count_nonzero(~np.isnan(rows.deliveries["started_s"])))


def last(rows: Rows, column: str) -> float:
    """The last instant in a column of the messages."""
    return float(np.nanmax(rows.messages[column]))


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_receiving_without_limit_loses_all_but_one(engine: str, taken: bool, first: bool) -> None:
    """20 messages of 45 s, all locked at once for 60 s: 1 is done and 19 are dead-lettered at 600 s.

    Each of the 19 is given out ten times, and all 190 handler calls after the first are wasted, whether
    messages come back first or last, and whenever credit comes back (dapr/dapr#1526).
    """
    plan = link(
        Constant(value=45.0), 1000, taken=taken, horizon_s=9000.0, redelivers_first=first, **at_once(20)
    )
    rows = run(engine, plan)
    assert count(rows, MESSAGE_COMPLETED) == 1
    assert count(rows, MESSAGE_DEAD_LETTERED) == 19
    assert set(rows.messages["left_s"].tolist()) == {45.0, 600.0}
    assert (handler_calls(rows), wasted(rows)) == (191, 190)


def test_the_same_incident_from_a_scenario(engine: str, tmp_path: Path) -> None:
    """A user's scenario of that incident has the same outcome, and so has its cure, no prefetch."""
    broken = Scenario(
        arrivals={"kind": "burst_at_once", "messages": 20},
        service_time={"family": "constant", "mean_s": 45.0},
        queue={
            "provider": "servicebus",
            "tier": "premium",
            "lock_duration_s": 60.0,
            "max_delivery_count": 10,
        },
        consumers={"workers": 1, "client": "azure-processor", "prefetch": 1000},
        horizon_s=9000.0,
        model=write_model(tmp_path, "servicebus"),
    )
    lost = simulated(engine, broken)
    assert np.count_nonzero(lost["state"] == MESSAGE_DEAD_LETTERED) == 19
    assert set(lost["left_s"].tolist()) == {45.0, 600.0}
    cured = simulated(engine, broken.replace("consumers.prefetch", 0))
    assert (cured["state"] == MESSAGE_COMPLETED).all()
    assert cured["left_s"].max() == 900.0


def test_one_message_in_hand_is_always_safe(engine: str) -> None:
    """With one message in hand at a time all 20 are done at 900 s, each at a multiple of 45 s."""
    rows = run(engine, link(Constant(value=45.0), 1, taken=False, horizon_s=9000.0, **at_once(20)))
    assert rows.messages["settled_s"].tolist() == [45.0 * (number + 1) for number in range(20)]
    assert wasted(rows) == 0


@pytest.mark.parametrize(
    ("places", "taken", "last_s"), [(1, True, 8565.0), (2, True, 8520.0), (2, False, 8565.0)]
)
def test_one_message_waiting_is_enough_for_a_livelock(
    engine: str, places: int, taken: bool, last_s: float
) -> None:
    """A prefetch of 1 with credit that comes back at the take, or of 2 in any case, completes 1 of 20.

    The message behind the first waits 45 s and is then handled for 45 s, more than its lock of 60 s, and so
    do all that come after it. Returned messages go to the back, so each is given out ten times before the
    last one is dead-lettered, at 8,565 s with one message waiting.
    """
    plan = link(Constant(value=45.0), places, taken=taken, horizon_s=20_000.0, **at_once(20))
    rows = run(engine, plan)
    assert count(rows, MESSAGE_COMPLETED) == 1
    assert count(rows, MESSAGE_DEAD_LETTERED) == 19
    assert last(rows, "left_s") == last_s


def test_messages_that_come_back_first_kill_each_other(engine: str) -> None:
    """If returned messages come first, two alternate: while one is handled the other's lock ends.

    So they are dead-lettered in the order of their numbers, each after ten deliveries. The first message is
    done before there is another to come back, and the last one when it is alone.
    """
    plan = link(Constant(value=45.0), 1, taken=True, horizon_s=20_000.0, redelivers_first=True, **at_once(20))
    rows = run(engine, plan)
    assert np.flatnonzero(rows.messages["state"] == MESSAGE_COMPLETED).tolist() == [0, 19]
    dead = rows.messages[1:19]
    assert (dead["state"] == MESSAGE_DEAD_LETTERED).all()
    assert (dead["deliveries"] == 10).all()
    assert (np.diff(dead["left_s"]) > 0.0).all()
    assert rows.messages["deliveries"][19] < 10


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_goodput_has_a_cliff(engine: str, taken: bool, first: bool) -> None:
    """At 0.1 s a message and a lock of 60 s, a prefetch of 550 loses nothing, and one of 650 completes 599.

    600 messages fit into a lock; message 600 would be done at the very instant at which its lock ends, but
    for rounding. Behind the cliff nothing is done for ever (Azure/azure-sdk-for-java#24304).
    """
    messages = at_once(20_000 if engine == "kernel" else 3_000)
    horizon_s = 2_000.5 if engine == "kernel" else 300.5
    fields = {"taken": taken, "redelivers_first": first, "horizon_s": horizon_s, **messages}
    safe = run(engine, link(TENTH, 550, **fields))
    assert (safe.messages["state"] == MESSAGE_COMPLETED).all()
    assert wasted(safe) == 0
    lost = run(engine, link(TENTH, 650, **fields))
    assert count(lost, MESSAGE_COMPLETED) == 599
    assert last(lost, "completed_s") < 60.0
    assert handler_calls(lost) == 599 + wasted(lost) + 1


def test_the_cliff_is_in_seconds_not_in_messages(engine: str) -> None:
    """A prefetch of 1,000 that loses all but 599 loses none at half the time or with ten workers."""
    messages = at_once(20_000 if engine == "kernel" else 3_000)
    total_s = 0.1 * len(messages["due_s"])
    fields = {"taken": True, "redelivers_first": True, "horizon_s": total_s + 0.5, **messages}
    lost = run(engine, link(TENTH, 1000, **fields))
    assert count(lost, MESSAGE_COMPLETED) == 599
    for safe, done_s in (
        (link(Constant(value=0.05), 1000, **fields), 0.5 * total_s),
        (link(TENTH, 1000, workers=10, **fields), 0.1 * total_s),
    ):
        rows = run(engine, safe)
        assert (rows.messages["state"] == MESSAGE_COMPLETED).all()
        assert wasted(rows) == 0
        assert last(rows, "settled_s") == pytest.approx(done_s, rel=1e-9)


def test_random_service_rounds_the_cliff_off() -> None:
    """With exponential service half of the work is wasted at a prefetch of 600, nearly all at 650.

    An hour of saturation, five seeds: below 500 nothing is lost, at 550 less than a tenth, at 600 between a
    fifth and four fifths, at 650 more than nine tenths. On the kernel only, because 36,000 messages take
    the reference a second; its rows are the same.
    """

    def share(places: int) -> list[float]:
        plan = link(
            Exponential(mean=0.1), places, taken=True, max_deliveries=0, horizon_s=3600.0, **at_once(50_000)
        )
        runs = [run("kernel", replace(plan, seed=seed)) for seed in range(5)]
        return [wasted(rows) / handler_calls(rows) for rows in runs]

    assert max(share(450)) == 0.0
    assert max(share(550)) < 0.1
    assert 0.2 < min(share(600)) <= max(share(600)) < 0.8
    assert min(share(650)) > 0.9


def frozen(places: int, freeze_s: float, **fields: Any) -> Plan:
    """5 messages a second, one worker of 0.1 s, a lock of 60 s, and handlers that freeze at 600 s."""
    pause = {"pause_start_s": np.array([600.0]), "pause_end_s": np.array([600.0 + freeze_s])}
    return link(TENTH, places, horizon_s=7200.0, **{"taken": True, **pause, **poisson(5.0), **fields})


@pytest.mark.parametrize("places", [1, 100, 500])
def test_a_buffer_that_fits_the_lock_survives_a_freeze(engine: str, places: int) -> None:
    """After a freeze longer than the lock a small buffer wastes what is in it, once, and all is as before."""
    horizon_s = 7200.0 if engine == "kernel" else 1200.0
    plan = replace(frozen(places, 150.0, taken=places > 1), horizon_s=horizon_s)
    rows = run(engine, plan)
    assert wasted(rows) == places
    assert count(rows, MESSAGE_DEAD_LETTERED) == 0
    assert count(rows, MESSAGE_COMPLETED) > 0.99 * len(rows.messages)


def test_a_large_buffer_never_recovers_from_a_freeze() -> None:
    """A prefetch of 1,000 works until handlers freeze for 100 s, and then nothing is ever done again.

    The load is 0.5, and the freeze has long ended: the collapse feeds itself. A freeze of 60 s does no
    harm. On the kernel only, for its speed.
    """
    for seed in range(1, 6):
        for freeze_s in (100.0, 150.0):
            rows = run("kernel", replace(frozen(1000, freeze_s), seed=seed))
            due_before = np.count_nonzero(rows.messages["due_s"] < 600.0)
            assert abs(count(rows, MESSAGE_COMPLETED) - due_before) <= 20
            assert last(rows, "completed_s") < 601.0
            assert 60_000 < wasted(rows) < 66_001
            assert 400 < count(rows, MESSAGE_DEAD_LETTERED) < 900
        harmless = run("kernel", replace(frozen(1000, 60.0), seed=seed))
        assert wasted(harmless) < 10
        assert last(harmless, "completed_s") > 7190.0


def test_dropping_dead_messages_before_handling_recovers() -> None:
    """If the client looks at the lock before it handles, the same freeze costs few calls and is over."""
    for seed in range(1, 6):
        rows = run("kernel", replace(frozen(1000, 150.0, drops_expired=True), seed=seed))
        outcome = rows.deliveries["outcome"]
        assert np.count_nonzero(outcome == DELIVERY_DROPPED) > 500
        assert wasted(rows) < 200
        late = rows.messages["due_s"] > 1000.0
        done = rows.messages["state"][late] == MESSAGE_COMPLETED
        assert np.count_nonzero(done) >= np.count_nonzero(late) - 5
        assert np.count_nonzero(outcome == DELIVERY_COMPLETED) == count(rows, MESSAGE_COMPLETED)
