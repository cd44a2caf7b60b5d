"""The jump loop: where it is used it has the rows of the other two, and it is used only where that is certain."""

from __future__ import annotations

from collections import Counter
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np
import pytest
from engine_lines import HAPPENS, any_line, happened
from engine_plans import NEVER_S, Rows, at_once, poisson, queue_plan, run, tables
from engine_random import by_chance, by_hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtune.distributions import Constant, Exponential
from qtune.engine.kernel import Chunk, by_events, by_jumps, stream
from qtune.engine.kernel.jumpable import FOLLOWED, IDLE, LOOKED_AT, WATCHED, jumps, jumps_surely
from qtune.engine.plan import LINK_BURST, POLL, Plan
from qtune.engine.planning import make_plan
from qtune.result import CALL_OPS, OP_SETTLE
from qtune.scenario import Scenario

SECOND = Exponential(mean=1.0)
NAMED = FOLLOWED | WATCHED | IDLE | LOOKED_AT
MM8 = queue_plan(workers=8, in_hand_limit=1000, horizon_s=50.0, tables=tables(service=SECOND), **poisson(6.4))


@st.composite
def lines(draw: st.DrawFn) -> Plan:
    """Plans for the jump loop whose choices hypothesis makes."""
    return any_line(*by_hypothesis(draw))


def difference(one: Any, other: Any) -> str | None:
    """The first column in which the tables of two runs are not the same to the bit; None when there is none."""
    for name, left, right in zip(Rows._fields, one, other, strict=True):
        if len(left) != len(right):
            return f"{len(left)} and {len(right)} {name}"
        for column in left.dtype.names:
            if left[column].tobytes() != right[column].tobytes():
                return f"{name}.{column}"
    return None


