"""From a record to YAML that reads back as the same record: every value exact, with its unit."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from qtune.records import Record, yaml_name
from qtune.units import parse_duration

_DURATIONS = ("d", "h", "min", "s", "ms", "us", "ns")
_DURATION_S = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SIZES = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1}


def write_record(record: Record, *, left_out: frozenset[str] = frozenset()) -> str:
    """The record as YAML; what is None, and so not given, is left out, and so are the fields ``left_out``."""
    import yaml

    text: str = yaml.safe_dump(
        plain(record, left_out=left_out), sort_keys=False, allow_unicode=True, width=110
    )
    return text


def plain(record: BaseModel, *, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The record as a mapping of YAML keys to plain values; quantities are text with their unit."""
    return {
        yaml_name(name): _plain(name, value)
        for name in type(record).model_fields
        if (value := getattr(record, name)) is not None and name not in left_out
    }


def exact_duration(duration_s: float) -> str:
    """The shortest text that ``parse_duration`` reads as exactly this many seconds."""
    if duration_s == 0.0:
        return "0s"
    texts = [f"{_decimal(duration_s / _DURATION_S[unit])}{unit}" for unit in _DURATIONS]
    exact = [text for text in texts if parse_duration(text) == duration_s]
    return min(exact, key=len)


def exact_rate(rate_per_s: float) -> str:
    """The text per second that ``parse_rate`` reads as exactly this rate."""
    return f"{_decimal(rate_per_s)}/s"


def exact_size(size_bytes: int) -> str:
    """The size in the largest unit of which it is a whole number."""
    units = [name for name, unit in _SIZES.items() if size_bytes and size_bytes % unit == 0] or ["B"]
    return f"{size_bytes // _SIZES[units[0]]}{units[0]}"


def _decimal(number: float) -> str:
    text = repr(number)
    return text.removesuffix(".0") if "e" in text else f"{Decimal(text):f}".removesuffix(".0")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, BaseModel):
        return plain(value)
    if isinstance(value, tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, dict):
        return {key: _plain("", item) for key, item in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and name.endswith("_per_s"):
        return exact_rate(value)
    if isinstance(value, float) and name.endswith("_s"):
        return exact_duration(value)
    if isinstance(value, int) and name.endswith("_bytes"):
        return exact_size(value)
    return value
