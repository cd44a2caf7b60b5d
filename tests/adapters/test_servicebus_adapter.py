"""What the adapter of Service Bus promises beyond the contract: credentials, failures, credit and sessions."""

from __future__ import annotations

import gc
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from qtune.adapters.base import Outgoing
from qtune.adapters.servicebus import ServiceBusAdapter
from qtune.adapters.servicebus.failures import told, without_secrets
from qtune.adapters.servicebus.place import VARIABLE, Place, sdk_version
from qtune.consumer import Consumers
from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.errors import BrokerDown, InputError, ProviderFailure, Throttled
from qtune.providers.servicebus import SERVICEBUS, ServiceBusQueue

SECRET = "c2VjcmV0LWtleQ=="


@pytest.fixture
def emulator() -> Iterator[ServiceBusEmulator]:
    """A namespace without queues."""
    with ServiceBusEmulator() as running:
        yield running


def adapter_at(emulator: ServiceBusEmulator, *, has_sessions: bool = False) -> ServiceBusAdapter:
    """A queue of it, which is there."""
    queue = ServiceBusQueue(tier="premium", lock_duration_s=30.0, requires_session=has_sessions)
    adapter = ServiceBusAdapter(queue=queue, emulator=f"127.0.0.1:{emulator.port}", max_attempts=1)
    adapter.create()
    return adapter


def messages(count: int, group: str | None = None) -> list[Outgoing]:
    """Messages of a run."""
    return [Outgoing(number=number, body=b"x", group=group) for number in range(count)]


def send(adapter: ServiceBusAdapter, count: int, group: str | None = None) -> None:
    """All in one call."""
    with closing(adapter.sender()) as sender:
        assert all(sender.send(messages(count, group)))


def test_a_connection_string_is_read_from_the_environment_and_kept_nowhere(
    emulator: ServiceBusEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key that opens a namespace is in no record, no pickle, and no message of an error."""
    monkeypatch.setenv(VARIABLE, emulator.connection_string.replace("Key=any", f"Key={SECRET}"))
    adapter = ServiceBusAdapter(max_attempts=1)
    adapter.create()
    send(adapter, 1)
    assert adapter.depth().ready == 1
    assert SECRET not in repr(adapter)
    assert SECRET.encode() not in pickle.dumps(adapter)
    adapter.remove()
    with pytest.raises(ProviderFailure) as gone:
        adapter.depth()
    assert SECRET not in str(gone.value)
    emulator.stop()
    with pytest.raises(BrokerDown, match="does not answer") as down:
        adapter.depth()
    assert SECRET not in str(down.value)


def test_a_namespace_of_the_service_is_entered_by_an_identity() -> None:
    """Where only a namespace is named, the SDK's chain of identities is asked, and nothing is connected before that."""
    from azure.identity import DefaultAzureCredential

    place = Place(namespace="example.servicebus.windows.net")
    with place.client({}) as client:
        assert client.fully_qualified_namespace == "example.servicebus.windows.net"
        assert isinstance(client._credential, DefaultAzureCredential)
    assert place.emulator_address() is None


def test_a_place_must_be_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No place, two of them, and a connection string that is none are bad input."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(InputError, match=f"set {VARIABLE} to a connection string"):
        ServiceBusAdapter().create()
    with pytest.raises(InputError, match="name one of them"):
        ServiceBusAdapter(emulator="127.0.0.1:1", namespace="example.servicebus.windows.net").create()
    monkeypatch.setenv(VARIABLE, f"Endpoint=nonsense;SharedAccessKey={SECRET}")
    with pytest.raises(ProviderFailure) as wrong:
        ServiceBusAdapter().sender()
    assert SECRET not in str(wrong.value)


def test_without_the_sdk_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra says which one is missing."""
    monkeypatch.setitem(sys.modules, "azure.servicebus", None)
    with pytest.raises(InputError, match=r"pip install 'qtune\[azure\]'"):
        ServiceBusAdapter(emulator="127.0.0.1:1").sender()


@pytest.mark.parametrize(
    "text",
    [
        f"Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey={SECRET}",
        f"SharedAccessSignature sr=x&sig={SECRET}&se=1",
        f"token: {SECRET}",
    ],
)
def test_what_opens_a_namespace_is_cut_out_of_messages(text: str) -> None:
    """Whatever an SDK writes into its errors, no key, signature or token is passed on."""
    assert SECRET not in without_secrets(text)
    assert "***" in without_secrets(text)
    with pytest.raises(ProviderFailure) as failure, told("send"):
        raise ValueError(text)
    assert SECRET not in str(failure.value)
    assert str(failure.value).startswith("Service Bus, send: ")


def test_failures_are_told_apart(emulator: ServiceBusEmulator) -> None:
    """A namespace that is busy, one that is gone, and a queue that is not there are different failures."""
    adapter = adapter_at(emulator)
    with closing(adapter.sender()) as sender:
        emulator.faults.server_busy_every = 1
        with pytest.raises(Throttled, match="send less"):
            sender.send(messages(1))
        emulator.faults.server_busy_every = 0
        assert sender.send(messages(1)) == (True,)
    with pytest.raises(ProviderFailure, match="could not be found"):
        replace(adapter, existing="another").sender()
    emulator.stop()
    with pytest.raises(BrokerDown):
        adapter.sender()


def test_the_sdk_tries_again_as_it_is_told_to(emulator: ServiceBusEmulator) -> None:
    """With a second attempt a send that was refused once goes through, and there is no third."""
    adapter = replace(adapter_at(emulator), retry_mode="fixed", max_attempts=2)
    with closing(adapter.sender()) as sender:
        emulator.faults.server_busy_every = 2
        assert [sender.send(messages(1)) for _ in range(2)] == [(True,)] * 2
        assert emulator.counters()["namespace"]["busy"] == 1
        emulator.faults.server_busy_every = 1
        with pytest.raises(Throttled):
            sender.send(messages(1))
    assert emulator.counters()["namespace"]["busy"] == 1 + 2


def test_a_prefetch_is_credit_for_one_more(emulator: ServiceBusEmulator) -> None:
    """A receiver with the scenario's prefetch of 4 has credit for 5, and grants it again when all is used up."""
    adapter = adapter_at(emulator)
    send(adapter, 12)
    behaviour = SERVICEBUS.behaviour(adapter.queue, Consumers(workers=1, prefetch=4))
    with closing(adapter.receiver(behaviour)) as receiver:
        seen = []
        for _ in range(6):
            (received,) = receiver.receive(1, 5.0)
            assert receiver.complete([received]) == (True,)
            counters = emulator.counters()["queues"][adapter.name]
            seen.append(counters["delivered"])
    assert seen == [5] * 5 + [10]


@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning"
)  # azure-servicebus forgets those that were cut
def test_a_dropped_connection_loses_nothing(emulator: ServiceBusEmulator) -> None:
    """What was in hand is settled over a new connection from 7.15 on, or comes again when its lock has run out."""
    adapter = replace(adapter_at(emulator), max_attempts=4)
    send(adapter, 3)
    with closing(adapter.receiver()) as receiver:
        (first,) = receiver.receive(1, 5.0)
        assert emulator.drop_connections() == 1
        assert receiver.complete([first]) == (True,)
        done = emulator.counters()["queues"][adapter.name]["completed"]
        assert done == int(sdk_version() >= (7, 15))  # older ones do not learn that it went nowhere
        rest = []
        while len(rest) < 2:
            rest += receiver.receive(2, 5.0)
        assert {each.number for each in rest} == {1, 2}
    gc.collect()  # while the warnings are expected


