"""How many instances a scaler wants: plain functions of numbers, which both engines call and one can test.

They use only arithmetic that is equal everywhere, so a decision is the same in both engines to the bit. One general
rule stands behind all scalers: so many messages for each instance, of which a tolerance, two windows and a most per
step make each system's own behaviour.
"""

from __future__ import annotations

from math import ceil


def wanted(messages: int, target: float, current: int, tolerance: float) -> int:
    """Instances for so many messages, ``target`` to each: ``ceil(messages / target)``.

    Nothing changes when the messages of each of the ``current`` instances are within ``tolerance`` of the target, as a
    share of it (Kubernetes: 0.1).
    """
    if current > 0 and abs(messages / (target * current) - 1.0) <= tolerance:
        return current
    return ceil(messages / target)


def stepped(current: int, want: int, share: float, count: int) -> int:
    """The same, with at most ``share`` of the current instances or ``count`` more in one step, whichever is more."""
    most = max(ceil(current * (1.0 + share)), current + count)
    return min(want, most)


def within(least: int, want: int, most: int) -> int:
    """The same between the fewest and the most instances."""
    return min(max(want, least), most)
