"""A little HTTP beside AMQP: what the real service offers in its management interface, in JSON.

    GET    /                    the counters of the namespace and its queues
    GET    /queues/NAME         the counters of a queue, and how many messages it holds now
    PUT    /queues/NAME         make a queue; the body holds its settings; 409 if it is there
    DELETE /queues/NAME         remove a queue

The service's own interface is Atom over HTTPS, which azure-servicebus asks for even of an emulator.
"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import unquote

from qtune.emulators.servicebus import refusals
from qtune.emulators.servicebus.namespace import Namespace, counters_of
from qtune.emulators.servicebus.settings import semantics_of, settings_in
from qtune.emulators.servicebus.values import Malformed

_LARGEST_REQUEST_BYTES = 65_536
_QUEUES = "/queues/"


class HttpConnection:
    """One request and its answer."""

    def __init__(self, namespace: Namespace, transport: asyncio.Transport) -> None:
        self._namespace, self._transport = namespace, transport
        self._data = b""

    def received(self, data: bytes) -> None:
        """Answer when the request is there as a whole."""
        self._data += data
        head, blank, body = self._data.partition(b"\r\n\r\n")
        if len(self._data) > _LARGEST_REQUEST_BYTES:
            self._send(413, {"error": f"a request has at most {_LARGEST_REQUEST_BYTES} bytes"})
        elif blank:
            try:
                method, path, length = _understood(head.decode("latin-1"))
                if len(body) >= length:
                    self._send(200, self._answer(method, path, body[:length]))
            except Exception as wrong:  # the client is told, whatever it is
                refusal = refusals.refused(wrong)
                self._send(refusal.status, {"error": refusal.description})

    def _answer(self, method: str, path: str, body: bytes) -> object:
        namespace, name = self._namespace, unquote(path.removeprefix(_QUEUES))
        if method == "GET" and path == "/":
            return namespace.counters()
        if path.startswith(_QUEUES) and name:
            if method == "GET":
                return counters_of(namespace.find(name, creates=False))
            if method == "PUT":
                queue = namespace.create(name, semantics_of(settings_in(body)))
                return counters_of(queue)
            if method == "DELETE":
                namespace.delete(name)
                return {}
        raise refusals.Refused("amqp:not-found", f"nothing answers {method} {path}", 404)

    def _send(self, status: int, what: object) -> None:
        body = json.dumps(what).encode() + b"\n"
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._transport.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        self._transport.close()


def _understood(head: str) -> tuple[str, str, int]:
    """Method, path, and the length of the body."""
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        raise Malformed("neither AMQP nor HTTP")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = fields.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        raise Malformed("a request without a length")
    return words[0], words[1], int(length)
