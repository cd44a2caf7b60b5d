"""Senders and receivers of one SQS queue."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qtune.adapters.base import Outgoing, Received, not_of_this_run
from qtune.adapters.sqs.service import answers
from qtune.errors import InputError, LockLost, Problem, ProviderFailure

NUMBER: Final = "qtune"
"""The message attribute with the number of a message in its run, and after a blank how its body is written."""

_REASON: Final = "qtune-reason"
_BASE64: Final = "base64"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one process finds the queue: boto3's client, the URLs, and whether it is a FIFO queue.

    run: makes deduplication ids of one run differ from those of others. dead_letters_url: None: there is no such queue.
    """

    client: Any
    name: str
    url: str
    dead_letters_url: str | None
    is_fifo: bool
    run: str
    visibility_timeout_s: int


def _entry(place: Place, message: Outgoing) -> dict[str, Any]:
    """A message as SQS takes it. Bodies are text there, so one that is not plain text is written in base64."""
    text, how = _as_text(message.body)
    entry: dict[str, Any] = {
        "MessageBody": text,
        "MessageAttributes": {NUMBER: {"DataType": "String", "StringValue": f"{message.number}{how}"}},
    }
    if place.is_fifo:
        entry["MessageGroupId"] = message.group
        entry["MessageDeduplicationId"] = f"{place.run}-{message.number}"
    return entry


def _as_text(body: bytes) -> tuple[str, str]:
    """SQS takes what XML 1.0 allows, and no empty body (API reference, SendMessage)."""
    if body and body.isascii() and (text := body.decode("ascii")).isprintable():
        return text, ""
    return base64.b64encode(body).decode("ascii") or "=", f" {_BASE64}"


def _as_bytes(text: str, how: str) -> bytes:
    if how != _BASE64:
        return text.encode()
    return b"" if text == "=" else base64.b64decode(text)


def check_wait(wait_s: float) -> None:
    """InputError for a wait that is not of whole seconds (API reference, ReceiveMessage, WaitTimeSeconds)."""
    if wait_s != int(wait_s):
        text = "SQS waits for whole seconds (WaitTimeSeconds): use 0s, 1s, ... 20s"
        raise InputError(Problem(where="consumers.receive_wait", value=f"{wait_s}s", message=text))


