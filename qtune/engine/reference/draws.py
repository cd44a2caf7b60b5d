"""The random numbers of one run, by what they belong to."""

from __future__ import annotations

from qtune.engine import streams
from qtune.engine.plan import Plan
from qtune.engine.quantiles import quantile_function


class Draws:
    """Every draw of a run as a method; the two keys are whatever the stream is about (see each call)."""

    def __init__(self, plan: Plan) -> None:
        self.keys = [streams.stream_key(plan.seed, stream) for stream in range(streams.STREAMS)]
        self.functions = [quantile_function(*table) for table in plan.tables]

    def value(self, table: int, stream: int, a: int, b: int) -> float:
        """A value of distribution ``table`` for (a, b) in ``stream``."""
        return self.functions[table](streams.bits(self.keys[stream], a, b))

    def uniform(self, stream: int, a: int, b: int) -> float:
        """A number in [0, 1) for (a, b) in ``stream``."""
        return streams.uniform(self.keys[stream], a, b)

    def happens(self, stream: int, a: int, b: int, steps: int) -> bool:
        """Whether the chance ``steps`` / 2^53 falls for (a, b) in ``stream``."""
        return streams.happens(self.keys[stream], a, b, steps)
