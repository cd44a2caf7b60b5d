"""The sender: one connection, and one transfer for each call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from qtune.adapters.base import Outgoing
from qtune.adapters.servicebus.failures import told

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient

NUMBER: Final = "qtune-number"
"""The application property that carries a message's number in the run."""


class ServiceBusSender:
    """Sends one message as it is, and several as one batch, which the service takes or refuses as a whole."""

    def __init__(self, client: ServiceBusClient, queue: str) -> None:
        self._client = client
        with told("opening a sender"):
            self._sender = client.get_queue_sender(queue)
            self._sender.__enter__()

    def send(self, messages: Sequence[Outgoing]) -> tuple[bool, ...]:
        """In one call; the SDK says so when a batch is larger than the link allows."""
        from azure.servicebus import ServiceBusMessage

        sent = [
            ServiceBusMessage(each.body, session_id=each.group, application_properties={NUMBER: each.number})
            for each in messages
        ]
        with told("send"):
            self._sender.send_messages(sent if len(sent) > 1 else sent[0])
        return (True,) * len(messages)

    def close(self) -> None:
        """Close the connection."""
        with told("closing a sender"):
            self._sender.close()
            self._client.close()