class SqsSender:
    """Sends one message with SendMessage, and more with SendMessageBatch."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def send(self, messages: Sequence[Outgoing]) -> tuple[bool, ...]:
        """At most ten. False for an entry that the service failed on; it may be sent again."""
        place = self._place
        entries = [_entry(place, message) for message in messages]
        if len(entries) == 1:
            with answers("SendMessage"):
                place.client.send_message(QueueUrl=place.url, **entries[0])
            return (True,)
        with answers("SendMessageBatch"):
            answer = place.client.send_message_batch(QueueUrl=place.url, Entries=_numbered(entries))
        return _taken(answer, len(entries))

    def close(self) -> None:
        """The connections belong to the client, which the process shares."""


class SqsReceiver:
    """Receives, deletes and changes visibility; may be used by many threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._asks = ["ApproximateReceiveCount", *(["MessageGroupId"] if place.is_fifo else [])]

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """At most ten; the wait is of whole seconds, at most 20."""
        place = self._place
        check_wait(wait_s)
        with answers("ReceiveMessage"):
            answer = place.client.receive_message(
                QueueUrl=place.url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=int(wait_s),
                MessageSystemAttributeNames=self._asks,
                MessageAttributeNames=[NUMBER],
            )
        messages = answer.get("Messages", [])
        if any(NUMBER not in message.get("MessageAttributes", {}) for message in messages):
            self._change([message["ReceiptHandle"] for message in messages], 0)
            raise not_of_this_run(place.name)
        return [_received(message) for message in messages]

    def complete(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """One with DeleteMessage, more with DeleteMessageBatch. False: the service did not delete it.

        A standard queue takes the handle of a receive that has timed out, and says that it has deleted the message.
        """
        return self._delete(_handles(deliveries))

    def _delete(self, handles: Sequence[str]) -> tuple[bool, ...]:
        place = self._place
        if not handles:
            return ()
        if len(handles) == 1:
            return _one(
                lambda: place.client.delete_message(QueueUrl=place.url, ReceiptHandle=handles[0]),
                "DeleteMessage",
            )
        entries = _numbered([{"ReceiptHandle": handle} for handle in handles])
        with answers("DeleteMessageBatch"):
            return _taken(
                place.client.delete_message_batch(QueueUrl=place.url, Entries=entries), len(handles)
            )

    def abandon(self, deliveries: Sequence[Received]) -> tuple[bool, ...]:
        """A visibility timeout of 0 gives them back at once."""
        return self._change(_handles(deliveries), 0)

    def _change(self, handles: Sequence[str], timeout_s: int) -> tuple[bool, ...]:
        place = self._place
        entries = [{"ReceiptHandle": handle, "VisibilityTimeout": timeout_s} for handle in handles]
        if len(entries) == 1:
            change = place.client.change_message_visibility
            return _one(lambda: change(QueueUrl=place.url, **entries[0]), "ChangeMessageVisibility")
        with answers("ChangeMessageVisibilityBatch"):
            answer = place.client.change_message_visibility_batch(
                QueueUrl=place.url, Entries=_numbered(entries)
            )
        return _taken(answer, len(handles))

    def dead_letter(self, deliveries: Sequence[Received], reason: str) -> tuple[bool, ...]:
        """SQS has no such call: send to the dead-letter queue, then delete; a crash between leaves it in both."""
        place = self._place
        if place.dead_letters_url is None:
            text = f"sqs: the queue {place.name!r} has no dead-letter queue: set a redrive policy"
            raise ProviderFailure(text)
        entries = []
        for delivery in deliveries:
            entry = _entry(place, Outgoing(number=delivery.number, body=delivery.body, group=delivery.group))
            entry["MessageAttributes"][_REASON] = {"DataType": "String", "StringValue": reason or "-"}
            entries.append(entry)
        with answers("SendMessageBatch"):
            answer = place.client.send_message_batch(
                QueueUrl=place.dead_letters_url, Entries=_numbered(entries)
            )
        sent = _taken(answer, len(entries))
        moved = iter(self._delete(_handles([d for d, taken in zip(deliveries, sent, strict=True) if taken])))
        return tuple(taken and next(moved) for taken in sent)

    def renew(self, delivery: Received) -> float | None:
        """The whole visibility timeout from now on; the end is by this machine's clock, since SQS says none."""
        timeout_s = self._place.visibility_timeout_s
        now_s = time.time()
        return now_s + timeout_s if self._change(_handles([delivery]), timeout_s) == (True,) else None

    def close(self) -> None:
        """What it holds stays invisible until its visibility timeout ends."""


def _numbered(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"Id": str(place), **entry} for place, entry in enumerate(entries)]


def _taken(answer: Mapping[str, Any], count: int) -> tuple[bool, ...]:
    """Of a batch, which entries the service took."""
    successful = {entry["Id"] for entry in answer.get("Successful", [])}
    return tuple(str(place) in successful for place in range(count))


def _one(call: Callable[[], object], name: str) -> tuple[bool]:
    """A call for one delivery; a handle that the service does not take any more is a lost lock."""
    try:
        with answers(name):
            call()
    except LockLost:
        return (False,)
    return (True,)


def _handles(deliveries: Sequence[Received]) -> list[str]:
    return [str(delivery.handle) for delivery in deliveries]


def _received(message: Mapping[str, Any]) -> Received:
    number, _, how = message["MessageAttributes"][NUMBER]["StringValue"].partition(" ")
    attributes = message.get("Attributes", {})
    count = attributes.get("ApproximateReceiveCount")
    return Received(
        number=int(number),
        delivery_no=None if count is None else int(count),
        body=_as_bytes(message["Body"], how),
        group=attributes.get("MessageGroupId"),
        lock_end_s=None,
        handle=message["ReceiptHandle"],
    )
