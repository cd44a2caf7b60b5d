"""The door of calibration: from a provider and where it is to a model that says how wrong it is."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np

from qtune.calibration.answer import Calibrated
from qtune.calibration.design import Designer, Expense, expense_of
from qtune.calibration.fitting import Fit, fit
from qtune.calibration.heldout import Comparison, Examiner
from qtune.calibration.parameters import Parameter
from qtune.calibration.place import Place, place_of
from qtune.calibration.residuals import Residual as LeftOver
from qtune.calibration.runs import Runs, Watch
from qtune.calibration.settings import HELD_OUT, held_out_settings
from qtune.conditions import BUSY
from qtune.errors import InputError, Problem
from qtune.providers import ProviderModel, model_names
from qtune.providers.calibration import Calibration, FittedParameter, Noise, Residual
from qtune.providers.files import in_no_file
from qtune.result import Result

_FIRST_SEED: Final = 101


def calibrate(
    provider: str,
    *,
    name: str,
    endpoint: str | None = None,
    queue: str | None = None,
    takes_over: bool = False,
    client: str | None = None,
    tier: str | None = None,
    runs: str | Path | None = None,
    run_s: float = 10.0,
    held_out: int = len(HELD_OUT),
    noise: bool = False,
    busiest: float = BUSY,
    agree: Callable[[Expense], None] | None = None,
    watch: Watch | None = None,
) -> Calibrated:
    """Fit a model of a provider to runs on a real queue, and predict other runs, to say how far it is off.

    It measures a few messages, an idle queue, moderate loads and saturated ones, one by one and in batches, fits the
    provider's model to that, predicts settings that it has not seen, and measures those too. About three minutes.

    provider: "sqs", "servicebus" or "memory". name: of the model; `qtune.export` writes it, as models/NAME.yaml best.
    endpoint, queue, takes_over: where it is, as :func:`qtune.measure` takes them. client: None: that of the SDK that is
    installed. tier: of a Service Bus namespace; None: standard, or premium for an emulator.
    runs: a folder in which every run is kept; with it a calibration that was broken off goes on. None: none is kept.
    run_s: how long a run lasts; longer runs make a model surer. held_out: how many settings are predicted, of up to 9.
    noise: measure one of them five times as well, to show how much a measurement varies.
    busiest: a run on a machine that was busier, as a share of all its cores, is made again, three times at most, and
    not fitted if that does not help.
    agree: told before the first run what all of them will take; it raises what is to end the calibration.
    watch: told now and then how far it is.

    InputError when the question cannot be asked or no run can be believed; ProviderFailure when the broker cannot be
    reached.
    """
    place = place_of(
        provider, endpoint=endpoint, queue=queue, takes_over=takes_over, client=client, tier=tier
    )
    _check(name, run_s, held_out)
    expense = expense_of(place, run_s=run_s, held_out=held_out, noise=noise)
    if agree is not None:
        agree(expense)
    kept = None if runs is None else Path(runs)
    measured = Runs(place, kept, watch or (lambda now: None), expense.time_s, busiest)
    return calibrated(measured, name, run_s=run_s, held_out=held_out, noise=noise, busiest=busiest)


def calibrated(
    runs: Runs, name: str, *, run_s: float, held_out: int, noise: bool = False, busiest: float = BUSY
) -> Calibrated:
    """What runs of a place say: fitted to some, and held against others."""
    place, designer = runs.place, Designer(runs, run_s)
    fitted_to = designer.fitted_runs()
    runs.tell("fitting")
    found = fit(fitted_to, place.model, busiest=busiest)
    with in_no_file(found.model) as fitted:
        examiner = Examiner(runs, fitted, run_s=run_s, send_s=designer.send_s)
        settings = held_out_settings(place, held_out)
        compared = tuple(
            examiner.compare(setting, _FIRST_SEED + 100 * n) for n, setting in enumerate(settings)
        )
        varied = examiner.noise(settings[0], _FIRST_SEED) if noise else None
    return Calibrated(
        model=_model(name, place, found, fitted_to, compared, varied),
        fit=found,
        comparisons=compared,
        runs=tuple(fitted_to),
    )


def _check(name: str, run_s: float, held_out: int) -> None:
    problems = []
    if name in model_names() or not name or Path(name).name != name:
        message = "a model's name is a word, and not that of one that is shipped: choose another"
        problems.append(Problem(where="name", value=name, message=message))
    if not 0.5 <= run_s <= 3600.0:
        message = "a run lasts from 0.5 s to an hour: 10 is usual"
        problems.append(Problem(where="run_s", value=f"{run_s:g}", message=message))
    if not 1 <= held_out <= len(HELD_OUT):
        message = f"there are 1 to {len(HELD_OUT)} settings to predict"
        problems.append(Problem(where="held_out", value=str(held_out), message=message))
    if problems:
        raise InputError(problems)


def _model(
    name: str,
    place: Place,
    found: Fit,
    fitted_to: Sequence[Result],
    compared: Sequence[Comparison],
    noise: Noise | None,
) -> ProviderModel:
    today = date.today()
    calibration = Calibration(
        made=today,
        server=place.server,
        client=place.client,
        versions={**fitted_to[0].versions, "machine": _machine(fitted_to[0])},
        parameters=tuple(map(_parameter, found.parameters)),
        residuals=tuple(_residuals(found.residuals)),
        held_out=tuple(comparison.run for comparison in compared),
        noise=noise,
    )
    summary = f"{place.provider}, {place.client}; calibrated against {place.server}"
    return found.model.model_copy(
        update={
            "name": name,
            "version": today.isoformat(),
            "as_of": today,
            "summary": summary,
            "calibration": calibration,
        }
    )


def _machine(run: Result) -> str:
    return run.conditions.machine if run.conditions is not None else platform.platform()


def _parameter(fitted: Parameter) -> FittedParameter:
    its = fitted.estimate
    ends = {"value": its.value, "low": its.low, "high": its.high}
    return FittedParameter(
        name=fitted.name,
        unit=its.unit,
        identified=fitted.identified,
        reason=fitted.reason or its.reason or None,
        **{end: value for end, value in ends.items() if np.isfinite(value)},
    )


def _residuals(left_over: Sequence[LeftOver]) -> Iterator[Residual]:
    """Those with both figures."""
    for its in left_over:
        if np.isfinite(its.measured) and np.isfinite(its.simulated):
            yield Residual(
                run=its.run,
                stage=its.stage,
                statistic=its.statistic,
                measured=its.measured,
                simulated=its.simulated,
            )
