"""The nodes that answer requests: $cbs, which takes tokens, and $management of each queue.

What the requests and answers hold is read from azure-servicebus 7.15.0 (``_common/mgmt_handlers.py`` and
``_pyamqp/management_operation.py``) and the documentation "AMQP 1.0 in Azure Service Bus: request-response-based
operations".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from qtune.emulators.servicebus import refusals, settlement
from qtune.emulators.servicebus.frames import Attach, Transfer
from qtune.emulators.servicebus.links import Incoming, QueueReceiver
from qtune.emulators.servicebus.namespace import Queue
from qtune.emulators.servicebus.sections import (
    Request,
    message_of,
    milliseconds,
    request_of,
    response,
    stamped,
)
from qtune.emulators.servicebus.values import Array, Int, Malformed, Symbol

if TYPE_CHECKING:
    from qtune.emulators.servicebus.session import Session

CBS = "$cbs"
MANAGEMENT = "/$management"
_VENDOR = "com.microsoft:"


class Node(Incoming):
    """A link on which requests come; the answers go to the link that receives from the same address."""

    def on_message(self, payload: bytes, first: Transfer) -> None:
        """Answer a request."""
        request = request_of(payload)
        said, body = self.answer(request)
        answers = self.session.answers_of(self.address)
        if answers is not None:
            answers.transfer(response(request, said, body), uuid.uuid4().bytes, settled=True)

    def answer(self, request: Request) -> tuple[dict[str, object], object]:
        """What is said about the outcome, and the result."""
        raise Malformed(f"{self.address!r} answers nothing")


class Cbs(Node):
    """Takes every token: the emulator is open to whoever can reach it."""

    def answer(self, request: Request) -> tuple[dict[str, object], object]:
        """Accepted."""
        return {"status-code": Int(202), "status-description": "Accepted"}, None


class Management(Node):
    """The operations on a queue that are not transfers."""

    def __init__(self, session: Session, attach: Attach, address: str, queue: Queue) -> None:
        super().__init__(session, attach, address)
        self.queue, self._broker = queue, queue.broker

    def answer(self, request: Request) -> tuple[dict[str, object], object]:
        """The result of an operation, or why there is none; a client gets an answer whatever it asked for."""
        operation = str(request.application.get("operation")).removeprefix(_VENDOR)
        try:
            perform = self._operations().get(operation)
            if perform is None:
                raise refusals.Refused(
                    "amqp:not-implemented", f"The emulator has no operation {operation!r}.", 501
                )
            if not isinstance(request.body, dict):
                raise Malformed("a request says in a map what it is about")
            with self._broker.one_call():
                result = perform(request.body)
        except Exception as wrong:  # the client is told, whatever it is
            refusal = refusals.refused(wrong)
            said = {"errorCondition": Symbol(refusal.condition), "statusDescription": refusal.description}
            return {"statusCode": Int(refusal.status), **said}, {}
        finally:
            self.queue.arm()
        if result is None:
            return {"statusCode": Int(204), "statusDescription": "No Content"}, None
        return {"statusCode": Int(200), "statusDescription": "OK"}, result

    def _operations(self) -> Mapping[str, Callable[[dict[Any, Any]], dict[str, object] | None]]:
        return {
            "renew-lock": self._renew_locks,
            "update-disposition": self._settle,
            "peek-message": self._peek,
            "receive-by-sequence-number": self._receive_deferred,
            "schedule-message": self._schedule,
            "renew-session-lock": self._renew_session,
            "get-session-state": self._session_state,
            "set-session-state": self._set_session_state,
        }

    def _renew_locks(self, body: dict[Any, Any]) -> dict[str, object]:
        ends = [self._broker.renew(_lock(token)) for token in _list(body, "lock-tokens")]
        return {"expirations": Array(milliseconds(end_s) for end_s in ends)}

    def _settle(self, body: dict[Any, Any]) -> dict[str, object]:
        said = settlement.in_words(body)
        for token in _list(body, "lock-tokens"):
            said.apply(self._broker, _lock(token))
        return {}

    def _peek(self, body: dict[Any, Any]) -> dict[str, object] | None:
        first, most = _number(body, "from-sequence-number"), _number(body, "message-count")
        group = None if body.get("session-id") is None else str(body["session-id"])
        found = [
            {
                "message": stamped(
                    message, deliveries=message.deliveries, locked_until_s=None, source=self.queue.source
                )
            }
            for message in self._broker.peek(first, most, group)
        ]
        return {"messages": found} if found else None

    def _receive_deferred(self, body: dict[Any, Any]) -> dict[str, object]:
        name = body.get("session-id")
        holder = None if name is None else self._holder(str(name))
        numbers = [int(number) for number in _list(body, "sequence-numbers")]
        found = []
        for delivery in self._broker.take_deferred(numbers, holder):
            message = stamped(
                delivery.message,
                deliveries=delivery.delivery_no - 1,
                locked_until_s=delivery.lock_end_s,
                source=self.queue.source,
            )
            found.append({"message": message, "lock-token": uuid.UUID(bytes_le=delivery.token)})
        return {"messages": found}

    def _schedule(self, body: dict[Any, Any]) -> dict[str, object]:
        now_s = self._broker.clock()
        messages = [message_of(_whole(entry), now_s) for entry in _list(body, "messages")]
        return {"sequence-numbers": Array(self._broker.send(message) for message in messages)}

    def _renew_session(self, body: dict[Any, Any]) -> dict[str, object]:
        return {
            "expiration": milliseconds(self._broker.renew_session(self._holder(str(body.get("session-id")))))
        }

    def _session_state(self, body: dict[Any, Any]) -> dict[str, object]:
        return {"session-state": self._broker.session_state(str(body.get("session-id")))}

    def _set_session_state(self, body: dict[Any, Any]) -> dict[str, object]:
        state = body.get("session-state")
        if not isinstance(state, bytes | None):
            raise Malformed("the state of a session is bytes, or nothing")
        self._broker.set_session_state(str(body.get("session-id")), state)
        return {}

    def _holder(self, name: str) -> QueueReceiver:
        """The receiver of this connection that holds a session."""
        holder = self._broker.session_holder(name)
        if not isinstance(holder, QueueReceiver) or holder.session.connection is not self.session.connection:
            raise refusals.session_lost()
        return holder


def _list(body: dict[Any, Any], key: str) -> list[Any]:
    values = body.get(key)
    if not isinstance(values, list):
        raise Malformed(f"the request lists no {key}")
    return values


def _number(body: dict[Any, Any], key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int):
        raise Malformed(f"the request has no number called {key}")
    return int(value)


def _lock(token: object) -> bytes:
    """The 16 bytes of a lock token, whose id is written in .NET's order. azure-servicebus 7.14 sends none for a message
    that was received by its number."""
    if not isinstance(token, uuid.UUID):
        raise refusals.Refused("com.microsoft:argument-error", "A lock token must not be empty.", 400)
    return token.bytes_le


def _whole(entry: object) -> bytes:
    message = entry.get("message") if isinstance(entry, dict) else None
    if not isinstance(message, bytes):
        raise Malformed("an entry without a message")
    return message
