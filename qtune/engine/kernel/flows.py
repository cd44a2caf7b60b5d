"""What a link tells the broker, in order: how much it may send, and of sessions more than that."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import step
from qtune.engine.kernel.draws import trip_s
from qtune.engine.kernel.layout import FLOWS_AT_ONCE


@step
def flow(w, receiver, limit, now_s):  # type: ignore[no-untyped-def]
    """Tell the broker a new limit."""
    row = w.receivers[receiver]
    row.limit = limit
    half_s = 0.5 * trip_s(w, streams.RECEIVE, streams.RECEIVE, receiver, row.flow_count, now_s)
    row.flow_count += 1
    tell(w, receiver, limit, now_s + half_s)


@step
def tell(w, receiver, what, at_s):  # type: ignore[no-untyped-def]
    """Let the broker know at this time; frames of one link do not overtake each other."""
    row = w.receivers[receiver]
    row.last_flow_s = max(row.last_flow_s, at_s)
    mask = w.flow_s.shape[1] - 1
    w.flow_s[receiver, row.flow_tail & mask] = row.last_flow_s
    w.flow_limit[receiver, row.flow_tail & mask] = what
    if row.flow_tail == row.flow_head:
        set_slot(w, w.slots.requests + receiver, row.last_flow_s)
    row.flow_tail += 1
    if mask - (row.flow_tail - row.flow_head) < FLOWS_AT_ONCE:
        w.broker.flows_short = 1
        w.broker.sure = 0
