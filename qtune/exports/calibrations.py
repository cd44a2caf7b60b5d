"""A calibrated model as text: what was fitted, and how far its predictions of other settings were off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from qtune.calibration.answer import Calibrated
from qtune.conditions import BUSY
from qtune.exports.quantities import quantity
from qtune.exports.report import Report, Section
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

MEDIAN_MOST: Final = 0.10
WORST_MOST: Final = 0.20
BELOW_SATURATION_MOST: Final = 0.05
AT_SATURATION_MOST: Final = 0.10
"""What is asked of a model: errors of p50 and p95, and of throughput, on settings that it was not fitted to."""

_LATENCIES: Final[tuple[HeldOutMetric, ...]] = ("p50", "p95")
_UNITS: Final = {"p50": "s", "p95": "s", "p99": "s", "throughput": "1/s"}


def calibration_line(name: str, made: Calibration) -> str:
    """What the model is worth, in one sentence."""
    settings = [run for run in made.held_out if not run.saturated]
    loaded = format_fraction(round(max(run.load for run in settings), 2))
    unseen = (
        f"the p95 of {format_count(len(settings), 'setting')} that it had not seen, loaded up to {loaded},"
    )
    off = f"was off by {_share(made.typical('p95'))} in the median and {_share(made.worst('p95'))} at most"
    return (
        f"the model {name} was calibrated on {made.made} against {made.server}; {unseen} {off}: intervals of latency "
        "and throughput allow for such errors, and a target is met only if its interval holds it"
    )


def describe_calibrated(found: Calibrated) -> Report:
    """The report on a calibration; good is None when a machine was too busy for it to be believed."""
    made = found.calibration
    return Report(
        title=f"{found.model.name}: {found.model.summary}",
        verdict=_verdict(found),
        good=None if _too_busy(found) else _is_good(made),
        sections=(
            parameters_section(made),
            settings_section(made),
            held_out_section(made),
            errors_section(made),
            Section(title="How far to believe it", notes=tuple(_doubts(found))),
        ),
        data={
            "calibration": made.model_dump(mode="json"),
            "errors": {
                metric: {"median": made.typical(metric), "worst": made.worst(metric)}
                for metric in HELD_OUT_METRICS
            },
            "saturated": {
                "median": made.typical("throughput", saturated=True),
                "worst": made.worst("throughput", saturated=True),
            },
            "priors": sorted(found.model.priors(made.client)),
            "refused": [str(refused) for refused in found.fit.refused],
            "curves": found.curves(),
        },
    )


def _verdict(found: Calibrated) -> str:
    """How far predictions were off, and whether that is as little as is asked."""
    made = found.calibration
    settings = format_count(sum(not run.saturated for run in made.held_out), "setting")
    off = ", ".join(
        f"the {metric} by {_share(made.typical(metric))} in the median and {_share(made.worst(metric))} at most"
        for metric in _LATENCIES
    )
    word = "as well as asked" if _is_good(made) else "worse than asked"
    said = (
        "the machine was too busy to tell how well it predicts" if _too_busy(found) else f"it predicts {word}"
    )
    return f"{said}: on {settings} that it had not seen it was off, {off}"


def _is_good(made: Calibration) -> bool:
    latencies = all(
        made.typical(metric) <= MEDIAN_MOST and made.worst(metric) <= WORST_MOST for metric in _LATENCIES
    )
    below, at = made.worst("throughput"), made.worst("throughput", saturated=True)
    return latencies and below <= BELOW_SATURATION_MOST and at <= AT_SATURATION_MOST


def _too_busy(found: Calibrated) -> bool:
    return bool(found.fit.refused) or any(
        (run.machine_busy or 0.0) > BUSY for run in found.calibration.held_out
    )


def _doubts(found: Calibrated) -> Iterator[str]:
    made = found.calibration
    yield (
        f"asked is: p50 and p95 within {_share(MEDIAN_MOST)} in the median and {_share(WORST_MOST)} at most, and "
        f"throughput within {_share(BELOW_SATURATION_MOST)} below saturation and {_share(AT_SATURATION_MOST)} at it"
    )
    for refused in found.fit.refused:
        yield f"not fitted: {refused}"
    busy = [run.name for run in made.held_out if (run.machine_busy or 0.0) > BUSY]
    if busy:
        yield f"the machine was too busy to believe what was measured of {', '.join(busy)}: repeat it on an idle one"
    priors = sorted(found.model.priors(made.client))
    if priors:
        yield f"these runs do not tell {', '.join(priors)}, which stay priors"


def calibration_sections(made: Calibration) -> Iterator[Section]:
    """How the model came about, with every number that was fitted, and every prediction beside its measurement."""
    yield parameters_section(made)
    yield settings_section(made)
    yield held_out_section(made)
    yield errors_section(made)
    if made.residuals:
        yield residuals_section(made)
    versions = tuple((name, version) for name, version in made.versions.items())
    rows = (("made", made.made.isoformat()), ("server", made.server), ("client", made.client), *versions)
    yield Section(title="How it was calibrated", rows=rows)


def parameters_section(made: Calibration) -> Section:
    """Every fitted number with its interval, and which ones the runs do not determine."""
    rows = tuple(_parameter_row(parameter) for parameter in made.parameters if parameter.identified)
    notes = tuple(
        f"not identified: {parameter.name}: {parameter.reason or 'the runs do not tell it'}"
        for parameter in made.parameters
        if not parameter.identified
    )
    return Section(title="Fitted", columns=("", "", "95% interval"), rows=rows, notes=notes)


def _parameter_row(parameter: FittedParameter) -> tuple[str, str, str]:
    def shown(value: float | None) -> str:
        return "" if value is None else quantity(value, parameter.unit)

    ends = [shown(end) for end in (parameter.low, parameter.high)]
    return parameter.name, shown(parameter.value), " to ".join(ends) if all(ends) else parameter.reason or ""


def settings_section(made: Calibration) -> Section:
    """The settings that the fit has not seen."""
    rows = tuple(
        (
            run.name,
            f"{format_fraction(round(run.load, 2))} load",
            "" if run.machine_busy is None else f"machine {_share(run.machine_busy)}",
            run.setting,
        )
        for run in made.held_out
    )
    return Section(title="Settings that the fit has not seen", rows=rows)


def held_out_section(made: Calibration) -> Section:
    """Every number of those settings: predicted, measured, and how far the prediction is off."""
    rows = tuple(
        (run.name, number.metric, *_compared(number)) for run in made.held_out for number in run.numbers
    )
    columns = ("", "", "predicted", "95% of simulations", "measured", "off")
    return Section(title="Predicted and measured", columns=columns, rows=rows)


def _compared(found: HeldOut) -> tuple[str, str, str, str]:
    unit = _UNITS[found.metric]
    ends = [quantity(end, unit) for end in (found.low, found.high) if end is not None]
    sign = "+" if found.error >= 0.0 else "-"
    off = f"{sign}{_share(abs(found.error))}"
    return quantity(found.predicted, unit), " to ".join(ends), quantity(found.measured, unit), off


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
