"""For which plans the jump loop has the rows of the slot calendar: those in which nothing can overtake anything.

It is a list of what is allowed. A number of a plan that is not named here, such as one that is new, must be off, which
is what its default says; a plan that has it on goes to the slot calendar.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Final

import numpy as np

from qtune.engine.plan import LINK_SLIDING, Plan

FOLLOWED: Final = frozenset(
    {"seed", "horizon_s", "sample_every_s", "tables", "slow_start_s", "slow_end_s", "slow_factor"}
    | {"due_s", "explicit", "segment_start_s", "segment_rate_per_s", "messages_most", "service_s"}
    | {"workers", "cores", "in_hand_limit", "credit_at_settle", "call_cost_s", "message_cost_s"}
)
"""What the jump loop follows, whatever its value."""

WATCHED: Final = frozenset(
    {"lock_s", "renewers", "renew_after_s", "renew_max_s", "drops_expired", "accepts_late"}
    | {"max_deliveries", "redelivers_first", "abandons", "backoff_s"}
)
"""What changes nothing as long as no lock runs out or is renewed and no handler fails; the jump loop watches locks."""

IDLE: Final = frozenset(
    {"batch", "wait_s", "refill_at", "prefetch", "linger_s", "keepalive_s", "idle_pause_s", "settle_batch"}
    | {"throttled_wait_s", "failed_wait_s", "retry_jitter", "retry_tokens", "throttled_tokens"}
    | {"failed_tokens", "senders_each", "over_limit_fails", "short_poll_steps", "returns_unstarted"}
    | {"serves_any_receiver"}
)
"""What is read by other disciplines or senders, with several receivers, when a call is refused or a link closes."""

LOOKED_AT: Final = frozenset({"discipline", "retention_s"})
"""What :func:`jumps` looks at itself."""


def jumps(plan: Plan) -> bool:
    """Whether the jump loop is exact for this plan, unless a lock runs out or has to be renewed in the run itself.

    One link pushes messages to one pool of workers, each message is settled by itself, and none comes back.
    """
    return (
        plan.discipline == LINK_SLIDING
        and plan.in_hand_limit > 0
        and plan.retention_s > plan.horizon_s
        and all(_is_off(plan, name) for name in _OFF)
    )


def jumps_surely(plan: Plan) -> bool:
    """Whether the same holds whatever happens in the run: no lock is short enough to run out or to be renewed."""
    watched_s = min(plan.lock_s, plan.renew_after_s) if plan.renewers else plan.lock_s
    return jumps(plan) and watched_s > plan.horizon_s


def _defaults() -> dict[str, Any]:
    made = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory()
        for each in fields(Plan)
    }
    return {name: value for name, value in made.items() if value is not MISSING}


_OFF: Final = {
    name: value for name, value in _defaults().items() if name not in FOLLOWED | WATCHED | IDLE | LOOKED_AT
}


def _is_off(plan: Plan, name: str) -> bool:
    return bool(np.array_equal(getattr(plan, name), _OFF[name]))
