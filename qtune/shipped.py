"""The files that travel with qtune: provider models, presets and traces, in one folder called `models`.

The folder stands at the top of the checkout, where people read and edit it, and inside the package once
installed from a wheel. Everything that opens a shipped file asks here for its path.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from qtune.errors import InputError, Problem, did_you_mean


@cache
def models_dir() -> Path:
    """The folder of shipped files: inside the package in an installed wheel, beside it in a checkout.

    Raises FileNotFoundError when neither exists, which means a broken installation and not a wrong input.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "models", package.parent / "models"):
        if (folder / "traces").is_dir():
            return folder
    raise FileNotFoundError(
        f"qtune's models folder is missing beside or inside {package}; install qtune again"
    )


@cache
def shipped_names(kind: str) -> tuple[str, ...]:
    """The names of the files in one folder, such as "traces"; sorted, without the texts about them."""
    folder = models_dir() / kind
    return tuple(sorted(file.name for file in folder.iterdir() if file.is_file() and file.suffix != ".md"))


def shipped(kind: str, name: str) -> Path:
    """The path of one shipped file, by its name or by its name without the ending.

    `name` is a word and never a path: what is not in the folder is an InputError that suggests the nearest.
    """
    names = shipped_names(kind)
    for file in names:
        if name in (file, Path(file).stem):
            return models_dir() / kind / file
    known = [Path(file).stem for file in names]
    message = (
        f"no file of that name is shipped in {kind}; there are {', '.join(known)}.{did_you_mean(name, known)}"
    )
    raise InputError([Problem(where=kind, value=name, message=message, source=None)])
