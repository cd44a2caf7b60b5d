"""The figures of an answer as static SVG, drawn from the numbers of :mod:`qtune.figures.data`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from qtune.figures.data import (
    BacklogCourse,
    CostPoints,
    LatencyCurve,
    LockLeft,
    StageBars,
    backlog_course,
    latency_curve,
    lock_left,
)
from qtune.figures.drawing import BLUE, GREEN, GREY, ORANGE, Axis, Bars, Dots, Line, Mark, Rule, draw
from qtune.result import Result
from qtune.units import format_duration, format_fraction, format_usd

_RARE: Final = 1e-4
_STAGE_COLORS: Final = (GREY, BLUE, GREEN, ORANGE)


def latency_picture(curve: LatencyCurve, target_s: float | None = None) -> str:
    """The share of messages slower than so long, both axes logarithmic, with p95 and the target."""
    ms = [1000.0 * value for value in curve.latency_s]
    x = Axis(label="latency, ms", low=ms[0], high=max(ms[-1], 1.05e3 * (target_s or 0.0)), is_log=True)
    y = Axis(label="share slower", low=_RARE, high=1.0, is_log=True)
    marks: list[Mark] = [Line(x=ms, y=[max(float(share), _RARE) for share in curve.slower])]
    if math.isfinite(curve.p95_s):
        marks.append(
            Dots(x=[1000.0 * curve.p95_s], y=[0.05], name=f"p95 {format_duration(_short(curve.p95_s))}")
        )
    if target_s is not None:
        marks.append(Rule(at=1000.0 * target_s, text=f"target {format_duration(target_s)}"))
    p95 = format_duration(_short(curve.p95_s)) if math.isfinite(curve.p95_s) else "unknown"
    return draw("Latency, due to done", x, y, marks, description=f"latency distribution, p95 {p95}")


def backlog_picture(course: BacklogCourse) -> str:
    """Messages that wait and that are locked over the run."""
    most = max(1.0, float(course.waiting.max()), float(course.in_flight.max()))
    x = Axis(label="time, s", low=0.0, high=float(course.time_s[-1]))
    y = Axis(label="messages", low=0.0, high=1.35 * most)
    marks = [
        Line(x=course.time_s.tolist(), y=course.waiting.tolist(), name="waiting", color=BLUE, steps=True),
        Line(
            x=course.time_s.tolist(),
            y=course.in_flight.tolist(),
            name="locked",
            color=ORANGE,
            dash="4 2",
            steps=True,
        ),
    ]
    return draw("Queue over time", x, y, marks, description=f"queue over time, at most {most:.0f} messages")


def stage_picture(bars: StageBars) -> str:
    """Mean seconds by stage as columns, those of the slowest 5 % beside those of all messages."""
    values = [0.0 if math.isnan(value) else 1000.0 * value for value in (*bars.mean_s, *bars.slowest_mean_s)]
    count = len(bars.stages)
    x = Axis(
        label=", ".join(f"{n + 1} {name}" for n, name in enumerate(bars.stages)), low=0.5, high=count + 0.5
    )
    y = Axis(label="mean, ms", low=0.0, high=1.4 * max(*values, 1e-3))  # room for the legend
    marks: list[Mark] = []
    for name, color, offset, part in (
        ("all messages", BLUE, -0.35, values[:count]),
        ("the slowest 5 %", ORANGE, 0.02, values[count:]),
    ):
        for number, height in enumerate(part):
            left = number + 1 + offset
            shown = name if number == 0 else ""
            marks.append(Bars(edges=[left, left + 0.33], heights=[height], name=shown, color=color))
    return draw("Where the time goes", x, y, marks, description="mean latency by stage")


def lock_picture(left: LockLeft) -> str:
    """How much of the lock is left when a handler begins."""
    x = Axis(
        label="lock left at the start of the handler, s",
        low=float(left.left_s[0]),
        high=float(left.left_s[-1]),
    )
    y = Axis(label="share of handlers", low=0.0, high=1.05 * float(left.share.max()))
    marks: list[Mark] = [Bars(edges=left.left_s.tolist(), heights=left.share.tolist())]
    lost = format_fraction(round(left.lost, 4))
    if float(left.left_s[0]) < 0.0:
        marks.append(Rule(at=0.0, text=f"{lost} begin without a lock"))
    return draw(
        "Lock left", x, y, marks, description=f"lock left at the start of handlers, {lost} without one"
    )


def cost_picture(points: CostPoints) -> str:
    """What a month costs against the percentile: the answer, others that meet the targets, and those that do not."""
    latency_ms = [1000.0 * value for value in points.latency_s]
    bound_ms = 1000.0 * points.bound_s
    seen = [*latency_ms, *([] if math.isnan(bound_ms) else [bound_ms])]
    x = Axis(label="USD a month", low=0.9 * min(points.month_usd), high=1.1 * max(*points.month_usd, 1e-6))
    y = Axis(label=f"{points.percentile}, ms", low=0.8 * min(seen), high=1.3 * max(seen), is_log=True)
    marks: list[Mark] = []
    for meets, name, color in ((True, "meets", GREEN), (False, "misses", GREY)):
        places = [n for n, one in enumerate(points.meets) if one is meets and n != points.chosen]
        if places:
            its_usd, its_ms = [points.month_usd[n] for n in places], [latency_ms[n] for n in places]
            marks.append(Dots(x=its_usd, y=its_ms, name=name, color=color, hollow=True))
    usd = points.month_usd[points.chosen]
    marks.append(Dots(x=[usd], y=[latency_ms[points.chosen]], name="the answer", color=BLUE))
    if not math.isnan(bound_ms):
        marks.append(Rule(at=bound_ms, text=f"target {format_duration(points.bound_s)}", is_vertical=False))
    return draw(
        "Cost against latency", x, y, marks, description=f"cost against latency, answer {format_usd(usd)}"
    )


def result_pictures(result: Result, *, warm_up_s: float = 0.0) -> Iterator[str]:
    """The figures of one run that its rows have anything for."""
    due_s, completed_s = result.messages["due_s"], result.messages["completed_s"]
    if (~np.isnan(completed_s) & (due_s >= warm_up_s)).any():
        yield latency_picture(latency_curve(result, warm_up_s=warm_up_s))
    yield backlog_picture(backlog_course(result))
    if np.isfinite(result.scenario.semantics().lock_s) and (~np.isnan(result.deliveries["started_s"])).any():
        yield lock_picture(lock_left(result))


def _short(value_s: float) -> float:
    return float(f"{value_s:.3g}")
