"""How many instances a scaler wants: plain functions of numbers, which both engines call and one can test.

They use only arithmetic that is equal everywhere, so a decision is the same in both engines to the bit. One rule stands
behind all scalers: so many messages for each instance. A tolerance, two windows and the most that is added in one step
make each system's own behaviour of it.
"""

from __future__ import annotations

from math import ceil


def wanted(messages: int, target: float, current: int, tolerance: float) -> int:
    """Instances for so many messages, ``target`` to each: ``ceil(messages / target)``.

    Nothing changes while the messages of each of the ``current`` instances are within ``tolerance`` of the target, as a
    share of it (Kubernetes: 0.1).
    """
    if current > 0 and abs(messages / (target * current) - 1.0) <= tolerance:
        return current
    return ceil(messages / target)


def settled(current: int, lowest: int, highest: int) -> int:
    """The current number, moved no further than into what was wanted lately: not above all of it, nor below."""
    return min(max(current, lowest), highest)


def stepped(current: int, want: int, share: float, count: int) -> int:
    """What is wanted, with at most ``share`` of the current instances or ``count`` more, whichever is more."""
    most = max(ceil(current * (1.0 + share)), current + count)
    return min(want, most)


def within(least: int, want: int, most: int) -> int:
    """What is wanted, between the fewest and the most instances."""
    return min(max(want, least), most)


def woken(
    messages: int, activation: float, current: int, least: int, asleep: int, idle_s: float, cooldown_s: float
) -> int:
    """What is left of a fleet that may sleep: ``asleep`` after ``cooldown_s`` with at most ``activation`` messages.

    With more, a sleeping fleet gets its fewest instances, at least one (KEDA). ``idle_s``: how long ago there were.
    """
    if messages > activation:
        return max(current, least, 1)
    return min(current, asleep) if idle_s > cooldown_s else current
