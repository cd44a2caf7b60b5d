"""Emptying a queue that others have sent to, which a run does only when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtune.adapters.servicebus.failures import told

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient

_WAIT_S: Final = 1.0
_MOST: Final = 100


def delete_all(client: ServiceBusClient, queue: str, *, has_sessions: bool) -> None:
    """Delete every message that can be received now, session by session where there are sessions."""
    from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceiveMode
    from azure.servicebus.exceptions import OperationTimeoutError

    options: dict[str, Any] = {"receive_mode": ServiceBusReceiveMode.RECEIVE_AND_DELETE}
    if has_sessions:
        options |= {"session_id": NEXT_AVAILABLE_SESSION, "max_wait_time": _WAIT_S}
    with told("emptying the queue"), client:
        try:
            while True:
                with client.get_queue_receiver(queue, **options) as receiver:
                    while receiver.receive_messages(max_message_count=_MOST, max_wait_time=_WAIT_S):
                        pass
                if not has_sessions:
                    return
        except OperationTimeoutError:
            return  # no session has messages
