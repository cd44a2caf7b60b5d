"""A recommendation as a scenario in YAML that predicts the same figures again, and says how it was made."""

from __future__ import annotations

import math
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np

from qtune.analysis import Estimate, Summary
from qtune.exports.files import write_new
from qtune.exports.summaries import priors_of
from qtune.presets import dump_scenario
from qtune.reading import read_record
from qtune.recommendation import Recommendation
from qtune.records import CountOrZero, Fraction, Record, Text, number
from qtune.targets import Targets
from qtune.writing import write_record


class Figure(Record):
    """One predicted number, unrounded; low and high are the ends of its interval, None if it has none."""

    value: Annotated[float, number()]
    low: Annotated[float, number()] | None = None
    high: Annotated[float, number()] | None = None


class Tuned(Record):
    """How a setting came to be recommended: the section ``tuned`` of an exported preset.

    targets: what it had to meet. seeds: of all runs of the prediction. confidence: of the intervals.
    prediction: every number of the summary that has a value, by name. priors: what nobody has measured.
    model: name and version of the provider model. versions: of what computed the prediction.
    """

    made: date
    targets: tuple[Text, ...]
    seeds: tuple[CountOrZero, ...]
    confidence: Fraction
    model: Text
    priors: tuple[Text, ...]
    assumptions: tuple[Text, ...]
    versions: dict[str, Text]
    prediction: dict[str, Figure]

    def asked(self) -> Targets:
        """The targets, as ``recommend`` and ``verify`` take them."""
        return Targets.parse(text.replace(" <= ", "=").replace(" >= ", "=") for text in self.targets)

    def differences(self, summary: Summary) -> tuple[str, ...]:
        """The numbers of a summary that differ from those predicted in any digit; () when none does."""
        now = figures_of(summary)
        names = dict.fromkeys([*self.prediction, *now])
        return tuple(name for name in names if self.prediction.get(name) != now.get(name))


class _TunedFile(Record):
    tuned: Tuned | None = None


def export_preset(recommendation: Recommendation, path: str | Path) -> Path:
    """Write the recommended setting as a scenario that ``load_scenario`` reads, and return the file's path.

    An existing file is never overwritten: sqs-tuned.yaml becomes sqs-tuned-2.yaml and so on, and the path
    that is returned says which. The section ``tuned``, which ``load_tuned`` reads, holds targets, prediction,
    seeds and versions; `qtune simulate` with the file repeats the prediction to the digit.
    InputError when the folder does not exist or cannot be written to.
    """
    text = "\n".join([*_header(recommendation), dump_scenario(recommendation.scenario).rstrip(), "", ""])
    text += write_record(_TunedFile(tuned=tuned_of(recommendation)))
    return write_new(text, path)


def load_tuned(path: str | Path) -> Tuned | None:
    """What an exported preset says about how it was made; None for a scenario that says nothing.

    ScenarioError lists everything that is wrong with that section; the scenario itself is not looked at.
    """
    file = Path(path)
    own = _TunedFile.model_fields.__contains__
    return read_record(_TunedFile, file, name=file.name, base_folder=file.parent, is_read=own).tuned


def tuned_of(recommendation: Recommendation) -> Tuned:
    """The section ``tuned`` for a recommendation that is made today."""
    scenario, summary = recommendation.scenario, recommendation.summary
    model = scenario.provider_model()
    return Tuned(
        made=date.today(),
        targets=tuple(str(target) for target in recommendation.targets),
        seeds=recommendation.seeds,
        confidence=summary.confidence,
        model=f"{model.name} {model.version}",
        priors=tuple(priors_of(scenario)),
        assumptions=recommendation.assumptions,
        versions={"qtune": version("qtune"), "numpy": np.__version__},
        prediction=figures_of(summary),
    )


def figures_of(summary: Summary) -> dict[str, Figure]:
    """Every number of a summary that has a value, unrounded."""
    return {name: _figure(found) for name, found in summary.estimates().items() if math.isfinite(found.value)}


def _figure(estimate: Estimate) -> Figure:
    ends = {"low": estimate.low, "high": estimate.high}
    return Figure(value=estimate.value, **{name: end for name, end in ends.items() if math.isfinite(end)})


def _header(recommendation: Recommendation) -> list[str]:
    return [
        f"# Recommended by qtune {version('qtune')} for {recommendation.targets}.",
        "# `qtune simulate` with this file repeats the runs of the prediction and gives its figures again.",
    ]
