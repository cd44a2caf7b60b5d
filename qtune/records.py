"""The base of every record a user writes, and the kinds of values in it: seconds, rates, sizes, fractions,
counts.

A record is frozen, keyword-only and closed: an unknown key is an error. The name of a field ends in its unit
(``lock_s``, ``rate_per_s``); its key in YAML is the name without the unit (``lock``, ``rate``), because there
the value carries it ("30s", "800/s"). In Python a plain number in that unit is as good as the text.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from qtune.errors import InputError, Problem, ScenarioError, UnitError, did_you_mean, text_of
from qtune.units import parse_duration, parse_fraction, parse_rate, parse_size

if TYPE_CHECKING:
    import pandas as pd

_UNIT_ENDINGS = ("_usd_per_hour", "_usd_per_million", "_usd", "_per_s", "_bytes", "_s")

WRONG, MISSING, UNKNOWN_KEY = "qtune", "qtune_missing", "qtune_unknown_key"
OWN = (WRONG, MISSING, UNKNOWN_KEY)
"""The types of error that a validated record reports: all of pydantic's own are translated to these."""

Location = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """One contradiction between valid values.

    path: where, as field names joined by dots. source: who states the bound.
    """

    path: str
    message: str
    source: str | None = None


def yaml_name(name: str) -> str:
    """The key of a field in YAML: its name without the unit, which stands in the value there."""
    for ending in _UNIT_ENDINGS:
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending)
    return name


