"""The shipped incidents: one file each in ``models/lab``, called by the incident's id and what it is about."""

from __future__ import annotations

import re
from pathlib import Path

from qtune.errors import InputError, Problem, did_you_mean
from qtune.lab.incident import Incident
from qtune.reading import read_record
from qtune.shipped import models_dir, shipped_names


def incident_names() -> tuple[str, ...]:
    """The ids of all shipped incidents, in the order of the list."""
    return tuple(_files())


def load_incident(name_or_path: str | Path) -> Incident:
    """The shipped incident of that id, such as "A1", or the one in a file.

    InputError when there is neither; ScenarioError lists everything that is wrong in a file, at its line.
    """
    name, files = str(name_or_path), _files()
    path = files.get(name.upper(), Path(name))
    if not path.is_file():
        message = f"there is no incident and no file of this name; there are {', '.join(files)}."
        raise InputError(
            Problem(where="incident", value=name, message=message + did_you_mean(name.upper(), files))
        )
    return read_record(Incident, path, name=path.name, base_folder=path.parent)


def incidents() -> tuple[Incident, ...]:
    """All shipped incidents, in the order of the list."""
    return tuple(load_incident(name) for name in _files())


def _files() -> dict[str, Path]:
    """The files by id, which is what stands before the first hyphen; A2 comes before A10."""
    found = {file.split("-")[0].upper(): models_dir() / "lab" / file for file in shipped_names("lab")}
    return {name: found[name] for name in sorted(found, key=_order)}


def _order(name: str) -> tuple[str, tuple[int, ...]]:
    letters = re.match(r"[A-Z]*", name)
    return letters.group() if letters else "", tuple(int(part) for part in re.findall(r"\d+", name))
