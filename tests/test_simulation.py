"""The door to the engines: seeds, engines, threads, and what a result says of its origin."""

from __future__ import annotations

import numpy as np
import pytest

from qtune.errors import InputError
from qtune.invariants import check
from qtune.result import same_rows
from qtune.scenario import Scenario
from qtune.simulation import iterate, replicate, simulate


def scenario(**changes: object) -> Scenario:
    """A busy SQS queue of a few hundred messages."""
    base = Scenario(
        arrivals={"kind": "poisson", "rate": "40/s"},
        service_time={"family": "lognormal", "mean": "150ms", "cv": 1.0},
        failures={"rate": 0.05},
        queue={"provider": "sqs", "visibility_timeout": "1s", "max_receive_count": 3},
        consumers={"instances": 2, "workers": 4, "receive_batch": 4},
        horizon="10s",
    )
    return base.with_(**changes) if changes else base


def test_one_seed_gives_one_answer(engine: str) -> None:
    """The same scenario and seed give the same rows, and another seed gives others."""
    once, again = simulate(scenario(), seed=3, engine=engine), simulate(scenario(), seed=3, engine=engine)
    other = simulate(scenario(), seed=4, engine=engine)
    assert same_rows(once, again) is None
    assert same_rows(once, other) is not None


def test_the_seed_of_the_scenario_is_used_when_none_is_given(engine: str) -> None:
    """Without a seed the scenario's own is used, and a seed of 0 is a seed."""
    assert simulate(scenario(seed=7), engine=engine).seed == 7
    assert simulate(scenario(seed=7), seed=0, engine=engine).seed == 0


def test_both_engines_write_the_same_rows() -> None:
    """A result says which engine made it, and only that differs."""
    kernel, reference = (simulate(scenario(), engine=name) for name in ("kernel", "reference"))
    assert (kernel.source, reference.source) == ("simulated:kernel", "simulated:reference")
    assert same_rows(kernel, reference) is None
    assert check(kernel) == []


def test_a_result_names_what_could_change_its_rows() -> None:
    """The versions of qtune, of the provider model and of numpy are kept with the rows."""
    versions = simulate(scenario()).versions
    assert set(versions) == {"qtune", "model", "numpy"}
    assert versions["model"].startswith("sqs ")


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_replications_do_not_depend_on_threads(threads: int) -> None:
    """Replications use consecutive seeds, and how many run at the same time changes nothing."""
    runs = replicate(scenario(), 3, seed=5, threads=threads)
    assert [run.seed for run in runs] == [5, 6, 7]
    for run in runs:
        assert same_rows(run, simulate(scenario(), seed=run.seed)) is None


def test_replications_may_use_the_reference() -> None:
    """The reference engine makes replications too, one after the other."""
    runs = list(iterate(scenario(horizon_s=2.0), [1, 2], engine="reference"))
    assert [run.source for run in runs] == ["simulated:reference"] * 2


def test_messages_are_the_same_for_every_configuration() -> None:
    """Under one seed two fleets see the same arrivals and the same work, so their difference is the fleet's."""
    few, many = (simulate(scenario(consumers={"workers": n}), seed=2) for n in (4, 8))
    assert np.array_equal(few.messages["due_s"], many.messages["due_s"])
    firsts = []
    for run in (few, many):
        first = run.deliveries[(run.deliveries["delivery_no"] == 1) & (run.deliveries["attempts"] == 1)]
        firsts.append(dict(zip(first["message"], first["finished_s"] - first["started_s"], strict=True)))
    both = sorted(set(firsts[0]) & set(firsts[1]))
    assert len(both) > 100
    assert np.allclose([firsts[0][m] for m in both], [firsts[1][m] for m in both], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    """A seed that is negative, broken or no number is refused with its value."""
    with pytest.raises(InputError, match="whole number, 0 or above"):
        simulate(scenario(), seed=seed)  # type: ignore[arg-type]


def test_an_unknown_engine_is_refused() -> None:
    """The engines are listed, with the nearest name."""
    with pytest.raises(InputError, match='Did you mean "kernel"'):
        simulate(scenario(), engine="kernal")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 1 replication"):
        replicate(scenario(), 0)
