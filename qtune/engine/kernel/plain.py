"""Which plans are plain: those that need none of the steps that few plans need.

The kernel is compiled twice. Plain plans run a loop without the steps marked ``rare``, which takes half as long to
compile and is what most people need first; all others run the whole of it. Both are the same source.
"""

from __future__ import annotations

from typing import Final

from qtune.engine.kernel.defaults import only_known_are_on
from qtune.engine.plan import Plan

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
    | {"renew_max_s", "pause_start_s", "pause_end_s"}
)
"""What every plan sets, and the plain loop follows."""

IDLE: Final = frozenset({"returns_unstarted"})
"""What changes nothing unless a setting that is neither here nor above is on as well."""


_KNOWN: Final = ALWAYS | IDLE


def is_plain(plan: Plan) -> bool:
    """Whether everything that the plain loop does not know is as it is by default: a new setting is not plain."""
    return only_known_are_on(plan, _KNOWN)
