"""A report: an answer as titled tables of text, with its data, for terminal, notebook and JSON alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qtune.exports.page import html_of, plain_text_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One part of a report: a title, a table of texts, and lines below it.

    columns: headings; () for a table without them. rows: one text for each column. notes: whole lines.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """An answer for people, in ``sections``, and for programs, in ``data``.

    title: what was asked about. verdict: the answer in a sentence, to be read first; "" where nothing is
    judged. good: whether the answer is yes; None when it is neither yes nor no. figures: SVG elements, for faces that
    can show them.
    """

    title: str
    verdict: str = ""
    good: bool | None = None
    sections: tuple[Section, ...]
    figures: tuple[str, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)

    def section(self, title: str) -> Section:
        """The section of that title; KeyError if the report has none."""
        for section in self.sections:
            if section.title == title:
                return section
        raise KeyError(title)

    def to_html(self) -> str:
        """The report as one HTML element with its figures, which needs no script and no style sheet."""
        return html_of(self)

    def to_text(self) -> str:
        """The report as plain text, without figures."""
        return plain_text_of(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows; it takes the richest that it can."""
        return {"text/plain": self.to_text(), "text/html": self.to_html()}
