"""What AWS allows an event source mapping of Lambda, which polls a queue of SQS for a function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtune.providers.base import Limit
from qtune.providers.queue import Check
from qtune.providers.rules import breach, source_text
from qtune.records import Complaint
from qtune.units import format_size

_MODEL = "botocore 1.44.8, service model of Lambda"


def _limit(name: str, value: float, unit: str) -> Limit:
    checked = "when a scenario is made, with scaling of the kind lambda"
    return Limit(
        name=name, value=value, unit=unit, hard=True, source=_MODEL, as_of="2026-11", checked=checked
    )


_BATCH = _limit("BatchSize of Lambda", 10_000.0, "messages")
_FIFO_BATCH = _limit("BatchSize of Lambda on a FIFO queue", 10.0, "messages")
_WINDOW = _limit("MaximumBatchingWindowInSeconds of Lambda", 300.0, "s")
_PAYLOAD = _limit("payload of a call of Lambda", 6.0 * 1024.0**2, "bytes")

LAMBDA_LIMITS: tuple[Limit, ...] = (_BATCH, _FIFO_BATCH, _WINDOW, _PAYLOAD)


def _mappings_keep_their_limits(scenario: Any) -> Iterator[Complaint]:
    handler = scenario.handler
    if scenario.scaling is None or scenario.scaling.kind != "lambda" or handler.takes == "message":
        return
    fifo = scenario.queue.type == "fifo"
    most = handler.most_of(scenario.consumers.receive_batch or 1)
    found = [("most", _FIFO_BATCH if fifo else _BATCH, breach(_FIFO_BATCH if fifo else _BATCH, float(most)))]
    message = breach(_PAYLOAD, float(most * scenario.message_size_bytes))
    if message is not None:
        fits = int(_PAYLOAD.value or 0.0) // scenario.message_size_bytes
        size = format_size(scenario.message_size_bytes)
        found.append(("most", _PAYLOAD, f"a batch is full with {fits} messages of {size}: {message}"))
    window_s = handler.window_s
    if window_s is not None:
        found.append(("window_s", _WINDOW, breach(_WINDOW, window_s)))
        if window_s != int(window_s):
            found.append(("window_s", _WINDOW, "Lambda counts its window in whole seconds"))
    for name, limit, text in found:
        if text is not None:
            yield Complaint(path=f"handler.{name}", message=text, source=source_text(limit))


LAMBDA_CHECKS: tuple[Check, ...] = (_mappings_keep_their_limits,)
