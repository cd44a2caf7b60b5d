"""Scenarios in YAML, read strictly and written exactly, and presets: queue and consumers by name."""

from __future__ import annotations

from pathlib import Path

from qtune.consumer import Consumers, Retry
from qtune.errors import Problem, ScenarioError, did_you_mean
from qtune.reading import read_record
from qtune.records import Record, Text
from qtune.scenario import AnyQueue, Scenario
from qtune.shipped import shipped, shipped_names
from qtune.writing import write_record


def load_scenario(source: str | Path, *, name: str = "scenario text") -> Scenario:
    """The scenario in a file, or in a text of more than one line; ScenarioError lists every problem at its
    line.

    A file that the scenario names (a trace, samples, a model) is looked for beside the scenario's file, then
    among the shipped ones. name: what to call a text in messages. The section ``tuned`` of a preset that a
    recommendation exported is not part of the scenario: ``load_tuned`` reads it.
    """
    if isinstance(source, str) and "\n" in source:
        return read_record(Scenario, source, name=name, base_folder=Path(), is_read=_of_scenario)
    path = Path(source)
    return read_record(Scenario, path, name=path.name, base_folder=path.parent, is_read=_of_scenario)


def _of_scenario(key: str) -> bool:
    return key != "tuned"


def dump_scenario(scenario: Scenario) -> str:
    """The scenario as YAML that ``load_scenario`` reads back as an equal scenario, every value exact.

    A horizon that was taken from a trace stays out, so that it still follows the trace.
    """
    return write_record(scenario, left_out=frozenset({"horizon_s"} - scenario.model_fields_set))


class Preset(Record):
    """Settings of queue and consumers that fit a situation, to be applied by ``Scenario.using``.

    document: the settings as the preset's source names and writes them, for exports and for checking.
    retry: attempts of a handler inside one delivery, if the source says something about them.
    """

    name: Text
    summary: Text
    source: Text
    document: dict[str, Text | int | bool]
    queue: AnyQueue
    consumers: Consumers
    retry: Retry | None = None


def preset_names() -> tuple[str, ...]:
    """The names of the shipped presets, sorted."""
    return tuple(Path(file).stem for file in shipped_names("presets"))


def load_preset(name_or_path: str | Path) -> Preset:
    """The shipped preset of that name, or the one in a file; ScenarioError lists everything that is wrong."""
    name = str(name_or_path)
    path = shipped("presets", name) if name in preset_names() else Path(name)
    if not path.is_file():
        known = preset_names()
        message = f"there is no preset and no file of this name; presets are {', '.join(known)}."
        raise ScenarioError(Problem(where="preset", value=name, message=message + did_you_mean(name, known)))
    return read_record(Preset, path, name=path.name, base_folder=path.parent)


def dump_preset(preset: Preset) -> str:
    """The preset as YAML that ``load_preset`` reads back as an equal preset."""
    return write_record(preset)
