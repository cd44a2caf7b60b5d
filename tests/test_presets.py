"""Presets: settings by the name of a situation, as the document they come from has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qtune.consumer import Consumers, Renewal, Retry
from qtune.errors import ScenarioError
from qtune.presets import Preset, dump_preset, load_preset, preset_names
from qtune.providers.memory import MemoryQueue
from qtune.providers.servicebus import ServiceBusQueue
from qtune.providers.sqs import SqsQueue
from qtune.scenario import Scenario
from qtune.shipped import models_dir

NAMES = (
    "azure-high-throughput",
    "azure-low-latency",
    "memory-high-throughput",
    "memory-testing",
    "sqs-cost-optimized",
    "sqs-high-throughput",
)


def workload(**consumers: Any) -> Scenario:
    """A scenario to which presets are applied."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 100.0},
        service_time={"family": "constant", "mean_s": 0.05},
        failures={"rate": 0.01},
        queue={"provider": "sqs"},
        consumers={"workers": 2, **consumers},
        horizon_s=600.0,
    )


def test_the_shipped_presets_are_these() -> None:
    """There are two presets for each provider."""
    assert preset_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_can_be_applied_and_written(name: str, tmp_path: Path) -> None:
    """Each preset makes a valid scenario of any workload, and is data that survives writing."""
    preset = load_preset(name)
    applied = workload().using(preset)
    assert applied.queue == preset.queue
    assert applied.consumers.workers == preset.consumers.workers
    assert applied.arrivals == workload().arrivals
    path = tmp_path / "copy.yaml"
    path.write_text(dump_preset(preset), encoding="utf-8")
    assert load_preset(path) == preset


@pytest.mark.parametrize("name", NAMES)
def test_what_the_document_leaves_open_is_named(name: str) -> None:
    """Each setting of a preset is the document's, which its comment names, or is called left open."""
    path = models_dir() / "presets" / f"{name}.yaml"
    lines = path.read_text(encoding="utf-8").split("queue:\n")[1].splitlines()
    settings = [line for line in lines if line.startswith("  ") and ":" in line.split("#")[0]]
    bare = [
        line for line in settings if "#" not in line and not line.strip().startswith(("provider", "client"))
    ]
    assert all(line.strip().split(":")[0] in {"factor", "ceiling", "base", "polling"} for line in bare), bare


def test_azure_high_throughput_is_as_documented() -> None:
    """32 concurrent calls, prefetch 50, renewal up to 10 min, retries after 100 ms x 3 up to 30 s, AMQP."""
    preset = load_preset("azure-high-throughput")
    assert isinstance(preset.queue, ServiceBusQueue)
    assert preset.consumers.client == "azure-processor"
    assert (preset.consumers.workers, preset.consumers.prefetch) == (32, 50)
    assert preset.consumers.renewal == Renewal(max_s=600.0)
    assert preset.retry == Retry(attempts=4, base_s=0.1, factor=3.0, ceiling_s=30.0)
    assert preset.document["transport_type"] == "Amqp"


def test_azure_low_latency_is_as_documented() -> None:
    """4 concurrent calls, prefetch 1, renewal up to 1 min, retries each after 50 ms."""
    preset = load_preset("azure-low-latency")
    assert (preset.consumers.workers, preset.consumers.prefetch) == (4, 1)
    assert preset.consumers.renewal == Renewal(max_s=60.0)
    assert preset.retry is not None
    assert preset.retry.waits_s() == (0.05, 0.05, 0.05)


@pytest.mark.parametrize(
    ("name", "timeout_s"), [("sqs-high-throughput", 300.0), ("sqs-cost-optimized", 30.0)]
)
def test_sqs_presets_are_as_documented(name: str, timeout_s: float) -> None:
    """Receive 10, wait 20 s, and a visibility timeout of 5 min or 30 s; one batch at a time."""
    preset = load_preset(name)
    assert isinstance(preset.queue, SqsQueue)
    assert preset.queue.visibility_timeout_s == timeout_s
    behaviour = workload().using(preset).behaviour()
    assert (behaviour.batch, behaviour.wait_s) == (10, 20.0)
    assert (behaviour.receivers, behaviour.in_hand_limit, behaviour.refill_at) == (1, 10, 10)


@pytest.mark.parametrize(
    ("name", "size", "buffer"), [("memory-high-throughput", 10_000, 1000), ("memory-testing", 1000, 100)]
)
def test_memory_presets_are_as_documented(name: str, size: int, buffer: int) -> None:
    """10,000 messages, a buffer of 1,000 and one worker a core; or 1,000, 100 and one worker."""
    preset = load_preset(name)
    assert isinstance(preset.queue, MemoryQueue)
    assert (preset.queue.max_queue_size, preset.consumers.buffer) == (size, buffer)
    assert preset.consumers.workers == preset.consumers.cores
    assert load_preset("memory-testing").consumers.workers == 1


def test_the_fleet_stays_what_it_is_unless_the_preset_says() -> None:
    """Instances and their price belong to the deployment; the rest of the consumers is the preset's."""
    own = workload(instances=5, instance_price_usd_per_hour=0.2, receive_wait_s=3.0)
    applied = own.using(load_preset("azure-high-throughput"))
    assert (applied.consumers.instances, applied.consumers.instance_price_usd_per_hour) == (5, 0.2)
    assert applied.consumers.receive_wait_s is None
    assert own.using(load_preset("memory-testing")).consumers.instances == 1


def test_a_preset_keeps_the_failures_and_adds_its_retries() -> None:
    """How often handlers fail is the workload's; how they are tried again is the preset's, if it says so."""
    applied = workload().using(load_preset("azure-low-latency"))
    assert (applied.failures.rate, applied.failures.attempts) == (0.01, 4)
    assert workload().using(load_preset("sqs-high-throughput")).failures == workload().failures


def test_a_model_of_another_provider_is_dropped() -> None:
    """A provider model that was chosen for SQS does not follow to Service Bus."""
    own = workload().with_(model="sqs")
    assert own.using(load_preset("sqs-high-throughput")).model == "sqs"
    assert own.using(load_preset("azure-low-latency")).model is None


def test_an_unknown_preset_is_an_error_with_the_known_ones() -> None:
    """A name that is no preset is answered with all of them and the nearest one."""
    with pytest.raises(ScenarioError, match=r'memory-testing, .*Did you mean "azure-high-throughput"\?'):
        load_preset("azure-high-troughput")


def test_a_preset_of_ones_own_is_read_strictly(tmp_path: Path) -> None:
    """A preset in a file is checked like a scenario, with the line of each error."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nsummary: x\nsource: me\ndocument: {}\n"
        "queue: {provider: sqs, timeout: 3s}\nconsumers: {workers: 2}\n",
        encoding="utf-8",
    )
    with pytest.raises(ScenarioError, match=r"mine\.yaml:5:24: queue.timeout\n  there is no such key"):
        load_preset(path)


def test_a_preset_is_checked_with_the_workload() -> None:
    """Settings of a preset that contradict each other are found when a scenario uses them."""
    broken = Preset(
        name="x",
        summary="x",
        source="x",
        document={},
        queue=SqsQueue(),
        consumers=Consumers(workers=2, prefetch=3),
    )
    with pytest.raises(ScenarioError, match="SQS has no prefetch"):
        workload().using(broken)
