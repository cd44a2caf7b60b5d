"""From the rows of a run of qtune to the counts that other simulators keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from lean_simpy import Outcome

from qtune.result import MESSAGE_DEAD_LETTERED


def outcome_of(tables: tuple[np.ndarray[Any, np.dtype[Any]], ...]) -> Outcome:
    """What the rows of a run amount to."""
    messages, deliveries = tables[0], tables[1]
    done = messages[~np.isnan(messages["completed_s"])]
    return Outcome(
        messages=len(messages),
        completed=len(done),
        deliveries=len(deliveries),
        dead=int(np.count_nonzero(messages["state"] == MESSAGE_DEAD_LETTERED)),
        sojourn_s=float((done["completed_s"] - done["due_s"]).sum()),
    )
