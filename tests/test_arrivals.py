"""Arrival processes: what each one hands to the engines, and how recordings are read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtune.arrivals import (
    BurstAtOnce,
    Bursts,
    ClosedLoop,
    Counts,
    Piecewise,
    Poisson,
    Renewal,
    Schedule,
    Segment,
    TraceFile,
)
from qtune.distributions import Constant, Exponential, Gamma
from qtune.errors import ScenarioError
from qtune.shapes import ExponentialTime

CONVERSATIONS = "azure_llm_conv_2023.csv"
LOAD_BALANCER = "aws_elb_2014_rate_300s.csv"


def segments(schedule: Schedule) -> list[tuple[float, float]]:
    """The steps of a schedule as pairs of start and rate."""
    return list(zip(schedule.segment_start_s.tolist(), schedule.segment_rate_per_s.tolist(), strict=True))


def refused(path: Path, kind: type[TraceFile] | type[Counts] = TraceFile) -> str:
    """The text of the error that a recording raises."""
    with pytest.raises(ScenarioError) as caught:
        kind(file=str(path))
    return str(caught.value)


def test_gaps_have_mean_one_and_the_rate_is_in_the_segments() -> None:
    """A renewal process has unit-rate gaps; cv 0 is a metronome, cv 1 is as variable as Poisson."""
    assert Poisson(rate_per_s=8.0).schedule(60.0).gap == Exponential(mean=1.0)
    assert Renewal(rate_per_s=8.0, cv=1.5).schedule(60.0).gap == Gamma(mean=1.0, cv=1.5)
    assert Renewal(rate_per_s=8.0, cv=0.0).schedule(60.0).gap == Constant(value=1.0)
    assert segments(Renewal(rate_per_s=8.0, cv=0.0).schedule(60.0)) == [(0.0, 8.0)]


STEPS = (Segment(for_s=10.0, rate_per_s=1.0), Segment(for_s=5.0, rate_per_s=4.0))


def test_the_last_segment_lasts_until_the_horizon() -> None:
    """Without repetition the last rate goes on, and segments after the horizon are not there."""
    schedule = Piecewise(segments=STEPS).schedule(100.0)
    assert segments(schedule) == [(0.0, 1.0), (10.0, 4.0)]
    assert schedule.mean_rate_per_s == (10.0 + 90.0 * 4.0) / 100.0
    assert segments(Piecewise(segments=STEPS).schedule(10.0)) == [(0.0, 1.0)]


def test_repeated_segments_are_unrolled_up_to_the_horizon() -> None:
    """With repetition the segments start again, until one would start at or after the horizon."""
    schedule = Piecewise(segments=STEPS, repeat=True).schedule(40.0)
    assert segments(schedule) == [(0.0, 1.0), (10.0, 4.0), (15.0, 1.0), (25.0, 4.0), (30.0, 1.0)]
    assert schedule.mean_rate_per_s == (10 + 20 + 10 + 20 + 10) / 40.0


@given(
    st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(0.0, 9.0)), min_size=1, max_size=4),
    st.floats(1.0, 200.0),
)
def test_segments_start_at_zero_and_ascend(steps: list[tuple[float, float]], horizon_s: float) -> None:
    """Whatever the steps, the first segment starts at 0, starts ascend, and all are before the horizon."""
    steps[0] = (steps[0][0], steps[0][1] + 1.0)
    made = tuple(Segment(for_s=for_s, rate_per_s=rate) for for_s, rate in steps)
    starts = Piecewise(segments=made, repeat=True).schedule(horizon_s).segment_start_s
    assert starts[0] == 0.0
    assert (np.diff(starts) > 0.0).all()
    assert starts[-1] < horizon_s


def test_bursts_start_off_and_tend_to_the_long_run_mean() -> None:
    """At first the rate is that of the off phase; in the long run it is the mean over both phases."""
    bursts = Bursts(on_rate_per_s=90.0, off_rate_per_s=10.0, on_mean_s=5.0, off_mean_s=15.0)
    assert bursts.schedule(100.0).modulation == (90.0, 10.0, 5.0, 15.0)
    assert bursts.schedule(1e-6).mean_rate_per_s == pytest.approx(10.0, rel=1e-6)
    assert bursts.schedule(1e9).mean_rate_per_s == pytest.approx(30.0, rel=1e-6)


def test_the_mean_of_bursts_is_that_of_the_phases_step_by_step() -> None:
    """The expected rate up to a horizon agrees with stepping the chance to be on through time."""
    bursts = Bursts(on_rate_per_s=90.0, off_rate_per_s=10.0, on_mean_s=5.0, off_mean_s=15.0)
    step_s, on_share, messages = 1e-3, 0.0, 0.0
    for _ in range(20_000):
        messages += (10.0 + 80.0 * on_share) * step_s
        on_share += ((1.0 - on_share) / 15.0 - on_share / 5.0) * step_s
    assert bursts.schedule(20.0).mean_rate_per_s == pytest.approx(messages / 20.0, rel=1e-3)


def test_a_trace_is_replayed_with_its_hints() -> None:
    """Instants are those of the file divided by the speed; later ones than the horizon are noted."""
    whole = TraceFile(file=CONVERSATIONS).schedule(3501.721937)
    assert whole.due_s is not None
    assert whole.service_hint is not None
    assert (len(whole.due_s), whole.due_s[1], whole.service_hint[1]) == (19_366, 4.314579, 109.0)
    assert whole.notes == ()
    fast = TraceFile(file=CONVERSATIONS, speed=2.0).schedule(10.0)
    assert fast.due_s is not None
    assert fast.service_hint is not None
    assert fast.due_s.tolist() == [t / 2.0 for t in whole.due_s.tolist() if t / 2.0 <= 10.0]
    assert len(fast.service_hint) == len(fast.due_s)
    assert fast.mean_rate_per_s == len(fast.due_s) / 10.0
    assert fast.notes == (
        f"{19_366 - len(fast.due_s)} of the trace's 19366 messages are due after the horizon",
    )
    assert TraceFile(file=CONVERSATIONS, speed=2.0).length_s == 3501.721937 / 2.0


def test_a_group_column_is_allowed_and_not_used() -> None:
    """A trace with groups is read; standard queues do not know them."""
    trace = TraceFile(file="azure_functions_2021_sample.csv")
    assert trace.has_hints
    assert len(trace.schedule(1300.0).service_hint) == 199  # type: ignore[arg-type]


def test_counts_become_rates_and_missing_buckets_are_said() -> None:
    """A missing bucket keeps the rate before it, so all but the missing time adds up to the counts."""
    held = Counts(file=LOAD_BALANCER)
    assert held.length_s == 1_212_000.0
    schedule = held.schedule(held.length_s)
    assert schedule.notes == ("8 buckets are missing in the file; they keep the rate of the bucket before",)
    assert segments(schedule)[:2] == [(0.0, 94 / 300.0), (300.0, 56 / 300.0)]
    quiet = Counts(file=LOAD_BALANCER, missing="zero").schedule(1_212_000.0)
    assert quiet.notes == ("8 buckets are missing in the file; they count as quiet",)
    assert quiet.mean_rate_per_s == pytest.approx(249_327 / 1_212_000.0)
    assert schedule.mean_rate_per_s is not None
    assert schedule.mean_rate_per_s * 1_212_000.0 > 249_327


def test_nothing_is_due_after_the_last_bucket() -> None:
    """A horizon beyond the recording adds time, and no messages."""
    longer = Counts(file=LOAD_BALANCER, missing="zero").schedule(2_424_000.0)
    assert segments(longer)[-1] == (1_212_000.0, 0.0)
    assert longer.mean_rate_per_s == pytest.approx(249_327 / 2_424_000.0)


def test_counts_of_a_small_file_are_exact(tmp_path: Path) -> None:
    """One gap of a bucket: held at the rate before it, or quiet."""
    path = tmp_path / "r.csv"
    path.write_text("# mine\nt_s,count\n0,10\n10,20\n30,40\n", encoding="utf-8")
    expected = [(0.0, 2.0), (10.0, 4.0), (30.0, 8.0), (40.0, 0.0)]
    assert segments(Counts(file=str(path), scale=2.0).schedule(50.0)) == expected
    expected.insert(2, (20.0, 0.0))
    assert segments(Counts(file=str(path), scale=2.0, missing="zero").schedule(50.0)) == expected


def test_a_backlog_is_due_at_once() -> None:
    """All messages of a backlog are due at 0."""
    schedule = BurstAtOnce(messages=3).schedule(60.0)
    assert schedule.due_s is not None
    assert schedule.due_s.tolist() == [0.0, 0.0, 0.0]
    assert schedule.mean_rate_per_s == 3 / 60.0


def test_the_rate_of_a_closed_loop_is_not_known_before_a_run() -> None:
    """Customers and their think time are given; the rate is an outcome."""
    schedule = ClosedLoop(customers=5, think_time=ExponentialTime(mean_s=2.0)).schedule(60.0)
    assert (schedule.customers, schedule.think, schedule.mean_rate_per_s) == (5, Exponential(mean=2.0), None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv: \n    the file has no data lines"),
        ("arrival_s\n", "t.csv: \n    the file has no data lines"),
        ("time\n1\n", "t.csv: time\n    a trace has the columns arrival_s[,service_hint[,group]]"),
        ("arrival_s\n2\n1\n", "t.csv:3: 1\n    times must ascend, and 2 is before it"),
        ("arrival_s\ninf\n", "t.csv:2: inf\n    arrival_s must be a finite number that is not negative"),
        ("arrival_s\nnan\n", "t.csv:2: nan\n    arrival_s must be a finite number that is not negative"),
        ("arrival_s\n0\n0\n", "all arrivals are at 0: write arrivals of the kind burst_at_once instead"),
        (
            "arrival_s,service_hint\n0,0\n1,0\n",
            "t.csv:2: 0\n    every service_hint is 0, so the hints cannot be scaled to a mean",
        ),
    ],
)
def test_a_broken_trace_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """Everything that would make a trace's times or hints useless is named with its line."""
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    assert message in refused(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("t_s,rate\n0,1\n", "t.csv: t_s,rate\n    a rate file has the columns t_s,count"),
        ("t_s,count\n0,1\n", "a rate file needs at least two buckets, to know their width"),
        ("t_s,count\n5,1\n10,1\n", "the first bucket must start at 0: subtract its start from all"),
        ("t_s,count\n0,1\n5,1\n5,1\n", "t.csv:4: 5\n    times must ascend, and 5 is before it"),
        ("t_s,count\n0,1\n5,1\n12,1\n", "t.csv:4: 12\n    this is not a whole number of buckets (5 s each)"),
        ("t_s,count\n0,0\n5,0\n", "every count is 0, so no message would ever fall due"),
    ],
)
def test_a_broken_rate_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """Everything that would make the rates of a file wrong is named with its line."""
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    assert message in refused(path, Counts)


