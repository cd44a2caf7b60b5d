"""Static drawings as SVG text: no script, no style sheet, legible on light and on dark backgrounds.

Lines and letters have the colour of the text around them; marks have colours of middling lightness that people with any
kind of colour vision tell apart (Okabe and Ito, "Color Universal Design", 2008), and each differs in shape too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

BLUE: Final = "#0a84d6"
ORANGE: Final = "#d9700a"
GREEN: Final = "#0b9d75"
GREY: Final = "#8a8a8a"

WIDTH: Final = 380
HEIGHT: Final = 220
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 26, 42


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: its label with the unit, its range, and whether it is logarithmic."""

    label: str
    low: float
    high: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1; values outside lie on the nearer end."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values inside the range, about five."""
        if self.is_log and self.high > 5.0 * self.low:
            return self._log_ticks()
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 4.0))
        step *= next((m for m in (1, 2, 5) if (self.high - self.low) / (m * step) <= 5.0), 10)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [(first + number) * step for number in range(count)]

    def _log_ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for within in ((1, 2, 5), (1,)):
            found = [m * 10.0**power for power in range(first, last + 1) for m in within]
            found = [value for value in found if 0.999 * self.low <= value <= 1.001 * self.high]
            if len(found) <= 7:
                return found
        return found[:: math.ceil(len(found) / 7)]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve through points; with steps, each value holds until the next."""

    x: Sequence[float]
    y: Sequence[float]
    name: str = ""
    color: str = BLUE
    dash: str = ""
    steps: bool = False


@dataclass(frozen=True, kw_only=True)
class Dots:
    """Single points: hollow ones are what was not chosen."""

    x: Sequence[float]
    y: Sequence[float]
    name: str = ""
    color: str = BLUE
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A line from end to end at one value of an axis, with words beside it."""

    at: float
    text: str
    is_vertical: bool = True
    color: str = ORANGE


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Columns between edges, one more edge than heights."""

    edges: Sequence[float]
    heights: Sequence[float]
    name: str = ""
    color: str = BLUE


Mark = Line | Dots | Rule | Bars


def number_text(value: float) -> str:
    """A number of an axis: three digits, with k and M."""
    size = abs(value)
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9999 * factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def draw(title: str, x: Axis, y: Axis, marks: Sequence[Mark], *, description: str) -> str:
    """A figure of WIDTH by HEIGHT as an SVG element; ``description`` is read out to those who cannot see it."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(description)}" fill="currentColor" font-family="sans-serif" font-size="11" '
        'style="max-width: 100%">',
        f"<title>{escape(description)}</title>",
        f'<text x="{LEFT}" y="14" font-size="12" font-weight="600">{escape(title)}</text>',
        *_axes(x, y),
    ]
    parts += [_mark(mark, x, y) for mark in marks]
    parts += _legend([mark for mark in marks if not isinstance(mark, Rule) and mark.name])
    return "".join([*parts, "</svg>"])


def _across(axis: Axis, value: float) -> str:
    return f"{LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT):.1f}"


def _up(axis: Axis, value: float) -> str:
    return f"{HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM):.1f}"


def _axes(x: Axis, y: Axis) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor" stroke-opacity="0.6"/>'
    ]
    for value in x.ticks():
        at = _across(x, value)
        parts.append(f'<path d="M{at} {bottom}v4" stroke="currentColor" stroke-opacity="0.6"/>')
        parts.append(f'<text x="{at}" y="{bottom + 15}" text-anchor="middle">{number_text(value)}</text>')
    for value in y.ticks():
        at = _up(y, value)
        parts.append(f'<path d="M{LEFT} {at}H{right}" stroke="currentColor" stroke-opacity="0.15"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{at}" text-anchor="end" dominant-baseline="middle">{number_text(value)}</text>'
        )
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.label)}</text>'
    )
    parts.append(
        f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>'
    )
    return parts


def _mark(mark: Mark, x: Axis, y: Axis) -> str:
    if isinstance(mark, Line):
        return _line(mark, x, y)
    if isinstance(mark, Dots):
        inside = (
            f'fill="none" stroke="{mark.color}" stroke-width="1.5"' if mark.hollow else f'fill="{mark.color}"'
        )
        return "".join(
            f'<circle cx="{_across(x, a)}" cy="{_up(y, b)}" r="{3 if mark.hollow else 5}" {inside}/>'
            for a, b in zip(mark.x, mark.y, strict=True)
        )
    if isinstance(mark, Bars):
        return "".join(_bar(mark, number, x, y) for number in range(len(mark.heights)))
    return _rule(mark, x, y)


def _line(line: Line, x: Axis, y: Axis) -> str:
    points = [(_across(x, a), _up(y, b)) for a, b in zip(line.x, line.y, strict=True) if not math.isnan(b)]
    if not points:
        return ""
    path = f"M{points[0][0]} {points[0][1]}"
    path += "".join(f"H{a}V{b}" if line.steps else f"L{a} {b}" for a, b in points[1:])
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    return f'<path d="{path}" fill="none" stroke="{line.color}" stroke-width="1.8"{dash}/>'


def _bar(bars: Bars, number: int, x: Axis, y: Axis) -> str:
    left, right = (float(_across(x, bars.edges[number + side])) for side in (0, 1))
    top, bottom = float(_up(y, bars.heights[number])), HEIGHT - BOTTOM
    size = f'width="{max(right - left - 0.5, 0.5):.1f}" height="{bottom - top:.1f}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{bars.color}"/>'


def _rule(rule: Rule, x: Axis, y: Axis) -> str:
    if rule.is_vertical:
        at = _across(x, rule.at)
        is_right = x.place(rule.at) > 0.6
        anchor, beside = ("end", -4) if is_right else ("start", 4)
        path = f"M{at} {TOP}V{HEIGHT - BOTTOM}"
        words = f'x="{float(at) + beside:.1f}" y="{TOP + 9}" text-anchor="{anchor}"'
    else:
        at = _up(y, rule.at)
        path = f"M{LEFT} {at}H{WIDTH - RIGHT}"
        words = f'x="{LEFT + 4}" y="{float(at) - 4:.1f}"'
    line = f'<path d="{path}" stroke="{rule.color}" stroke-width="1.5" stroke-dasharray="5 3"/>'
    return f"{line}<text {words}>{escape(rule.text)}</text>"


def _legend(marks: Sequence[Line | Dots | Bars]) -> list[str]:
    """Names in the upper right corner, each beside a piece of its mark."""
    parts = []
    for number, mark in enumerate(marks):
        y = TOP + 10 + 14 * number
        start = WIDTH - RIGHT - 8
        dash = f' stroke-dasharray="{mark.dash}"' if isinstance(mark, Line) and mark.dash else ""
        if isinstance(mark, Dots):
            filled = "none" if mark.hollow else mark.color
            parts.append(f'<circle cx="{start}" cy="{y - 4}" r="4" fill="{filled}" stroke="{mark.color}"/>')
        else:
            parts.append(f'<path d="M{start - 8} {y - 4}h16" stroke="{mark.color}" stroke-width="3"{dash}/>')
        parts.append(f'<text x="{start - 14}" y="{y}" text-anchor="end">{escape(mark.name)}</text>')
    return parts
