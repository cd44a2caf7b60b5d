"""Runs in constant memory: the digest of a streamed run is that of its rows."""

from __future__ import annotations

import numpy as np
import pytest

from qtune.digest import CELLS_PER_OCTAVE, Digest, cell_middle_s, cell_of
from qtune.engine.kernel import Chunk, run, stream
from qtune.engine.planning import make_plan
from qtune.errors import InputError
from qtune.scenario import Scenario
from qtune.simulation import digest, simulate

SCENARIO = Scenario(
    arrivals={"kind": "poisson", "rate": "600/s"},
    service_time={"family": "lognormal", "mean": "50ms", "cv": 1.0},
    failures={"rate": 0.02, "poison": 0.001, "on_failure": "lock_expiry"},
    queue={"provider": "sqs", "visibility_timeout": "1s", "max_receive_count": 3},
    consumers={"instances": 2, "workers": 30, "receive_batch": 1},
    horizon="200s",
)


def test_streamed_rows_are_the_rows() -> None:
    """Rows taken away while a run goes on are, put together, the rows of a run that keeps them."""
    plan = make_plan(SCENARIO, 1)
    chunks: list[Chunk] = []
    states = stream(plan, chunks.append)
    assert len(chunks) > 2, "the run is too short to be streamed"
    kept = run(plan)
    for place, name in ((0, "messages"), (1, "deliveries"), (2, "calls")):
        parts = [getattr(chunk, name) for chunk in chunks]
        assert np.concatenate(parts).tobytes() == kept[place].tobytes(), name
    assert states.tobytes() == kept[3].tobytes()


def test_a_digest_counts_what_the_rows_count() -> None:
    """Counts and histograms of a streamed run equal those made from rows; sums differ by rounding only."""
    streamed, kept = digest(SCENARIO), Digest.of(simulate(SCENARIO))
    for name, value in vars(streamed.tally).items():
        other = getattr(kept.tally, name)
        if np.asarray(value).dtype.kind == "i":
            assert np.array_equal(value, other), name
        else:
            assert np.allclose(value, other, rtol=1e-9), name
    assert streamed.messages() == kept.messages()
    assert streamed.deliveries()["late"] == kept.deliveries()["late"]


def test_quantiles_of_a_digest_are_within_its_cells() -> None:
    """A quantile of the digest lies in the histogram cell of the quantile of the rows, open messages being last."""
    result = simulate(SCENARIO)
    made = Digest.of(result)
    latency_s = result.messages["completed_s"] - result.messages["due_s"]
    ordered = np.sort(np.where(np.isnan(latency_s), np.inf, latency_s))
    for p in (0.01, 0.5, 0.95, 0.99):
        exact = ordered[int(np.ceil(p * len(ordered))) - 1]
        assert abs(made.latency_s(p) / exact - 1.0) <= 0.5 / CELLS_PER_OCTAVE
    assert made.latency_s(0.9999999) == np.inf


def test_a_cell_holds_its_own_middle() -> None:
    """Every latency falls into a cell whose middle is at most half a cell's width away."""
    latency_s = np.geomspace(2e-9, 1e9, 5001)
    middles = np.array([cell_middle_s(int(cell)) for cell in cell_of(latency_s)])
    assert np.all(np.abs(middles / latency_s - 1.0) <= 0.5 / CELLS_PER_OCTAVE)
    assert cell_of(np.array([0.0, 1e-12])).tolist() == [0, 0]
    assert cell_middle_s(0) == 0.0


def test_a_warm_up_leaves_out_whole_slices() -> None:
    """What is due in the slices before the warm-up is not counted, and the slices add up to the whole."""
    made = digest(SCENARIO)
    result = simulate(SCENARIO)
    late = int(np.count_nonzero(result.messages["due_s"] >= 100.0))
    assert sum(made.messages(warm_up_s=100.0).values()) == late
    assert sum(made.messages().values()) == len(result.messages)
    with pytest.raises(InputError, match="less than the horizon"):
        made.messages(warm_up_s=200.0)
    with pytest.raises(InputError, match="between 0 and 1"):
        made.latency_s(95)


def test_stages_add_up_to_the_latency() -> None:
    """The mean times of the stages before the settle add up to the mean latency of the completed messages."""
    result = simulate(SCENARIO)
    stages_s = Digest.of(result).stages_s()
    latency_s = result.messages["completed_s"] - result.messages["due_s"]
    total_s = sum(value for name, value in stages_s.items() if name != "settle")
    assert total_s == pytest.approx(float(np.nanmean(latency_s)), rel=1e-9)


def test_a_digest_can_be_written_as_json() -> None:
    """The summary of a digest names its origin, and gives None where a quantile was not reached."""
    stuck = SCENARIO.with_(failures={"poison": 0.2})
    told = digest(stuck).to_dict()
    assert told["source"] == "simulated:kernel"
    assert told["latency_s"]["p95"] is None  # type: ignore[index]
    assert told["latency_s"]["p50"] > 0.0  # type: ignore[index]
