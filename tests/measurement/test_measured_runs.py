"""Measured runs: the load of a scenario on real queues, by real processes, and the rows that they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from qtune.adapters.memory import MemoryAdapter
from qtune.adapters.servicebus import ServiceBusAdapter
from qtune.broker import Message
from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.errors import InputError, ProviderFailure
from qtune.invariants import check
from qtune.measurement import Live, adapter_of, measure, run_on
from qtune.providers.memory import MemoryQueue
from qtune.result import (
    DELIVERY_ABANDONED,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    DELIVERY_LOST,
    MESSAGE_COMPLETED,
    MESSAGE_REJECTED,
    OP_RECEIVE,
    OP_RENEW,
    OP_SEND,
    OP_SETTLE,
    Result,
)
from qtune.scenario import Scenario
from qtune.simulation import simulate

PLAIN: dict[str, Any] = {
    "arrivals": {"kind": "poisson", "rate_per_s": 30.0},
    "service_time": {"family": "exponential", "mean_s": 0.03},
    "message_size_bytes": 200,
    "producers": {"senders": 4},
    "queue": {"provider": "memory"},
    "consumers": {"workers": 4},
    "horizon_s": 2.0,
}
BUS = {"provider": "servicebus", "tier": "premium", "lock_duration_s": 5.0}


def in_memory(**changes: Any) -> Result:
    """A measured run on a queue in memory."""
    scenario = Scenario(**PLAIN).with_(**changes)
    return measure(scenario)


def calls(result: Result, op: int) -> Any:
    """The calls of one kind."""
    return result.calls[result.calls["op"] == op]


def must_be_whole(result: Result) -> None:
    """Fail unless the rows break no law, and belong to the workload of the scenario and seed."""
    assert check(result) == []
    simulated = simulate(result.scenario, seed=result.seed, engine="reference")
    assert result.messages["due_s"].tolist() == simulated.messages["due_s"].tolist()
    handled = result.deliveries[~np.isnan(result.deliveries["finished_s"])]
    first = simulated.deliveries[simulated.deliveries["delivery_no"] == 1]
    needed_s = dict(
        zip(first["message"].tolist(), (first["finished_s"] - first["started_s"]).tolist(), strict=True)
    )
    for row in handled[(handled["delivery_no"] == 1) & (handled["attempts"] == 1)]:
        asked_s = needed_s.get(int(row["message"]))
        assert asked_s is None or np.isnan(asked_s) or row["finished_s"] - row["started_s"] >= asked_s - 1e-9


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"consumers": {"polling": "buffer", "buffer": 8, "receive_batch": 4}},
        {"consumers": {"settle": "concurrent"}, "failures": {"rate": 0.2, "on_failure": "abandon"}},
        {"producers": {"batch": 5, "linger_s": 0.1}, "handler": {"cpu_share": 0.2}},
        {"failures": {"rate": 0.3, "retry": {"attempts": 2, "base_s": 0.01}}},
        {"consumers": {"workers": 1}},
    ],
)
def test_a_measured_run_breaks_no_law_and_has_the_messages_of_a_simulated_one(
    changes: dict[str, Any],
) -> None:
    """Whatever the setting, rows are conserved and clocks run forward, and each handler works as long as it must."""
    result = in_memory(**changes)
    must_be_whole(result)
    assert result.source == "measured:memory"
    assert (result.messages["state"] == MESSAGE_COMPLETED).sum() > 30
    producers = result.scenario.producers
    assert producers is not None
    unanswered = (~np.isnan(result.messages["sent_s"])).sum() - calls(result, OP_SEND)["count"].sum()
    assert 0 <= unanswered <= producers.senders * producers.batch  # at the horizon, but received already


def test_abandoned_deliveries_come_back_with_the_next_number() -> None:
    """Handlers fail as the workload says, and what they abandon is delivered again."""
    result = in_memory(failures={"rate": 0.3, "on_failure": "abandon"}, queue={"max_delivery_count": 20})
    must_be_whole(result)
    outcomes = result.deliveries["outcome"]
    assert (outcomes == DELIVERY_ABANDONED).sum() > 3
    assert result.deliveries["delivery_no"].max() > 1
    assert result.messages["deliveries"].sum() == result.deliveries.size


def test_locks_are_renewed_while_a_handler_works() -> None:
    """A handler of five locks keeps its message with renewals, and completes it the first time."""
    result = in_memory(
        arrivals={"kind": "burst_at_once", "messages": 2},
        service_time={"family": "constant", "mean_s": 1.0},
        queue={"lock_duration_s": 0.2},
        consumers={"renewal": {"max_s": 5.0}},
    )
    assert check(result) == []
    assert result.messages["deliveries"].tolist() == [1, 1]
    assert (result.messages["state"] == MESSAGE_COMPLETED).all()
    assert (result.deliveries["renewals"] >= 4).all()
    assert calls(result, OP_RENEW).size >= 8


def test_a_settlement_that_comes_too_late_settles_nothing() -> None:
    """A handler of two locks without renewals is refused its settlement, and its message comes back."""
    result = in_memory(
        arrivals={"kind": "burst_at_once", "messages": 2},
        service_time={"family": "constant", "mean_s": 0.4},
        queue={"lock_duration_s": 0.2, "max_delivery_count": 2},
    )
    assert check(result) == []
    late = result.deliveries["outcome"] == DELIVERY_LATE
    assert late.sum() == 4
    assert np.isnan(result.deliveries["settled_s"][late]).all()


def test_no_handler_starts_in_a_pause() -> None:
    """A pause of all handlers holds in a measured run as in a simulated one."""
    result = in_memory(faults=[{"kind": "pause_handlers", "at_s": 0.5, "for_s": 0.5}])
    started_s = result.deliveries["started_s"]
    assert not ((started_s > 0.501) & (started_s < 1.0)).any()
    assert (started_s >= 1.0).any()


def test_messages_that_a_full_queue_refuses_are_rejected() -> None:
    """A queue in memory that refuses sends when it is full loses what was sent then, and the rows say so."""
    result = in_memory(
        queue={"max_queue_size": 2, "when_full": "reject"},
        service_time={"family": "constant", "mean_s": 0.5},
        consumers={"workers": 1},
    )
    assert check(result) == []
    assert (result.messages["state"] == MESSAGE_REJECTED).sum() > 10


def test_a_result_remembers_the_conditions_of_its_measurement(tmp_path: Path) -> None:
    """How busy the machine was, how far its clocks agree and how late sends began come back from a file."""
    result = in_memory()
    conditions = result.conditions
    assert conditions is not None
    assert conditions.clock_error_s == 0.0
    assert conditions.late_s_p95 >= 0.0
    assert 0.0 <= conditions.utilization_mean <= 1.0
    account = conditions.account
    assert account.lost == account.completed_twice == 0
    assert account.left is not None
    assert account.sent == account.completed + account.left
    assert Result.load(result.save(tmp_path / "run")).conditions == conditions


def test_processes_of_service_bus_share_one_clock_and_a_killed_one_loses_no_row() -> None:
    """One of two consumer processes is killed; what it had comes back when its lock runs out, and is completed once."""
    with ServiceBusEmulator() as emulator:
        scenario = Scenario(**PLAIN).with_(
            queue=BUS,
            consumers={"instances": 2, "workers": 1, "receive_batch": 1, "client": "azure-servicebus-7.15"},
            arrivals={"rate_per_s": 15.0},
            service_time={"family": "constant", "mean_s": 0.08},
            faults=[{"kind": "kill_consumers", "at_s": 1.5, "count": 1}],
            horizon_s=9.0,
        )
        result = measure(scenario, endpoint=f"127.0.0.1:{emulator.port}")
    assert check(result) == []
    lost = result.deliveries[result.deliveries["outcome"] == DELIVERY_LOST]
    assert set(lost["consumer"].tolist()) <= {0}
    done = result.deliveries[result.deliveries["outcome"] == DELIVERY_COMPLETED]
    assert np.unique(done["message"]).size == done.size
    assert {0, 1} == set(done["consumer"].tolist())
    assert result.conditions is not None
    assert result.conditions.account.lost == result.conditions.account.completed_twice == 0
    assert np.nanmax(done["settled_s"][done["consumer"] == 0]) <= 1.6
    assert calls(result, OP_RECEIVE).size >= done.size
    assert calls(result, OP_SETTLE).size >= done.size
    assert result.conditions is not None
    assert 0.0 < result.conditions.clock_error_s < 0.1
    assert result.versions["azure-servicebus"].startswith("7.")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"handler": {"takes": "batch"}}, "handler.takes"),
        ({"downstream": {"connections": 2}}, "downstream"),
        ({"faults": [{"kind": "slow_broker", "at_s": 0.1, "for_s": 1.0, "factor": 2.0}]}, "faults[0].kind"),
        ({"faults": [{"kind": "kill_consumers", "at_s": 0.1, "count": 1}]}, "faults[0].kind"),
    ],
)
def test_what_cannot_be_measured_is_an_error_that_says_so(changes: dict[str, Any], where: str) -> None:
    """Nothing of a scenario is left out in silence: what a measured run would not do is refused before it begins."""
    with pytest.raises(InputError) as refused:
        in_memory(**changes)
    assert [problem.where for problem in refused.value.problems] == [where]


SQS = {"provider": "sqs", "visibility_timeout_s": 30.0}
KILL = {"kind": "kill_consumers", "at_s": 0.5, "count": 1, "restart_after_s": 0.5}
ORDERED = {"queue": {**SQS, "type": "fifo"}, "groups": {"kind": "even", "count": 3}}
FAST = {"type": "fifo", "high_throughput": True, "region": "eu-west-1"}
BATCHES = {"settle": "batch", "settle_batch": 5, "receive_batch": 5}
TURN = {"family": "constant", "mean_s": 0.1}


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"faults": [KILL], "queue": SQS}, "faults[0].restart_after"),
        ({"producers": {"batch": 5, "entry_failures": 0.2}, "queue": SQS}, "producers.entry_failures"),
        ({"producers": {"batch": 5, "batch_from": 1}}, "producers.batch_from"),
        ({"handler": {"circuit_breaker": {}}, "failures": {"rate": 0.1}}, "handler.circuit_breaker"),
        ({**ORDERED, "consumers": {"workers": 4, "receivers": 1}}, "consumers.keep_group_order"),
        ({"queue": SQS, "consumers": {"other_queues": {"count": 2, "turn": TURN}}}, "consumers.other_queues"),
        ({"scaling": {"kind": "keda", "messages": 5}, "queue": SQS}, "scaling"),
        ({"queue": {**SQS, "delay_s": 3.0}}, "queue.delay"),
        ({**ORDERED, "queue": {**SQS, "fair": True}}, "queue.fair"),
        ({**ORDERED, "queue": {**SQS, **FAST}}, "queue.high_throughput"),
        (
            {"queue": SQS, "consumers": {**BATCHES, "settle_entry_failures": 0.1}},
            "consumers.settle_entry_failures",
        ),
    ],
)
def test_no_setting_is_left_out_of_a_measured_run_in_silence(changes: dict[str, Any], where: str) -> None:
    """What consumers, handlers and producers would not do is refused before anything is made."""
    given = {**PLAIN, **{name: value for name, value in changes.items() if name == "queue"}}
    scenario = Scenario(**given, **{k: v for k, v in changes.items() if k == "groups"})
    scenario = scenario.with_(**{k: v for k, v in changes.items() if k not in ("queue", "groups")})
    with pytest.raises(InputError) as refused:
        measure(scenario, endpoint=None if scenario.queue.provider == "memory" else "http://127.0.0.1:9")
    assert where in [problem.where for problem in refused.value.problems]


def test_a_measured_client_has_the_pool_of_the_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 keeps as many connections as the simulated client: ten, or what the scenario says."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    fields = {**PLAIN, "queue": SQS}
    for changes, expected in (({}, 10), ({"max_pool_connections": 3}, 3)):
        scenario = Scenario(**fields).with_(consumers=changes)
        adapter: Any = adapter_of(scenario, endpoint="http://127.0.0.1:9")
        assert adapter._client.meta.config.max_pool_connections == expected


def test_a_message_of_someone_else_ends_the_run_with_its_words() -> None:
    """A consumer that cannot go on is not left out in silence: the run ends, says who and why, and leaves no queue."""
    scenario = Scenario(**{**PLAIN, "queue": BUS, "consumers": {"workers": 1}, "horizon_s": 30.0})
    with ServiceBusEmulator() as emulator:
        adapter = ServiceBusAdapter(queue=scenario.queue, emulator=f"127.0.0.1:{emulator.port}")

        def disturb(live: Live) -> None:
            with (
                ServiceBusClient.from_connection_string(emulator.connection_string) as client,
                client.get_queue_sender(adapter.used_name) as sender,
            ):
                sender.send_messages(ServiceBusMessage("foreign"))

        with pytest.raises(
            ProviderFailure, match=r"consumer process 1 ended during the run: .* did not send"
        ):
            run_on(scenario, adapter, watch=disturb)
        assert emulator.counters()["queues"] == {}


def test_a_thread_that_fails_in_this_process_ends_the_run_too() -> None:
    """In memory there are only threads; the first that fails is the reason."""
    scenario = Scenario(**{**PLAIN, "horizon_s": 30.0})
    adapter = MemoryAdapter(queue=MemoryQueue())

    def disturb(live: Live) -> None:
        adapter.door.send([Message(body=b"foreign")])

    with pytest.raises(ProviderFailure, match="consumer process 1 ended during the run"):
        run_on(scenario, adapter, watch=disturb)
