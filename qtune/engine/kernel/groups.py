"""Groups of messages: to which one each belongs."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.compiled import step
from qtune.engine.kernel.draws import uniform
from qtune.engine.plan import GIVEN_GROUPS, OWN_GROUPS


@step
def group_of(w, message):  # type: ignore[no-untyped-def]
    """The group to which a message belongs, where there are groups."""
    if w.plan.grouping == OWN_GROUPS:
        return message
    if w.plan.grouping == GIVEN_GROUPS:
        return w.group_of[message]
    drawn = uniform(w, streams.GROUP, message, 0)
    low, high = 0, len(w.group_ends)
    while low < high:
        middle = (low + high) >> 1
        if drawn < w.group_ends[middle]:
            high = middle
        else:
            low = middle + 1
    return low
