"""A prediction: replications of a scenario, a fixed number or until an interval is narrow, as one summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from qtune.analysis import Summary, run_until_narrow, summarize
from qtune.analysis.model_error import with_model_error
from qtune.errors import InputError, Problem
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.simulation import Engine, iterate, simulate
from qtune.units import parse_fraction

WIDTH: Final = 0.05
MOST_REPLICATIONS: Final = 40

Progress = Callable[[int, int], None]
"""Told after each run how many there were, and how many there will be at most."""


def predict(
    scenario: Scenario,
    *,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    replications: int | None = None,
    width: str | float | None = None,
    engine: Engine = "kernel",
    progress: Progress | None = None,
) -> Summary:
    """Simulate replications of a scenario and summarize them, with the error of a calibrated model in the intervals.

    seed: of the first run; None takes the scenario's own, and the others count up from it.
    seeds: of all the runs instead, as an exported preset stores them.
    replications: how many runs. With a width it is the most, and None allows 40.
    width: run until the interval of the p95 reaches no more than this share of it to each side ("5%"), and
        five times or more; by chance alone, as no run makes a model better. None is 5 %, unless replications or seeds
        say which runs to make.
    progress: called after each run.
    InputError for a width that is no share, for seeds together with a seed, a number or a width, and for
    whatever :func:`simulate` and :func:`summarize` refuse.
    """
    if seeds is not None and any(given is not None for given in (seed, replications, width)):
        message = "seeds say which runs to make: leave out seed, replications and width"
        raise InputError(Problem(where="seeds", value=str(list(seeds)), message=message))
    if seed is not None:
        scenario = scenario.replace("seed", seed)
    if width is None and replications is None and seeds is None:
        width = WIDTH
    if width is not None:
        return _until_narrow(
            scenario,
            parse_fraction(width, where="width"),
            MOST_REPLICATIONS if replications is None else replications,
            engine,
            progress,
        )
    if seeds is None:
        assert replications is not None  # or there is a width
        seeds = range(scenario.seed, scenario.seed + replications)
    results: list[Result] = []
    for result in iterate(scenario, seeds, engine=engine):
        results.append(result)
        if progress is not None:
            progress(len(results), len(seeds))
    return with_model_error(summarize(results))


def _until_narrow(
    scenario: Scenario, width: float, most: int, engine: Engine, progress: Progress | None
) -> Summary:
    done = 0

    def run(scenario: Scenario, /, *, seed: int) -> Result:
        nonlocal done
        result = simulate(scenario, seed=seed, engine=engine)
        done += 1
        if progress is not None:
            progress(done, most)
        return result

    narrow = run_until_narrow(scenario, run, width=width, most_replications=most)
    return with_model_error(narrow)
