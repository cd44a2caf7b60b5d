"""Batches as large as the last ones suggest."""

from __future__ import annotations

from math import floor

from qtune.engine.kernel.compiled import rare
from qtune.engine.plan import BATCHES_REMEMBERED, ROUNDING


@rare(0)
def fitting_batch(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Note how long the last batch took, and find how many messages are likely to fill the time for the next."""
    p = w.plan
    brought = w.brought[receiver]
    remembered = w.batches_seen[receiver]
    if brought > 0:
        took_ms = floor((now_s - w.batch_began_s[receiver]) * 1000.0)
        w.message_ms[receiver, remembered % BATCHES_REMEMBERED] = took_ms / brought
        remembered += 1
        w.batches_seen[receiver] = remembered
    w.brought[receiver] = 0
    w.batch_began_s[receiver] = now_s
    count = min(remembered, BATCHES_REMEMBERED)
    if count == 0:
        return p.adaptive_least
    sum_ms = 0.0
    for back in range(1, count + 1):
        sum_ms = sum_ms + w.message_ms[receiver, (remembered - back) % BATCHES_REMEMBERED]
    if sum_ms <= 0.0:
        return p.batch
    fits = floor(p.adaptive_target_s * 1000.0 + ROUNDING) / (sum_ms / count)
    return p.batch if fits >= p.batch else max(p.adaptive_least, floor(fits))


@rare()
def forget_batches(w, receiver):  # type: ignore[no-untyped-def]
    """A new process knows of no batches."""
    w.batches_seen[receiver] = 0
    w.brought[receiver] = 0
