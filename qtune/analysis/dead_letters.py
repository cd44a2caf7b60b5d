"""What becomes of dead letters: a dead-letter queue deletes them when its own retention ends.

No run has to tell: a dead letter leaves its queue at an instant that follows from its row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from qtune.analysis.finding import Finding
from qtune.analysis.intervals import Floats
from qtune.result import MESSAGE_DEAD_LETTERED, Result
from qtune.scenario import Scenario
from qtune.units import format_duration


def deleted_s(result: Result) -> Floats:
    """When each message is deleted from the dead-letter queue, one number for each row of the messages.

    It may be after the end of the run, and is infinite where dead letters are kept for ever; NaN for a message that was
    not dead-lettered. One whose retention has ended when it gets there is deleted at once. The retention counts from
    the first send or from the dead-lettering, as the provider has it.
    """
    messages, semantics = result.messages, result.scenario.semantics()
    from_s = messages["sent_s"] if semantics.dead_letters_age == "from the send" else messages["left_s"]
    gone_s = np.maximum(messages["left_s"], from_s + semantics.dead_letter_retention_s)
    found: Floats = np.where(messages["state"] == MESSAGE_DEAD_LETTERED, gone_s, math.nan)
    return found


def dead_letter_findings(scenario: Scenario) -> Iterator[Finding]:
    """Rule R11 for dead letters: what is kept of them when all deliveries have run out by their locks, one by one."""
    semantics, failures = scenario.semantics(), scenario.failures
    fails = failures.rate > 0.0 or failures.poison > 0.0
    kept_s, most = semantics.dead_letter_retention_s, semantics.max_deliveries
    if not (most and fails and failures.on_failure == "lock_expiry") or math.isinf(kept_s):
        return
    if semantics.dead_letters_age != "from the send":
        return
    tries_s = most * semantics.lock_s
    text = (
        f"deliveries up to {most} of {format_duration(semantics.lock_s)} each take {format_duration(tries_s)}, and the "
        f"dead-letter queue keeps a message for {format_duration(kept_s)} from its first send"
    )
    change = f"keep dead letters for more than {format_duration(tries_s)}" if tries_s > kept_s else ""
    yield Finding(rule="R11", subject="dead letters", ratio=tries_s / kept_s, text=text, change=change)
