"""Why a setting performs as it does, in words with numbers: what binds, what lifts it, and what is next."""

from __future__ import annotations

from dataclasses import dataclass

from qtune.analysis.finding import Finding
from qtune.analysis.rules import findings_of
from qtune.analysis.setup import setup_of
from qtune.analysis.stages import STAGES
from qtune.analysis.summary import Summary
from qtune.units import format_duration, format_fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a setting performs as it does: all rules that apply, the most used up first.

    binding: the rule that binds, or would first if the load grew. next: the one after it; None when only
    one rule applies. where: which part of the latency the slowest messages spend their time in; "" without
    a latency.
    """

    verdict: str
    findings: tuple[Finding, ...]
    where: str

    @property
    def binding(self) -> Finding:
        """The rule that is used up most."""
        return self.findings[0]

    @property
    def next(self) -> Finding | None:
        """The rule that is used up most after the binding one."""
        return self.findings[1] if len(self.findings) > 1 else None

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The rules whose need exceeds their bound."""
        return tuple(finding for finding in self.findings if finding.broken)

    @property
    def text(self) -> str:
        """The explanation as a few sentences, a line each."""
        lines = [self.verdict]
        label = "binds" if self.binding.broken else "comes closest to binding"
        lines.append(f"{self.binding.rule} {label}: {self.binding.text}")
        if self.binding.change:
            lines.append(f"smallest change: {self.binding.change}")
        lines += [f"{finding.rule} is broken too: {finding.text}" for finding in self.broken[1:]]
        if self.next is not None and not self.next.broken:
            lines.append(f"next to bind is {self.next.rule}: {self.next.text}")
        if self.where:
            lines.append(self.where)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON has it."""
        return {
            "verdict": self.verdict,
            "text": self.text,
            "findings": [finding.to_dict() for finding in self.findings],
            "where": self.where,
        }


def explain(summary: Summary) -> Explanation:
    """Which rule binds in the runs of this summary, with its numbers, and what would lift it."""
    setup = setup_of(summary.scenario)
    demand_per_s = setup.rate_per_s
    if demand_per_s is None:  # what a closed loop asked for is what it got
        demand_per_s = summary.goodput_per_s.value
    findings = findings_of(setup, demand_per_s, summary)
    return Explanation(verdict=summary.verdict.text, findings=findings, where=_where(summary))


def _where(summary: Summary) -> str:
    """In which stage the slowest messages spend most of their time."""
    parts = {name: summary.stage(name).slowest_mean_s for name in STAGES}
    total_s = sum(part.value for part in parts.values())
    if not (summary.latency_s_p95.known and total_s > 0.0):
        return ""
    name, part = max(parts.items(), key=lambda item: item[1].value)
    share = format_fraction(part.value / total_s)
    return f"the slowest 5 % of the messages spend {share} of {format_duration(total_s)} in {name}"
