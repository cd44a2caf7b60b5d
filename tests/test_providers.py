"""Providers: how their words become what an engine reads, what they bound, and how others add one."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qtune import providers
from qtune.consumer import Consumers, Renewal
from qtune.errors import InputError, ScenarioError
from qtune.presets import dump_scenario, load_scenario
from qtune.providers.base import DeliverySemantics, ReceiveBehaviour
from qtune.providers.registry import BUILT_IN, all_providers
from qtune.scenario import Scenario
from qtune.shipped import models_dir


def scenario(queue: dict[str, Any], **consumers: Any) -> Scenario:
    """A scenario with this queue and these consumers, 8 workers unless said."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 100.0},
        service_time={"family": "constant", "mean_s": 0.05},
        queue=queue,
        consumers={"workers": 8, **consumers},
        horizon_s=600.0,
    )


def receive(queue: dict[str, Any], *names: str, **consumers: Any) -> tuple[Any, ...]:
    """Some fields of the behaviour of these consumers."""
    behaviour = scenario(queue, **consumers).behaviour()
    return tuple(getattr(behaviour, name) for name in names)


SQS = {"provider": "sqs"}
PREMIUM = {"provider": "servicebus", "tier": "premium"}
MEMORY = {"provider": "memory"}
IN_HAND = ("receivers", "in_hand_limit", "refill_at", "credit_returned")


def test_a_visibility_timeout_is_a_lock() -> None:
    """SQS: only a redrive policy bounds deliveries, and what comes back queues up again."""
    assert scenario(SQS).semantics() == DeliverySemantics(
        lock_s=30.0,
        max_deliveries=0,
        retention_s=345_600.0,
        capacity_messages=0,
        rejects_when_full=False,
        redelivers_first=False,
        accepts_late=True,
        in_flight_most=120_000,
        over_limit_fails=True,
    )
    assert scenario({**SQS, "max_receive_count": 5}).semantics().max_deliveries == 5


def test_service_bus_gives_returned_messages_out_first() -> None:
    """Service Bus: a lock of 60 s, ten deliveries, no time to live, and returned messages at the front."""
    assert scenario(PREMIUM).semantics() == DeliverySemantics(
        lock_s=60.0,
        max_deliveries=10,
        retention_s=math.inf,
        capacity_messages=0,
        rejects_when_full=False,
        redelivers_first=True,
    )
    assert scenario({**PREMIUM, "message_ttl_s": 90.0}).semantics().retention_s == 90.0


def test_a_memory_queue_is_bounded() -> None:
    """Memory: a send to a full queue waits or is refused, as the queue says."""
    semantics = scenario(MEMORY).semantics()
    assert (semantics.capacity_messages, semantics.rejects_when_full) == (10_000, False)
    assert (semantics.lock_s, semantics.max_deliveries) == (30.0, 3)
    assert scenario({**MEMORY, "when_full": "reject"}).semantics().rejects_when_full


def test_a_polling_loop_asks_again_when_nothing_is_in_hand() -> None:
    """A loop for each worker by default; one for several handles its whole batch before it asks again."""
    assert receive(SQS, *IN_HAND, polling="loop", receive_batch=10) == (8, 10, 10, "settled")
    assert receive(SQS, *IN_HAND) == (8, 1, 1, "settled")
    assert receive(SQS, *IN_HAND, receivers=2, receive_batch=10) == (2, 10, 10, "settled")


def test_permits_ask_as_soon_as_a_worker_is_free() -> None:
    """With permits no more messages are in hand than the workers of the receiver can handle."""
    assert receive(SQS, *IN_HAND, polling="permits", receive_batch=10) == (1, 8, 1, "settled")
    assert receive(SQS, *IN_HAND, polling="permits", receivers=4) == (4, 2, 1, "settled")
    assert receive(MEMORY, *IN_HAND) == (1, 8, 1, "settled")


def test_a_buffer_is_refilled_when_a_batch_fits() -> None:
    """A place is free when a worker has taken its message; by default a whole batch must fit."""
    assert receive(SQS, *IN_HAND, polling="buffer", buffer=100, receive_batch=10) == (1, 100, 10, "taken")
    assert receive(SQS, *IN_HAND, polling="buffer", buffer=5, receive_batch=10) == (1, 5, 5, "taken")
    assert receive(SQS, *IN_HAND, polling="buffer", buffer=5, refill_at=2) == (1, 5, 2, "taken")


