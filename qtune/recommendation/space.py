"""The settings that are searched: ways to receive and settle, times workers, times instances.

Only knobs that the provider's client has are turned, and none that the caller keeps. What the workload, the
provider, the client, the cores and the price of an instance are is given by the scenario and never changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from qtune.errors import InputError, Problem, ScenarioError, did_you_mean
from qtune.providers import client_name
from qtune.providers.queue import ClientTraits
from qtune.records import yaml_name
from qtune.scenario import Scenario

KNOBS: Final = (
    "polling",
    "receivers",
    "receive_batch",
    "receive_wait_s",
    "buffer",
    "refill_at",
    "idle_pause_s",
    "prefetch",
    "settle",
    "settle_batch",
    "renewal",
)
_LOCKS: Final = ("visibility_timeout_s", "lock_duration_s")
_MOST_WORKERS: Final = 64
_MOST_INSTANCES: Final = 64

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Style:
    """A way to receive, renew and settle, for any number of workers that ``step`` divides.

    consumers: a value for each knob, None for "not set". queue: changes to the queue. per_worker: knobs whose
    value is so many times the number of workers. rank: 0 is what the scenario has now, then by how much is
    set.
    """

    consumers: Mapping[str, Any]
    queue: Mapping[str, Any] = field(default_factory=dict)
    per_worker: Mapping[str, int] = field(default_factory=dict)
    step: int = 1
    rank: int = 0

    def scenario(self, base: Scenario, instances: int, workers: int) -> Scenario:
        """The scenario with this style; ScenarioError if a rule or limit forbids it."""
        scaled = {name: factor * workers for name, factor in self.per_worker.items()}
        consumers = {**self.consumers, **scaled, "instances": instances, "workers": workers}
        changes: Settings = {"consumers": consumers}
        if self.queue:
            changes["queue"] = dict(self.queue)
        return base.with_(**changes)


@dataclass(frozen=True, kw_only=True)
class Space:
    """All styles, and the ranges of workers (of one instance) and of instances."""

    base: Scenario
    styles: tuple[Style, ...]
    workers: tuple[int, int]
    instances: tuple[int, int]
    kept: frozenset[str]

    def settings(self, scenario: Scenario) -> dict[str, object]:
        """What was chosen, by path: the fleet, the knobs that are set, and the lock if it was changed."""
        consumers = scenario.consumers
        found: dict[str, object] = {
            "consumers.instances": consumers.instances,
            "consumers.workers": consumers.workers,
        }
        for name in KNOBS:
            value = getattr(consumers, name)
            if value is not None:
                found[f"consumers.{name}"] = value.model_dump() if name == "renewal" else value
        lock = lock_field(scenario)
        if lock is not None and getattr(scenario.queue, lock) != getattr(self.base.queue, lock):
            found[f"queue.{lock}"] = getattr(scenario.queue, lock)
        return found


def lock_field(scenario: Scenario) -> str | None:
    """The name of the queue's setting for the length of a lock; None if it is not one of the known names."""
    return next((name for name in _LOCKS if hasattr(scenario.queue, name)), None)


def space_of(
    scenario: Scenario, keep: Iterable[str], most_workers: int | None, most_instances: int | None
) -> Space:
    """The settings to search for a scenario. InputError lists paths in ``keep`` that cannot be kept."""
    kept = _kept(scenario, keep)
    consumers = scenario.consumers
    workers, instances = consumers.workers, consumers.instances
    in_memory = scenario.queue.provider == "memory"  # the queue lives in one process, and so do its consumers
    fixed = in_memory or "consumers.instances" in kept
    return Space(
        base=scenario,
        styles=tuple(_distinct(scenario, [_own(scenario), *_generated(scenario, kept)], kept)),
        workers=(workers, workers)
        if "consumers.workers" in kept
        else (1, _most("most_workers", most_workers, max(_MOST_WORKERS, workers))),
        instances=(instances, instances)
        if fixed
        else (1, _most("most_instances", most_instances, max(_MOST_INSTANCES, instances))),
        kept=kept,
    )


def _most(name: str, given: int | None, default: int) -> int:
    if given is None:
        return default
    if given < 1:
        raise InputError(Problem(where=name, value=repr(given), message="at least 1 is needed"))
    return given


