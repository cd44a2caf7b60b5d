"""Scenarios in YAML: reading them strictly, writing them exactly, and presets that settle queue and consumers by name."""

from __future__ import annotations

from pathlib import Path

from qtune.reading import read_record
from qtune.scenario import Scenario
from qtune.writing import write_record


def load_scenario(source: str | Path, *, name: str = "scenario text") -> Scenario:
    """The scenario in a file, or in a text of more than one line; ScenarioError lists every problem at its line.

    A file that the scenario names (a trace, samples, a model) is looked for beside the scenario's file, then among the
    shipped ones. name: what to call a text in messages.
    """
    if isinstance(source, str) and "\n" in source:
        return read_record(Scenario, source, name=name, base_folder=Path())
    path = Path(source)
    return read_record(Scenario, path, name=path.name, base_folder=path.parent)


def dump_scenario(scenario: Scenario) -> str:
    """The scenario as YAML that ``load_scenario`` reads back as an equal scenario, every value exact.

    A horizon that was taken from a trace stays out, so that it still follows the trace.
    """
    return write_record(scenario, left_out=frozenset({"horizon_s"} - scenario.model_fields_set))
