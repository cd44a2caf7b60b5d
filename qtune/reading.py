"""From a YAML file to a record, with every error of its syntax, its fields and its rules at its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from qtune.errors import InputError, Problem
from qtune.records import MISSING, UNKNOWN_KEY, Location, Record, yaml_name
from qtune.strictyaml import Document, read_document

R = TypeVar("R", bound=Record)


def read_record(
    record: type[R],
    source: Path | str,
    *,
    name: str,
    base_folder: Path,
    is_read: Callable[[str], bool] = lambda key: True,
) -> R:
    """The record in a file (a Path) or a text, called ``name`` in messages; raises its error with all
    problems.

    Files that the record names are looked for in ``base_folder`` first.
    is_read: which keys at the top of the file to look at; the others belong to another record.
    """
    try:
        document = read_document(source, name)
    except InputError as error:
        raise record.error_type(error.problems) from None
    problems = list(document.problems)
    try:
        found = record.model_validate(
            _only(document.data(), is_read),
            by_alias=True,
            by_name=False,
            context={"strict_units": True, "base_folder": base_folder},
        )
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [
            _problem(document, detail) for detail in details if not _is_known(document, detail, details)
        ]
    if problems:
        raise record.error_type(sorted(problems, key=_line_of))
    return found


def _only(data: Any, is_read: Callable[[str], bool]) -> Any:
    if not isinstance(data, dict):
        return data
    return {key: value for key, value in data.items() if is_read(key)}


def _is_known(document: Document, detail: Any, details: list[Any]) -> bool:
    """True for a complaint that only repeats another one.

    Such are those about a value that could not be read, and about a missing key that is there, misspelt.
    """
    location: Location = detail["loc"]
    if document.holds_bad_value(location):
        return True
    if detail["type"] != MISSING:
        return False
    key = f'Did you mean "{yaml_name(str(location[-1]))}"?'
    siblings = (
        other for other in details if other["type"] == UNKNOWN_KEY and other["loc"][:-1] == location[:-1]
    )
    return any(other["ctx"]["message"].endswith(key) for other in siblings)


def _problem(document: Document, detail: Any) -> Problem:
    location: Location = detail["loc"]
    message, source = detail["ctx"]["message"], detail["ctx"]["source"]
    unknown = detail["type"] == UNKNOWN_KEY
    path = ".".join(str(step) if unknown or isinstance(step, int) else yaml_name(step) for step in location)
    written = None if unknown else document.written(location)
    return Problem(
        where=document.where(location, of_key=unknown),
        value=": ".join(part for part in (path, written) if part) or "the whole file",
        message=message,
        source=source,
    )


def _line_of(problem: Problem) -> tuple[int, int]:
    numbers = [int(part) for part in problem.where.split(":")[-2:] if part.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
