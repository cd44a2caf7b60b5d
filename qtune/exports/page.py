"""A report as plain text, and as static HTML without script or style sheet, which any viewer shows.

GitHub, VS Code and mail readers drop scripts and style sheets, and each has a light and a dark theme. What is set here
is set on the elements, and only what both themes bear.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qtune.exports.report import Report, Section

_MARKS: Final = {True: ("✔", "#0b9d75"), False: ("✘", "#d9480f"), None: ("•", "inherit")}
_CELL: Final = "text-align: left; padding: 1px 14px 1px 0; background: transparent; border: none"
_PLAIN: Final = "background: transparent; border: none"


def html_of(report: Report) -> str:
    """The report as one HTML element: the verdict first, then what was asked about, figures, and the sections."""
    mark, color = _MARKS[report.good]
    parts = ['<div style="max-width: 60em; font-size: 13px; line-height: 1.45">']
    if report.verdict:
        parts.append(f'<p style="font-weight: 600; margin: 0"><span style="color: {color}">{mark}</span> ')
        parts.append(f"{escape(report.verdict)}</p>")
    parts.append(f'<p style="margin: 0 0 6px 0; opacity: 0.8">{escape(report.title)}</p>')
    parts += [f'<div style="display: inline-block">{figure}</div>' for figure in report.figures]
    parts += [_section(section) for section in report.sections]
    return "".join([*parts, "</div>"])


def _section(section: Section) -> str:
    """A part that the reader may fold away."""
    parts = [f'<details open><summary style="font-weight: 600">{escape(section.title)}</summary>']
    if section.rows:
        parts.append(
            f'<table style="border-collapse: collapse; font-size: inherit; margin: 2px 0 4px 14px; {_PLAIN}">'
        )
        if any(section.columns):
            cells = "".join(
                f'<th style="{_CELL}; font-weight: 500">{escape(one)}</th>' for one in section.columns
            )
            parts.append(f'<thead style="{_PLAIN}"><tr style="{_PLAIN}">{cells}</tr></thead>')
        parts.append(f'<tbody style="{_PLAIN}">')
        for row in section.rows:
            cells = "".join(f'<td style="{_CELL}">{escape(one)}</td>' for one in row)
            parts.append(f'<tr style="{_PLAIN}">{cells}</tr>')
        parts.append("</tbody></table>")
    if section.notes:
        lines = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
        parts.append(f'<ul style="margin: 2px 0 4px 0">{lines}</ul>')
    return "".join([*parts, "</details>"])


def plain_text_of(report: Report) -> str:
    """The report as plain text, for viewers that show nothing else."""
    lines = [line for line in (report.verdict, report.title) if line]
    for section in report.sections:
        lines += ["", section.title]
        table = [section.columns, *section.rows] if any(section.columns) else list(section.rows)
        if table:
            widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
            for row in table:
                padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                lines.append(f"  {'  '.join(padded)}".rstrip())
        lines += [f"  - {note}" for note in section.notes]
    return "\n".join(lines)
