"""What can be seen of a measured run while it goes on: by a caller, by Prometheus and in a notebook."""

from __future__ import annotations

import socket
import urllib.request
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from prometheus_client.parser import text_string_to_metric_families

from qtune.errors import InputError
from qtune.measurement import Live, measure
from qtune.result import CALL_OK, DELIVERY_ABANDONED, DELIVERY_COMPLETED, OP_RECEIVE
from qtune.scenario import Scenario

SCENARIO = Scenario(
    arrivals={"kind": "poisson", "rate_per_s": 40.0},
    service_time={"family": "exponential", "mean_s": 0.02},
    message_size_bytes=200,
    failures={"rate": 0.2, "on_failure": "abandon"},
    producers={"senders": 2},
    queue={"provider": "memory", "max_delivery_count": 50},
    consumers={"workers": 3},
    horizon_s=3.0,
)


def free_port() -> int:
    """One that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def samples_at(port: int) -> dict[str, float]:
    """What a Prometheus server would read there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        sample.name + "".join(f"{{{k}={v}}}" for k, v in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_looks_at_a_run_add_up_to_its_result() -> None:
    """Each delivery, receive and error is shown once; no look knows more than the result, and all together as much."""
    looks: list[Live] = []
    result = measure(SCENARIO, watch=looks.append)
    assert len(looks) >= 3
    assert [one.time_s for one in looks] == sorted(one.time_s for one in looks)
    outcomes = result.deliveries["outcome"]
    handled_s = np.concatenate([one.handled_s for one in looks])
    in_rows = result.deliveries["finished_s"] - result.deliveries["started_s"]
    in_rows = in_rows[np.isin(outcomes, (DELIVERY_COMPLETED, DELIVERY_ABANDONED))]
    # What ends between the last look and the horizon is in the rows alone, and the other way round.
    near = result.scenario.consumers.workers
    assert abs(looks[-1].completed - (outcomes == DELIVERY_COMPLETED).sum()) <= near
    assert abs(sum(one.errors["handler"] for one in looks) - (outcomes == DELIVERY_ABANDONED).sum()) <= near
    assert abs(handled_s.size - in_rows.size) <= near
    assert (
        np.isclose(np.sort(handled_s)[:, None], in_rows, atol=1e-9).any(axis=1).sum() >= handled_s.size - near
    )
    brought = result.calls[(result.calls["op"] == OP_RECEIVE) & (result.calls["outcome"] == CALL_OK)]
    assert abs(sum(sum(one.received) for one in looks) - brought["count"].sum()) <= near
    assert looks[-1].sent >= looks[-1].completed
    assert f"{looks[-1].completed} completed" in str(looks[-1])


def test_prometheus_reads_a_run_while_it_goes_on() -> None:
    """The metrics have the names and buckets of queue-runtime, and each reading is that of the look before."""
    port, looks, read = free_port(), list[Live](), list[dict[str, float]]()

    def watch(live: Live) -> None:
        read.append(samples_at(port))
        looks.append(live)

    measure(SCENARIO, watch=watch, metrics_port=port)
    for number, samples in enumerate(read[1:]):
        seen = looks[: number + 1]
        handled = sum(len(one.handled_s) for one in seen)
        assert samples["queue_runtime_messages_processed_total"] == seen[-1].completed
        assert samples["queue_runtime_processing_duration_seconds_count"] == handled
        assert samples["queue_runtime_batch_sizes_sum"] == sum(sum(one.received) for one in seen)
        assert samples["queue_runtime_errors_total{cause=handler}"] == sum(o.errors["handler"] for o in seen)
    bounds = [name for name in read[0] if "bucket" in name and "duration" in name]
    assert [name.split("le=")[1].rstrip("}") for name in bounds] == [
        *("0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1.0", "5.0", "+Inf")
    ]
    with pytest.raises(OSError, match="refused"):
        samples_at(port)


@pytest.mark.parametrize("port", [80, 70000, None])
def test_a_port_that_cannot_be_had_is_said_before_the_run(port: int | None) -> None:
    """One that is out of range, or that another program has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match="metrics_port"):
            measure(SCENARIO, metrics_port=port or int(other.getsockname()[1]))


class Recording(NotebookClient):
    """Runs a notebook, and keeps what its kernel shows."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """Keep what is shown in a place that was written before."""
        if msg["msg_type"] == "update_display_data":
            self.shown.append(msg["content"]["data"])
        return super().process_message(msg, cell, cell_index)

    shown: list[dict[str, str]]


def test_a_notebook_shows_a_line_below_the_cell_while_it_runs() -> None:
    """The line is written over, says how far the run is, and is gone at the end."""
    code = f"""
import qtune
result = qtune.measure(qtune.load_scenario({SCENARIO_TEXT!r}, name="a run"))
"""
    cell = nbformat.v4.new_code_cell(code)
    client = Recording(nbformat.v4.new_notebook(cells=[cell]), timeout=60)
    client.shown = []
    client.execute()
    assert any("of 2 s" in shown.get("text/plain", "") for shown in client.shown)
    (left,) = cell.outputs
    assert left["data"]["text/html"] == ""


SCENARIO_TEXT = """
arrivals: {kind: poisson, rate: 30/s}
service_time: {family: exponential, mean: 20ms}
producers: {senders: 2}
queue: {provider: memory}
consumers: {workers: 2}
horizon: 2s
"""
