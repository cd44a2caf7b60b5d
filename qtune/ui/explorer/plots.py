"""The explorer's figures: one plotly figure of five panels, filled from the numbers of ``qtune.figures``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import qtune

if TYPE_CHECKING:
    import plotly.graph_objects as go

BLUE, ORANGE, GREEN, GREY = "#0a84d6", "#d9700a", "#0b9d75", "#8a8a8a"
TITLES: Final = (
    "latency: share slower",
    "backlog over time",
    "where the time goes",
    "lock left at the start of a handler",
    "cost against p95, of all you tried",
)
_AXES: Final = (
    ("latency, ms", "share"),
    ("time, s", "messages"),
    ("", "mean, ms"),
    ("s", "share"),
    ("USD a month", "p95, ms"),
)
_FLOOR: Final = 1e-4


def empty_figure() -> go.Figure:
    """All panels and traces, without data; :func:`fill` finds the traces by their names."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=3, subplot_titles=TITLES, horizontal_spacing=0.09, vertical_spacing=0.2
    )
    for number, (x, y) in enumerate(_AXES):
        row, column = divmod(number, 3)
        figure.update_xaxes(title_text=x, row=row + 1, col=column + 1)
        figure.update_yaxes(title_text=y, row=row + 1, col=column + 1)
    figure.update_xaxes(type="log", row=1, col=1)
    figure.update_yaxes(type="log", range=[-4, 0], row=1, col=1)
    figure.add_trace(go.Scatter(name="latency", line={"color": BLUE}, showlegend=False), row=1, col=1)
    figure.add_trace(
        go.Scatter(name="target", mode="lines", line={"color": ORANGE, "dash": "dash"}), row=1, col=1
    )
    step = {"shape": "hv"}
    figure.add_trace(go.Scatter(name="waiting", line={"color": BLUE, **step}), row=1, col=2)
    figure.add_trace(go.Scatter(name="locked", line={"color": ORANGE, "dash": "dot", **step}), row=1, col=2)
    figure.add_trace(go.Bar(name="all messages", marker_color=BLUE), row=1, col=3)
    figure.add_trace(go.Bar(name="the slowest 5 %", marker_color=ORANGE), row=1, col=3)
    figure.add_trace(go.Bar(name="lock left", marker_color=GREEN, showlegend=False), row=2, col=1)
    marks = {"mode": "markers"}
    figure.add_trace(
        go.Scatter(name="tried", marker={"color": GREY, "symbol": "circle-open"}, **marks), row=2, col=2
    )
    figure.add_trace(go.Scatter(name="this one", marker={"color": BLUE, "size": 11}, **marks), row=2, col=2)
    figure.update_layout(
        height=560,
        margin={"l": 55, "r": 15, "t": 40, "b": 45},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(128,128,128,0.08)",
        font={"color": GREY, "size": 11},
        legend={"x": 0.72, "y": 0.35, "xanchor": "left"},
        bargap=0.15,
        uirevision="explorer",  # what the reader has zoomed into stays when data change
    )
    return figure


def fill(
    figure: Any,
    result: qtune.Result,
    summary: qtune.Summary,
    tried: list[tuple[float, float]],
    target_s: float,
) -> None:
    """Put one view's numbers into the figure.

    tried: USD a month and p95 in seconds of the views so far, this one last.
    """
    course, bars = qtune.figures.backlog_course(result), qtune.figures.stage_bars(summary)
    points = [(usd, 1000.0 * p95_s) for usd, p95_s in tried]
    new: dict[str, dict[str, list[Any]]] = {
        "latency": _latency(result, summary),
        "target": {"x": [1000.0 * target_s] * 2, "y": [_FLOOR, 1.0]},
        "waiting": {"x": course.time_s.tolist(), "y": course.waiting.tolist()},
        "locked": {"x": course.time_s.tolist(), "y": course.in_flight.tolist()},
        "all messages": {"x": list(bars.stages), "y": [1000.0 * mean_s for mean_s in bars.mean_s]},
        "the slowest 5 %": {"x": list(bars.stages), "y": [1000.0 * mean_s for mean_s in bars.slowest_mean_s]},
        "lock left": _locks(result),
        "tried": {"x": [usd for usd, _ in points[:-1]], "y": [ms for _, ms in points[:-1]]},
        "this one": {"x": [usd for usd, _ in points[-1:]], "y": [ms for _, ms in points[-1:]]},
    }
    with figure.batch_update():  # all panels change at once
        for trace in figure.data:
            trace.update(new[trace.name])


def _latency(result: qtune.Result, summary: qtune.Summary) -> dict[str, list[Any]]:
    try:
        curve = qtune.figures.latency_curve(result, warm_up_s=summary.warm_up.cut_s)
    except qtune.InputError:  # nothing was completed: there is no curve to show
        return {"x": [], "y": []}
    return {
        "x": (1000.0 * curve.latency_s).tolist(),
        "y": [max(float(share), _FLOOR) for share in curve.slower],
    }


def _locks(result: qtune.Result) -> dict[str, list[Any]]:
    try:
        left = qtune.figures.lock_left(result)
    except qtune.InputError:  # no handler began, or nothing is locked for a time
        return {"x": [], "y": [], "width": []}
    edges_s = left.left_s
    return {
        "x": (0.5 * (edges_s[1:] + edges_s[:-1])).tolist(),
        "y": left.share.tolist(),
        "width": (edges_s[1:] - edges_s[:-1]).tolist(),
    }
