"""Scenarios as values: written and read back, changed, combined with presets, and scaled in load."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtune.arrivals import Bursts, ClosedLoop, Piecewise, Poisson, TraceFile
from qtune.consumer import Consumers, Failures, Renewal, Retry
from qtune.errors import InputError, ScenarioError
from qtune.faults import PauseHandlers
from qtune.presets import dump_scenario, load_scenario
from qtune.scenario import Scenario
from qtune.shapes import ConstantTime, ExponentialTime, HintsTime
from qtune.shipped import models_dir
from qtune.units import parse_duration, parse_rate, parse_size
from qtune.writing import exact_duration, exact_rate, exact_size

EXAMPLES = ("llm-conversations", "memory-pipeline", "order-bursts")


def scenario(**changes: Any) -> Scenario:
    """A small SQS scenario with some values changed."""
    values: dict[str, Any] = {
        "arrivals": Poisson(rate_per_s=100.0),
        "service_time": ExponentialTime(mean_s=0.05),
        "queue": {"provider": "sqs"},
        "consumers": Consumers(workers=8),
        "horizon_s": 600.0,
    }
    return Scenario(**{**values, **changes})


# Quantities of all magnitudes: what YAML says must be exactly what Python has.
seconds = st.floats(1e-9, 1e9)
rates = st.floats(1e-6, 1e5)
chances = st.floats(0.0, 1.0)
cvs = st.floats(0.1, 3.0)
fixed = st.fixed_dictionaries
just = st.just

times = st.one_of(
    fixed({"family": just("exponential"), "mean_s": seconds}),
    fixed({"family": just("constant"), "mean_s": seconds}),
    fixed({"family": just("gamma"), "mean_s": seconds, "cv": cvs}),
    fixed({"family": just("empirical"), "samples_s": st.lists(seconds, min_size=1, max_size=4)}),
    seconds.map(lambda mean_s: {"family": "lognormal", "mean_s": mean_s, "p95_s": mean_s * 2.0}),
)
segment = fixed({"for_s": st.floats(1.0, 1e4), "rate_per_s": rates})
arrivals = st.one_of(
    fixed({"kind": just("poisson"), "rate_per_s": rates}),
    fixed({"kind": just("renewal"), "rate_per_s": rates, "cv": cvs}),
    fixed({
        "kind": just("piecewise"),
        "segments": st.lists(segment, min_size=1, max_size=3),
        "repeat": st.booleans(),
    }),
    fixed({
        "kind": just("bursts"),
        "on_rate_per_s": rates,
        "off_rate_per_s": rates,
        "on_mean_s": seconds,
        "off_mean_s": seconds,
    }),
    fixed({"kind": just("burst_at_once"), "messages": st.integers(1, 10**6)}),
    fixed({"kind": just("closed_loop"), "customers": st.integers(1, 99), "think_time": times}),
)  # fmt: skip
queues = st.one_of(
    fixed({
        "provider": just("sqs"),
        "visibility_timeout_s": st.floats(1e-3, 43_200.0),
        "max_receive_count": st.integers(1, 99),
    }),
    fixed({"provider": just("servicebus"), "tier": just("standard"), "message_ttl_s": seconds}),
    fixed({
        "provider": just("memory"),
        "max_queue_size": st.integers(1, 10**9),
        "when_full": just("reject"),
    }),
)  # fmt: skip


@given(arrivals, times, queues, chances, seconds, st.integers(1, 200_000), st.integers(0, 2**63 - 1))
def test_what_is_dumped_is_loaded_as_an_equal_scenario(
    arrivals: Any, service_time: Any, queue: Any, rate: float, base_s: float, size_bytes: int, seed: int
) -> None:
    """A scenario survives YAML with every value exact to the last bit."""
    made = Scenario(
        arrivals=arrivals,
        service_time=service_time,
        queue=queue,
        failures={"rate": rate, "retry": {"attempts": 3, "base_s": base_s, "factor": 1.0 + rate}},
        consumers={"workers": 4, "instance_price_usd_per_hour": rate},
        message_size_bytes=size_bytes,
        horizon_s=1000.1,
        seed=seed,
    )
    assert load_scenario(dump_scenario(made)) == made


@given(st.floats(0.0, 1e15) | st.sampled_from([0.1, 60.0, 86_400.0, 1e-7, 0.3, 1 / 3]))
def test_written_quantities_are_read_back_exactly(quantity: float) -> None:
    """A duration, a rate and a size are written so that reading gives the same number."""
    if quantity == 0.0 or quantity > 1e-300:
        assert parse_duration(exact_duration(quantity)) == quantity
        assert parse_rate(exact_rate(quantity)) == quantity
    assert parse_size(exact_size(int(quantity))) == int(quantity)


def test_written_durations_are_short() -> None:
    """Of the exact ways to write a duration, the shortest is chosen."""
    assert [exact_duration(s) for s in (0.0, 0.1, 90.0, 345_600.0, 1e-6)] == [
        "0s",
        "0.1s",
        "90s",
        "4d",
        "1us",
    ]
    assert [exact_size(size) for size in (0, 1023, 4096, 2**20)] == ["0B", "1023B", "4KiB", "1MiB"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_shipped_examples_load_and_survive_writing(name: str) -> None:
    """Each shipped example is a valid scenario, and writing it loses nothing."""
    loaded = load_scenario(models_dir() / "examples" / f"{name}.yaml")
    assert loaded.name == name
    assert load_scenario(dump_scenario(loaded)) == loaded


def test_a_scenario_can_be_hashed_compared_and_sent_to_another_process() -> None:
    """Scenarios are values: equal ones are one key of a mapping, and pickling keeps them."""
    one, other = scenario(), scenario()
    assert len({one: 1, other: 2}) == 1
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_scenario_cannot_be_changed_in_place() -> None:
    """A scenario is frozen; a changed one is a new one."""
    with pytest.raises(Exception, match="frozen"):
        scenario().seed = 2  # type: ignore[misc]


def test_text_with_units_is_as_good_as_numbers_in_python() -> None:
    """In Python 0.5 and "500ms" are the same, under the name with or without the unit."""
    assert scenario(horizon_s="10min") == scenario(horizon_s=600) == scenario(horizon_s=600.0)
    assert Poisson(rate="6000/min") == Poisson(rate_per_s=100)  # type: ignore[call-arg]


def test_one_value_is_replaced_by_its_path() -> None:
    """A path names a value by the words of Python or of YAML, and everything else stays."""
    changed = scenario().replace("consumers.workers", 16)
    assert changed.consumers == Consumers(workers=16)
    assert scenario().replace("queue.visibility_timeout", "45s").semantics().lock_s == 45.0
    assert changed.replace("consumers.workers", 8) == scenario()


def test_a_section_is_changed_key_by_key() -> None:
    """A mapping changes some keys of a section; None takes a value out; another kind replaces the section."""
    renewed = scenario().with_(consumers={"renewal": {"max": "5min"}, "receive_wait_s": 20.0})
    assert renewed.consumers == Consumers(workers=8, receive_wait_s=20.0, renewal=Renewal(max_s=300.0))
    assert renewed.with_(consumers={"renewal": {"renewers": 2}}).consumers.renewal == Renewal(
        max_s=300.0, renewers=2
    )
    assert renewed.with_(consumers={"renewal": None, "receive_wait": None}) == scenario()
    moved = scenario().with_(queue={"provider": "memory"}, arrivals={"kind": "burst_at_once", "messages": 9})
    assert moved.queue.provider == "memory"
    assert moved.arrivals.kind == "burst_at_once"


def test_a_change_is_checked_like_a_new_scenario() -> None:
    """A change that breaks a rule raises the same error as writing it would."""
    with pytest.raises(ScenarioError, match="SQS has no prefetch"):
        scenario().replace("consumers.prefetch", 5)
    with pytest.raises(ScenarioError, match='Did you mean "workers"'):
        scenario().replace("consumers.worker", 5)


def test_the_horizon_of_a_trace_follows_the_trace() -> None:
    """A horizon that was not given is the length of the recording, also after the recording is sped up."""
    trace = Scenario(
        arrivals=TraceFile(file="azure_llm_conv_2023.csv"),
        service_time=HintsTime(mean_s=0.1),
        queue={"provider": "sqs"},
        consumers=Consumers(workers=8),
    )
    assert trace.horizon_s == 3501.721937
    assert trace.replace("arrivals.speed", 2.0).horizon_s == 3501.721937 / 2.0
    assert "horizon" not in dump_scenario(trace)


def test_hints_are_scaled_to_the_mean_of_the_whole_trace() -> None:
    """Each service time is its hint times one factor, whatever the horizon, and their mean is as asked."""
    trace = load_scenario(models_dir() / "examples" / "llm-conversations.yaml")
    times_s = trace.service_by_message_s()
    assert times_s is not None
    assert times_s.mean() == pytest.approx(0.2)
    assert times_s[0] / times_s[1] == pytest.approx(44 / 109)
    assert trace.service_distribution().mean == pytest.approx(0.2)
    shorter = trace.replace("horizon_s", 60.0).service_by_message_s()
    assert shorter is not None
    assert shorter.tolist() == times_s[: len(shorter)].tolist()
    assert scenario().service_by_message_s() is None


def test_twice_the_load_is_twice_each_rate() -> None:
    """Scaling the load multiplies rates, messages and customers, and leaves the rest alone."""
    assert scenario().scaled_load(2.0) == scenario(arrivals=Poisson(rate_per_s=200.0))
    bursts = Bursts(on_rate_per_s=90.0, off_rate_per_s=5.0, on_mean_s=5.0, off_mean_s=60.0)
    doubled = Bursts(on_rate_per_s=180.0, off_rate_per_s=10.0, on_mean_s=5.0, off_mean_s=60.0)
    assert scenario(arrivals=bursts).scaled_load(2.0).arrivals == doubled
    steps = Piecewise(segments=({"for_s": 60.0, "rate_per_s": 10.0},), repeat=True)  # type: ignore[arg-type]
    assert scenario(arrivals=steps).scaled_load(0.5).arrivals.schedule(600.0).mean_rate_per_s == 5.0
    counts = scenario(arrivals={"kind": "counts", "file": "aws_elb_2014_rate_300s.csv"})
    assert counts.scaled_load(3.0).arrivals.schedule(600.0).mean_rate_per_s == pytest.approx(
        3.0 * (counts.schedule().mean_rate_per_s or 0.0)
    )


def test_a_trace_is_scaled_by_its_clock() -> None:
    """Twice the load of a trace is the same trace in half the time, with the faults at the same messages."""
    trace = scenario(
        arrivals=TraceFile(file="azure_llm_conv_2023.csv"),
        horizon_s=1000.0,
        faults=(PauseHandlers(at_s=100.0, for_s=30.0),),
    )
    scaled = trace.scaled_load(2.0)
    assert scaled.horizon_s == 500.0
    assert scaled.faults == (PauseHandlers(at_s=50.0, for_s=30.0),)
    before, after = trace.schedule().due_s, scaled.schedule().due_s
    assert before is not None
    assert after is not None
    assert (before / 2.0).tolist() == after.tolist()


def test_customers_and_messages_are_scaled_to_whole_numbers_only() -> None:
    """Half of nine customers is an error, not four or five of them."""
    loop = scenario(arrivals=ClosedLoop(customers=9, think_time=ConstantTime(mean_s=1.0)))
    assert loop.scaled_load(2.0).schedule().customers == 18
    with pytest.raises(
        ScenarioError, match=r"arrivals\.customers: 4\.5\n  not a whole number: choose another factor"
    ):
        loop.scaled_load(0.5)
    with pytest.raises(ScenarioError, match=r"arrivals\.messages: 0\.5"):
        scenario(arrivals={"kind": "burst_at_once", "messages": 1}).scaled_load(0.5)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_load_factor_is_a_positive_number(factor: float) -> None:
    """No load, a negative or an unbounded one cannot be asked for."""
    with pytest.raises(InputError, match="a factor is a number above 0"):
        scenario().scaled_load(factor)


def test_retries_wait_longer_each_time_up_to_the_ceiling() -> None:
    """The waits are base, base x factor, ..., at most the ceiling; attempts counts the first try."""
    retry = Retry(attempts=5, base_s=0.5, factor=3.0, ceiling_s=10.0)
    assert retry.waits_s() == (0.5, 1.5, 4.5, 10.0)
    assert Failures(retry=retry).attempts == 5
    assert Failures().attempts == 1
    assert Retry(attempts=1).waits_s() == ()


def test_files_are_looked_for_beside_the_scenario(tmp_path: Path) -> None:
    """A trace, samples and a model beside the file that names them come before shipped ones."""
    (tmp_path / "azure_llm_conv_2023.csv").write_text("arrival_s\n0.5\n2\n", encoding="utf-8")
    (tmp_path / "times.csv").write_text("seconds,other\n0.5,9\n0.25,9\n", encoding="utf-8")
    model = (models_dir() / "sqs.yaml").read_text(encoding="utf-8").replace("name: sqs", "name: mine")
    (tmp_path / "mine.yaml").write_text(model, encoding="utf-8")
    path = tmp_path / "t.yaml"
    path.write_text(
        "arrivals: {kind: trace, file: azure_llm_conv_2023.csv}\n"
        "service_time: {family: empirical, file: times.csv, column: seconds}\n"
        "queue: {provider: sqs}\nconsumers: {workers: 1}\nmodel: mine.yaml\n",
        encoding="utf-8",
    )
    loaded = load_scenario(path)
    assert loaded.horizon_s == 2.0
    assert loaded.service_distribution().mean == 0.375
    assert loaded.provider_model().name == "mine"
    assert load_scenario(dump_scenario(loaded)) == loaded


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "pause_handlers"},
        {"kind": "throttling", "rate_per_s": 50.0},
        {"kind": "throttling", "rate_per_s": 5.0, "calls": ("send", "settle")},
        {"kind": "outage"},
        {"kind": "slow_broker", "factor": 2.5},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_fault_is_written_and_moved_with_all_it_says(fault: dict[str, Any]) -> None:
    """A scenario with any kind of fault reads back as it was, and a fault at another instant is else the same."""
    timed = {**fault, "at_s": 1.0, "for_s": 2.0}
    original = scenario(faults=(timed,))
    assert load_scenario(dump_scenario(original)) == original
    (own,) = original.faults
    moved = own.with_start(3.0)
    assert (type(moved), moved.at_s, moved.end_s) == (type(own), 3.0, 5.0)
    assert moved.with_start(1.0) == own
