"""What leaves qtune: reports for people and programs, presets in YAML, and rules for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtune.analysis import Summary
from qtune.calibration.answer import Calibrated
from qtune.exports.alerts import export_alerts
from qtune.exports.calibrations import describe_calibrated
from qtune.exports.files import write_new
from qtune.exports.holdings import Catalogue, catalogue, catalogue_of
from qtune.exports.laboratory import (
    describe_incident,
    describe_incidents,
    describe_reproduction,
    describe_survey,
)
from qtune.exports.measurements import describe_measurement
from qtune.exports.models import describe_catalogue
from qtune.exports.preset import Tuned, export_preset, load_tuned
from qtune.exports.recommendations import describe_recommendation
from qtune.exports.records import describe_result, describe_scenario
from qtune.exports.report import Report, Section
from qtune.exports.summaries import describe_summary
from qtune.exports.verifications import describe_verification
from qtune.lab import Incident, Reproduction, Survey
from qtune.providers import ProviderModel, dump_model
from qtune.recommendation import Recommendation
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.verification import Verification

__all__ = ["Catalogue", "Report", "Section", "Tuned", "catalogue", "describe", "export", "load_tuned"]


Describable = (
    Summary
    | Recommendation
    | Verification
    | Calibrated
    | Catalogue
    | Reproduction
    | Survey
    | Incident
    | Scenario
    | Result
    | ProviderModel
    | Sequence[Incident]
    | Sequence[Result]
)
"""Everything that there is a report on."""


def describe(thing: Describable) -> Report:
    """A scenario, a run, a summary, a recommendation, a verification, a provider model, the catalogue, one of the lab's
    incidents, all of them, or what came of running one or all, as a report: titled tables of text, and their data.

    A calibration becomes a table of what was fitted, and of every prediction beside its measurement.
    A list of a measured run and the simulated one of the same scenario and seed becomes a table of both.

    It is what the command line prints and the notebook shows, so that both say the same.
    """
    if isinstance(thing, Summary):
        return describe_summary(thing)
    if isinstance(thing, Recommendation):
        return describe_recommendation(thing)
    if isinstance(thing, Verification):
        return describe_verification(thing)
    if isinstance(thing, Calibrated):
        return describe_calibrated(thing)
    if isinstance(thing, Reproduction):
        return describe_reproduction(thing)
    if isinstance(thing, Survey):
        return describe_survey(thing)
    if isinstance(thing, Incident):
        return describe_incident(thing)
    if isinstance(thing, Scenario):
        return describe_scenario(thing)
    if isinstance(thing, Result):
        return describe_result(thing)
    if isinstance(thing, ProviderModel):
        return describe_catalogue(catalogue_of(thing))
    if isinstance(thing, Catalogue):
        return describe_catalogue(thing)
    if isinstance(thing[0], Result):
        return describe_measurement(thing)  # type: ignore[arg-type]
    return describe_incidents(thing)  # type: ignore[arg-type]


def export(thing: Recommendation | Summary | Calibrated, path: str | Path) -> Path:
    """Write what follows from an answer to a file, and return its path: a preset, rules for Prometheus, or a model.

    A recommendation becomes a scenario that ``load_scenario`` reads and that predicts the same figures again. A summary
    becomes alerting rules with the prediction as their baseline, unless the queue does not keep up (AnswerIsNo).
    A calibration becomes a provider model, which scenarios name by the file, or by its name in a folder ``models``.
    A file that exists is never overwritten: a number is added to the name, and the path that is returned says which.
    InputError when it cannot be written.
    """
    if isinstance(thing, Recommendation):
        return export_preset(thing, path)
    if isinstance(thing, Calibrated):
        return write_new(dump_model(thing.model), path)
    return export_alerts(thing, path)
