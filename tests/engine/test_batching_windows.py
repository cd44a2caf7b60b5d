"""Windows in which several receives fill one batch of a handler, as an event source mapping of AWS Lambda has them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import write_model

from qtune.analysis import capacity_per_s, summarize
from qtune.analysis.rules import of_scenario
from qtune.analysis.setup import setup_of
from qtune.errors import ScenarioError
from qtune.result import CALL_OK, MESSAGE_COMPLETED, OP_RECEIVE, OP_SETTLE, Result
from qtune.scenario import Scenario
from qtune.simulation import simulate

WINDOW_S = 5.0


def gathering(folder: Path, **fields: Any) -> Scenario:
    """A poller that gathers up to 100 messages or 5 s, on a queue whose calls take no time; 10 messages a second."""
    base: dict[str, Any] = {
        "arrivals": {"kind": "renewal", "rate_per_s": 10.0, "cv": 0.0},
        "service_time": {"family": "constant", "mean_s": 0.01},
        "handler": {"takes": "batch", "most": 100, "window_s": WINDOW_S},
        "queue": {"provider": "sqs", "visibility_timeout_s": 600.0},
        "consumers": {"workers": 1, "receive_batch": 10, "receive_wait_s": 20.0, "settle": "batch"},
        "horizon_s": 40.0,
        "model": write_model(folder, "sqs"),
    }
    return Scenario(**{**base, **fields})


def run(engine: str, scenario: Scenario) -> Result:
    """A run with the engine of this name."""
    return simulate(scenario, engine=engine)  # type: ignore[arg-type]


def calls_of(result: Result) -> tuple[list[float], list[int]]:
    """When the handler was called, and with how many messages."""
    started_s = result.deliveries["started_s"]
    starts, counts = np.unique(started_s[~np.isnan(started_s)], return_counts=True)
    return starts.tolist(), counts.tolist()


def test_a_batch_is_handled_when_its_window_is_over(engine: str, tmp_path: Path) -> None:
    """At 10 messages a second a window of 5 s holds 50; the next one begins when the call is over, so it holds more."""
    result = run(engine, gathering(tmp_path))
    starts_s, counts = calls_of(result)
    ends_s = np.unique(result.deliveries["finished_s"][~np.isnan(result.deliveries["finished_s"])])
    assert starts_s[0] == WINDOW_S
    assert counts[0] == 50
    for (_, following_s), end_s in zip(pairwise(starts_s), ends_s, strict=False):
        assert following_s == end_s + WINDOW_S
    assert set(counts[1:]) <= {54, 55, 56, 57}


def test_a_full_batch_does_not_wait(engine: str, tmp_path: Path) -> None:
    """A backlog fills 25 with receives of 10, 10 and 5 at once, and deletes go in calls of ten."""
    tried = gathering(
        tmp_path,
        arrivals={"kind": "burst_at_once", "messages": 50},
        handler={"takes": "batch", "most": 25, "window_s": WINDOW_S},
    )
    result = run(engine, tried)
    assert calls_of(result) == (pytest.approx([0.0, 0.25]), [25, 25])
    calls = result.calls
    brought = calls["count"][(calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_OK)]
    assert brought.tolist() == [10, 10, 5] * 2
    assert calls["count"][calls["op"] == OP_SETTLE].tolist() == [10, 10, 5] * 2


def test_an_empty_window_is_followed_by_another(engine: str, tmp_path: Path) -> None:
    """A window that ends with nothing calls no handler; a message that comes 7 s after the start waits to 10 s.

    The polls that wait when the windows end are answered then, although they would have waited for 20 s.
    """
    tried = gathering(
        tmp_path, arrivals={"kind": "renewal", "rate_per_s": 1.0 / 7.0, "cv": 0.0}, horizon_s=20.0
    )
    result = run(engine, tried)
    assert calls_of(result)[0][0] == pytest.approx(10.0)
    receives = result.calls[result.calls["op"] == OP_RECEIVE]
    assert receives["end_s"][:3] == pytest.approx([5.0, 7.0, 10.0])


def test_what_is_gathered_is_handled_when_its_instance_drains(engine: str, tmp_path: Path) -> None:
    """An instance that is told to stop does not wait for the end of its window, and loses nothing."""
    drain = {"kind": "drain_consumers", "at_s": 2.0, "count": 1, "grace_s": None}
    result = run(engine, gathering(tmp_path, faults=(drain,)))
    assert calls_of(result) == ([2.0], [20])
    assert np.count_nonzero(result.messages["state"] == MESSAGE_COMPLETED) == 20


def test_the_lock_runs_while_a_batch_gathers(engine: str, tmp_path: Path) -> None:
    """With a visibility timeout below the window the first messages are lost, and the rule about the lock says so."""
    short = gathering(tmp_path, queue={"provider": "sqs", "visibility_timeout_s": 4.0})
    deliveries = run(engine, short).deliveries
    assert (
        (deliveries["started_s"] > deliveries["lock_end_s"]) & (deliveries["started_s"] == WINDOW_S)
    ).any()
    broken = [found for found in of_scenario(short, setup_of(short), 10.0) if found.rule == "R2"]
    assert broken[0].ratio > 1.0
    assert "waits up to 5s" in broken[0].text


def test_the_capacity_counts_the_receives_that_fill_a_batch(engine: str, tmp_path: Path) -> None:
    """A batch of 25 needs three receives of 0.1 s, a call of 0.25 s and three deletes of 0.1 s: 25 in 0.85 s."""
    slow = tmp_path / "slow"
    slow.mkdir()
    tried = gathering(
        tmp_path,
        arrivals={"kind": "poisson", "rate_per_s": 100.0},
        handler={"takes": "batch", "most": 25, "window_s": WINDOW_S},
        model=write_model(slow, "sqs", round_trip="100ms"),
        horizon_s=120.0,
    )
    most_per_s = 25.0 / 0.85
    assert summarize(run(engine, tried)).throughput_per_s.value == pytest.approx(most_per_s, rel=0.02)
    assert capacity_per_s(tried) >= 0.99 * most_per_s


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"handler": {"takes": "message", "window_s": 5.0}}, "takes: batch"),
        ({"handler": {"window_s": None}}, "give a window"),
        ({"consumers": {"polling": "buffer", "buffer": 50}}, "polling: loop"),
        ({"consumers": {"receive_batch": None}, "handler": {"most": None}}, "give most"),
        ({"scaling": {"kind": "lambda"}, "handler": {"window_s": 301.0}}, "5min"),
        ({"scaling": {"kind": "lambda"}, "handler": {"window_s": 1.5}}, "whole seconds"),
        ({"scaling": {"kind": "lambda"}, "handler": {"most": 10_001}}, "10000 messages"),
        ({"scaling": {"kind": "lambda"}, "message_size_bytes": 100_000}, "full with 62 messages"),
        (
            {
                "scaling": {"kind": "lambda"},
                "queue": {"type": "fifo"},
                "groups": {"kind": "own"},
                "consumers": {"keep_group_order": False},
            },
            "on a FIFO queue is at most 10",
        ),
    ],
)
def test_settings_that_no_mapping_has_are_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    """A window needs a loop and something to gather, and Lambda has bounds for its length and its batch."""
    base = gathering(tmp_path).with_(consumers={"instances": 10})
    with pytest.raises(ScenarioError) as error:
        base.with_(**changes)
    assert says in str(error.value)