class Record(BaseModel):
    """A frozen record of a scenario or a provider model; bad values raise one error that lists all of
    them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        validate_by_name=True,
        loc_by_alias=False,
        protected_namespaces=(),
        alias_generator=AliasGenerator(validation_alias=yaml_name, serialization_alias=yaml_name),
    )
    error_type: ClassVar[type[InputError]] = ScenarioError

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self.error_type(python_problems(error)) from None

    @model_validator(mode="wrap")
    @classmethod
    def _translated(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            if all(detail["type"] in OWN for detail in details):
                raise
            names = [yaml_name(name) if is_strict(info) else name for name in cls.model_fields]
            raise validation_error(cls, [_translate(detail, names) for detail in details]) from None

    def to_frame(self) -> pd.DataFrame:
        """One row a setting, with those of nested records: its path, whose last word is the unit, and its value."""
        import pandas as pd

        return pd.DataFrame(_settings(self.model_dump()), columns=["setting", "value"])

    # Tells pydantic that this __init__ only translates errors, so that nested records keep their context.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def _settings(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def is_strict(info: ValidationInfo) -> bool:
    """True while a file is read: every quantity must then be text with its unit."""
    return bool(info.context and info.context.get("strict_units"))


def base_folder(info: ValidationInfo) -> Path:
    """The folder that file names are relative to: that of the file being read, else the current one."""
    folder = info.context.get("base_folder") if info.context else None
    return folder if isinstance(folder, Path) else Path()


def refuse(message: str, source: str | None = None) -> PydanticCustomError:
    """The error that a validator raises: the message for the user, and where the bound is stated."""
    return PydanticCustomError(WRONG, "{message}", {"message": message, "source": source})


def refuse_again(error: InputError) -> PydanticCustomError:
    """The complaint of another part of qtune about this very value, for use inside a validator."""
    return refuse(error.problems[0].message, error.problems[0].source)


def refuse_file(error: InputError) -> PydanticCustomError:
    """Everything that is wrong in a file that this value names, with the places in that file."""
    return refuse("\n".join(str(problem) for problem in error.problems))


def validate_nested(record: type[Record], value: object, info: ValidationInfo) -> Record:
    """The value as a record, read in the same manner (strict or not) as the record around it."""
    if isinstance(value, record):
        return value
    strict = is_strict(info)
    return record.model_validate(value, context=info.context, by_alias=True, by_name=not strict)


def validation_error(record: type[Record], details: Iterable[Mapping[str, Any]]) -> ValidationError:
    """A ValidationError with these details, as ``detail_of`` makes them."""
    lines = []
    for detail in details:
        error = PydanticCustomError(detail["type"], "{message}", detail["ctx"])
        lines.append(InitErrorDetails(type=error, loc=tuple(detail["loc"]), input=detail["input"]))
    return ValidationError.from_exception_data(record.__name__, lines)


def _translate(detail: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """One of pydantic's error details as one of qtune's; ``names`` are the keys of the record it is in."""
    kind, context, given = detail["type"], detail.get("ctx") or {}, detail["input"]
    if kind in OWN:
        return detail
    own, message = WRONG, detail["msg"]
    if kind == "missing":
        own, message = MISSING, "this key is required"
    elif kind == "extra_forbidden":
        key = str(detail["loc"][-1])
        own = UNKNOWN_KEY
        hint = did_you_mean(yaml_name(key) if yaml_name(key) in names else key, names)
        message = f"there is no such key; there are {', '.join(names)}.{hint}"
    elif kind == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        hint = did_you_mean(given, choices) if isinstance(given, str) else ""
        message = f"this must be {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}.{hint}"
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "this must be a mapping of keys to values"
    elif kind in ("tuple_type", "list_type"):
        message = "this must be a list"
    elif kind == "too_short":
        message = f"this list needs at least {context['min_length']} item"
    elif kind == "value_error":
        message = str(context["error"])
    return detail_of(detail["loc"], given, message, kind=own)


def one_of(key: str, choices: Mapping[str, type[Record]]) -> BeforeValidator:
    """Reads a mapping as the record that its ``key`` names."""

    def read(value: object, info: ValidationInfo) -> object:
        if isinstance(value, Record):
            return value
        return validate_nested(choose(key, choices, value), value, info)

    return BeforeValidator(read)


def choose(key: str, choices: Mapping[str, type[Record]], value: object) -> type[Record]:
    """The record class that ``value[key]`` names; raises a ValidationError that lists the known names."""
    known = ", ".join(choices)
    if not isinstance(value, Mapping):
        raise refuse(f"this must be a mapping with the key {key}, which is one of {known}")
    name = value.get(key)
    if name is None:
        raise wrong_at((key,), value, f"this key is required; it is one of {known}", kind=MISSING)
    if not isinstance(name, str) or name not in choices:
        hint = did_you_mean(name, choices) if isinstance(name, str) else ""
        raise wrong_at((key,), name, f"this must be one of {known}.{hint}")
    return choices[name]


def wrong_at(
    location: Location, value: object, message: str, source: str | None = None, *, kind: str = WRONG
) -> ValidationError:
    """The error that a validator raises about one place inside the value it validates."""
    return validation_error(Record, [detail_of(location, value, message, source, kind=kind)])


def detail_of(
    location: Location, value: object, message: str, source: str | None = None, *, kind: str = WRONG
) -> Mapping[str, Any]:
    """One error detail, in the form of ``ValidationError.errors``."""
    return {"type": kind, "loc": location, "input": value, "ctx": {"message": message, "source": source}}


def _read_quantity(parse: Callable[[object], float], value: object, strict: bool) -> float:
    if isinstance(value, str) or strict or isinstance(value, bool):
        try:
            return parse(value)
        except UnitError as error:
            raise refuse_again(error) from None
    return _number(value)


def _number(value: object) -> float:
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise refuse("this must be a number")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        raise refuse("this number is too large to compute with") from None
    if not math.isfinite(number):
        raise refuse("this must be a finite number")
    return number


def _bounded(number: float, at_least: float | None, above: float | None, at_most: float | None) -> None:
    if at_least is not None and number < at_least:
        raise refuse(f"this must be at least {at_least:g}")
    if above is not None and number <= above:
        raise refuse(f"this must be more than {above:g}")
    if at_most is not None and number > at_most:
        raise refuse(f"this must be at most {at_most:g}")


def read_seconds(value: object, info: ValidationInfo) -> float:
    """The value as seconds, for validators of fields that take a duration or something else."""
    found = _read_quantity(parse_duration, value, is_strict(info))
    _bounded(found, 0.0, None, None)
    return found


def _quantity(parse: Callable[[object], float], *, above: float | None = None) -> BeforeValidator:
    def read(value: object, info: ValidationInfo) -> float:
        number = _read_quantity(parse, value, is_strict(info))
        _bounded(number, 0.0, above, None)
        return number

    return BeforeValidator(read)


def number(
    *, at_least: float | None = None, above: float | None = None, at_most: float | None = None
) -> BeforeValidator:
    """Reads a pure number (a factor, a coefficient of variation); text and NaN are errors."""

    def read(value: object) -> float:
        found = _number(value)
        _bounded(found, at_least, above, at_most)
        return found

    return BeforeValidator(read)


def whole(*, at_least: int, at_most: int = 2**63 - 1) -> BeforeValidator:
    """Reads a whole number; 8.0, "8" and true are errors, as a file that says so may mean another thing."""

    def read(value: object) -> int:
        try:
            if isinstance(value, bool):
                raise TypeError
            found = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise refuse("this must be a whole number, such as 8") from None
        if not at_least <= found <= at_most:
            raise refuse(
                f"this must be at least {at_least}"
                if found < at_least
                else f"this must be at most {at_most:,}"
            )
        return found

    return BeforeValidator(read)


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse("this must be true or false")
    return value


def read_text(value: object) -> str:
    """The value as text that is not empty; a number is no text."""
    if not isinstance(value, str) or not value.strip():
        raise refuse("this must be text")
    return value


def _size(value: object, info: ValidationInfo) -> int:
    if isinstance(value, str) or is_strict(info) or isinstance(value, bool):
        try:
            return parse_size(value)
        except UnitError as error:
            raise refuse_again(error) from None
    try:
        size_bytes = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise refuse("this must be a whole number of bytes") from None
    _bounded(size_bytes, 0, None, 2**63 - 1)
    return size_bytes


def _positive_size(value: object, info: ValidationInfo) -> int:
    size_bytes = _size(value, info)
    _bounded(size_bytes, None, 0, None)
    return size_bytes


def _fraction(value: object) -> float:
    if isinstance(value, str | bool):
        try:
            return parse_fraction(value)
        except UnitError as error:
            raise refuse_again(error) from None
    fraction = _number(value)
    _bounded(fraction, 0.0, None, 1.0)
    return fraction


Seconds = Annotated[float, _quantity(parse_duration)]
PositiveSeconds = Annotated[float, _quantity(parse_duration, above=0.0)]
PerSecond = Annotated[float, _quantity(parse_rate)]
PositivePerSecond = Annotated[float, _quantity(parse_rate, above=0.0)]
Bytes = Annotated[int, BeforeValidator(_size)]
PositiveBytes = Annotated[int, BeforeValidator(_positive_size)]
Fraction = Annotated[float, BeforeValidator(_fraction)]
Count = Annotated[int, whole(at_least=1)]
CountOrZero = Annotated[int, whole(at_least=0)]
PositiveNumber = Annotated[float, number(above=0.0)]
NumberOrZero = Annotated[float, number(at_least=0.0)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
Text = Annotated[str, BeforeValidator(read_text)]


def python_problems(error: ValidationError) -> list[Problem]:
    """The problems of a record made in Python; a place is written as an expression, consumers.workers."""
    problems = []
    for detail in error.errors(include_url=False):
        context = detail["ctx"]
        value = "" if detail["type"] == MISSING else text_of(detail["input"])
        where = ".".join(map(str, detail["loc"]))
        problems.append(
            Problem(where=where, value=value, message=context["message"], source=context["source"])
        )
    return problems