def test_defaults_are_those_of_the_client() -> None:
    """Nothing said, boto3 asks for one message without waiting, and azure-servicebus waits for a minute."""
    assert receive(SQS, "discipline", "batch", "wait_s", "linger_s") == ("poll", 1, 0.0, 0.0)
    assert receive(PREMIUM, "discipline", "batch", "wait_s", "linger_s") == ("link_burst", 1, 60.0, 0.2)


def test_the_python_client_grants_credit_in_bursts() -> None:
    """Each worker has its receiver; a burst is the prefetch and one more, or what a call asks for."""
    fields = ("receivers", "in_hand_limit", "prefetch", "keepalive_s")
    assert receive(PREMIUM, *fields) == (8, 1, 0, 5.0)
    assert receive(PREMIUM, *fields, receive_batch=10) == (8, 10, 0, 5.0)
    assert receive(PREMIUM, *fields, prefetch=9, receive_batch=10) == (8, 10, 9, 30.0)
    assert receive(PREMIUM, *fields, prefetch=20) == (8, 21, 20, 30.0)


def test_the_processor_keeps_credit_standing() -> None:
    """One link: prefetch bounds what is in hand, or only what waits if credit returns when it is taken."""
    processor = {"client": "azure-processor"}
    fields = ("discipline", *IN_HAND)
    assert receive(PREMIUM, *fields, **processor) == ("link_sliding", 1, 8, 8, "settled")
    assert receive(PREMIUM, *fields, **processor, prefetch=50) == ("link_sliding", 1, 50, 50, "settled")
    taken = {**processor, "credit_returned": "taken"}
    assert receive(PREMIUM, *fields, **taken) == ("link_sliding", 1, 0, 0, "taken")
    assert receive(PREMIUM, *fields, **taken, prefetch=50) == ("link_sliding", 1, 50, 50, "taken")


def test_the_host_of_functions_is_a_processor_that_renews() -> None:
    """It has a processor's link, and renews its locks for 5 min unless it is told for how long."""
    host, processor = {"client": "azure-functions"}, {"client": "azure-processor"}
    fields = ("discipline", *IN_HAND, "renew_after_s")
    same = receive(PREMIUM, *fields, **processor, renewal=Renewal(max_s=300.0))
    assert receive(PREMIUM, *fields, "renewers", "renew_max_s", **host) == (*same, 8, 300.0)
    assert receive(PREMIUM, "renewers", **processor) == (0,)
    asked = receive(PREMIUM, "renewers", "renew_max_s", **host, renewal=Renewal(max_s=60.0, renewers=2))
    assert asked == (2, 60.0)
    held = scenario(PREMIUM, **host).with_(
        queue={"requires_session": True}, groups={"kind": "even", "count": 100}, consumers={"sessions": 4}
    )
    behaviour = held.behaviour()
    assert (behaviour.receivers, behaviour.renews_sessions, behaviour.renew_max_s) == (4, True, 300.0)


def test_settlement_costs_a_round_trip_only_since_7_15() -> None:
    """Before 7.15 settlements were sent and not waited for, which is what "concurrent" says."""
    assert receive(PREMIUM, "settle", client="azure-servicebus-7.15") == ("each",)
    assert receive(PREMIUM, "settle", client="azure-servicebus-7.14") == ("concurrent",)
    assert receive(PREMIUM, "settle", settle="concurrent") == ("concurrent",)


def test_deletes_are_sent_in_batches_of_ten_unless_said() -> None:
    """SQS has a batch delete; its size matters only if settlements are batched."""
    assert receive(SQS, "settle", "settle_batch") == ("each", 1)
    assert receive(SQS, "settle", "settle_batch", settle="batch") == ("batch", 10)
    assert receive(SQS, "settle", "settle_batch", settle="batch", settle_batch=4) == ("batch", 4)


@pytest.mark.parametrize(
    ("lock_s", "renewed_s"), [(60.0, 50.0), (30.0, 20.0), (12.0, 2.0), (5.0, 2.0), (3.0, 1.5), (10.0, 3.5)]
)
def test_the_python_client_renews_with_ten_seconds_left_or_after_a_quarter(
    lock_s: float, renewed_s: float
) -> None:
    """AutoLockRenewer looks every half second; the instants for locks of 30, 12, 5 and 3 s were measured."""
    queue = {**PREMIUM, "lock_duration_s": lock_s}
    assert receive(queue, "renew_after_s", renewal={"max_s": 300.0}) == (renewed_s,)


