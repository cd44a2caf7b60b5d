"""A client that slows its calls down when the broker throttles it."""

from __future__ import annotations

from math import floor

from qtune.engine.pacing import (
    BUCKET_S,
    CURVE,
    FIRST_PER_S,
    KEPT,
    LEAST_PER_S,
    MOST_ABOVE,
    SMOOTHING,
    cube_root,
)


class Pace:
    """The rate of one client object, and the tokens that its tries take once it has been throttled.

    Botocore lets whoever waits for a token look again whenever the rate changes; here a try that asks for one is told
    at once when it may leave, at the rate of then, in the order of asking. With one call at a time that is the same.
    """

    def __init__(self, now_s: float) -> None:
        self.is_on = False
        self.answers, self.counted_from_s, self.measured_per_s = 0, float(floor(now_s)), 0.0
        self.throttled_s, self.throttled_at_per_s, self.back_after_s = now_s, 0.0, 0.0
        self.rate_per_s = self.most_tokens = FIRST_PER_S
        self.tokens, self.filled_s = 0.0, now_s

    def leaves_s(self, ready_s: float) -> float:
        """Take a token for a try that could leave then: when it leaves."""
        if not self.is_on:
            return ready_s
        self._fill(ready_s)
        wait_s = (1.0 - self.tokens) / self.rate_per_s if self.tokens < 1.0 else 0.0
        self.tokens = self.tokens - 1.0
        return ready_s + wait_s

    def note(self, throttled: bool, now_s: float) -> None:
        """An answer has come: set the rate."""
        self._count(now_s)
        if throttled:
            at_per_s = min(self.measured_per_s, self.rate_per_s) if self.is_on else self.measured_per_s
            self.throttled_s, self.throttled_at_per_s = now_s, at_per_s
            self.back_after_s = cube_root(at_per_s * (1.0 - KEPT) / CURVE)
            self.is_on = True
            wanted_per_s = at_per_s * KEPT
        else:
            past_s = (now_s - self.throttled_s) - self.back_after_s
            wanted_per_s = CURVE * (past_s * past_s * past_s) + self.throttled_at_per_s
        wanted_per_s = min(wanted_per_s, MOST_ABOVE * self.measured_per_s)
        self._fill(now_s)
        self.rate_per_s = max(wanted_per_s, LEAST_PER_S)
        self.most_tokens = max(wanted_per_s, 1.0)
        self.tokens = min(self.tokens, self.most_tokens)

    def _count(self, now_s: float) -> None:
        """Measure the rate of answers, whenever a new half second has begun."""
        self.answers += 1
        counted_to_s = floor(now_s / BUCKET_S) * BUCKET_S
        if counted_to_s > self.counted_from_s:
            per_s = self.answers / (counted_to_s - self.counted_from_s)
            self.measured_per_s = per_s * SMOOTHING + self.measured_per_s * (1.0 - SMOOTHING)
            self.answers, self.counted_from_s = 0, counted_to_s

    def _fill(self, now_s: float) -> None:
        """Add the tokens that have come since the last time."""
        come = (now_s - self.filled_s) * self.rate_per_s
        self.tokens, self.filled_s = min(self.most_tokens, self.tokens + come), now_s
