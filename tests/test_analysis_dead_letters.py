"""What becomes of dead letters in a queue with a retention of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import qtune
from qtune.analysis import explain, summarize
from qtune.analysis.dead_letters import deleted_s
from qtune.errors import ScenarioError
from qtune.result import MESSAGE_DEAD_LETTERED, Result
from qtune.scenario import Scenario
from qtune.simulation import simulate

HOUR_S = 3_600.0


def poisoned(*, groups: dict[str, Any] | None = None, **queue: Any) -> Scenario:
    """Every message fails three times, with a visibility timeout of an hour, for six hours; one comes every 600 s."""
    return Scenario(
        arrivals={"kind": "renewal", "rate_per_s": 1.0 / 600.0, "cv": 0.0},
        service_time={"family": "constant", "mean_s": 1.0},
        failures={"poison": 1.0, "on_failure": "lock_expiry"},
        groups=groups,
        queue={"provider": "sqs", "visibility_timeout_s": HOUR_S, "max_receive_count": 3, **queue},
        consumers={"workers": 1, "receive_wait_s": 20.0},
        horizon_s=6.0 * HOUR_S,
    )


def dead_letters(result: Result) -> np.ndarray[Any, Any]:
    """Which messages were dead-lettered."""
    found: np.ndarray[Any, Any] = result.messages["state"] == MESSAGE_DEAD_LETTERED
    assert found.any()
    return found


def test_a_dead_letter_is_kept_from_its_first_send() -> None:
    """On a standard queue the time that its deliveries took is taken off, and what is over is deleted at once."""
    for kept_h in (2.0, 4.0):
        result = simulate(poisoned(dead_letter_retention_s=kept_h * HOUR_S))
        dead, messages = dead_letters(result), result.messages
        ends_s = np.maximum(messages["left_s"], messages["sent_s"] + kept_h * HOUR_S)[dead]
        assert np.array_equal(deleted_s(result)[dead], ends_s)
        assert (ends_s == messages["left_s"][dead]).all() == (kept_h < 3.0)
        assert np.isnan(deleted_s(result)[~dead]).all()


def test_a_fifo_queue_counts_from_the_move() -> None:
    """The dead-letter queue of a FIFO queue keeps a message for all of its retention."""
    own = {"kind": "own"}
    result = simulate(poisoned(type="fifo", groups=own, dead_letter_retention_s=2.0 * HOUR_S))
    dead = dead_letters(result)
    assert np.array_equal(deleted_s(result)[dead], result.messages["left_s"][dead] + 2.0 * HOUR_S)


@pytest.mark.parametrize(("kept_h", "kept"), [(2.0, False), (48.0, True)])
def test_a_summary_counts_the_dead_letters_that_are_gone(kept_h: float, kept: bool) -> None:
    """Whoever looks at the end of the run finds no dead letter whose retention has ended."""
    summary = summarize(simulate(poisoned(dead_letter_retention_s=kept_h * HOUR_S)))
    deleted, dead = summary.dead_letters_deleted.value, summary.dead_letters.value
    assert dead > 0.0
    assert deleted == (0.0 if kept else dead)
    rows = [row for section in qtune.describe(summary).sections for row in section.rows]
    assert "deleted dead letters" in [row[0] for row in rows]


@pytest.mark.parametrize(("kept_h", "broken"), [(2.0, True), (4.0, False)])
def test_an_explanation_compares_the_deliveries_with_what_is_kept(kept_h: float, broken: bool) -> None:
    """Three deliveries of an hour each are more than two hours and less than four."""
    summary = summarize(simulate(poisoned(dead_letter_retention_s=kept_h * HOUR_S)))
    findings = explain(summary).findings
    found = next(finding for finding in findings if finding.subject == "dead letters")
    assert found.ratio == pytest.approx(3.0 / kept_h)
    assert found.broken == broken
    assert bool(found.change) == broken


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ({"dead_letter_retention_s": 15.0 * 24.0 * HOUR_S}, "dead_letter_retention is at most"),
        ({"dead_letter_retention_s": 30.0}, "shortest dead_letter_retention is at least"),
        ({"dead_letter_retention_s": HOUR_S, "max_receive_count": None}, "there is no dead-letter queue"),
    ],
)
def test_the_retention_of_dead_letters_has_its_bounds(queue: dict[str, Any], message: str) -> None:
    """It is that of any queue, and belongs to a dead-letter queue."""
    with pytest.raises(ScenarioError, match=message):
        poisoned(**queue)
