"""Why a setting performs as it does, in words with numbers: what binds, what lifts it, and what is next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qtune.analysis.finding import Finding
from qtune.analysis.lifting import lifted
from qtune.analysis.rules import findings_of, of_scenario
from qtune.analysis.setup import Setup, setup_of
from qtune.analysis.stages import STAGES
from qtune.analysis.summary import Summary
from qtune.scenario import Scenario
from qtune.units import format_duration, format_fraction

_SAME: Final = 1.0 - 1e-9
"""A rule that a change leaves less used up than this, of what it was, is relieved by it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a setting performs as it does: all rules that apply, the most used up first, the broken ones before others.

    next: the rule that would bind after the change that lifts the binding one, so one that this change does not
    relieve; None when there is no other. also_lifted: broken rules that the same change lifts too.
    where: which part of the latency the slowest messages spend their time in; "" without a latency.
    """

    verdict: str
    findings: tuple[Finding, ...]
    next: Finding | None
    also_lifted: tuple[Finding, ...]
    where: str

    @property
    def binding(self) -> Finding:
        """The rule that binds, or would first if the load grew."""
        return self.findings[0]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The rules whose need exceeds their bound."""
        return tuple(finding for finding in self.findings if finding.broken)

    @property
    def text(self) -> str:
        """The explanation as a few sentences, a line each."""
        lines = [self.verdict]
        label = "binds" if self.binding.broken else "comes closest to binding"
        lines.append(f"{self.binding.name} {label}: {self.binding.text}")
        if self.binding.change:
            lines.append(f"smallest change: {self.binding.change}")
        if self.also_lifted:
            names = ", ".join(finding.name for finding in self.also_lifted)
            lines.append(f"the same change lifts what else is broken: {names}")
        left = [finding for finding in self.broken[1:] if finding not in self.also_lifted]
        lines += [f"{finding.name} is broken too: {finding.text}" for finding in left]
        if self.next is not None and self.next.key not in [finding.key for finding in left]:
            lines.append(f"next to bind is {self.next.name}: {self.next.text}")
        if self.where:
            lines.append(self.where)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON has it."""
        return {
            "verdict": self.verdict,
            "text": self.text,
            "binding": self.binding.to_dict(),
            "also_lifted": [finding.name for finding in self.also_lifted],
            "next": None if self.next is None else self.next.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
            "where": self.where,
        }


def explain(summary: Summary) -> Explanation:
    """Which rule binds in the runs of this summary, with its numbers, what would lift it, and what binds after that."""
    setup = setup_of(summary.scenario)
    demand_per_s = setup.rate_per_s
    if demand_per_s is None:  # what a closed loop asked for is what it got
        demand_per_s = summary.goodput_per_s.value
    findings = findings_of(setup, demand_per_s, summary)
    following, relieved = _after_the_change(summary.scenario, setup, demand_per_s, findings)
    return Explanation(
        verdict=summary.verdict.text,
        findings=findings,
        next=following,
        also_lifted=relieved,
        where=_where(summary),
    )


def _after_the_change(
    scenario: Scenario, setup: Setup, demand_per_s: float, findings: tuple[Finding, ...]
) -> tuple[Finding | None, tuple[Finding, ...]]:
    """What binds once the binding rule is lifted, and what else is broken now and lifted with it.

    One resource is often counted by several rules: with a receive loop for each worker, more workers are more places
    and more receive calls too. What the change relieves as well is the same bottleneck under another name, and not what
    binds next.
    """
    binding, others = findings[0], findings[1:]
    changed = lifted(scenario, setup, binding)
    if changed is None:
        return next((finding for finding in others if finding.subject != binding.subject), None), ()
    before = {finding.key: finding.ratio for finding in findings}
    after = of_scenario(changed, setup_of(changed), demand_per_s)
    stays = [
        finding
        for finding in after
        if finding.key != binding.key and finding.ratio >= _SAME * before.get(finding.key, 0.0)
    ]
    fixed = {finding.key for finding in after if not finding.broken} | (
        before.keys() - {f.key for f in after}
    )
    also = tuple(
        finding for finding in others if finding.broken and finding.key in fixed and finding.rule != "R8"
    )
    return max(stays, key=lambda finding: finding.ratio, default=None), also


def _where(summary: Summary) -> str:
    """In which stage the slowest messages spend most of their time."""
    parts = {name: summary.stage(name).slowest_mean_s for name in STAGES}
    total_s = sum(part.value for part in parts.values())
    if not (summary.latency_s_p95.known and total_s > 0.0):
        return ""
    name, part = max(parts.items(), key=lambda item: item[1].value)
    share = format_fraction(part.value / total_s)
    return f"the slowest 5 % of the messages spend {share} of {format_duration(total_s)} in {name}"
