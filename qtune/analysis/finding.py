"""One rule, applied to one scenario: what an explanation is made of."""

from __future__ import annotations

from dataclasses import dataclass

from qtune.analysis.intervals import json_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One rule, applied.

    rule: its number. subject: what it is about. ratio: need over bound; above 1 the rule is broken.
    text: need and bound in words. change: the smallest change that lifts it; "" when none is needed.
    setting, value: the same change as data, a path in the scenario and its new value; None when it is no
    single setting.
    """

    rule: str
    subject: str
    ratio: float
    text: str
    change: str = ""
    setting: str | None = None
    value: float | None = None

    @property
    def broken(self) -> bool:
        """Whether the need exceeds the bound."""
        return self.ratio > 1.0

    @property
    def name(self) -> str:
        """The rule and what it is about: several findings may be of one rule."""
        return f"{self.rule} ({self.subject})"

    @property
    def key(self) -> tuple[str, str]:
        """What tells two findings of one scenario apart."""
        return self.rule, self.subject

    def to_dict(self) -> dict[str, object]:
        """The fields for JSON."""
        return {
            "rule": self.rule,
            "subject": self.subject,
            "ratio": json_number(self.ratio),
            "text": self.text,
            "change": self.change,
            "setting": self.setting,
            "value": self.value,
        }
