"""Which messages belong together: the message groups of a workload, also called sessions, tenants or ordering keys.

Here it is said how many groups there are and how the messages spread over them. What a queue makes of the groups is
its provider's matter; to one that knows no groups they are a label.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, model_validator

from qtune import exactmath
from qtune.records import Complaint, NumberOrZero, Record, one_of, refuse, whole

MOST_GROUPS = 1_000_000
Floats = NDArray[np.float64]
HowMany = Annotated[int, whole(at_least=1, at_most=MOST_GROUPS)]


class Groups(Record):
    """The base of all ways in which messages spread over groups."""

    kind: str

    @abstractmethod
    def shares(self) -> Floats | None:
        """The share of the messages that each group has, or None where no group has one."""


class EvenGroups(Groups):
    """``count`` groups; each message belongs to any of them with the same chance."""

    kind: Literal["even"] = "even"
    count: HowMany

    def shares(self) -> Floats:
        """The same share for each."""
        return np.full(self.count, 1.0 / self.count)


class ZipfGroups(Groups):
    """``count`` groups, the k-th with a share proportional to 1 / k^exponent: few are busy and most are quiet.

    exponent: 0 makes them even; 1 is the law of Zipf, by which the first of 1,000 groups has 13 % of all messages.
    """

    kind: Literal["zipf"] = "zipf"
    count: HowMany
    exponent: NumberOrZero

    def shares(self) -> Floats:
        """The shares, largest first, to the same bits on every platform."""
        rank = np.arange(1, self.count + 1, dtype=np.float64)
        weights: Floats = exactmath.exp(-self.exponent * exactmath.log(rank))
        return _shares(weights)


class WeightedGroups(Groups):
    """One group for each weight, with a share of the messages in proportion to it."""

    kind: Literal["weights"] = "weights"
    weights: Annotated[tuple[NumberOrZero, ...], Field(min_length=1, max_length=MOST_GROUPS)]

    @model_validator(mode="after")
    def _some(self) -> WeightedGroups:
        if not any(self.weights):
            raise refuse("every weight is 0, so no message would belong to a group")
        return self

    def shares(self) -> Floats:
        """The weights over their sum."""
        return _shares(np.array(self.weights))


class OwnGroups(Groups):
    """Each message is a group of its own, as with a random identifier for each."""

    kind: Literal["own"] = "own"

    def shares(self) -> None:
        """No group has a share: there are as many as messages."""
        return


class TraceGroups(Groups):
    """Each message has the group in the trace's ``group`` column; equal entries are one group."""

    kind: Literal["trace"] = "trace"

    def shares(self) -> None:
        """No group has a share: the trace says of each message to which it belongs."""
        return


def _shares(weights: Floats) -> Floats:
    largest: Floats = weights / weights.max()  # so that a sum of large weights is finite
    shares: Floats = largest / largest.cumsum()[-1]
    return shares


KINDS: dict[str, type[Record]] = {
    "even": EvenGroups,
    "zipf": ZipfGroups,
    "weights": WeightedGroups,
    "own": OwnGroups,
    "trace": TraceGroups,
}


def groups_come_from_a_trace(scenario: Any) -> Iterator[Complaint]:
    """The rule that a trace whose groups are asked for names some."""
    groups = scenario.groups
    if groups is not None and groups.kind == "trace" and not scenario.arrivals.has_groups:
        message = "these groups need arrivals of the kind trace, from a file with a group column"
        yield Complaint(path="groups.kind", message=message)


AnyGroups = Annotated[SerializeAsAny[Groups], one_of("kind", KINDS)]
