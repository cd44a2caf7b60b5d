"""Client objects: how a call that the broker refuses is made again."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.plan import Plan
from qtune.engine.reference.draws import Draws
from qtune.result import CALL_FAILED, CALL_THROTTLED


class Client:
    """One client object, whose calls share a quota of retry tokens when its library has one."""

    def __init__(self, plan: Plan, draws: Draws) -> None:
        self.draws = draws
        self.waits_s: dict[int, list[float]] = {
            CALL_THROTTLED: plan.throttled_wait_s.tolist(),
            CALL_FAILED: plan.failed_wait_s.tolist(),
        }
        self.jitter = plan.retry_jitter
        self.tokens = self.most_tokens = plan.retry_tokens
        self.price = {CALL_THROTTLED: plan.throttled_tokens, CALL_FAILED: plan.failed_tokens}


class Tries:
    """One call and its tries; ``op``, ``a`` and ``b`` say which call it is, for its draws."""

    def __init__(self, client: Client, op: int, a: int, b: int) -> None:
        self.client, self.op, self.a, self.b = client, op, a, b
        self.refused = self.spent = 0

    @property
    def key(self) -> int:
        """The second key of this try's draws."""
        return self.b + self.refused * streams.NEXT_TRY

    def next_after_s(self, outcome: int) -> float | None:
        """The call was refused: how long to wait before the next try, or None when the client gives up."""
        client, number = self.client, self.refused
        waits_s, price = client.waits_s[outcome], client.price[outcome]
        if number >= len(waits_s) or (client.most_tokens and client.tokens < price):
            return None
        wait_s = waits_s[number]
        if client.jitter:
            wait_s = wait_s * client.draws.uniform(streams.RETRY + self.op, self.a, self.key)
        client.tokens -= price
        self.spent = price
        self.refused += 1
        return wait_s

    def answered(self) -> None:
        """The broker took the call: the tokens of its last try come back, or one if it was the first."""
        client = self.client
        client.tokens = min(client.tokens + (self.spent or 1), client.most_tokens)