def test_renewal_is_off_unless_said() -> None:
    """Without renewal nobody renews; with it, each worker has a renewer unless their number is given."""
    fields = ("renewers", "renew_after_s", "renew_max_s")
    assert receive(SQS, *fields) == (0, math.inf, math.inf)
    assert receive(SQS, *fields, renewal=Renewal(max_s=300.0)) == (8, 15.0, 300.0)
    assert receive(SQS, *fields, renewal=Renewal(max_s=300.0, renewers=4)) == (4, 15.0, 300.0)
    processor = {"client": "azure-processor", "renewal": Renewal(max_s=300.0)}
    assert receive(PREMIUM, *fields, **processor) == (8, 50.0, 300.0)


def test_the_clients_cpu_cost_comes_from_the_model() -> None:
    """What a call costs the client is measured or assumed, so it stands in the provider model."""
    cost = providers.load_model("sqs").clients["boto3"]
    assert receive(SQS, "call_cost_s", "message_cost_s") == (cost.call_cost_s, cost.message_cost_s)


def test_everything_else_is_passed_on() -> None:
    """Pauses, dropped messages and cores are as the consumers say."""
    said = {"idle_pause_s": 0.5, "drop_expired": True, "cores": 2, "receive_wait_s": 20.0}
    fields = ("idle_pause_s", "drops_expired", "cores", "wait_s")
    assert receive(SQS, *fields, **said) == (0.5, True, 2, 20.0)
    assert receive(PREMIUM, *fields, **said) == (0.5, True, 2, 20.0)


@pytest.mark.parametrize("provider", BUILT_IN.values(), ids=str)
def test_every_limit_says_where_it_is_stated_and_checked(provider: providers.Provider) -> None:
    """A limit is data with a source and a date; one that is not modelled says why, and is not checked."""
    names = [limit.name for limit in provider.limits]
    assert len(set(names)) == len(names)
    for limit in provider.limits:
        assert limit.source
        assert limit.as_of[:2] == "20"
        assert limit.modelled == (limit.reason == "") == (limit.checked != "nowhere"), limit.name


def test_limits_that_are_known_and_not_modelled_are_there() -> None:
    """A deleted message may come again when a server was down; nobody says how often, so no run shows it."""
    limits = {limit.name: limit for limit in BUILT_IN["sqs"].limits}
    again = limits["duplicates without a timeout"]
    assert (again.value, again.modelled) == (None, False)
    assert "no rate" in again.reason


def test_only_answers_on_premium_namespaces_rest_on_what_a_unit_carries() -> None:
    """The traffic of a messaging unit is a prior of premium scenarios; credits of standard ones are documented."""
    tiers = {
        tier: Scenario(
            arrivals={"kind": "poisson", "rate_per_s": 1.0},
            service_time={"family": "constant", "mean_s": 0.01},
            queue={"provider": "servicebus", "tier": tier},
            consumers={"workers": 1},
            horizon_s=60.0,
        )
        for tier in ("standard", "premium")
    }
    assert "traffic" in tiers["premium"].priors()
    assert "traffic" not in tiers["standard"].priors()


@pytest.mark.parametrize(
    ("provider", "mode", "waits_s"),
    [
        ("sqs", "standard", (1.0, 2.0)),
        ("sqs", "adaptive", (1.0, 2.0)),
        ("sqs", "legacy", (1.0, 2.0, 4.0, 8.0)),
        ("servicebus", "exponential", (1.6, 3.2, 6.4)),
        ("servicebus", "fixed", (0.8, 0.8, 0.8)),
        ("memory", "none", ()),
    ],
)
def test_retry_modes_wait_as_their_library_does(provider: str, mode: str, waits_s: tuple[float, ...]) -> None:
    """The longest waits before the retries of a throttled call, for the default number of attempts."""
    own = BUILT_IN[provider]
    assert own.clients[own.default_client].retries[mode].throttled_waits_s() == pytest.approx(waits_s)


def test_waits_end_at_their_ceiling() -> None:
    """botocore's standard mode waits at most 20 s, however many attempts are allowed."""
    more = replace(BUILT_IN["sqs"].clients["boto3"].retries["standard"], attempts=8)
    assert more.throttled_waits_s() == (1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0)


@pytest.mark.parametrize("provider", BUILT_IN.values(), ids=str)
def test_every_trait_of_a_client_has_a_source(provider: providers.Provider) -> None:
    """What is special in a client is stated somewhere, and the default model knows its cost."""
    assert provider.default_client in provider.clients
    for name, traits in provider.clients.items():
        assert traits.name == name
        assert traits.sources
        assert name in providers.load_model(provider.default_model).clients


