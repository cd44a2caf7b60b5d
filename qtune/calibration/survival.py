"""Quantiles of times of which some are only known to be longer than what was seen of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Survival:
    """The share of times that are longer than each that was seen to the end (Kaplan and Meier, 1958).

    spread: of the shares' variance, as a share squared (Greenwood, 1926).
    """

    times_s: Floats
    longer: Floats
    spread: Floats


def _survival(times_s: Floats, censored_s: Floats) -> _Survival:
    seen = np.sort(times_s)
    lasted_s = np.sort(np.concatenate((times_s, censored_s)))
    # Of equal times, each is one less at risk than the one before.
    place = np.maximum(np.searchsorted(lasted_s, seen, side="left"), 0) + _rank_of_equals(seen)
    at_risk = lasted_s.size - place.astype(np.float64)
    longer = np.asarray(np.cumprod(1.0 - 1.0 / at_risk), np.float64)
    return _Survival(
        times_s=seen, longer=longer, spread=np.cumsum(1.0 / (at_risk * np.maximum(at_risk - 1.0, 1.0)))
    )


def _rank_of_equals(ordered: Floats) -> NDArray[np.int64]:
    return np.asarray(np.arange(ordered.size) - np.searchsorted(ordered, ordered, side="left"), np.int64)


def quantile_of(times_s: Floats, censored_s: Floats, level: float) -> tuple[float, float]:
    """A quantile, and the standard error of the share of times below it; NaN when it was not reached."""
    found = _survival(times_s, censored_s)
    place = int(np.searchsorted(-found.longer, level - 1.0))
    if place >= found.times_s.size:
        return float("nan"), float("nan")
    return float(found.times_s[place]), float(found.longer[place] * found.spread[place] ** 0.5)


def quantiles_of(times_s: Floats, censored_s: Floats, levels: Floats) -> Floats:
    """The quantiles of times of which some are only known to be longer; the longest one where they are not reached."""
    if not censored_s.size:
        return np.asarray(np.quantile(times_s, levels))
    found = _survival(times_s, censored_s)
    place = np.searchsorted(-found.longer, levels - 1.0)
    return found.times_s[np.minimum(place, found.times_s.size - 1)]