def _kept(scenario: Scenario, keep: Iterable[str]) -> frozenset[str]:
    lock = lock_field(scenario)
    paths = [f"consumers.{name}" for name in ("instances", "workers", *KNOBS)]
    paths += [f"queue.{lock}"] if lock else []
    known = {**{yaml_name(path): path for path in paths}, **{path: path for path in paths}}
    given = [keep] if isinstance(keep, str) else list(keep)
    problems = [
        Problem(
            where="keep",
            value=path,
            message=f"this is not searched; what is are {', '.join(paths)}.{did_you_mean(path, known)}",
        )
        for path in given
        if path not in known
    ]
    if problems:
        raise InputError(problems)
    return frozenset(known[path] for path in given)


def _own(scenario: Scenario) -> Style:
    """How the scenario does it now."""
    consumers = scenario.consumers
    own = {name: getattr(consumers, name) for name in KNOBS}
    step = own["receivers"] or 1
    if own["receivers"] == consumers.workers and scenario.behaviour().receivers == consumers.workers:
        own["receivers"], step = None, 1  # one for each worker, however many there are
    return Style(consumers=own, step=step)


def _distinct(scenario: Scenario, styles: Iterable[Style], kept: frozenset[str]) -> Iterator[Style]:
    """The styles that are allowed and differ in what they make the client do; what is kept stays as it is."""
    seen = set()
    for style in styles:
        consumers = {
            **style.consumers,
            **{n: getattr(scenario.consumers, n) for n in KNOBS if f"consumers.{n}" in kept},
        }
        lock = lock_field(scenario)
        queue = {} if f"queue.{lock}" in kept else style.queue
        per_worker = {n: factor for n, factor in style.per_worker.items() if f"consumers.{n}" not in kept}
        step = consumers["receivers"] or 1
        made = Style(consumers=consumers, queue=queue, per_worker=per_worker, step=step, rank=style.rank)
        try:
            tried = made.scenario(scenario, 1, 12 * step)
        except ScenarioError:
            continue  # a combination of settings that this client does not have
        key = (tried.behaviour(), tried.semantics(), tuple(per_worker.items()), step)
        if key not in seen:
            seen.add(key)
            yield made


def _generated(scenario: Scenario, kept: frozenset[str]) -> Iterator[Style]:
    traits = scenario.provider().clients[client_name(scenario)]
    ways = list(_poll_ways(scenario, traits) if traits.discipline == "poll" else _link_ways(traits))
    for queue, renewal in _lock_ways(scenario, kept):
        for way, per_worker in ways:
            for settle in traits.settle:
                consumers: Settings = {**dict.fromkeys(KNOBS), **way, "settle": settle, "renewal": renewal}
                if settle == "batch":
                    consumers["settle_batch"] = int(_bound(scenario, "settle_batch", 10))
                yield Style(
                    consumers=consumers,
                    queue=queue,
                    per_worker=per_worker,
                    step=way.get("receivers") or 1,
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
    if traits.discipline == "link_sliding":
        yield {"prefetch": 0}, {}
        for factor in (2, 5):
            yield {}, {"prefetch": factor}
        return
    for batch in (1, 10):
        yield {"prefetch": 0, "receive_batch": batch}, {}
    for prefetch in (1, 3, 10, 30, 100):
        yield {"prefetch": prefetch, "receive_batch": 1}, {}


def _lock_ways(scenario: Scenario, kept: frozenset[str]) -> Iterator[tuple[Settings, Settings | None]]:
    """The lock as it is; when handlers may outlast it (rule R2), also a longer one, and renewal."""
    renewal = scenario.consumers.renewal
    own = None if renewal is None else {"max_s": renewal.max_s, "renewers": renewal.renewers}
    yield {}, own
    service, lock_s, lock = scenario.service_distribution(), scenario.semantics().lock_s, lock_field(scenario)
    if 2.0 * service.quantile(0.9999) <= lock_s:
        return
    most_s = _bound(scenario, lock.removesuffix("_s") if lock else "", math.inf)
    longer_s = min(float(math.ceil(6.0 * service.quantile(0.99))), most_s)
    if lock is not None and longer_s > lock_s:
        yield {lock: longer_s}, own
    if own is None and "consumers.renewal" not in kept:
        yield {}, {"max_s": max(float(math.ceil(10.0 * service.quantile(0.9999))), 2.0 * lock_s)}
