"""A calibrated model as text: what was fitted, and how far its predictions of other settings were off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from qtune.exports.quantities import quantity
from qtune.exports.report import Section
from qtune.providers.calibration import (
    HELD_OUT_METRICS,
    Calibration,
    FittedParameter,
    HeldOut,
    HeldOutMetric,
    Noise,
    Residual,
)
from qtune.units import format_count, format_fraction

_UNITS: Final = {"p50": "s", "p95": "s", "p99": "s", "throughput": "1/s"}


def calibration_line(name: str, made: Calibration) -> str:
    """What the model is worth, in one sentence."""
    settings = [run for run in made.held_out if not run.saturated]
    typical, worst = _share(made.typical("p95")), _share(made.worst("p95"))
    return (
        f"the model {name} was calibrated on {made.made} against {made.server}; the p95 of "
        f"{format_count(len(settings), 'setting')} that it had not seen was off by {typical} in the median and {worst} "
        "at most: intervals of latency and throughput allow for such errors, and a target is met only if its interval "
        "holds it"
    )


def calibration_sections(made: Calibration) -> Iterator[Section]:
    """How the model came about, with every number that was fitted, and every prediction beside its measurement."""
    yield parameters_section(made)
    yield held_out_section(made)
    yield errors_section(made)
    if made.residuals:
        yield residuals_section(made)
    versions = tuple((name, version) for name, version in made.versions.items())
    rows = (("made", made.made.isoformat()), ("server", made.server), ("client", made.client), *versions)
    yield Section(title="How it was calibrated", rows=rows)


def parameters_section(made: Calibration) -> Section:
    """Every fitted number with its interval, or why the runs do not determine it."""
    rows = tuple(_parameter_row(parameter) for parameter in made.parameters)
    return Section(title="Fitted", columns=("", "", "95% interval", ""), rows=rows)


def _parameter_row(parameter: FittedParameter) -> tuple[str, ...]:
    def shown(value: float | None) -> str:
        return "" if value is None else quantity(value, parameter.unit)

    ends = [shown(end) for end in (parameter.low, parameter.high)]
    interval = " to ".join(ends) if all(ends) else ""
    said = "" if parameter.identified else "not identified"
    return (
        parameter.name,
        shown(parameter.value),
        interval,
        ": ".join(text for text in (said, parameter.reason) if text),
    )


def held_out_section(made: Calibration) -> Section:
    """Every setting that the fit has not seen: predicted, measured and the error of each number."""
    rows = []
    for run in made.held_out:
        found = {number.metric: number for number in run.numbers}
        cells = [_compared(found.get(metric)) for metric in HELD_OUT_METRICS]
        busy = "" if run.machine_busy is None else _share(run.machine_busy)
        rows.append((run.name, run.setting, format_fraction(round(run.load, 2)), busy, *cells))
    return Section(
        title="Predicted and measured, on settings that the fit has not seen",
        columns=("", "setting", "load", "machine", *HELD_OUT_METRICS),
        rows=tuple(rows),
        notes=("each number is predicted, then measured, then by how much the prediction is off",),
    )


def _compared(found: HeldOut | None) -> str:
    if found is None:
        return ""
    unit = _UNITS[found.metric]
    sign = "+" if found.error >= 0.0 else "-"
    off = f"{sign}{format_fraction(round(abs(found.error), 3))}"
    return f"{quantity(found.predicted, unit)} {quantity(found.measured, unit)} {off}"


def errors_section(made: Calibration) -> Section:
    """Median and worst error of each number, beside the noise of the measurement where it was measured."""
    asked: list[tuple[HeldOutMetric, str, bool]] = [(metric, metric, False) for metric in HELD_OUT_METRICS]
    if made.errors("throughput", saturated=True):
        asked.append(("throughput", "throughput at saturation", True))
    noise = {} if made.noise is None else made.noise.spread
    rows = []
    for metric, label, saturated in asked:
        floor = (_share(noise[metric]) if metric in noise and not saturated else "",) if noise else ()
        found = [made.typical(metric, saturated=saturated), made.worst(metric, saturated=saturated)]
        count = len(made.errors(metric, saturated=saturated))
        rows.append((label, str(count), *(_share(error) for error in found), *floor))
    return Section(
        title="Errors without their sign",
        columns=("", "settings", "median", "worst", *(("noise",) if noise else ())),
        rows=tuple(rows),
        notes=() if made.noise is None else (_noise_line(made.noise),),
    )


def _noise_line(noise: Noise) -> str:
    return f"noise: {noise.setting}, measured {noise.runs} times, at most so far from its median"


def residuals_section(made: Calibration) -> Section:
    """What the fitted model leaves over on the runs that it was fitted to."""
    rows = tuple(
        (residual.run, residual.stage, residual.statistic, *_left_over(residual))
        for residual in made.residuals
    )
    columns = ("", "", "", "fitted", "measured")
    return Section(title="Left over on the runs of the fit", columns=columns, rows=rows)


def _left_over(residual: Residual) -> tuple[str, str]:
    unit = "1/s" if residual.stage == "throughput" else "s"
    return quantity(residual.simulated, unit), quantity(residual.measured, unit)


def _share(share: float) -> str:
    return format_fraction(round(share, 3))
