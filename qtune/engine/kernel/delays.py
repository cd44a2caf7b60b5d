"""The end of the delay with which a queue makes messages ready."""

from __future__ import annotations

from math import inf

from qtune.engine.kernel.broker import make_ready
from qtune.engine.kernel.calendar import set_slot
from qtune.engine.kernel.compiled import rare


@rare()
def delays_end(w, now_s):  # type: ignore[no-untyped-def]
    """What has waited long enough is ready, all of it before anything is handed out."""
    b = w.broker
    mask = len(w.messages) - 1
    next_s = inf
    while b.delayed_head < b.delayed_tail:
        message = w.delayed[b.delayed_head & mask]
        ends_s = w.messages[message & mask].sent_s + w.plan.delay_s
        if ends_s > now_s:
            next_s = ends_s
            break
        b.delayed_head += 1
        make_ready(w, message)
    set_slot(w, w.slots.delays, next_s)
