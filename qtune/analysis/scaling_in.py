"""Rule R12: a handler must be done before the scaler takes its instance away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from qtune.analysis.finding import Finding
from qtune.analysis.setup import Setup
from qtune.scenario import Scenario
from qtune.units import format_duration

_SURE: Final = 0.99


def scaling_findings(scenario: Scenario, setup: Setup) -> Iterator[Finding]:
    """R12 for an instance that is removed at work, where the fleet does not stay and work does not keep its instances.

    A scaler that counts messages in flight, and asks for no more of them in an instance than it has workers, removes no
    instance whose messages are all at work. Any other may, and what drains has its grace for that.
    """
    scaling = scenario.scaling
    if scaling is None:
        return
    in_sessions = setup.semantics.hands_out == "by session"
    rule = scaling.rule(scenario.queue.provider, setup.behaviour.most_together, in_sessions)
    if rule.asleep:
        yield _two_thresholds(rule.asleep, scaling.min_instances)
    grace_s = scaling.lingers_s
    if math.isinf(grace_s) or (rule.counts_in_flight and rule.target <= setup.workers_each):
        return
    handler_s = setup.service.quantile(_SURE)
    has = f"has {format_duration(grace_s)}" if grace_s > 0.0 else "is killed"
    text = f"99 % of the handlers end within {format_duration(handler_s)}; an instance that is removed {has}"
    change, setting, value = "", None, None
    if handler_s > grace_s:
        enough_s = float(math.ceil(handler_s))
        change = f"scaling.on_scale_in: drain, with a grace of {format_duration(enough_s)}"
        if grace_s > 0.0:
            setting, value = "scaling.grace_s", enough_s
            change = f"scaling.grace: {format_duration(grace_s)} -> {format_duration(enough_s)}"
    ratio = handler_s / grace_s if grace_s > 0.0 else math.inf
    yield Finding(
        rule="R12",
        subject="handlers at scale-in",
        ratio=ratio,
        text=text,
        change=change,
        setting=setting,
        value=value,
    )


def _two_thresholds(asleep: int, fewest: int) -> Finding:
    """What puts a fleet to sleep leaves some instances; the autoscaler, which sees those, goes back to its fewest."""
    return Finding(
        rule="R12",
        subject="instances of a fleet that sleeps",
        ratio=fewest / asleep,
        text=f"{asleep} of a fleet that sleeps are fewer than the {fewest} to which the autoscaler goes back at once",
        change=f"scaling.idle_instances: {asleep} -> 0, or leave it out",
        setting="scaling.idle_instances",
        value=0.0,
    )