PACKAGE = '''
import math
from typing import Any, Literal
from qtune.providers import DeliverySemantics, Provider, QueueSettings, ReceiveBehaviour
from qtune.providers.queue import ClientTraits, poll_behaviour
from qtune.providers.rules import some_lock
from qtune.records import Seconds


class TapeQueue(QueueSettings):
    """A queue on tape."""

    provider: Literal["tape"] = "tape"
    lease_s: Seconds = 10.0

    @property
    def plan(self) -> str:
        return "standard"


class Tape(Provider):
    """A queue on tape."""

    name = "tape"
    queue_type = TapeQueue
    limits = ()
    clients = {"reel": ClientTraits(
        name="reel", discipline="poll", receivers="one", polling=("permits",),
        settle=("each",), renew_after_s=lambda lock_s: lock_s / 3, receive_wait_s=5.0, sources={},
    )}
    default_client = "reel"
    default_model = MODEL
    checks = (some_lock("queue.lease_s"),)

    def semantics(self, queue: Any) -> DeliverySemantics:
        return DeliverySemantics(lock_s=queue.lease_s, max_deliveries=0, retention_s=math.inf,
                                 capacity_messages=0, rejects_when_full=False, redelivers_first=False)

    def behaviour(self, queue: Any, consumers: Any) -> ReceiveBehaviour:
        return poll_behaviour(consumers, self.clients["reel"], lock_s=queue.lease_s, receivers=1)


PROVIDER = Tape()
NOTHING = 3
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, in which a test installs a provider."""
    monkeypatch.syspath_prepend(tmp_path)
    all_providers.cache_clear()
    yield tmp_path
    all_providers.cache_clear()
    sys.modules.pop("qtune_tape", None)


def install(site: Path, target: str, name: str = "tape") -> None:
    """Install a package that offers a provider."""
    model = (models_dir() / "sqs.yaml").read_text(encoding="utf-8")
    model = model.replace("provider: sqs", "provider: tape").replace("boto3:", "reel:")
    (site / "tape.yaml").write_text(model, encoding="utf-8")
    code = PACKAGE.replace("MODEL", repr(str(site / "tape.yaml"))).replace(
        'name = "tape"', f'name = "{name}"'
    )
    (site / "qtune_tape.py").write_text(code, encoding="utf-8")
    info = site / "qtune_tape-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: qtune-tape\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(f"[qtune.providers]\ntape = {target}\n", encoding="utf-8")


@pytest.mark.checkout
def test_another_package_adds_a_provider(site: Path) -> None:
    """A provider that an installed package names as an entry point is used like a built-in one."""
    install(site, "qtune_tape:PROVIDER")
    made = scenario({"provider": "tape", "lease_s": 25.0})
    assert made.semantics().lock_s == 25.0
    assert isinstance(made.behaviour(), ReceiveBehaviour)
    assert made.behaviour().in_hand_limit == 8
    assert load_scenario(dump_scenario(made)) == made
    assert list(providers.all_providers()) == ["sqs", "servicebus", "memory", "tape"]
    with pytest.raises(ScenarioError, match=r"queue.lease_s: 0.0\n  0s locks nothing"):
        scenario({"provider": "tape", "lease_s": 0.0})


@pytest.mark.checkout
@pytest.mark.parametrize(
    ("target", "name", "message"),
    [
        ("qtune_tape:MISSING", "tape", "its package must be repaired or removed: AttributeError"),
        ("qtune_nowhere:PROVIDER", "tape", "its package must be repaired or removed: ModuleNotFoundError"),
        (
            "qtune_tape:NOTHING",
            "tape",
            "an entry point of the group qtune.providers must name a Provider instance",
        ),
        ("qtune_tape:PROVIDER", "sqs", "the provider name 'sqs' is already taken"),
    ],
)
def test_a_broken_package_is_named(site: Path, target: str, name: str, message: str) -> None:
    """An entry point that cannot be used is an error that names it, and the built-in providers still work."""
    install(site, target, name)
    with pytest.raises(InputError, match=message):
        providers.all_providers()
    assert scenario(SQS).behaviour().receivers == 8


def test_an_unknown_provider_is_an_error_with_the_known_ones() -> None:
    """A provider that is nowhere installed is answered with those that are, and the nearest name."""
    with pytest.raises(InputError, match=r'there are sqs, servicebus, memory. Did you mean "servicebus"\?'):
        providers.get_provider("service_bus")
    assert Consumers(workers=1).client is None
