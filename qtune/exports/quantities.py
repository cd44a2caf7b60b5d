"""Estimates as text: a value with its unit, its interval, or the reason why there is none."""

from __future__ import annotations

import math

from qtune.analysis import Estimate
from qtune.units import format_duration, format_fraction, format_rate, format_usd

_LARGE = 1000.0


def quantity(value: float, unit: str) -> str:
    """A value in the unit of an Estimate ("s", "1/s", "USD", "1"), or a share for "share"; "n/a" for NaN."""
    if unit == "s":
        return format_duration(value)
    if unit == "1/s":
        return format_rate(value)
    if unit == "USD":
        return format_usd(value)
    if unit == "share":
        return format_fraction(value)
    return plain_number(value)


def plain_number(value: float) -> str:
    """A number without a unit, in four significant digits below a thousand and in whole ones above."""
    if math.isnan(value):
        return "n/a"
    return f"{value:,.0f}" if _LARGE <= abs(value) < math.inf else f"{value:.4g}"


def value_text(estimate: Estimate, unit: str = "") -> str:
    """The value of an estimate, or "no value". unit: "share" for a number to be shown in percent."""
    return quantity(estimate.value, unit or estimate.unit) if estimate.known else "no value"


def interval_text(estimate: Estimate, unit: str = "") -> str:
    """The interval of an estimate, or why it or the value is missing; "" where none is to be expected."""
    if not estimate.known:
        return estimate.reason
    low, high = (quantity(end, unit or estimate.unit) for end in (estimate.low, estimate.high))
    if low == high == "n/a":
        return estimate.reason
    if high == "n/a":
        return f"{low} or more ({estimate.reason})"
    return f"{low} to {high}"
