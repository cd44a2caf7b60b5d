"""How much a search may simulate, and what it reports while it does."""

from __future__ import annotations

from dataclasses import dataclass

from qtune.errors import InputError, Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much may be simulated; what is spent is looked at before each run.

    most_messages: in all runs together. most_messages_per_run: what one run may hold in memory (about 200 bytes
    a message). most_candidates: settings simulated. The answer says when a budget ended the search.
    """

    most_messages: int = 200_000_000
    most_messages_per_run: int = 3_000_000
    most_candidates: int = 1_000

    def __post_init__(self) -> None:
        problems = [
            Problem(where=f"budget.{name}", value=repr(value), message="at least 1 is needed")
            for name in ("most_messages", "most_messages_per_run", "most_candidates")
            if (value := getattr(self, name)) < 1
        ]
        if problems:
            raise InputError(problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a search is: what it is doing, candidates and runs so far, and the cheapest answer until now."""

    stage: str
    candidates: int
    runs: int
    messages: int
    best_month_usd: float | None


class BudgetSpentError(Exception):
    """The budget does not allow another run."""
