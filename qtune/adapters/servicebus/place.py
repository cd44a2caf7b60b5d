"""Where a namespace is, how its SDK gets in, and how queues are made there.

Nothing here keeps a credential: a connection string is read from the environment when a connection opens, and an
identity is what azure-identity finds.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from qtune.adapters.base import Depth
from qtune.adapters.servicebus.failures import told
from qtune.errors import BrokerDown, InputError, Problem, ProviderFailure
from qtune.providers.servicebus import ServiceBusQueue

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient
    from azure.servicebus.aio import ServiceBusClient as AioClient
    from azure.servicebus.management import ServiceBusAdministrationClient

VARIABLE = "SERVICEBUS_CONNECTION_STRING"
_SDK = "azure-servicebus"
_ATTEMPT_S = 60.0
_HTTP_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A namespace, named in one of three ways.

    emulator: "host:port" of `qtune emulator servicebus`, which takes any credential.
    namespace: "NAME.servicebus.windows.net"; the identity is what DefaultAzureCredential of azure-identity finds.
    Neither: the environment variable SERVICEBUS_CONNECTION_STRING holds a connection string, of either.
    """

    emulator: str | None = None
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.emulator is not None and self.namespace is not None:
            message = "an emulator and a namespace were named: name one of them"
            raise InputError(Problem(where="namespace", value=self.namespace, message=message))

    def client(self, retries: Mapping[str, Any]) -> ServiceBusClient:
        """A client of the SDK, which connects when it must."""
        made: ServiceBusClient = self._client("", retries)
        return made

    def aio_client(self, retries: Mapping[str, Any]) -> AioClient:
        """The same of the SDK's other half, for asyncio."""
        made: AioClient = self._client(".aio", retries)
        return made

    def _client(self, half: str, retries: Mapping[str, Any]) -> Any:
        client = _sdk(f"servicebus{half}").ServiceBusClient
        options = {"try_timeout": _ATTEMPT_S, **retries} if sdk_version() >= (7, 15) else retries
        with told("connecting"):
            if self.namespace is None:
                return client.from_connection_string(self._connection_string(), **options)
            return client(self.namespace, _identity(half), **options)

    def _connection_string(self) -> str:
        if self.emulator is not None:
            return (
                f"Endpoint=sb://{self.emulator};SharedAccessKeyName=any;SharedAccessKey=any;"
                "UseDevelopmentEmulator=true"
            )
        given = os.environ.get(VARIABLE)
        if not given:
            message = (
                f"set {VARIABLE} to a connection string, which `qtune emulator servicebus` prints for one on this "
                "machine, or name a namespace"
            )
            raise InputError(Problem(where=VARIABLE, value="not set", message=message))
        return given

    def emulator_address(self) -> str | None:
        """ "host:port" of an emulator; None for a namespace of the service."""
        if self.emulator is not None or self.namespace is not None:
            return self.emulator
        parts = dict(part.partition("=")[::2] for part in self._connection_string().split(";"))
        if parts.get("UseDevelopmentEmulator", "").lower() != "true":
            return None
        return parts.get("Endpoint", "").partition("://")[2].strip("/")

    def make(self, name: str, queue: ServiceBusQueue) -> None:
        """Make a queue."""
        address = self.emulator_address()
        if address is not None:
            settings = {
                "lock_duration_s": queue.lock_duration_s,
                "max_delivery_count": queue.max_delivery_count,
                "requires_session": queue.requires_session,
                "message_ttl_s": queue.message_ttl_s,
            }
            _ask_emulator(address, "PUT", f"/queues/{quote(name)}", settings)
            return
        lives = None if queue.message_ttl_s is None else timedelta(seconds=queue.message_ttl_s)
        with told("creating the queue"), self._administration() as administration:
            administration.create_queue(
                name,
                lock_duration=timedelta(seconds=queue.lock_duration_s),
                max_delivery_count=queue.max_delivery_count,
                requires_session=queue.requires_session,
                default_message_time_to_live=lives,
            )

    def unmake(self, name: str) -> None:
        """Remove a queue, if it is there."""
        address = self.emulator_address()
        if address is not None:
            _ask_emulator(address, "DELETE", f"/queues/{quote(name)}", missing={})
            return
        gone: type[Exception] = _sdk("core.exceptions").ResourceNotFoundError
        with told("deleting the queue"), self._administration() as administration:
            try:
                administration.delete_queue(name)
            except gone:
                return

    def depth(self, name: str) -> Depth:
        """How many messages a queue holds. The service counts locked ones among the ready ones, and says no more."""
        address = self.emulator_address()
        if address is not None:
            said = _ask_emulator(address, "GET", f"/queues/{quote(name)}")
            return Depth(
                ready=said["now_ready"], in_flight=said["now_locked"], dead_lettered=said["now_dead_lettered"]
            )
        with told("counting messages"), self._administration() as administration:
            found = administration.get_queue_runtime_properties(name)
        return Depth(
            ready=found.active_message_count, in_flight=None, dead_lettered=found.dead_letter_message_count
        )

    def _administration(self) -> ServiceBusAdministrationClient:
        client = _sdk("servicebus.management").ServiceBusAdministrationClient
        made: ServiceBusAdministrationClient = (
            client.from_connection_string(self._connection_string())
            if self.namespace is None
            else client(self.namespace, _identity())
        )
        return made


def sdk_version() -> tuple[int, ...]:
    """The version of the SDK that is installed: what it does with settlements depends on it."""
    try:
        return tuple(int(part) for part in metadata.version(_SDK).split(".")[:2])
    except metadata.PackageNotFoundError:
        raise _not_installed(_SDK) from None


def _sdk(module: str) -> Any:
    """A module of the SDK. InputError: it is not installed."""
    try:
        return import_module(f"azure.{module}")
    except ImportError:
        raise _not_installed(_SDK) from None


def _identity(half: str = "") -> Any:
    """Whoever this process may act as, by the environment, the machine or a signed-in user."""
    return _sdk(f"identity{half}").DefaultAzureCredential()


def _not_installed(package: str) -> InputError:
    message = "it is not installed: pip install 'qtune[azure]'"
    return InputError(Problem(where="package", value=package, message=message))


def _ask_emulator(
    address: str, method: str, path: str, body: object = None, missing: dict[str, int] | None = None
) -> dict[str, int]:
    """The answer of an emulator's own interface. missing: what to answer when there is no such queue."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_HTTP_S) as answer:
            said: dict[str, int] = json.load(answer)
            return said
    except urllib.error.HTTPError as refused:
        with refused:
            if refused.code == 404 and missing is not None:
                return missing
            reason = json.load(refused).get("error", refused.reason)
        raise ProviderFailure(f"the emulator at {address}, {method} {path}: {reason}") from None
    except (OSError, ValueError) as error:
        text = f"the emulator at {address} does not answer as `qtune emulator servicebus` does ({error})"
        raise BrokerDown(f"{text}: start it, or give a queue that exists") from None