def test_a_session_is_kept_while_it_is_in_hand_and_then_for_its_idle_time(
    emulator: ServiceBusEmulator,
) -> None:
    """A receiver gives its session up when it has had nothing of it for so long, and takes the next."""
    adapter = adapter_at(emulator, has_sessions=True)
    send(adapter, 1, group="one")
    behaviour = SERVICEBUS.behaviour(
        adapter.queue,
        Consumers(client="azure-processor", workers=1, sessions=1, prefetch=0, session_idle_timeout_s=0.5),
    )
    with closing(adapter.receiver(behaviour)) as receiver, closing(adapter.receiver()) as other:
        (one,) = receiver.receive(1, 5.0)
        send(adapter, 1, group="two")
        assert receiver.receive(1, 1.0) == []  # it has "one" in hand, so it stays in its session
        (two,) = other.receive(1, 5.0)
        assert (one.group, two.group) == ("one", "two")
        assert other.complete([two]) == (True,)
        assert other.receive(1, 0.0) == []
        assert receiver.complete([one]) == (True,)
        send(adapter, 1, group="three")
        (three,) = receiver.receive(1, 10.0)
        assert three.group == "three"
        assert receiver.complete([one]) == (False,)


def test_emptying_a_queue_with_sessions_goes_through_all_of_them(emulator: ServiceBusEmulator) -> None:
    """A run that may take a queue over deletes what each session holds, and what none of its own has sent."""
    adapter = adapter_at(emulator, has_sessions=True)
    for group in ("a", "b"):
        send(adapter, 3, group)
    replace(adapter, existing=adapter.name, takes_over=True).create()
    assert adapter.depth().ready == 0


def test_a_run_knows_with_what_it_was_made(emulator: ServiceBusEmulator) -> None:
    """The SDK's version stands in the result, since settlements depend on it, and so does an emulator."""
    versions = adapter_at(emulator).versions()
    assert tuple(int(part) for part in versions["azure-servicebus"].split(".")[:2]) == sdk_version()
    assert versions["server"] == "emulator"


def test_waiting_is_at_least_what_the_sdk_can_wait(emulator: ServiceBusEmulator) -> None:
    """A receive without a wait still finds what is there."""
    adapter = adapter_at(emulator)
    with closing(adapter.receiver()) as receiver:
        started_s = time.monotonic()
        assert receiver.receive(1, 0.0) == []
        assert time.monotonic() - started_s >= 0.19
        send(adapter, 1)
        assert len(receiver.receive(1, 0.0)) == 1


def test_settlements_overlap_where_the_scenario_says_so(emulator: ServiceBusEmulator) -> None:
    """With `settle: concurrent` all of a lot are on their way at once; without it each waits for the one before."""
    adapter = adapter_at(emulator)
    send(adapter, 40)
    behaviours = [
        SERVICEBUS.behaviour(adapter.queue, Consumers(workers=1, settle=settle))
        for settle in ("concurrent", "each")
    ]
    taken_s = []
    for behaviour in behaviours:
        with closing(adapter.receiver(behaviour)) as receiver:
            lot = []
            while len(lot) < 20:
                lot += receiver.receive(20 - len(lot), 5.0)
            emulator.faults.rtt_s = 0.05
            started_s = time.monotonic()
            assert receiver.complete(lot) == (True,) * 20
            taken_s.append(time.monotonic() - started_s)
            emulator.faults.rtt_s = 0.0
    if sdk_version() >= (7, 15):  # before, no settlement waits
        assert taken_s[1] >= 20 * 0.05
        assert taken_s[0] < taken_s[1]
    end_s = time.monotonic() + 20.0
    while (
        done := emulator.counters()["queues"][adapter.name]["completed"]
    ) < 40 and time.monotonic() < end_s:
        time.sleep(0.05)
    assert done == 40
