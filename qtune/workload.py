"""The work of a run, apart from any queue: when each message falls due, and what a handler does with it.

A measured run gets the very messages that a simulated run of the same scenario and seed gets: the same due instants,
the same service times and the same failures, by message and delivery. So the two differ by the queue alone, and
comparing them is not blurred by chance.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from qtune.engine import streams
from qtune.engine.load import due_instants
from qtune.engine.plan import DRAWN_GROUPS, GIVEN_GROUPS, NO_GROUPS, Plan
from qtune.engine.planning import make_plan
from qtune.engine.quantiles import quantile_function
from qtune.errors import InputError, Problem
from qtune.scenario import Scenario


class Workload:
    """The messages of one scenario and seed, up to the horizon; it can be sent to another process.

    due_s: ascending instants in seconds from the start, those at the horizon included.
    groups: the group of each message, numbered from 0; -1 where the workload knows none.

    InputError for a closed loop, whose due instants follow from how messages are handled.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._plan: Plan = make_plan(scenario, seed)
        if self._plan.customers:
            message = (
                "a closed loop sends when its customers have been served: use arrivals such as kind: poisson"
            )
            raise InputError(Problem(where="arrivals.kind", value="closed_loop", message=message))
        due = takewhile(lambda due_s: due_s <= scenario.horizon_s, due_instants(self._plan))
        self.due_s: NDArray[np.float64] = np.fromiter(due, np.float64)
        self.groups: NDArray[np.int64] = np.array(
            [self._group_of(n) for n in range(self.due_s.size)], np.int64
        )

    def __len__(self) -> int:
        return int(self.due_s.size)

    def attempt(self, message: int, delivery_no: int, attempt: int) -> tuple[float, bool]:
        """How long the attempt of a handler works, in seconds, and whether it fails; attempts count from 0."""
        plan, key = self._plan, delivery_no * streams.ATTEMPTS_MOST + attempt
        if plan.service_s.size:
            service_s = float(plan.service_s[message])
        else:
            service_s = self._service(streams.bits(self._keys[streams.SERVICE], message, key))
        fails = streams.happens(self._keys[streams.POISON], message, 0, plan.poison_steps)
        return service_s, fails or streams.happens(self._keys[streams.FAIL], message, key, plan.fail_steps)

    def backoff_s(self, message: int, delivery_no: int, attempt: int) -> float | None:
        """The wait before the next attempt inside this delivery, after attempt ``attempt``; None: there is none."""
        plan = self._plan
        if attempt >= plan.backoff_s.size:
            return None
        wait_s = float(plan.backoff_s[attempt])
        if plan.backoff_jitter > 0.0:
            key = delivery_no * streams.ATTEMPTS_MOST + attempt
            part = streams.uniform(self._keys[streams.BACKOFF], message, key)
            wait_s = wait_s * (1.0 - plan.backoff_jitter * part)
        return wait_s

    def _group_of(self, message: int) -> int:
        plan = self._plan
        if plan.grouping == DRAWN_GROUPS:
            return bisect_right(self._group_ends, streams.uniform(self._keys[streams.GROUP], message, 0))
        if plan.grouping == GIVEN_GROUPS:
            return int(plan.group_of[message])
        return -1 if plan.grouping == NO_GROUPS else message

    @cached_property
    def _keys(self) -> list[int]:
        return [streams.stream_key(self._plan.seed, stream) for stream in range(streams.STREAMS)]

    @cached_property
    def _group_ends(self) -> list[float]:
        ends: list[float] = self._plan.group_ends.tolist()
        return ends

    @cached_property
    def _service(self) -> Callable[[int], float]:
        return quantile_function(*self._plan.tables[streams.SERVICE])

    def __getstate__(self) -> dict[str, object]:
        """All but what is made again from it, among which a function cannot be sent anywhere."""
        return {"_plan": self._plan, "due_s": self.due_s, "groups": self.groups}
