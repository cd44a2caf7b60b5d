"""Provider models in files: the shipped ones by name, others by path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Final

from qtune.errors import ModelError, Problem, did_you_mean
from qtune.providers.model import ProviderModel
from qtune.reading import read_record
from qtune.shipped import models_dir, shipped_names
from qtune.writing import write_record

MODELS: Final = "models"
"""The folder in which users have models of their own, beside their scenarios or where they work."""

_IN_NO_FILE: dict[str, ProviderModel] = {}
_NUMBERS: Final = count(1)


def model_names() -> tuple[str, ...]:
    """The names of the shipped provider models, sorted."""
    return tuple(Path(file).stem for file in shipped_names(".") if file.endswith(".yaml"))


def find_model(name: str, folder: Path) -> str:
    """How a scenario names a model: the name of a shipped one, or the absolute path of a file.

    folder: where a relative path starts, and where a folder ``models`` may have NAME.yaml, as `qtune calibrate` writes
    it; that is looked for in the current folder too. Raises ModelError, with the nearest name, if there is none.
    """
    if name in model_names() or name in _IN_NO_FILE:
        return name
    own = Path(MODELS) / f"{name}.yaml"
    for path in dict.fromkeys((folder / name, folder / own, own)):
        if path.is_file():
            return str(path.resolve())
    known = model_names()
    message = f"no such file here or in {MODELS}, and shipped are only {', '.join(known)}.{did_you_mean(name, known)}"
    raise ModelError(Problem(where="model", value=name, message=message))


def load_model(name_or_path: str | Path) -> ProviderModel:
    """The provider model of that name or in that file; ModelError lists everything that is wrong with it."""
    found = find_model(str(name_or_path), Path())
    if found in _IN_NO_FILE:
        return _IN_NO_FILE[found]
    path = models_dir() / f"{found}.yaml" if found in model_names() else Path(found)
    stat = path.stat()
    return _load(path, stat.st_mtime_ns, stat.st_size)


@contextmanager
def in_no_file(model: ProviderModel) -> Iterator[str]:
    """A name by which scenarios use a model that is in no file, as long as the context lasts.

    A fit tries hundreds of models, and to write each to a file and read it again takes longer than to simulate it.
    """
    name = f"model {next(_NUMBERS)} in no file"
    _IN_NO_FILE[name] = model
    try:
        yield name
    finally:
        del _IN_NO_FILE[name]


def dump_model(model: ProviderModel) -> str:
    """The model as YAML that ``load_model`` reads back as the same model."""
    return write_record(model)


@lru_cache(maxsize=32)
def _load(path: Path, mtime_ns: int, size_bytes: int) -> ProviderModel:
    return read_record(ProviderModel, path, name=path.name, base_folder=path.parent)
