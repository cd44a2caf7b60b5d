"""How a client slows its own calls down after throttled ones: the numbers of that rule, a cube root for both engines.

The rule is that of botocore's retry mode ``adaptive`` (botocore 1.44, retries/adaptive.py, throttling.py, bucket.py). A
client measures how many answers it gets a second. A throttled one lets it send at 0.7 of that rate, and from then on a
try needs a token, of which so many come a second. With time the rate goes back to where it was throttled and beyond,
along a cubic curve, but never above twice the measured one. :mod:`qtune.engine.reference.pacing` has it in full.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

BUCKET_S: Final = 0.5
"""Answers are counted for so long."""

SMOOTHING: Final = 0.8
"""The share of the latest count in the measured rate."""

KEPT: Final = 0.7
"""The share of its rate that a throttled client keeps."""

CURVE: Final = 0.4
"""How steeply the rate comes back."""

LEAST_PER_S: Final = 0.5
MOST_ABOVE: Final = 2.0
"""The bounds of the rate: in calls a second, and as a multiple of the measured one."""

FIRST_PER_S: Final = 1.0
"""The rate of a client that has no answer yet."""


def cube_root(number: float) -> float:
    """By Newton's method from above, until it comes no closer; 0 of what is not above 0.

    Only operations that are equal everywhere, so that both engines get the same bits.
    """
    if number <= 0.0:
        return 0.0
    root = 1.0 + sqrt(number)
    while True:
        closer = root - (root - number / (root * root)) / 3.0
        if closer >= root:
            return root
        root = closer
