"""Calls to the broker, each written down with its time and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from qtune.errors import BrokerDown, Throttled
from qtune.measurement.logs import clock_s
from qtune.measurement.recorder import Recorder
from qtune.result import CALL_EMPTY, CALL_FAILED, CALL_LOCK_LOST, CALL_OK, CALL_THROTTLED, OP_RECEIVE

Answer = TypeVar("Answer", bound=Sequence[object])


class Calls:
    """The calls of one process."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def make(self, op: int, count: int, call: Callable[[], Answer]) -> Answer | None:
        """Make a call of ``op`` about ``count`` messages; None when the broker refused it until the SDK gave up.

        A receive answers with what it brought, the others with whether each message was still theirs.
        """
        return self.timed(op, count, call)[0]

    def timed(self, op: int, count: int, call: Callable[[], Answer]) -> tuple[Answer | None, float, float]:
        """The same, and when the call began and ended, as it stands in the log."""
        start_s, outcome, answer = clock_s(), CALL_OK, None
        try:
            answer = call()
        except Throttled:
            count, outcome = 0, CALL_THROTTLED
        except BrokerDown:
            count, outcome = 0, CALL_FAILED
        if answer is not None and op == OP_RECEIVE:
            count = len(answer)
            outcome = CALL_OK if count else CALL_EMPTY
        elif answer is not None and not all(answer):
            outcome = CALL_LOCK_LOST
        end_s = clock_s()
        self._recorder.call(start_s, end_s, op, count, outcome)
        return answer, start_s, end_s
