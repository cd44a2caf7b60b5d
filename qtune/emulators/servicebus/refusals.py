"""Why a namespace refuses something, in AMQP's words.

The conditions are those that azure-servicebus 7.15.0 maps to its exceptions (``exceptions.py``).
"""

from __future__ import annotations

from qtune.emulators.servicebus.values import Described, Malformed, Symbol, ULong
from qtune.errors import InputError, LockLost, MessageNotFound, QueueFull, SessionLocked

_ERROR = ULong(0x1D)


class Refused(Exception):  # noqa: N818 - an answer to a client, who gets it in words
    """The answer to a client is no.

    condition: of the AMQP error. status: of an answer of $management.
    """

    def __init__(self, condition: str, description: str, status: int) -> None:
        super().__init__(description)
        self.condition, self.description, self.status = condition, description, status

    @property
    def error(self) -> Described:
        """The AMQP error."""
        return Described(_ERROR, [Symbol(self.condition), self.description, None])


_STALE = (
    "The lock supplied is invalid. It has expired, or the message has already been removed from the queue."
)


def busy() -> Refused:
    """What a throttled namespace says."""
    return Refused(
        "com.microsoft:server-busy", "The request was terminated because the namespace is busy.", 503
    )


def not_found(name: str) -> Refused:
    """There is no such queue."""
    return Refused("amqp:not-found", f"The messaging entity '{name}' could not be found.", 404)


def not_allowed(description: str) -> Refused:
    """The queue is not of a kind that does this."""
    return Refused("amqp:not-allowed", description, 400)


def no_session() -> Refused:
    """No session became free in the time that the client gave."""
    return Refused("com.microsoft:timeout", "No session has become available in the time given.", 408)


def session_lost() -> Refused:
    """The lock of a session has run out."""
    return Refused("com.microsoft:session-lock-lost", "The session lock has expired on the session.", 410)


def refused(wrong: Exception) -> Refused:
    """What the client is told of an error of the broker or of its own message."""
    match wrong:
        case Refused():
            return wrong
        case LockLost():
            return Refused("com.microsoft:message-lock-lost", _STALE, 410)
        case SessionLocked():
            return Refused("com.microsoft:session-cannot-be-locked", str(wrong), 409)
        case MessageNotFound():
            return Refused("com.microsoft:message-not-found", str(wrong), 404)
        case QueueFull():
            return Refused("amqp:resource-limit-exceeded", str(wrong), 403)
        case Malformed():
            return Refused("amqp:decode-error", str(wrong), 400)
        case InputError():
            return not_allowed(str(wrong))
        case _:
            return Refused("amqp:internal-error", f"{type(wrong).__name__}: {wrong}", 500)
