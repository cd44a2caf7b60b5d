"""What goes wrong on purpose, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from qtune.records import PositiveSeconds, Record, Seconds, one_of


class PauseHandlers(Record):
    """No handler starts in [at, at + for): a long garbage collection, a deadlock, a dependency that hangs.

    Handlers that run go on; receiving, prefetching and lock renewal go on, so locks age in the buffer.
    """

    kind: Literal["pause_handlers"] = "pause_handlers"
    at_s: Seconds
    for_s: PositiveSeconds

    @property
    def end_s(self) -> float:
        """When handlers may start again."""
        return self.at_s + self.for_s

    def with_start(self, at_s: float) -> PauseHandlers:
        """The same fault at another instant."""
        return PauseHandlers(at_s=at_s, for_s=self.for_s)


FAULTS: dict[str, type[Record]] = {"pause_handlers": PauseHandlers}

Fault = Annotated[PauseHandlers, one_of("kind", FAULTS)]
