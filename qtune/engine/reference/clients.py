"""Client objects: how a call that the broker refuses is made again."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.plan import Plan
from qtune.engine.reference.draws import Draws


class Client:
    """One client object, whose calls share a quota of retry tokens when its library has one."""

    def __init__(self, plan: Plan, draws: Draws) -> None:
        self.draws = draws
        self.waits_s: list[float] = plan.throttled_wait_s.tolist()
        self.jitter = plan.retry_jitter
        self.tokens = self.most_tokens = plan.retry_tokens
        self.price = plan.throttled_tokens


class Tries:
    """One call and its tries; ``op``, ``a`` and ``b`` say which call it is, for its draws."""

    def __init__(self, client: Client, op: int, a: int, b: int) -> None:
        self.client, self.op, self.a, self.b = client, op, a, b
        self.refused = self.spent = 0

    @property
    def key(self) -> int:
        """The second key of this try's draws."""
        return self.b + self.refused * streams.NEXT_TRY

    def next_after_s(self) -> float | None:
        """The call was refused: how long to wait before the next try, or None when the client gives up."""
        client, number = self.client, self.refused
        if number >= len(client.waits_s) or (client.most_tokens and client.tokens < client.price):
            return None
        wait_s = client.waits_s[number]
        if client.jitter:
            wait_s = wait_s * client.draws.uniform(streams.RETRY + self.op, self.a, self.key)
        client.tokens -= client.price
        self.spent = client.price
        self.refused += 1
        return wait_s

    def answered(self) -> None:
        """The broker took the call: the tokens of its last try come back, or one if it was the first."""
        client = self.client
        client.tokens = min(client.tokens + (self.spent or 1), client.most_tokens)
