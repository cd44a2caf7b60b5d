"""A provider model fitted to measured runs: each parameter with its interval, or why the runs do not tell it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtune.analysis.intervals import Estimate
from qtune.calibration.parameters import Parameter
from qtune.calibration.residuals import Residual, residuals_of
from qtune.calibration.stages import Stages
from qtune.conditions import BUSY
from qtune.errors import InputError, Problem
from qtune.providers.model import ProviderModel
from qtune.result import Result

__all__ = ["Estimate", "Fit", "Parameter", "Refused", "Residual", "fit"]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A run that is not fitted to, because its machine was too busy: which, and the busy share of all its cores."""

    run: str
    utilization: float

    def __str__(self) -> str:
        return (
            f"{self.run}: the machine was {self.utilization:.0%} busy, so its figures say more about the machine than "
            "about the queue: run it on more cores, or with less load"
        )


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What runs tell about a provider.

    model: the one that was given, with every parameter replaced that the runs identify; the others stay what they were.
    parameters: all of them. residuals: what remains between the runs and their simulation under the model, by run and
    stage. refused: the runs that were left out.
    """

    model: ProviderModel
    parameters: tuple[Parameter, ...]
    residuals: tuple[Residual, ...]
    refused: tuple[Refused, ...] = ()

    def parameter(self, name: str) -> Parameter:
        """A parameter by its name, such as "latency.receive"; KeyError for one that this provider does not have."""
        return next(each for each in self.parameters if each.name == name)


def fit(runs: Sequence[Result], start: ProviderModel, *, busiest: float = BUSY) -> Fit:
    """Fit a provider model to runs of one client, measured or simulated.

    runs: best are an idle one, a moderate one and one that saturates the broker, with more than one size of batch.
    start: the model whose parameters are replaced where the runs tell them.
    busiest: runs whose machine was busier, as a share of all its cores, are left out. Raise it only to see what a busy
        machine would have told: at 85 % of two cores work waits 2.6 times as long as it lasts for one of them (M/M/2).

    InputError when no run is left, or when runs are of another provider or of several clients.
    """
    _check(runs, start)
    refused = [
        Refused(run=run.scenario.name, utilization=utilization_of(run))
        for run in runs
        if utilization_of(run) > busiest
    ]
    believed = [run for run in runs if not utilization_of(run) > busiest]
    if not believed:
        message = "no run is left to fit: " + "; ".join(str(each) for each in refused)
        raise InputError(Problem(where="calibration", value=f"{len(runs)} runs", message=message))
    model, parameters = Stages(believed, start, client_of(believed[0])).fitted()
    return Fit(
        model=model,
        parameters=parameters,
        residuals=tuple(residuals_of(believed, model)),
        refused=tuple(refused),
    )


def utilization_of(run: Result) -> float:
    """The busy share of all cores of the machine of a run; NaN for a simulated one."""
    return math.nan if run.conditions is None else run.conditions.utilization_mean


def _check(runs: Sequence[Result], start: ProviderModel) -> None:
    if not runs:
        message = "at least one run is needed"
        raise InputError(Problem(where="calibration", value="0 runs", message=message))
    for run in runs:
        provider = run.scenario.queue.provider
        if provider != start.provider:
            message = f"this run is of {provider}, and the model of {start.provider}: fit them apart"
            raise InputError(Problem(where="calibration", value=run.scenario.name, message=message))
        if (
            run.scenario.call_model().calls_served_at_once
            != run.scenario.provider_model().broker.calls_served_at_once
        ):
            message = (
                "the queue itself serves its calls one after the other: fit runs without its persistence"
            )
            raise InputError(Problem(where="calibration", value=run.scenario.name, message=message))
    clients = {client_of(run) for run in runs}
    if len(clients) > 1:
        message = f"there are runs of {', '.join(sorted(clients))}: fit each client's runs apart"
        raise InputError(Problem(where="calibration", value=f"{len(runs)} runs", message=message))


def client_of(run: Result) -> str:
    """The client library of a run."""
    return run.scenario.consumers.client or run.scenario.provider().default_client
