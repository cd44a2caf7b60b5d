"""The door to the engines: a scenario in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from os import cpu_count
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from qtune.digest import Digest, Tally
from qtune.engine.plan import Plan
from qtune.engine.planning import make_plan
from qtune.errors import InputError, Problem, did_you_mean
from qtune.result import Result
from qtune.scenario import Scenario

Engine = Literal["kernel", "reference"]
T = TypeVar("T")
Tables = tuple[np.ndarray[Any, np.dtype[Any]], ...]


def simulate(scenario: Scenario, *, seed: int | None = None, engine: Engine = "kernel") -> Result:
    """Simulate a scenario once, up to its horizon.

    seed: of every random stream; None takes the scenario's own. The same seed gives the same rows, on any machine.
    engine: "kernel" is the compiled loop; "reference" is the SimPy model with the same rows, to be read and extended,
    a hundred times slower.

    InputError for an unknown engine or a seed that is not a whole number from 0.
    """
    used = scenario.seed if seed is None else _check_seed(seed)
    messages, deliveries, calls, states = _run_of(engine)(make_plan(scenario, used))
    return Result(
        messages=messages,
        deliveries=deliveries,
        calls=calls,
        states=states,
        scenario=scenario,
        seed=used,
        source=f"simulated:{engine}",
        horizon_s=scenario.horizon_s,
        versions=_versions(scenario),
    )


def digest(scenario: Scenario, *, seed: int | None = None) -> Digest:
    """Simulate a scenario once and keep counts and histograms instead of rows, in constant memory.

    For runs of a hundred million messages, or where only the summary is wanted. ``Digest.of(simulate(scenario))`` is
    the same for a run whose rows fit in memory. Errors are those of :func:`simulate`.
    """
    from qtune.engine.kernel import Chunk, stream

    used = scenario.seed if seed is None else _check_seed(seed)
    tally = Tally(scenario.horizon_s)

    def take(chunk: Chunk) -> None:
        tally.add(chunk.messages, chunk.deliveries, chunk.due_s, chunk.sent_s, chunk.calls)

    return Digest(
        tally=tally,
        states=stream(make_plan(scenario, used), take),
        scenario=scenario,
        seed=used,
        source="simulated:kernel",
        horizon_s=scenario.horizon_s,
        versions=_versions(scenario),
    )


def replicate(
    scenario: Scenario,
    count: int,
    *,
    seed: int | None = None,
    engine: Engine = "kernel",
    threads: int | None = None,
) -> tuple[Result, ...]:
    """Independent replications of a scenario: ``count`` runs with seeds ``seed``, ``seed`` + 1, and so on.

    threads: runs at the same time; None takes one for each processor. The kernel lets other threads run. The answer
    does not depend on it.
    """
    if count < 1:
        raise InputError(Problem(where="count", value=str(count), message="at least 1 replication is needed"))
    return tuple(iterate(scenario, _seeds(scenario, count, seed), engine=engine, threads=threads))


def iterate(
    scenario: Scenario, seeds: Sequence[int], *, engine: Engine = "kernel", threads: int | None = None
) -> Iterator[Result]:
    """One run for each seed, in this order, several at a time."""
    return read_each(scenario, seeds, lambda result: result, engine=engine, threads=threads)


def read_each(
    scenario: Scenario,
    seeds: Sequence[int],
    read: Callable[[Result], T],
    *,
    engine: Engine = "kernel",
    threads: int | None = None,
) -> Iterator[T]:
    """What ``read`` makes of one run for each seed, in this order, several at a time.

    A run is read in the thread that made it, and its rows are gone when nothing that was made holds them: so the
    reading is done at the same time too, and there are no more rows than threads.
    """
    workers = min(len(seeds), threads or cpu_count() or 1)

    def one(seed: int) -> T:
        return read(simulate(scenario, seed=seed, engine=engine))

    if workers <= 1 or engine != "kernel":
        yield from map(one, seeds)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, seeds)


def _seeds(scenario: Scenario, count: int, seed: int | None) -> range:
    first = scenario.seed if seed is None else _check_seed(seed)
    return range(first, first + count)


def _check_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        message = "a seed is a whole number, 0 or above"
        raise InputError(Problem(where="seed", value=repr(seed), message=message))
    return seed


def _run_of(engine: str) -> Callable[[Plan], Tables]:
    """The loop of an engine; each is loaded when it is first asked for."""
    if engine == "kernel":
        from qtune.engine.kernel import run
    elif engine == "reference":
        from qtune.engine.reference import run
    else:
        hint = did_you_mean(engine, get_args(Engine))
        message = f"the engines are kernel and reference.{hint}"
        raise InputError(Problem(where="engine", value=str(engine), message=message))
    return run


def _versions(scenario: Scenario) -> dict[str, str]:
    model = scenario.provider_model()
    return {
        "qtune": version("qtune"),
        "model": f"{model.name} {model.version}",
        "numpy": np.__version__,
    }
