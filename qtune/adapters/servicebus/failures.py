"""What azure-servicebus and azure-core say went wrong, as qtune's errors: with the call and the next step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from qtune.errors import BrokerDown, ProviderFailure, QtuneError, QueueFull, Throttled

# By the names of the SDK's exceptions, so that it need not be loaded for this.
_KINDS: dict[str, tuple[type[ProviderFailure], str]] = {
    "ServiceBusServerBusyError": (Throttled, "send less, or let the SDK try again more often (max_attempts)"),
    "ServiceBusQuotaExceededError": (QueueFull, "let consumers work off what the queue holds"),
    "ServiceBusConnectionError": (
        BrokerDown,
        "look whether the namespace is up and can be reached from here",
    ),
    "ServiceBusCommunicationError": (
        BrokerDown,
        "look whether the namespace is up and can be reached from here",
    ),
    "OperationTimeoutError": (BrokerDown, "look whether the namespace answers at all"),
    "ServiceRequestError": (BrokerDown, "look whether the namespace is up and can be reached from here"),
    "ServiceBusAuthenticationError": (ProviderFailure, "look at the key or the identity that is used"),
    "ServiceBusAuthorizationError": (
        ProviderFailure,
        "the identity needs the right to send, listen and manage",
    ),
    "ClientAuthenticationError": (ProviderFailure, "sign in, or set what the identity needs"),
    "MessagingEntityNotFoundError": (ProviderFailure, "make the queue first (create)"),
    "ResourceNotFoundError": (ProviderFailure, "make the queue first (create)"),
}
_OTHERWISE = (ProviderFailure, "see what the service says, and try again")
_LOST = {"MessageLockLostError", "SessionLockLostError", "MessageAlreadySettled"}
_SECRET = re.compile(r"(?i)(SharedAccessKey|SharedAccessSignature|sig|token|password)(=|:\s*)[^;&\s'\"]+")
_MOST_CHARACTERS = 300


def is_lost(error: Exception) -> bool:
    """Whether a settlement or a renewal came after the end of its lock."""
    return type(error).__name__ in _LOST


@contextmanager
def told(call: str) -> Iterator[None]:
    """Tell errors of the SDK in this block as errors of qtune; ``call`` says what was asked for."""
    try:
        yield
    except QtuneError:
        raise
    except Exception as error:
        name = type(error).__name__
        kind, next_step = _KINDS.get(name, _OTHERWISE)
        if isinstance(error, OSError) and name not in _KINDS:
            kind, next_step = _KINDS["ServiceBusConnectionError"]
        raise kind(f"Service Bus, {call}: {without_secrets(str(error)) or name}: {next_step}") from None


def without_secrets(text: str) -> str:
    """A text on one line of bounded length, in which nothing stands that opens a namespace."""
    line = " ".join(_SECRET.sub(r"\1\2***", text).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."