def test_a_trace_that_changed_is_read_again(tmp_path: Path) -> None:
    """What was read is kept only as long as the file stays the same."""
    path = tmp_path / "t.csv"
    path.write_text("arrival_s\n1\n", encoding="utf-8")
    assert TraceFile(file=str(path)).length_s == 1.0
    path.write_text("arrival_s\n1\n22\n", encoding="utf-8")
    assert TraceFile(file=str(path)).length_s == 22.0


def test_rates_beyond_any_run_have_no_overflow() -> None:
    """A rate that is too large to compute with is an error and never infinity."""
    with pytest.raises(ScenarioError, match="this must be a finite number"):
        Poisson(rate_per_s=1e300).scaled(1e300)
    assert math.isfinite(Bursts(on_rate_per_s=1.0, off_rate_per_s=0.0, on_mean_s=1e-300, off_mean_s=1e300)
                         .schedule(1e-300).mean_rate_per_s or 0.0)  # fmt: skip


def test_a_load_that_no_run_can_hold_is_told_by_its_highest_rate() -> None:
    """The bound counts the highest rate for the whole horizon, with the scale of a recording."""
    assert Counts(file=LOAD_BALANCER).too_much(600.0) is None
    message = Counts(file=LOAD_BALANCER, scale=1e6).too_much(600.0)
    assert message is not None
    assert message.startswith("up to 1.31e+09 messages in 10min; a run holds 200,000,000: ")
    bursts = Bursts(on_rate_per_s=1e6, off_rate_per_s=1.0, on_mean_s=1.0, off_mean_s=1e9)
    assert bursts.too_much(600.0) is not None
    assert BurstAtOnce(messages=9).too_much(600.0) is None
