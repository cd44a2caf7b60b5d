"""Outcomes of deliveries: AMQP's delivery states, as azure-servicebus uses them, and the broker's words for them.

Stated in "AMQP 1.0 in Azure Service Bus protocol guide", and read from azure-servicebus 7.15.0
(``_transport/_pyamqp_transport.py`` and ``_pyamqp/receiver.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from qtune.broker import Broker, Outcome
from qtune.emulators.servicebus.refusals import Refused
from qtune.emulators.servicebus.values import Described, Malformed, ULong

ACCEPTED, REJECTED, RELEASED, MODIFIED = (ULong(code) for code in range(0x24, 0x28))
_WORDS: dict[str, Outcome] = {
    "completed": "completed",
    "abandoned": "abandoned",
    "defered": "deferred",  # spelled so by the service
    "suspended": "dead_lettered",
}


def accepted() -> Described:
    """The state of what was taken in."""
    return Described(ACCEPTED, [])


def rejected(refusal: Refused) -> Described:
    """The state of what was refused."""
    return Described(REJECTED, [refusal.error])


class Settlement(NamedTuple):
    """What a receiver says has become of a delivery; reason and description of a dead letter."""

    outcome: Outcome
    reason: str = ""
    description: str = ""

    def apply(self, broker: Broker, token: bytes) -> None:
        """Tell the broker. LockLost when the delivery has ended already."""
        broker.settle(token, self.outcome, reason=self.reason, description=self.description)


def in_state(state: Described | None) -> Settlement:
    """What a delivery state says. Malformed: nothing that a queue knows."""
    code, fields = (None, None) if state is None else state
    if not isinstance(fields, list) or not isinstance(code, ULong):
        raise Malformed("a disposition without an outcome")
    if code == ACCEPTED:
        return Settlement("completed")
    if code == RELEASED:
        return Settlement("released")
    if code == MODIFIED:
        undeliverable_here = len(fields) > 1 and fields[1] is True
        return Settlement("deferred" if undeliverable_here else "abandoned")
    if code == REJECTED:
        error = fields[0] if fields else None
        parts = error.value if isinstance(error, Described) and isinstance(error.value, list) else []
        info = (
            parts[2] if len(parts) > 2 and isinstance(parts[2], dict) else {}
        )  # the reason stands in its info map
        return _dead_letter(info, "DeadLetterReason", "DeadLetterErrorDescription")
    raise Malformed(f"no outcome has the code 0x{code:02x}")


def in_words(body: Mapping[Any, Any]) -> Settlement:
    """What a request to $management says. Malformed: nothing that a queue knows."""
    status = body.get("disposition-status")
    outcome = _WORDS.get(status) if isinstance(status, str) else None
    if outcome is None:
        raise Malformed(f"no outcome is called {status!r}")
    if outcome == "dead_lettered":
        return _dead_letter(body, "deadletter-reason", "deadletter-description")
    return Settlement(outcome)


def _dead_letter(said: Mapping[Any, Any], reason: str, description: str) -> Settlement:
    return Settlement("dead_lettered", str(said.get(reason) or ""), str(said.get(description) or ""))


def confirmed(state: Described | None) -> Described | None:
    """The state that is answered when a settlement took effect: the same, without the error in a rejection.

    azure-servicebus 7.15 takes another outcome, or an error, for a failure (``check_disposition_outcome``).
    """
    return Described(REJECTED, []) if state is not None and state.descriptor == REJECTED else state