def agree_on_lines(examples: int) -> Counter[str]:
    """Compare the jump loop with the slot calendar and the reference, and count what happened in how many runs."""
    seen: Counter[str] = Counter()

    def compare(plan: Plan) -> None:
        assert jumps(plan)
        jumped = by_jumps(plan)
        if jumped is None:
            seen["gave up"] += 1
            return
        assert difference(jumped, by_events(plan)) is None
        assert difference(jumped, run("reference", plan)) is None
        seen.update(happened(plan, Rows(*jumped)))

    slowly = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings(max_examples=examples // 4, suppress_health_check=slowly)(given(lines())(compare))()
    for seed in range(examples - examples // 4):
        compare(any_line(*by_chance(seed)))
    return seen


def test_the_jump_loop_has_the_rows_of_the_slot_calendar_and_of_the_reference() -> None:
    """Where the jump loop does not give up, its tables are those of the two other loops in every bit.

    The plans are random, and together they make happen what can happen in a line. In a few of them a lock runs out, and
    the jump loop gives up.
    """
    seen = agree_on_lines(600)
    assert {name: seen[name] for name in HAPPENS if seen[name] < 10} == {}
    assert 10 <= seen["gave up"] <= 200


@pytest.mark.nightly
def test_the_jump_loop_has_the_same_rows_in_ten_thousand_runs() -> None:
    """The same holds on a sample large enough for rare coincidences."""
    seen = agree_on_lines(10_000)
    assert {name: seen[name] for name in HAPPENS if seen[name] < 100} == {}


def _other(field: Any) -> Any:
    """A value of a plan's field that is not its default."""
    if field.default_factory is not MISSING:
        made = field.default_factory()
        return np.ones(made.size + 1, made.dtype)
    return not field.default if isinstance(field.default, bool) else field.default + 1


@pytest.mark.parametrize("name", [each.name for each in fields(Plan) if each.name not in NAMED])
def test_whatever_is_not_known_to_be_exact_goes_to_the_slot_calendar(name: str) -> None:
    """A plan with anything in it that the jump loop does not name, be it new, is not given to the jump loop."""
    assert jumps(MM8)
    other = {field.name: _other(field) for field in fields(Plan) if field.name == name}
    assert not jumps(replace(MM8, **other))


@pytest.mark.parametrize(
    "other",
    [
        {"discipline": POLL},
        {"discipline": LINK_BURST},
        {"in_hand_limit": 0},
        {"retention_s": MM8.horizon_s},
    ],
    ids=str,
)
def test_the_jump_loop_is_for_one_link_and_messages_that_stay(other: dict[str, Any]) -> None:
    """Polls, links that read in bursts, links without credit, and messages that can expire are not for it."""
    assert not jumps(replace(MM8, **other))


def test_the_jump_loop_names_fields_that_there_are_and_each_once() -> None:
    """What the jump loop names are fields of a plan, each for one reason."""
    assert {each.name for each in fields(Plan)} >= NAMED
    assert len(NAMED) == sum(map(len, (FOLLOWED, WATCHED, IDLE, LOOKED_AT)))


def test_the_random_plans_try_all_that_the_jump_loop_names() -> None:
    """Each number that a plan for the jump loop may choose has several values in the plans it is compared on."""
    made = [any_line(*by_chance(seed)) for seed in range(100)]
    for name in NAMED - {"discipline"}:
        values = {repr(getattr(plan, name)) for plan in made}
        assert len(values) > 1, f"{name} is always {values}"


def settles_each_second(most: float) -> dict[str, Any]:
    """The fields of a plan with a limit on settles."""
    costs = np.array([float(op == OP_SETTLE) for op in range(len(CALL_OPS))])
    return {
        "limit_credits": np.array([most]),
        "limit_period_s": np.ones(1),
        "limit_start_s": np.zeros(1),
        "limit_end_s": np.full(1, np.inf),
        "limit_call_cost": costs,
        "limit_message_cost": 0.0 * costs,
        "throttled_wait_s": np.ones(3),
        "failed_wait_s": np.ones(3),
    }


@pytest.mark.parametrize(
    "late",
    [
        pytest.param({"lock_s": 5.0}, id="a lock that runs out in a handler"),
        pytest.param({"lock_s": 5.0, "workers": 1}, id="a lock that runs out in the buffer"),
        pytest.param(
            {"lock_s": 50.0, "renewers": 1, "renew_after_s": 5.0, "renew_max_s": 60.0}, id="a renewal"
        ),
        pytest.param(settles_each_second(0.4), id="a refused settle"),
    ],
)
def test_where_a_lock_runs_out_the_slot_calendar_is_run(late: dict[str, Any]) -> None:
    """The jump loop gives up when a lock runs out or is renewed, or a limit is used up; the rows are right anyway."""
    plan = queue_plan(
        **{"workers": 2, "in_hand_limit": 10, **late},
        horizon_s=30.0,
        tables=tables(service=Constant(value=6.0)),
        **at_once(4),
    )
    assert jumps(plan)
    assert by_jumps(plan) is None
    assert difference(run("kernel", plan), run("reference", plan)) is None


def test_a_settle_just_in_time_is_in_time() -> None:
    """A lock that ends after the settle does not make the jump loop give up, and one that ends with it does."""
    plan = queue_plan(horizon_s=30.0, lock_s=6.5, tables=tables(service=Constant(value=6.0)), **at_once(1))
    assert by_jumps(plan) is not None
    assert by_jumps(replace(plan, lock_s=6.0)) is None
    for exact in (plan, replace(plan, lock_s=6.0)):
        rows = run("kernel", exact)
        assert difference(rows, run("reference", exact)) is None
        assert rows.messages["settled_s"][0] == 6.0


def test_a_limit_must_have_something_left() -> None:
    """Two settles in one period are within a limit of three, and are taken for too many by a limit of two."""
    fields = {
        "workers": 2,
        "in_hand_limit": 10,
        "horizon_s": 30.0,
        "tables": tables(service=Constant(value=6.0)),
    }
    three, two = (queue_plan(**fields, **settles_each_second(most), **at_once(4)) for most in (3.0, 2.0))
    assert difference(by_jumps(three), run("reference", three)) is None
    assert by_jumps(two) is None
    assert difference(run("kernel", two), run("reference", two)) is None


def test_a_service_bus_processor_is_run_by_jumps() -> None:
    """One instance with a sliding link, as the shipped model has it, goes by jumps, and two instances do not."""
    scenario = Scenario(
        arrivals={"kind": "poisson", "rate": "40/s"},
        service_time={"family": "lognormal", "mean": "50ms", "cv": 1.0},
        queue={"provider": "servicebus", "tier": "standard"},
        consumers={"workers": 4, "client": "azure-processor", "prefetch": 20},
        horizon="60s",
    )
    plan = make_plan(scenario, 1)
    assert jumps(plan)
    assert difference(by_jumps(plan), run("reference", plan)) is None
    assert not jumps(replace(plan, consumers=2))


def test_a_run_by_jumps_is_streamed_where_it_cannot_give_up() -> None:
    """Rows taken away during a run by jumps are, put together, the rows of a run that keeps them."""
    plan = replace(MM8, horizon_s=40_000.0, sample_every_s=100.0, lock_s=NEVER_S)
    assert jumps_surely(plan)
    chunks: list[Chunk] = []
    states = stream(plan, chunks.append)
    assert len(chunks) > 2, "the run is too short to be streamed"
    kept = Rows(*by_events(plan))
    for name in ("messages", "deliveries", "calls"):
        parts = [getattr(chunk, name) for chunk in chunks]
        assert np.concatenate(parts).tobytes() == getattr(kept, name).tobytes(), name
    assert states.tobytes() == kept.states.tobytes()


def test_a_run_that_may_give_up_is_streamed_by_the_slot_calendar() -> None:
    """Rows that were handed over cannot be taken back: where it may, the calendar runs it."""
    renewed = {"renewers": 1, "renew_after_s": MM8.horizon_s, "renew_max_s": NEVER_S}
    for other in ({"lock_s": MM8.horizon_s}, renewed, settles_each_second(1000.0)):
        assert jumps(replace(MM8, **other))
        assert not jumps_surely(replace(MM8, **other))


def test_tables_grow_in_a_run_by_jumps() -> None:
    """More messages than were expected make the tables of a run grow, and nothing is lost."""
    plan = replace(MM8, in_hand_limit=8, horizon_s=1949.0 / 6.4)
    room = 2048  # the least power of two that is 5 % above the expected number
    assert room / 2 < 1.05 * plan.expected_messages < room
    seeds = (replace(plan, seed=seed) for seed in range(1, 1_000))
    many = next(plan for plan in seeds if len(by_events(plan)[1]) > room)
    assert difference(by_jumps(many), by_events(many)) is None
