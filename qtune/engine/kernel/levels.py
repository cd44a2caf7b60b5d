"""At which level of the loop a plan runs: with as many of the steps that few plans need as it may need.

The kernel is compiled for each level that is run. Plain plans, which need no step marked ``rare``, take less than half
as long to compile as the whole; usual ones, with the rate limits and outages of a provider and message groups, are
between them. All are the same source.
"""

from __future__ import annotations

from typing import Any, Final

from qtune.engine.kernel.compiled import PLAIN, USUAL, WHOLE
from qtune.engine.kernel.defaults import DEFAULTS, only_known_are_on
from qtune.engine.plan import BY_FAIRNESS, BY_SESSION, Plan

ALWAYS: Final = frozenset(
    {"seed", "horizon_s", "sample_every_s", "tables", "cores", "call_cost_s", "message_cost_s"}
    | {
        "due_s",
        "explicit",
        "segment_start_s",
        "segment_rate_per_s",
        "customers",
        "messages_most",
        "service_s",
    }
    | {"fail_steps", "poison_steps", "abandons", "backoff_s", "drops_expired", "senders", "senders_each"}
    | {
        "lock_s",
        "max_deliveries",
        "retention_s",
        "capacity_messages",
        "rejects_when_full",
        "redelivers_first",
    }
    | {"accepts_late", "calls_served_at_once", "in_flight_most", "consumers", "receivers", "workers"}
    | {"discipline", "batch", "wait_s", "in_hand_limit", "refill_at", "credit_at_settle", "prefetch"}
    | {"linger_s", "keepalive_s", "idle_pause_s", "settle_mode", "settle_batch", "renewers", "renew_after_s"}
    | {"renew_max_s", "pause_start_s", "pause_end_s", "pool_connections"}
)
"""What every plan sets, and the plain loop follows."""

IDLE: Final = frozenset({"returns_unstarted"})
"""What changes nothing unless a setting that is neither here nor above is on as well."""

OFTEN: Final = frozenset(
    {"limit_credits", "limit_period_s", "limit_start_s", "limit_end_s", "limit_call_cost"}
    | {"limit_message_cost", "throttled_wait_s", "failed_wait_s", "retry_jitter", "retry_tokens"}
    | {"throttled_tokens", "failed_tokens", "over_limit_fails", "outage_start_s", "outage_end_s"}
    | {"slow_start_s", "slow_end_s", "slow_factor", "slow_extra_s", "short_poll_steps", "serves_any_receiver"}
    | {"grouping", "group_ends", "group_of", "hands_out", "group_window", "keeps_order"}
)
"""What the usual loop follows besides, as long as nothing is handed out by session or by fairness."""

_PLAIN: Final = ALWAYS | IDLE
_USUAL: Final = _PLAIN | OFTEN


def level_of(plan: Plan) -> int:
    """The lowest level that knows everything which is not as it is by default: a new setting needs the whole."""
    if only_known_are_on(plan, _PLAIN):
        return PLAIN
    known = plan.hands_out not in (BY_SESSION, BY_FAIRNESS) and only_known_are_on(plan, _USUAL)
    return USUAL if known else WHOLE


FOLLOWS_FROM: Final = {
    "refuses": {"limit_credits", "outage_start_s", "drop_s"},
    "holds_up": {"limit_message_cost", "outage_start_s"},
    "slows": {"slow_start_s"},
    "breaks": {"drop_s"},
    "fleet_changes": {"fleet_at_s", "scale_every_s"},
    "has_downstream": {"downstream_connections", "downstream_gap_s"},
    "has_breaker": {"breaker_window"},
    "attempt_waits": {"downstream_connections", "downstream_gap_s", "breaker_window", "cpu_share"},
}
"""What of a plan is on only if one of these settings is."""


def off_at(level: int) -> dict[str, Any]:
    """What every plan of a level has as it is by default, with that value: the compiler is told, and drops the rest."""
    if level == WHOLE:
        return {}
    known = _PLAIN if level == PLAIN else _USUAL
    off = {name: value for name, value in DEFAULTS.items() if name not in known}
    return off | {name: False for name, settings in FOLLOWS_FROM.items() if not settings & known}
