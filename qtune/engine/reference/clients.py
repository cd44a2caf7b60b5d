"""Client objects: their connections, and how a call that the broker refuses is made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtune.engine import streams
from qtune.engine.reference.pacing import Pace
from qtune.result import CALL_FAILED, CALL_THROTTLED

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model


class Client:
    """One client object: its calls share a pool of connections and a quota of retry tokens, if its library has them."""

    def __init__(self, model: Model) -> None:
        plan = model.plan
        self.model, self.draws = model, model.draws
        self.idle_connections, self.kept_connections = 0, plan.pool_connections
        self.looked_s = 0.0
        self.waits_s: dict[int, list[float]] = {
            CALL_THROTTLED: plan.throttled_wait_s.tolist(),
            CALL_FAILED: plan.failed_wait_s.tolist(),
        }
        self.jitter = plan.retry_jitter
        self.tokens = self.most_tokens = plan.retry_tokens
        self.pace = Pace(model.clock.now) if plan.paces_calls else None
        self.price = {CALL_THROTTLED: plan.throttled_tokens, CALL_FAILED: plan.failed_tokens}

    def look(self) -> None:
        """What has broken since is not idle in the pool any more."""
        if self.model.broke_since(self.looked_s):
            self.idle_connections = 0
        self.looked_s = self.model.clock.now


class Tries:
    """One call and its tries; ``op``, ``a`` and ``b`` say which call it is, for its draws."""

    def __init__(self, client: Client, op: int, a: int, b: int) -> None:
        self.client, self.op, self.a, self.b = client, op, a, b
        self.refused = self.spent = 0

    @property
    def key(self) -> int:
        """The second key of this try's draws."""
        return self.b + self.refused * streams.NEXT_TRY

    def leaves_s(self, ready_s: float) -> float:
        """When this try, which could leave then, may leave by its client's pace and has a connection to leave by."""
        if self.client.pace is not None:
            ready_s = self.client.pace.leaves_s(ready_s)
        return ready_s + self.connect_s()

    def connect_s(self) -> float:
        """Take a connection for this try: how long until it is open, which one that the pool has kept is already."""
        client = self.client
        if not client.kept_connections:
            return 0.0
        client.look()
        if client.idle_connections:
            client.idle_connections -= 1
            return 0.0
        return client.model.round_trip_s(streams.CONNECT_TABLE, streams.CONNECT + self.op, self.a, self.key)

    def hang_up(self, start_s: float) -> None:
        """This try, which began then, is answered: the pool keeps its connection if that stands and there is room."""
        client = self.client
        client.look()
        if not client.model.broke_since(start_s):
            client.idle_connections = min(client.idle_connections + 1, client.kept_connections)

    def note(self, outcome: int) -> None:
        """The client has this answer now."""
        if self.client.pace is not None:
            self.client.pace.note(outcome == CALL_THROTTLED, self.client.model.clock.now)

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
