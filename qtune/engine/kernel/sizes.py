"""How large the arrays of a world must be for a plan."""

from __future__ import annotations

from qtune.engine.plan import POLL, Plan


def most_in_hand(plan: Plan) -> int:
    """How much a receiver can have at most; a burst link: one batch in hand, one read, one unread, and its credit."""
    return power_of_two(4 * plan.batch + plan.prefetch + plan.in_hand_limit + plan.workers + 8)


def most_at_once(plan: Plan) -> int:
    """How many messages one event can hand out, or give back, at most."""
    in_hand = plan.batch + plan.prefetch + plan.in_hand_limit
    most = plan.send_batch + in_hand + plan.settle_batch + plan.handler_batch + plan.receivers_total + 8
    if plan.discipline == POLL or not plan.fleet_changes:
        return most
    return most + plan.receivers * most_in_hand(plan)  # a consumer that stops gives back all that it has


def power_of_two(count: int) -> int:
    """The least power of two that is not below ``count``."""
    return 1 << max(0, count - 1).bit_length()
