"""Figures: each draws data that another part of qtune has computed, and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def calibration_figure(curves: Mapping[str, Any]) -> Figure:
    """Predicted against measured: every number of every setting, and quantiles against quantiles of the latency.

    curves: what ``Calibrated.curves`` gives. On the diagonal a prediction is right.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    titles = ("latency, p50 to p99", "throughput", "quantiles of the latency, 1 to 99%")
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles)
    latencies = [point for point in curves["points"] if point["metric"] != "throughput"]
    rates = [point for point in curves["points"] if point["metric"] == "throughput"]
    for column, points in ((1, latencies), (2, rates)):
        figure.add_trace(
            Scatter(
                x=[point["measured"] for point in points],
                y=[point["predicted"] for point in points],
                text=[f"{point['setting']} {point['metric']}" for point in points],
                mode="markers",
                name=titles[column - 1],
            ),
            row=1,
            col=column,
        )
        _diagonal(figure, [point[side] for point in points for side in ("measured", "predicted")], column)
    for setting, quantiles in curves["quantiles"].items():
        figure.add_trace(
            Scatter(x=quantiles["measured_s"], y=quantiles["predicted_s"], mode="lines", name=setting),
            row=1,
            col=3,
        )
    _diagonal(figure, [value for its in curves["quantiles"].values() for value in its["measured_s"]], 3)
    figure.update_xaxes(title_text="measured", type="log")
    figure.update_yaxes(title_text="predicted", type="log")
    return figure


def _diagonal(figure: Figure, values: list[float], column: int) -> None:
    """Where predicted is measured."""
    from plotly.graph_objects import Scatter

    ends = [min(values, default=1.0), max(values, default=1.0)]
    line = Scatter(x=ends, y=ends, mode="lines", line={"dash": "dot", "color": "grey"}, showlegend=False)
    figure.add_trace(line, row=1, col=column)
