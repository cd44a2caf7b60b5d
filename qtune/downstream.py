"""What all handlers of a fleet share behind the queue: a database, an API with a quota, a bound on concurrency."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from qtune.records import Count, PositivePerSecond, Record, Seconds, refuse, wrong_at


class Downstream(Record):
    """A resource that every attempt of every handler needs for the whole of its service time.

    connections: most attempts at a time, such as a pool's size or AWS Lambda's reserved concurrency; None: no bound.
    rate_per_s: attempts that it takes on a second; None: no bound.
    burst: so many may begin at once after a quiet time, as with a token bucket of this size; None: 1.
    when_full: an attempt that finds no room waits for it, first come, first served ("wait"), or fails at once without
        any service ("reject"), as with HTTP 429 or a throttled invocation of Lambda.
    refusal_s: how long a rejected attempt takes its worker.
    """

    connections: Count | None = None
    rate_per_s: PositivePerSecond | None = None
    burst: Count | None = None
    when_full: Literal["wait", "reject"] = "wait"
    refusal_s: Seconds | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Downstream:
        if self.connections is None and self.rate_per_s is None:
            raise refuse("this bounds nothing: give connections, or a rate, or leave downstream out")
        if self.burst is not None and self.rate_per_s is None:
            raise wrong_at(("burst",), self.burst, "a burst is of a rate: give one too, or leave burst out")
        if self.refusal_s is not None and self.when_full == "wait":
            message = "when_full is wait, so nothing is refused: use when_full: reject, or leave refusal out"
            raise wrong_at(("refusal_s",), self.refusal_s, message)
        return self

    @property
    def rejects(self) -> bool:
        """Whether an attempt without room fails at once."""
        return self.when_full == "reject"
