"""The memory of what handlers do, where a plan has more than single messages that wait for nobody."""

from __future__ import annotations

from typing import Any

import numpy as np

from qtune.engine.kernel.layout import BREAKER
from qtune.engine.plan import BATCHES_REMEMBERED, Plan


def handler_arrays(plan: Plan) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """What handlers share, breakers, when the attempt of each is served, what it has in a call, the last batches."""
    attempts = plan.workers_total if plan.attempt_waits else 1
    batches = plan.workers_total if plan.handler_batch > 1 else 1
    guarded = plan.consumers if plan.has_breaker else 1
    adapting = plan.receivers_total if plan.adaptive_least else 1
    return {
        "downstream_free_s": np.zeros(plan.downstream_connections),
        "attempt_start_s": np.zeros(attempts),
        "attempt_end_s": np.zeros(attempts),
        "breakers": np.zeros(guarded, BREAKER).view(np.recarray),
        "attempt_failed": np.zeros((guarded, max(1, plan.breaker_window)), np.int64),
        "message_ms": np.zeros((adapting, BATCHES_REMEMBERED)),
        "batch_began_s": np.zeros(adapting),
        "batches_seen": np.zeros(adapting, np.int64),
        "brought": np.zeros(adapting, np.int64),
        "gathers_until_s": np.zeros(plan.receivers_total if plan.gather_s else 1),
        "in_batch": np.zeros((batches, plan.handler_batch), np.int64),
        "batch_good": np.zeros((batches, plan.handler_batch), np.int64),
        "batch_count": np.zeros(batches, np.int64),
        "batch_next": np.zeros(batches, np.int64),
    }
