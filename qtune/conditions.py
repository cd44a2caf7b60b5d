"""Under which conditions a run was measured: what a reader must know before believing its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

BUSY: Final = 0.85
"""A machine that is busier than this delays what it measures by more than the queue does."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where the messages of a measured run were when it ended, also those that were completed after its horizon.

    sent: the broker said that it has them. completed: it said that they are done; completed_twice: two times or more,
    which a duplicate of an at-least-once queue can be, and anything else must not. unanswered: settlements to which the
    broker's answer did not come, or that it refused: whether these are done is not known. left: in the queue or its
    dead letters; None where the provider does not say.
    """

    sent: int
    completed: int
    completed_twice: int
    unanswered: int
    left: int | None

    @property
    def lost(self) -> int | None:
        """Messages that the broker had and that are neither done nor there, at least; None when it does not say."""
        if self.left is None:
            return None
        return max(0, self.sent - self.completed - self.unanswered - self.left)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The machine of a measured run while it ran.

    machine: its system, processor and number of cores. clock_error_s: instants of different processes differ by at
    most so much. utilization: pairs of an instant in seconds of the run and the busy share of all cores since the one
    before; sender, consumers and a local server share them. late_s_p95: 95 % of the sends that had a free sender began
    at most so long after their message was due. account: where the messages were in the end.
    """

    machine: str
    clock_error_s: float
    utilization: tuple[tuple[float, float], ...]
    late_s_p95: float
    account: Account

    @property
    def utilization_mean(self) -> float:
        """The busy share of all cores over the run; NaN when nobody looked."""
        shares = [share for _, share in self.utilization]
        return sum(shares) / len(shares) if shares else float("nan")

    @property
    def too_busy(self) -> bool:
        """Whether the machine was too busy for the figures to be those of the queue."""
        return self.utilization_mean > BUSY

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON."""
        return {
            "machine": self.machine,
            "clock_error_s": self.clock_error_s,
            "utilization": [list(pair) for pair in self.utilization],
            "late_s_p95": self.late_s_p95,
            "account": asdict(self.account),
        }

    @staticmethod
    def of_dict(fields: Mapping[str, Any]) -> Conditions:
        """What :meth:`to_dict` wrote."""
        pairs = tuple((float(at_s), float(share)) for at_s, share in fields["utilization"])
        return Conditions(**{**fields, "utilization": pairs, "account": Account(**fields["account"])})
