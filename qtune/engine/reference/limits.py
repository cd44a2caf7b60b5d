"""What a broker refuses: everything in an outage, and what a rate limit has no credits for."""

from __future__ import annotations

from math import floor, inf

from qtune.engine.plan import Plan
from qtune.result import CALL_FAILED, CALL_OK, CALL_OPS, CALL_THROTTLED, OP_RECEIVE


class Limit:
    """One limit: a number of credits for every period in which it applies."""

    def __init__(self, plan: Plan, number: int) -> None:
        costs = slice(number * len(CALL_OPS), (number + 1) * len(CALL_OPS))
        self.credits: float = plan.limit_credits[number].item()
        self.period_s: float = plan.limit_period_s[number].item()
        self.start_s: float = plan.limit_start_s[number].item()
        self.end_s: float = plan.limit_end_s[number].item()
        self.call_cost: list[float] = plan.limit_call_cost[costs].tolist()
        self.message_cost: list[float] = plan.limit_message_cost[costs].tolist()
        self.used = self.until_s = 0.0

    def counts(self, op: int, now_s: float) -> bool:
        """Whether calls of this kind are counted now; a new period begins with all credits."""
        if not (self.start_s <= now_s < self.end_s and self.call_cost[op] + self.message_cost[op] > 0.0):
            return False
        if now_s >= self.until_s:
            self.used, self.until_s = 0.0, next_period_s(self.period_s, now_s)
        return True


class Limits:
    """All limits of a broker, and its outages."""

    def __init__(self, plan: Plan) -> None:
        self.outages: list[tuple[float, float]] = list(
            zip(plan.outage_start_s.tolist(), plan.outage_end_s.tolist(), strict=True)
        )
        self.all = [Limit(plan, number) for number in range(plan.limit_credits.size)]

    def ask(self, op: int, count: int, now_s: float) -> int:
        """Charge a call that takes effect now with ``count`` messages, or refuse it; the outcome of the call."""
        if self.down_until_s(now_s) > now_s:
            return CALL_FAILED
        counting = [limit for limit in self.all if limit.counts(op, now_s)]
        if any(limit.used >= limit.credits for limit in counting):
            return CALL_THROTTLED
        for limit in counting:
            limit.used += limit.call_cost[op] + limit.message_cost[op] * count
        return CALL_OK

    def down_until_s(self, now_s: float) -> float:
        """When the present outage ends; 0 when there is none."""
        for start_s, end_s in self.outages:
            if start_s <= now_s < end_s:
                return end_s
        return 0.0

    def charge_received(self, count: int, now_s: float) -> None:
        """Charge messages that are handed out; their call, if there was one, was charged before."""
        for limit in self.all:
            if limit.counts(OP_RECEIVE, now_s):
                limit.used += limit.message_cost[OP_RECEIVE] * count

    def held_until_s(self, now_s: float) -> float:
        """When to look again whether a message may be handed out; 0 when it may be now."""
        if (down_until_s := self.down_until_s(now_s)) > now_s:
            return down_until_s
        until_s = inf
        for limit in self.all:
            counted = limit.counts(OP_RECEIVE, now_s) and limit.message_cost[OP_RECEIVE] > 0.0
            if counted and limit.used >= limit.credits:
                until_s = min(until_s, limit.until_s, limit.end_s)
        return until_s if until_s < inf else 0.0


def next_period_s(period_s: float, now_s: float) -> float:
    """When the next period begins; the division may err by one period in its last bit."""
    number = floor(now_s / period_s) + 1
    while number * period_s <= now_s:
        number += 1
    return number * period_s
