"""When a simulation agrees with theory: intervals from replications, wide enough that a file of them is calm.

Each statement holds with a confidence of 1 - 5e-6 (Student's t over independent replications), so the
chance that any of up to 200 statements fails although it is true is below 1 in 1,000. Each also
says how precise it is: an interval wider than that could not see the error it is there for, and fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from engine_plans import Floats, Rows, run
from numpy.typing import NDArray

from qtune.analysis.intervals import student_interval
from qtune.engine.plan import Plan

CONFIDENCE = 1.0 - 5e-6
REPLICATIONS = {"kernel": 30, "reference": 16}
MESSAGES = {"kernel": 20_000, "reference": 2_000}
PRECISION = {"kernel": 0.06, "reference": 0.45}
WARM_UP = 300


def agrees(values: Iterable[float], exact: float, *, precision: float) -> None:
    """Fail unless the interval of the mean holds ``exact`` and is within +- ``precision`` of it."""
    mean, low, high = student_interval(np.array(list(values)), CONFIDENCE)
    assert low <= exact <= high, f"theory says {exact:g}, the runs {mean:g} ({low:g} to {high:g})"
    width = 0.5 * (high - low) / abs(exact)
    assert width <= precision, (
        f"the interval is +- {width:.0%} wide: it cannot see an error of {precision:.0%}"
    )


def replications(engine: str, plan: Plan) -> list[Rows]:
    """Independent runs of a plan: many long ones of the kernel, fewer and shorter ones of the reference."""
    return [run(engine, replace(plan, seed=seed)) for seed in range(1, REPLICATIONS[engine] + 1)]


def waits_s(rows: Rows) -> Floats:
    """How long messages with one delivery each waited for a handler, without the first of the run."""
    deliveries = rows.deliveries[rows.deliveries["message"] >= WARM_UP]
    return np.asarray(deliveries["started_s"] - rows.messages["due_s"][deliveries["message"]], np.float64)


def sojourns_s(rows: Rows, leave_out: int = 0) -> Floats:
    """How long the messages were in the system, without the first of the run and so many of the last."""
    messages = rows.messages[WARM_UP : len(rows.messages) - leave_out]
    return np.asarray(messages["settled_s"] - messages["due_s"], np.float64)


def means(runs: Iterable[Rows], measure: Callable[[Rows], NDArray[Any]]) -> list[float]:
    """The mean of a measure in each run."""
    return [float(np.mean(measure(rows))) for rows in runs]
