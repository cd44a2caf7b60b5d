"""The tables of a run: their rows, how they are kept, and how two of them are compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from handmade import fcfs, poisson_run, scenario_of

from qtune.errors import InputError
from qtune.result import (
    CALL_OPS,
    CALL_OUTCOMES,
    DELIVERY_OUTCOMES,
    MESSAGE_STATES,
    TABLES,
    Result,
    same_rows,
)


@pytest.fixture
def run() -> Result:
    """A queue at 80 % load, cut off at the horizon with messages on their way."""
    return poisson_run(np.random.default_rng(3), scenario=scenario_of(horizon_s=50.0))


def changed(result: Result, table: str, column: str, row: int, value: float) -> Result:
    """A copy of the result with one field changed."""
    tables = {name: result.table(name).copy() for name in TABLES}
    tables[table][column][row] = value  # type: ignore[index]
    return Result(
        **tables,
        scenario=result.scenario,
        seed=result.seed,
        source=result.source,
        horizon_s=result.horizon_s,
        versions=result.versions,
    )


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_no_padding(name: str) -> None:
    """A row is its fields and nothing between them, wide ones first, so that rows compare byte by byte."""
    dtype = TABLES[name]  # type: ignore[index]
    sizes = [dtype[field].itemsize for field in dtype.names or ()]
    assert dtype.itemsize == sum(sizes)
    assert sizes == sorted(sizes, reverse=True)


def test_saved_and_loaded_it_is_the_same_run(run: Result, tmp_path: Path) -> None:
    """A result that was saved and loaded has the same rows to the bit, and the same scenario and versions."""
    loaded = Result.load(run.save(tmp_path / "run.npz"))
    assert same_rows(run, loaded) is None
    assert np.isnan(loaded.messages["left_s"]).any()
    for name in ("scenario", "seed", "source", "horizon_s", "versions"):
        assert getattr(loaded, name) == getattr(run, name)


def test_a_horizon_survives_exactly(tmp_path: Path) -> None:
    """The horizon is kept to the last bit, also when its decimal form is endless."""
    run = fcfs(np.array([0.1]), np.array([0.1]), scenario_of(horizon_s=100.0 / 3.0))
    assert Result.load(run.save(tmp_path / "run")).horizon_s == 100.0 / 3.0


def test_nothing_in_the_file_is_pickled(run: Result, tmp_path: Path) -> None:
    """The file holds plain arrays and one JSON text, whose scenario is the YAML that a user would write."""
    path = run.save(tmp_path / "run")
    assert path.name == "run.npz"
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored.files) == {*TABLES, "about"}
        assert "kind: poisson" in json.loads(str(stored["about"]))["scenario"]


@pytest.mark.parametrize("content", [b"", b"PK", b"time,latency\n1,2\n"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    """Loading what `save` did not write is an InputError that names the file, and no traceback of numpy."""
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.npz"):
        Result.load(path)


def test_a_file_of_another_format_is_refused(run: Result, tmp_path: Path) -> None:
    """A file of a later format is refused with the format that is understood."""
    path = run.save(tmp_path / "run.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    about = {**json.loads(str(arrays.pop("about"))), "format": "qtune-result-99"}
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    with pytest.raises(InputError, match="qtune-result-1"):
        Result.load(path)


def test_a_frame_spells_the_codes_out(run: Result) -> None:
    """In a frame every code is a category with its name, and the index is the row number others refer to."""
    messages, deliveries, calls = (run.frame(name) for name in ("messages", "deliveries", "calls"))
    assert tuple(messages["state"].cat.categories) == MESSAGE_STATES
    assert tuple(deliveries["outcome"].cat.categories) == DELIVERY_OUTCOMES
    assert tuple(calls["op"].cat.categories) == CALL_OPS
    assert tuple(calls["outcome"].cat.categories) == CALL_OUTCOMES
    assert (messages["state"] == "completed").sum() == np.isfinite(run.messages["completed_s"]).sum()
    assert messages.index.name == "message"
    assert len(run.frame("states")) == len(run.states)


def test_an_unknown_table_is_answered_with_a_suggestion(run: Result) -> None:
    """Asking for a table that does not exist names the ones that do, and the nearest."""
    with pytest.raises(InputError, match='Did you mean "messages"'):
        run.frame("message")  # type: ignore[arg-type]


def test_a_table_of_another_type_is_refused(run: Result) -> None:
    """A result is made of the four row types only; anything else is named when the result is made."""
    with pytest.raises(InputError, match=r"Result\.messages") as caught:
        Result(
            messages=run.deliveries,
            deliveries=run.deliveries,
            calls=run.calls,
            states=run.states,
            scenario=run.scenario,
            seed=1,
            source="measured:sqs",
            horizon_s=float("inf"),
        )
    assert {problem.where for problem in caught.value.problems} == {"Result.messages", "Result.horizon_s"}


def test_same_rows_are_the_same_to_the_bit(run: Result) -> None:
    """Two results have the same rows when every field has the same bits; NaN is NaN whatever its sign."""
    assert same_rows(run, run) is None
    open_row = int(np.argmax(np.isnan(run.messages["left_s"])))
    assert same_rows(run, changed(run, "messages", "left_s", open_row, -np.nan)) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda run: changed(run, "states", "time_s", 0, -0.0), "states[0].time_s: 0.0 against -0.0"),
        (lambda run: changed(run, "messages", "deliveries", 3, 7), "messages[3].deliveries: 1 against 7"),
        (lambda run: changed(run, "calls", "end_s", 2, np.nan), "calls[2].end_s"),
        (
            lambda run: changed(run, "messages", "sent_s", 5, np.nextafter(run.messages["sent_s"][5], 0.0)),
            "messages[5].sent_s",
        ),
    ],
)
def test_the_first_difference_is_told(run: Result, change: Callable[[Result], Result], told: str) -> None:
    """Of two results that differ, the first row and the field that differ are named, with both values."""
    assert told in (same_rows(run, change(run)) or "")


def test_the_earlier_row_is_told_before_the_earlier_column(run: Result) -> None:
    """When several fields differ, the one of the first row is named, as that is where the runs part."""
    both = changed(changed(run, "messages", "due_s", 9, -1.0), "messages", "state", 4, 6)
    assert "messages[4].state" in (same_rows(run, both) or "")


def test_a_missing_row_is_a_difference(run: Result) -> None:
    """Tables of different lengths differ, even if all rows that both have are the same."""
    shorter = fcfs(run.messages["due_s"][:-1], np.full(len(run.messages), 0.1), run.scenario)
    assert same_rows(run, shorter) == f"messages: {len(run.messages)} rows against {len(run.messages) - 1}"
