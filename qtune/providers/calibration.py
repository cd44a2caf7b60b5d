"""How a provider model came from measurement, and how far its predictions were off: the section ``calibration``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from statistics import median
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from qtune.errors import ModelError
from qtune.records import PositiveNumber, Record, Text, YesOrNo, number, refuse, whole, wrong_at

HeldOutMetric = Literal["p50", "p95", "p99", "throughput"]

HELD_OUT_METRICS: Final[tuple[HeldOutMetric, ...]] = ("p50", "p95", "p99", "throughput")
"""What is compared on settings that a fit has not seen: percentiles of the latency in seconds, messages a second."""


class _ModelRecord(Record):
    error_type = ModelError


class FittedParameter(_ModelRecord):
    """One number of the model, with its 95 % interval in ``unit``.

    identified: whether the runs determine it; where they do not, ``reason`` says why, and the model keeps what it had.
    """

    name: Text
    value: Annotated[float, number()] | None = None
    low: Annotated[float, number()] | None = None
    high: Annotated[float, number()] | None = None
    unit: Text
    identified: YesOrNo
    reason: Text | None = None


class Residual(_ModelRecord):
    """What remains on a run that the fit has seen: a figure as measured, and as the fitted model has it.

    stage: "send call", "receive call", "settle call" or "queue wait" in seconds, or "throughput" in messages a second.
    statistic: mean, p50 or p95.
    """

    run: Text
    stage: Text
    statistic: Text
    measured: Annotated[float, number()]
    simulated: Annotated[float, number()]


class HeldOut(_ModelRecord):
    """One number of a setting that the fit has not seen; low, high: of 95 % of simulations with other seeds."""

    metric: HeldOutMetric
    measured: PositiveNumber
    predicted: PositiveNumber
    low: PositiveNumber | None = None
    high: PositiveNumber | None = None

    @property
    def error(self) -> float:
        """By how much the prediction is above what was measured, as a share of that."""
        return self.predicted / self.measured - 1.0


class HeldOutRun(_ModelRecord):
    """One setting that the fit has not seen, measured once.

    load: arrivals over what the fitted model says the setting can do; above 1 it is saturated, and then only its
    throughput is compared. machine_busy: the mean share of all cores of the machine; None where nobody looked.
    """

    name: Text
    setting: Text
    load: PositiveNumber
    machine_busy: Annotated[float, number(at_least=0.0)] | None = None
    numbers: Annotated[tuple[HeldOut, ...], Field(min_length=1)]

    @property
    def saturated(self) -> bool:
        """Whether more came in than could be done."""
        return self.load > 1.0


class Noise(_ModelRecord):
    """How much the measurement itself varies: one setting measured several times.

    spread: by metric, the largest distance of one of them from their median, as a share of that.
    """

    setting: Text
    runs: Annotated[int, whole(at_least=2)]
    spread: dict[HeldOutMetric, Annotated[float, number(at_least=0.0)]]


class Calibration(_ModelRecord):
    """From what a model was fitted, and what it is worth.

    made: the day of the runs. server: on which server. client: with which client library. versions: of qtune, Python,
    the SDK, the machine, and the server where it says so.
    """

    made: date
    server: Text
    client: Text
    versions: dict[str, Text]
    parameters: tuple[FittedParameter, ...]
    residuals: tuple[Residual, ...] = ()
    held_out: Annotated[tuple[HeldOutRun, ...], Field(min_length=1)]
    noise: Noise | None = None

    @model_validator(mode="after")
    def _says_how_wrong_it_is(self) -> Calibration:
        names = [run.name for run in self.held_out]
        if len(set(names)) < len(names):
            raise wrong_at(("held_out",), names, "two of these settings have the same name")
        if all(run.saturated for run in self.held_out):
            raise refuse("held_out needs a setting below saturation, or no latency is compared")
        return self

    def errors(self, metric: HeldOutMetric, *, saturated: bool = False) -> tuple[float, ...]:
        """The errors of one number over all settings below saturation, or at it, with their signs."""
        return tuple(
            found.error
            for run in self.held_out
            if run.saturated == saturated
            for found in run.numbers
            if found.metric == metric
        )

    def worst(self, metric: HeldOutMetric, *, saturated: bool = False) -> float:
        """The largest error without its sign: of n settings, which n in n + 1 others like them will not exceed."""
        return max((abs(error) for error in self.errors(metric, saturated=saturated)), default=0.0)

    def typical(self, metric: HeldOutMetric, *, saturated: bool = False) -> float:
        """The median of the errors without their signs."""
        found = [abs(error) for error in self.errors(metric, saturated=saturated)]
        return median(found) if found else 0.0

    @property
    def margins(self) -> Mapping[str, float]:
        """By how much a prediction must be doubted: the worst error of each latency; of throughput, that of all runs.

        What a queue completes below saturation is what comes in, whatever the model says; so the error of throughput is
        that of what a setting can do at most.
        """
        found: dict[str, float] = {metric: self.worst(metric) for metric in HELD_OUT_METRICS}
        found["throughput"] = max(found["throughput"], self.worst("throughput", saturated=True))
        return found
