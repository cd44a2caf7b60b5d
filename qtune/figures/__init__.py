"""Figures, each in two steps: a function that turns results into numbers, and one that draws them.

The numbers are of :mod:`qtune.figures.data`; :mod:`qtune.figures.pictures` draws them as static SVG, and the explorer
with plotly. Nothing is shown by itself: what is returned is for the caller to show.
"""

from __future__ import annotations

from qtune.figures.data import (
    BacklogCourse,
    CostPoints,
    LatencyCurve,
    LockLeft,
    StageBars,
    backlog_course,
    cost_points,
    latency_curve,
    lock_left,
    stage_bars,
)
from qtune.figures.pictures import (
    backlog_picture,
    cost_picture,
    latency_picture,
    lock_picture,
    result_pictures,
    stage_picture,
)

__all__ = [
    "BacklogCourse",
    "CostPoints",
    "LatencyCurve",
    "LockLeft",
    "StageBars",
    "backlog_course",
    "backlog_picture",
    "cost_picture",
    "cost_points",
    "latency_curve",
    "latency_picture",
    "lock_left",
    "lock_picture",
    "result_pictures",
    "stage_bars",
    "stage_picture",
]
