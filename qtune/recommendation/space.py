"""The settings that are searched: ways to receive and settle, times workers, times instances.

Only knobs that the provider's client has are turned, and none that the caller keeps. What the workload, the
provider, the client, the cores and the price of an instance are is given by the scenario and never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from qtune.errors import InputError, Problem, ScenarioError, did_you_mean
from qtune.providers import lock_field
from qtune.recommendation.styles import KNOBS, Style, calls_of_a_session, generated
from qtune.records import yaml_name
from qtune.scenario import Scenario

_MOST_WORKERS: Final = 64
_MOST_INSTANCES: Final = 64


@dataclass(frozen=True, kw_only=True)
class Space:
    """All styles, and the ranges of workers (of one instance) and of instances."""

    base: Scenario
    styles: tuple[Style, ...]
    workers: tuple[int, int]
    instances: tuple[int, int]

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
        lock = lock_field(scenario.queue)
        if lock is not None and getattr(scenario.queue, lock) != getattr(self.base.queue, lock):
            found[f"queue.{lock}"] = getattr(scenario.queue, lock)
        return found


def space_of(
    scenario: Scenario, keep: Iterable[str], most_workers: int | None, most_instances: int | None
) -> Space:
    """The settings to search for a scenario. InputError lists paths in ``keep`` that cannot be kept."""
    kept = _kept(scenario, keep)
    consumers = scenario.consumers
    workers, instances = consumers.workers, consumers.instances
    in_memory = scenario.queue.provider == "memory"  # the queue lives in one process, and so do its consumers
    fixed = in_memory or scenario.scaling is not None or "consumers.instances" in kept
    return Space(
        base=scenario,
        styles=tuple(_distinct(scenario, [_own(scenario), *generated(scenario, kept)], kept)),
        workers=(workers, workers)
        if "consumers.workers" in kept
        else (1, _most("most_workers", most_workers, max(_MOST_WORKERS, workers))),
        instances=(instances, instances)
        if fixed
        else (1, _most("most_instances", most_instances, max(_MOST_INSTANCES, instances))),
    )


def _most(name: str, given: int | None, default: int) -> int:
    if given is None:
        return default
    if given < 1:
        raise InputError(Problem(where=name, value=repr(given), message="at least 1 is needed"))
    return given


def _kept(scenario: Scenario, keep: Iterable[str]) -> frozenset[str]:
    lock = lock_field(scenario.queue)
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
    return Style(consumers=own, calls=calls_of_a_session(scenario), step=step)


def template_instances(scenario: Scenario) -> int:
    """Instances of a scenario that only stands for its style; a scaler needs room above its fewest."""
    return 1 if scenario.scaling is None else scenario.consumers.instances


def _distinct(scenario: Scenario, styles: Iterable[Style], kept: frozenset[str]) -> Iterator[Style]:
    """The styles that are allowed and differ in what they make the client do; what is kept stays as it is."""
    seen = set()
    for style in styles:
        consumers = {
            **style.consumers,
            **{n: getattr(scenario.consumers, n) for n in KNOBS if f"consumers.{n}" in kept},
        }
        lock = lock_field(scenario.queue)
        queue = {} if f"queue.{lock}" in kept else style.queue
        per_worker = {n: factor for n, factor in style.per_worker.items() if f"consumers.{n}" not in kept}
        fixed = "consumers.sessions" in kept
        calls = 0 if fixed else style.calls
        step = consumers["receivers"] or (fixed and consumers["sessions"]) or calls or 1
        made = Style(
            consumers=consumers, queue=queue, per_worker=per_worker, calls=calls, step=step, rank=style.rank
        )
        try:
            tried = made.scenario(scenario, template_instances(scenario), 12 * step)
        except ScenarioError:
            continue  # a combination of settings that this client does not have
        key = (tried.behaviour(), tried.semantics(), tuple(per_worker.items()), step)
        if key not in seen:
            seen.add(key)
            yield made
