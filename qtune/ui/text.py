"""Reports on a terminal: plain words and tables that fit 80 columns, on light and on dark backgrounds."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_STYLES = {True: "bold green", False: "bold red", None: "bold"}


class Part(Protocol):
    """What is printed under one title: the sections that ``qtune.describe`` makes."""

    @property
    def title(self) -> str:
        """The heading."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of the table, or () for none."""

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The table, a text for each column."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines under the table."""


class Answer(Protocol):
    """What a command prints: the reports that ``qtune.describe`` makes."""

    @property
    def title(self) -> str:
        """What was asked about."""

    @property
    def verdict(self) -> str:
        """The answer in a sentence, or ""."""

    @property
    def good(self) -> bool | None:
        """Whether the answer is yes."""

    @property
    def sections(self) -> Sequence[Part]:
        """The parts, in order."""

    @property
    def data(self) -> Mapping[str, object]:
        """The same for a program."""


def console(*, stderr: bool = False) -> Console:
    """A console that writes plain text to files and pipes, and honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)


def print_report(report: Answer) -> None:
    """Print a report on standard output: the verdict first, then what was asked about, and the sections."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(report.title)]
    if report.verdict:
        parts.insert(0, Text(report.verdict, style=_STYLES[report.good]))
    for section in report.sections:
        parts += [Text(), Text(section.title, style="bold")]
        if section.rows:
            parts.append(_table(section.columns, section.rows))
        parts += [_note(note) for note in section.notes]
    _print(Group(*parts))


def print_line(line: str) -> None:
    """Print prose, wrapped, on standard output."""
    from rich.text import Text

    _print(Text(line))


def write(content: str) -> None:
    """Write to standard output at once, so that a reader who has left is noticed here and not at the end."""
    sys.stdout.write(content)
    sys.stdout.flush()


def write_json(data: Mapping[str, object]) -> None:
    """Write one JSON document to standard output; NaN, which JSON does not have, is an error here."""
    write(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def tell(line: str) -> None:
    """Tell the user something beside the answer: on standard error."""
    print(line, file=sys.stderr, flush=True)


def _print(content: RenderableType) -> None:
    """Print without the blanks that fill up a line, which a copied text would keep."""
    out = console()
    with out.capture() as captured:
        out.print(content)
    write(re.sub(r"[ ]+((?:\x1b\[0m)?)$", r"\1", captured.get(), flags=re.MULTILINE))


def _table(columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=any(columns), header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    last = len(rows[0]) - 1
    for number in range(len(rows[0])):
        heading = columns[number] if columns else ""
        table.add_column(Text(heading), overflow="fold", no_wrap=number < last)
    for row in rows:
        table.add_row(*(Text(cell) for cell in (f"  {row[0]}", *row[1:])))
    return table


def _note(line: str) -> Table:
    """A line with a dash before it, its continuation indented."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=0)
    table.add_column(width=4)
    table.add_column(overflow="fold")
    table.add_row("  - ", Text(line))
    return table
