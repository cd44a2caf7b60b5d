"""For which plans the jump loop has the rows of the slot calendar: those in which nothing can overtake anything.

It is a list of what is allowed. A number of a plan that is not named here, such as one that is new, must be off, which
is what its default says; a plan that has it on goes to the slot calendar.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from qtune.engine.kernel.defaults import only_known_are_on
from qtune.engine.plan import LINK_SLIDING, Floats, Numbers, Plan
from qtune.result import CALL_OPS, OP_RECEIVE, OP_SETTLE

FOLLOWED: Final = frozenset(
    {
        "seed",
        "horizon_s",
        "sample_every_s",
        "tables",
        "slow_start_s",
        "slow_end_s",
        "slow_factor",
        "slow_extra_s",
    }
    | {"due_s", "explicit", "segment_start_s", "segment_rate_per_s", "messages_most", "service_s"}
    | {"workers", "cores", "in_hand_limit", "credit_at_settle", "call_cost_s", "message_cost_s"}
)
"""What the jump loop follows, whatever its value."""

WATCHED: Final = frozenset(
    {"lock_s", "renewers", "renew_after_s", "renew_max_s", "drops_expired", "accepts_late"}
    | {"max_deliveries", "redelivers_first", "abandons", "backoff_s"}
    | {"limit_credits", "limit_period_s", "limit_start_s", "limit_end_s", "limit_call_cost"}
    | {"limit_message_cost"}
)
"""What changes nothing as long as no lock runs out or is renewed, no limit is used up, and no handler fails.

The jump loop watches the locks, and :func:`within_limits` looks at the limits when it is done.
"""

IDLE: Final = frozenset(
    {"batch", "wait_s", "refill_at", "prefetch", "linger_s", "keepalive_s", "idle_pause_s", "settle_batch"}
    | {"throttled_wait_s", "failed_wait_s", "retry_jitter", "retry_tokens", "throttled_tokens"}
    | {"failed_tokens", "senders_each", "over_limit_fails", "short_poll_steps", "returns_unstarted"}
    | {"serves_any_receiver"}
)
"""What is read by other disciplines or senders, with several receivers, when a call is refused or a link closes."""

LOOKED_AT: Final = frozenset({"discipline", "retention_s"})
"""What :func:`jumps` looks at itself."""


_KNOWN: Final = FOLLOWED | WATCHED | IDLE | LOOKED_AT


def jumps(plan: Plan) -> bool:
    """Whether the jump loop is exact for this plan, unless it turns out that a lock ran out or a limit was used up.

    One link pushes messages to one pool of workers, each message is settled by itself, and none comes back.
    """
    return (
        plan.discipline == LINK_SLIDING
        and plan.in_hand_limit > 0
        and plan.retention_s > plan.horizon_s
        and only_known_are_on(plan, _KNOWN)
    )


def jumps_surely(plan: Plan) -> bool:
    """Whether the same holds whatever happens in the run: no lock is so short, and there are no limits."""
    watched_s = min(plan.lock_s, plan.renew_after_s) if plan.renewers else plan.lock_s
    return jumps(plan) and watched_s > plan.horizon_s and plan.limit_credits.size == 0


def within_limits(plan: Plan, locked_s: Floats, settled_s: Floats) -> bool:
    """Whether no rate limit can have refused or held up anything: what a period used is below its credits.

    locked_s, settled_s: when messages were pushed, and when settles took effect, each in the order of time. All that a
    period used is looked at together, in whatever order it came; so a limit that its last call used up counts too.
    """
    for limit in range(plan.limit_credits.size):
        of_call, of_message = (
            cost[limit * len(CALL_OPS) :] for cost in (plan.limit_call_cost, plan.limit_message_cost)
        )
        used = of_message[OP_RECEIVE] * _each_period(plan, limit, locked_s)
        used += (of_call[OP_SETTLE] + of_message[OP_SETTLE]) * _each_period(plan, limit, settled_s)
        if (used >= plan.limit_credits[limit]).any():
            return False
    return True


def _each_period(plan: Plan, limit: int, time_s: Floats) -> Numbers:
    """How many of these instants are in each period of a limit, and in the time for which it holds."""
    period_s = plan.limit_period_s[limit]
    starts_s = np.arange(int(plan.horizon_s / period_s) + 3) * period_s
    held_s = np.searchsorted(time_s, [plan.limit_start_s[limit], plan.limit_end_s[limit]])
    each: Numbers = np.diff(np.searchsorted(time_s[slice(*held_s)], starts_s))
    return each
