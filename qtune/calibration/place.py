"""Where a provider is calibrated, in its own words: its queue, its client, and the ways to receive from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from qtune.errors import InputError, Problem, did_you_mean
from qtune.providers import ProviderModel, get_provider, load_model
from qtune.scenario import Scenario

Way = Literal["single", "several", "batch", "deep", "bulk"]
"""How messages are received: one by one, a few to a worker at a time, ten ahead of the workers, or twenty; and with as
many in a call as there can be, which tells what a message costs from what a call costs."""

_IN_TENS: Final = {
    "receive_batch": 10,
    "receive_wait_s": 20.0,
    "polling": "buffer",
    "buffer": 20,
    "settle": "batch",
    "settle_batch": 10,
}

WAYS: Final[Mapping[str, Mapping[Way, Mapping[str, Any]]]] = {
    "sqs": {
        "single": {"receive_batch": 1, "receive_wait_s": 20.0},
        "several": {"receive_batch": 5, "receive_wait_s": 20.0},
        "batch": {"receive_batch": 10, "receive_wait_s": 20.0, "polling": "buffer", "buffer": 10},
        "deep": _IN_TENS,
        "bulk": _IN_TENS,
    },
    "servicebus": {
        "single": {"prefetch": 0},
        "several": {"receive_batch": 5},
        "batch": {"prefetch": 10},
        "deep": {"prefetch": 20},
        "bulk": {"receive_batch": 10},
    },
    "memory": {
        "single": {"receive_batch": 1, "polling": "permits"},
        "several": {"receive_batch": 5, "polling": "permits"},
        "batch": {"receive_batch": 10, "polling": "buffer", "buffer": 10},
        "deep": {"receive_batch": 10, "polling": "buffer", "buffer": 20},
        "bulk": {"receive_batch": 100, "polling": "buffer", "buffer": 100},
    },
}
_QUEUES: Final[Mapping[str, Mapping[str, Any]]] = {
    "sqs": {"visibility_timeout_s": 120.0},
    "servicebus": {"lock_duration_s": 120.0},
    "memory": {"max_queue_size": 100_000, "lock_duration_s": 120.0},
}
_LOOPBACK: Final = ("localhost", "127.", "::1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A number of consumers, a way to receive, and work for them.

    service_cv: spread over mean of the handlers' times. load: what comes in, over what can be done.
    """

    name: str
    way: Way
    workers: int
    service_s: float
    service_cv: float
    load: float
    instances: int = 1

    @property
    def text(self) -> str:
        """The setting in a few words."""
        fleet = f"{self.instances} x {self.workers}" if self.instances > 1 else str(self.workers)
        return f"{fleet} workers, {self.way}, handlers of {1e3 * self.service_s:g} ms, cv {self.service_cv:g}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A provider's queue on one server, with one client.

    endpoint, queue, takes_over: as :func:`qtune.measure` takes them. tier: of a Service Bus namespace.
    """

    provider: str
    client: str
    endpoint: str | None
    queue: str | None
    takes_over: bool
    tier: str

    @property
    def model(self) -> ProviderModel:
        """The model that is known before anything is measured."""
        return load_model(get_provider(self.provider).default_model)

    @property
    def host(self) -> str | None:
        """The machine of the server, without what an address may say of credentials; None: the provider's own."""
        if self.endpoint is None:
            return None
        address = self.endpoint if "//" in self.endpoint else f"//{self.endpoint}"
        return urlsplit(address).hostname

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine, where nobody is paid."""
        return self.provider == "memory" or (self.host or "").startswith(_LOOPBACK)

    @property
    def server(self) -> str:
        """The server, in words."""
        if self.provider == "memory":
            return "this process"
        return "a server on this machine" if self.is_here else self.host or f"{self.provider} in the cloud"

    @property
    def many_processes(self) -> bool:
        """Whether consumers can be processes of their own."""
        return self.provider != "memory"

    def scenario(
        self,
        setting: Setting,
        *,
        rate_per_s: float,
        horizon_s: float,
        warm_up_s: float,
        senders: int,
        seed: int,
    ) -> Scenario:
        """A setting on this queue under so many messages a second."""
        tier = {"tier": self.tier} if self.provider == "servicebus" else {}
        return Scenario(
            name=setting.name,
            arrivals={"kind": "poisson", "rate_per_s": rate_per_s},
            service_time=_service(setting),
            message_size_bytes=1024,
            producers={"senders": senders},
            queue={"provider": self.provider, **_QUEUES[self.provider], **tier},
            consumers={
                "instances": setting.instances,
                "workers": setting.workers,
                "client": self.client,
                **WAYS[self.provider][setting.way],
            },
            horizon_s=horizon_s,
            warm_up_s=warm_up_s,
            seed=seed,
        )


def _service(setting: Setting) -> dict[str, Any]:
    if setting.service_cv == 0.0:
        return {"family": "constant", "mean_s": setting.service_s}
    if setting.service_cv == 1.0:
        return {"family": "exponential", "mean_s": setting.service_s}
    return {"family": "lognormal", "mean_s": setting.service_s, "cv": setting.service_cv}


def place_of(
    provider: str,
    *,
    endpoint: str | None = None,
    queue: str | None = None,
    takes_over: bool = False,
    client: str | None = None,
    tier: str | None = None,
) -> Place:
    """The place; InputError for a provider, a client or a tier that cannot be calibrated."""
    problems = []
    if provider not in WAYS:
        message = f"what can be calibrated is {', '.join(WAYS)}.{did_you_mean(provider, WAYS)}"
        raise InputError(Problem(where="provider", value=provider, message=message))
    if provider == "memory" and endpoint is not None:
        message = "a queue in memory is nowhere else: leave the endpoint out"
        problems.append(Problem(where="endpoint", value=endpoint, message=message))
    clients = get_provider(provider).clients
    named = client or _installed(provider)
    if named not in clients or clients[named].discipline == "link_sliding":
        known = [name for name, traits in clients.items() if traits.discipline != "link_sliding"]
        message = f"a run is made with a client for Python: {', '.join(known)}.{did_you_mean(named, known)}"
        problems.append(Problem(where="client", value=named, message=message))
    if tier is not None and provider != "servicebus":
        message = "only Service Bus has tiers: leave it out"
        problems.append(Problem(where="tier", value=tier, message=message))
    if tier not in (None, "standard", "premium"):
        problems.append(Problem(where="tier", value=str(tier), message="the tiers are standard and premium"))
    if problems:
        raise InputError(problems)
    emulated = endpoint is not None and ":" in endpoint
    return Place(
        provider=provider,
        client=named,
        endpoint=endpoint,
        queue=queue,
        takes_over=takes_over,
        tier=tier or ("premium" if emulated else "standard"),
    )


def _installed(provider: str) -> str:
    """The client whose behaviour is that of the installed SDK."""
    default = get_provider(provider).default_client
    if provider != "servicebus":
        return default
    try:
        major, minor, *_ = version("azure-servicebus").split(".")
    except PackageNotFoundError:
        return default
    name = f"azure-servicebus-{major}.{minor}"
    return name if name in get_provider(provider).clients else default
