"""Writing a file that leaves qtune: never over one that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from qtune.errors import InputError, Problem

_MOST_NUMBERED: Final = 1000


def write_new(text: str, path: str | Path) -> Path:
    """Write a file and return its path: that, or the first numbered one that does not exist.

    sqs-tuned.yaml becomes sqs-tuned-2.yaml and so on. InputError when the folder does not exist or cannot be
    written to.
    """
    target = Path(path)
    names = [target, *(target.with_stem(f"{target.stem}-{no}") for no in range(2, _MOST_NUMBERED))]
    for name in names:
        try:
            with name.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            message = f"this file cannot be written: {error.strerror}"
            raise InputError(Problem(where="export", value=str(name), message=message)) from error
        return name
    message = f"this name and {len(names) - 1} numbered ones are taken: choose another"
    raise InputError(Problem(where="export", value=str(target), message=message))
