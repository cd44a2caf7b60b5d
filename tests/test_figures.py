"""The numbers that figures show, and their drawings as SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from qtune import figures
from qtune.analysis import summarize
from qtune.errors import InputError
from qtune.figures.drawing import Axis, Bars, Dots, Line, Mark, Rule, draw
from qtune.result import Result
from qtune.scenario import Scenario
from qtune.simulation import simulate

SCENARIO = Scenario(
    arrivals={"kind": "poisson", "rate_per_s": 40.0},
    service_time={"family": "exponential", "mean_s": 0.04},
    queue={"provider": "memory", "lock_duration_s": 1.0},
    consumers={"workers": 2, "receive_wait_s": 1.0},
    horizon_s=60.0,
)


@pytest.fixture(scope="module")
def result() -> Result:
    """One run of a queue that keeps up."""
    return simulate(SCENARIO, engine="reference")


def test_the_latency_curve_says_how_many_are_slower(result: Result) -> None:
    """At each latency of the curve, the share is that of the messages that took longer; its p95 has 5 % above it."""
    curve = figures.latency_curve(result)
    took_s = result.messages["completed_s"] - result.messages["due_s"]
    took_s[np.isnan(took_s)] = np.inf
    for at_s, slower in zip(curve.latency_s, curve.slower, strict=True):
        assert slower == pytest.approx((took_s > at_s).mean(), abs=1e-12)
    assert (np.diff(curve.slower) <= 0.0).all()
    assert (took_s > curve.p95_s).mean() <= 0.05 < (took_s >= curve.p95_s).mean() + 1.0 / took_s.size


def test_messages_that_were_not_completed_are_slower_than_any() -> None:
    """Where a third of the messages is never completed, the median is known and p95 is not."""
    overloaded = simulate(SCENARIO.with_(consumers={"workers": 1}, horizon_s=30.0), engine="reference")
    curve = figures.latency_curve(overloaded)
    assert np.isinf(curve.p99_s)
    assert curve.slower[-1] > 0.05
    assert "p95 unknown" in figures.latency_picture(curve)


def test_a_run_without_a_completed_message_has_no_latency_curve() -> None:
    """That is an error with the next step, not an empty figure."""
    quick = simulate(SCENARIO.with_(horizon_s=1e-3), engine="reference")
    with pytest.raises(InputError, match="run longer"):
        figures.latency_curve(quick)


def test_the_bars_of_the_stages_add_up_to_the_latency(result: Result) -> None:
    """The mean of all messages, and that of the slowest 5 %."""
    summary = summarize(result, warm_up=0.0)
    bars = figures.stage_bars(summary)
    took_s = result.messages["completed_s"] - result.messages["due_s"]
    took_s = np.sort(took_s[~np.isnan(took_s)])
    assert sum(bars.mean_s) == pytest.approx(took_s.mean())
    assert bars.stages == ("send", "queue", "buffer", "service")
    assert sum(bars.slowest_mean_s) >= np.quantile(took_s, 0.95)


def test_the_lock_left_is_what_waiting_in_the_client_has_not_used() -> None:
    """A message that waits in the buffer for a second handler of 0.4 s starts with 0.6 s of a lock of one second."""
    scenario = SCENARIO.with_(
        arrivals={"kind": "burst_at_once", "messages": 2},
        service_time={"family": "constant", "mean_s": 0.4},
        consumers={"workers": 1, "polling": "buffer", "buffer": 2, "receive_batch": 2},
        horizon_s=5.0,
    )
    left = figures.lock_left(simulate(scenario, engine="reference"), bins=10)
    assert left.share.sum() == pytest.approx(1.0)
    assert left.lock_s == 1.0
    used = [float(edge) for edge, share in zip(left.left_s, left.share, strict=False) if share]
    assert used == pytest.approx([0.5, 0.9], abs=0.11)
    assert left.lost == 0.0


def test_the_backlog_is_that_of_the_samples(result: Result) -> None:
    """Waiting and locked messages at each sample, and the consumers that ran."""
    course = figures.backlog_course(result)
    assert course.waiting.tolist() == result.states["backlog"].tolist()
    assert course.in_flight.tolist() == result.states["in_flight"].tolist()
    assert (course.consumers == 1).all()


def test_pictures_are_whole_and_need_no_script(result: Result) -> None:
    """Each is one SVG element that a strict reader takes, with words for who cannot see it, and nothing that runs."""
    summary = summarize(result)
    pictures = [*figures.result_pictures(result), figures.stage_picture(figures.stage_bars(summary))]
    assert len(pictures) == 4
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.tag.endswith("svg")
        assert root.attrib["aria-label"]
        assert "<script" not in picture
        assert "<style" not in picture
        assert not re.search(r"\bnan\b", picture)


@pytest.mark.parametrize(
    ("low", "high", "is_log"),
    [
        (0.0, 1.0, False),
        (0.0, 7.3, False),
        (-3.0, 60.0, False),
        (1e-4, 1.0, True),
        (7.0, 9.0, True),
        (0.3, 9e6, True),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, is_log: bool) -> None:
    """Two to seven values inside the range, each of which is short to write."""
    axis = Axis(label="x", low=low, high=high, is_log=is_log)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high * (1.0 + 1e-2) for tick in ticks)
    assert [axis.place(tick) for tick in ticks] == sorted({axis.place(tick) for tick in ticks})


def test_a_drawing_puts_marks_where_its_axes_say() -> None:
    """A dot at both upper ends lies in the upper right corner, and a name that looks like markup is only a name."""
    axis = Axis(label="<x>", low=0.0, high=1.0)
    marks: list[Mark] = [
        Dots(x=[1.0], y=[1.0], name="a & b"),
        Line(x=[0.0, 1.0], y=[0.0, 1.0], steps=True),
        Bars(edges=[0.0, 0.5], heights=[0.5]),
        Rule(at=0.5, text="<half>", is_vertical=False),
    ]
    root = ElementTree.fromstring(draw("<title>", axis, axis, marks, description="d"))
    circles = [one for one in root if one.tag.endswith("circle")]
    assert float(circles[0].attrib["cx"]) == 366.0
    assert float(circles[0].attrib["cy"]) == 26.0
    assert "a & b" in [one.text for one in root]
    assert "<half>" in [one.text for one in root]
