"""What is asserted, in the words of the queue-runtime document, and what came of each assertion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from qtune.analysis import Estimate
from qtune.scenario import Scenario
from qtune.shown import Shown
from qtune.targets import Targets

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["PASS", "FAIL", "NOT APPLICABLE"]

ASSERTIONS: Final[tuple[tuple[str, str], ...]] = (
    ("sustained throughput", "the system maintains the target throughput for extended periods"),
    ("batch efficiency", "batch operations are more efficient than individual operations"),
    ("linear scaling", "throughput scales linearly with the number of consumers up to provider limits"),
    ("provider limits", "the system respects and handles provider limits gracefully"),
    ("latency", "the 95th percentile of the latency remains below the configured threshold"),
    ("processing overhead", "the overhead of the queue client is less than 10 % of the processing time"),
    ("connection reuse", "the overhead of establishing connections is amortized across operations"),
    ("timeout handling", "all operations respect the configured timeouts"),
    ("memory bounds", "memory usage remains within configured limits"),
    ("connection limits", "the number of connections does not exceed provider or system limits"),
    ("CPU efficiency", "CPU utilization correlates with the processing of messages"),
    ("resource cleanup", "all resources are released when they are no longer needed"),
    ("consumer scaling", "adding consumers increases the throughput of the system"),
    ("queue depth", "the queue gets shorter with more consumer capacity"),
    ("graceful degradation", "performance degrades gracefully under pressure"),
    ("recovery time", "the system recovers to normal performance within a defined time"),
)
"""Name and statement of each, in order: "Behavioral Assertions" of the performance page of queue-runtime 0.2.0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assertion:
    """One assertion about a setting, and what the runs say of it.

    outcome: PASS only when the runs show it at the stated confidence; what they leave open is a FAIL.
    reason: the rule that was applied with its numbers, or why the assertion does not apply.
    evidence: what was measured, by name, each with its interval.
    """

    number: int
    outcome: Outcome
    reason: str
    evidence: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is about, in a word or two."""
        return ASSERTIONS[self.number - 1][0]

    @property
    def statement(self) -> str:
        """What is asserted."""
        return ASSERTIONS[self.number - 1][1]

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "number": self.number,
            "name": self.name,
            "statement": self.statement,
            "outcome": self.outcome,
            "reason": self.reason,
            "evidence": {name: estimate.to_dict() for name, estimate in self.evidence.items()},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification(Shown):
    """All assertions about one setting, in order.

    targets: what "target" and "threshold" mean in them; None when none were given.
    confidence: of every interval. seeds: of the replications that each number rests on.
    """

    scenario: Scenario
    targets: Targets | None
    assertions: tuple[Assertion, ...]
    confidence: float
    seeds: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Whether no assertion failed."""
        return all(assertion.outcome != "FAIL" for assertion in self.assertions)

    def assertion(self, number: int) -> Assertion:
        """The assertion of that number, from 1."""
        return self.assertions[number - 1]

    def to_frame(self) -> pd.DataFrame:
        """One row an assertion and piece of its evidence: number, name, outcome, reason, evidence, value and unit."""
        import pandas as pd

        rows = [
            {
                **{name: getattr(one, name) for name in ("number", "name", "outcome", "reason")},
                "evidence": name,
                "value": estimate.value,
                "unit": estimate.unit,
            }
            for one in self.assertions
            for name, estimate in one.evidence.items()
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, object]:
        """Everything for JSON."""
        return {
            "scenario": self.scenario.name,
            "targets": [] if self.targets is None else [str(target) for target in self.targets],
            "holds": self.holds,
            "confidence": self.confidence,
            "seeds": list(self.seeds),
            "assertions": [assertion.to_dict() for assertion in self.assertions],
        }


def judged(number: int, shown: bool, reason: str, **evidence: Estimate) -> Assertion:
    """An assertion that passes when its rule was shown to hold."""
    return Assertion(number=number, outcome="PASS" if shown else "FAIL", reason=reason, evidence=evidence)


def not_applicable(number: int, reason: str, **evidence: Estimate) -> Assertion:
    """An assertion that says nothing about this setting, or that the simulator cannot judge."""
    return Assertion(number=number, outcome="NOT APPLICABLE", reason=reason, evidence=evidence)
