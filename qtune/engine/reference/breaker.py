"""Circuit breakers: one in each consumer process, round every attempt of its handlers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtune.engine.reference.model import Model


class CircuitBreaker:
    """Lets attempts through, or makes them fail at once while too many of the last ones failed.

    Closed, it remembers the last outcomes; when there are enough of them and the share of failures reaches the bound it
    opens, and lets nothing through for a while. The first attempt after that finds it half open: so many may pass,
    and the first outcomes decide whether it closes, with nothing remembered, or opens again. An outcome counts for
    the state that it finds, also that of an attempt which began in an earlier one; while it is open none counts.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.plan = model, model.plan
        self.outcomes: deque[bool] = deque(maxlen=self.plan.breaker_window)
        self.open_until_s: float | None = None
        self.trials: int | None = None

    def lets_through(self) -> bool:
        """Whether an attempt may begin now; without a breaker every one may."""
        if self.open_until_s is not None:
            if self.model.clock.now < self.open_until_s:
                self.model.breaker_rejections += 1
                return False
            self.open_until_s, self.trials = None, self.plan.breaker_trials
        if self.trials is not None:
            if self.trials == 0:
                self.model.breaker_rejections += 1
                return False
            self.trials -= 1
        return True

    def note(self, succeeded: bool) -> None:
        """An attempt that was let through has ended."""
        plan = self.plan
        if not plan.has_breaker or self.open_until_s is not None:
            return
        self.outcomes.append(succeeded)
        seen, failures = len(self.outcomes), self.outcomes.count(False)
        if seen < (plan.breaker_least if self.trials is None else plan.breaker_trials_least):
            return
        if failures / seen >= plan.breaker_failures:
            self.model.breaker_openings += 1
            self.open_until_s, self.trials = self.model.clock.now + plan.breaker_open_s, None
            self.outcomes.clear()
        elif self.trials is not None:
            self.trials = None
            self.outcomes.clear()
