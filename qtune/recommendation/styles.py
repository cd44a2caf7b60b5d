"""Ways to receive, renew and settle: for each kind of client those that its knobs allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from qtune.providers import client_name, lock_field
from qtune.providers.queue import ClientTraits
from qtune.scenario import Scenario

KNOBS: Final = (
    "polling",
    "receivers",
    "receive_batch",
    "adaptive_batch",
    "receive_wait_s",
    "buffer",
    "refill_at",
    "idle_pause_s",
    "prefetch",
    "sessions",
    "session_idle_timeout_s",
    "settle",
    "settle_batch",
    "renewal",
)

_BRIEFLY_S: Final = 1.0
"""Long enough for the next message of a session that has one on its way, and a sixtieth of the default."""

_ALL_DAY_S: Final = 86_400.0

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Style:
    """A way to receive, renew and settle, for any number of workers that ``step`` divides.

    consumers: a value for each knob, None for "not set". queue: changes to the queue. per_worker: knobs whose
    value is so many times the number of workers. calls: an instance has as many sessions as workers do so many calls at
    a time in each; 0: there are no sessions, or their number is fixed. rank: 0 is what the scenario has now, then by
    how much is set.
    """

    consumers: Mapping[str, Any]
    queue: Mapping[str, Any] = field(default_factory=dict)
    per_worker: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    step: int = 1
    rank: int = 0

    def sizes(self, instances: int, workers: int) -> Settings:
        """What a fleet of so many instances and workers of each decides."""
        scaled = {name: factor * workers for name, factor in self.per_worker.items()}
        held = {"sessions": workers // self.calls} if self.calls else {}
        return {"instances": instances, "workers": workers, **scaled, **held}

    def scenario(self, base: Scenario, instances: int, workers: int) -> Scenario:
        """The scenario with this style; ScenarioError if a rule or limit forbids it."""
        changes: Settings = {"consumers": {**self.consumers, **self.sizes(instances, workers)}}
        if self.queue:
            changes["queue"] = dict(self.queue)
        return base.with_(**changes)


def generated(scenario: Scenario, kept: frozenset[str]) -> Iterator[Style]:
    """Styles for the scenario's client, without asking whether its rules allow each."""
    traits = scenario.provider().clients[client_name(scenario)]
    polls = traits.discipline == "poll" and scenario.behaviour().discipline == "poll"
    ways = list(_poll_ways(scenario, traits) if polls else _link_ways(traits))
    for queue, renewal in _lock_ways(scenario, kept):
        for way, per_worker in ways:
            for settle, idle_s in product(traits.settle, _idle_ways(scenario)):
                own = {"settle": settle, "renewal": renewal, "session_idle_timeout_s": idle_s}
                consumers: Settings = {**dict.fromkeys(KNOBS), **way, **own}
                if settle == "batch":
                    consumers["settle_batch"] = int(_bound(scenario, "settle_batch", 10))
                yield Style(
                    consumers=consumers,
                    queue=queue,
                    per_worker=per_worker,
                    calls=calls_of_a_session(scenario),
                    rank=1 + _rank(consumers) + len(queue) + len(per_worker),
                )


def _rank(consumers: Settings) -> int:
    """How much is set that a client does not do by itself."""
    plain = {
        "settle": "each",
        "receive_batch": 1,
        "prefetch": 0,
        "receive_wait_s": consumers["receive_wait_s"],
    }
    return sum(value is not None and value != plain.get(name) for name, value in consumers.items())


def _bound(scenario: Scenario, name: str, default: float) -> float:
    for limit in scenario.provider().limits:
        if limit.name == name and limit.value is not None and limit.sense == "at most":
            return limit.value
    return default


def _poll_ways(scenario: Scenario, traits: ClientTraits) -> Iterator[tuple[Settings, Settings]]:
    most = int(_bound(scenario, "receive_batch", 10))
    own_s = scenario.consumers.receive_wait_s
    wait_s = _bound(scenario, "receive_wait", max(own_s or 0.0, traits.receive_wait_s))
    several = (1, 4) if traits.receivers == "any" else (1,)
    for batch in sorted({1, 2, 5, 10, most}):
        if batch <= most and "loop" in traits.polling and traits.receivers != "one":
            yield {"polling": "loop", "receive_batch": batch, "receive_wait_s": wait_s}, {}
    pooled = {"receive_batch": most, "receive_wait_s": wait_s}
    if "loop" in traits.polling:
        yield {"polling": "loop", "receivers": 1, **pooled}, {}
    for receivers in several:
        if "permits" in traits.polling:
            yield {"polling": "permits", "receivers": receivers, **pooled}, {}
        if "buffer" in traits.polling:
            shared = {"polling": "buffer", "receivers": receivers, **pooled}
            for buffer, refill_at in ((most, 1), (most, most), (5 * most, most)):
                yield {**shared, "buffer": buffer, "refill_at": refill_at}, {}


def _link_ways(traits: ClientTraits) -> Iterator[tuple[Settings, Settings]]:
    if traits.discipline == "poll":  # a client that polls, and does not where it holds sessions
        yield {}, {}
        return
    if traits.discipline == "link_sliding":
        yield {"prefetch": 0}, {}
        for factor in (2, 5):
            yield {}, {"prefetch": factor}
        return
    for batch in (1, 10):
        yield {"prefetch": 0, "receive_batch": batch}, {}
    for prefetch in (1, 3, 10, 30, 100):
        yield {"prefetch": prefetch, "receive_batch": 1}, {}


def calls_of_a_session(scenario: Scenario) -> int:
    """How many calls at a time a session has, which decides in what order its messages are handled; 0: no sessions."""
    if scenario.semantics().hands_out != "by session":
        return 0
    return scenario.consumers.workers // scenario.behaviour().receivers


def _idle_ways(scenario: Scenario) -> tuple[float | None, ...]:
    """How long a receiver waits for more in a session: as it does now, and briefly, where there are sessions."""
    if scenario.semantics().hands_out != "by session":
        return (None,)
    return (scenario.consumers.session_idle_timeout_s, _BRIEFLY_S)


def _lock_ways(scenario: Scenario, kept: frozenset[str]) -> Iterator[tuple[Settings, Settings | None]]:
    """The lock as it is; when handlers may outlast it (rule R2), also a longer one, and renewal."""
    renewal = scenario.consumers.renewal
    own = None if renewal is None else {"max_s": renewal.max_s, "renewers": renewal.renewers}
    yield {}, own
    if own is None and "consumers.renewal" not in kept and scenario.semantics().hands_out == "by session":
        yield {}, {"max_s": _ALL_DAY_S}  # or each lock is lost that lasts less long than messages come
    service, lock_s, lock = (
        scenario.service_distribution(),
        scenario.semantics().lock_s,
        lock_field(scenario.queue),
    )
    if 2.0 * service.quantile(0.9999) <= lock_s:
        return
    most_s = _bound(scenario, lock.removesuffix("_s") if lock else "", math.inf)
    longer_s = min(float(math.ceil(6.0 * service.quantile(0.99))), most_s)
    if lock is not None and longer_s > lock_s:
        yield {lock: longer_s}, own
    if own is None and "consumers.renewal" not in kept:
        yield {}, {"max_s": max(float(math.ceil(10.0 * service.quantile(0.9999))), 2.0 * lock_s)}
