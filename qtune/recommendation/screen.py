"""What theory says before any run: bounds, which refuse exactly, and an approximation, which only orders.

A bound that refuses is one that no run can beat in the long run: the floor of the latency, the capacity, the
least bill, and what failures cost however the consumers are set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from qtune.analysis import Setup, capacity_of
from qtune.analysis.capacity import handling_s
from qtune.analysis.cost import (
    HOURS_PER_MONTH,
    capacity_usd_of,
    instance_usd_per_hour,
    least_requests_per_message,
)
from qtune.analysis.floor import approximate_of, floor_of
from qtune.analysis.grids import middle_grid
from qtune.distributions import Distribution, Empirical
from qtune.errors import ScenarioError
from qtune.recommendation.objectives import LATENCIES
from qtune.recommendation.question import Question
from qtune.recommendation.space import Space, template_instances
from qtune.recommendation.styles import Style
from qtune.scenario import Scenario
from qtune.units import format_duration, format_fraction, format_rate

_MONTH_S: Final = HOURS_PER_MONTH * 3600.0


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What theory says of one style with one number of instances.

    fewest: workers of an instance below which a bound forbids it, in steps. reason: why no number of workers is
    possible, or "".
    """

    fewest: int
    reason: str


class Screen:
    """Bounds and guesses for the candidates of one question; answers are remembered."""

    def __init__(self, question: Question, space: Space) -> None:
        self.question, self.space = question, space
        service = question.setup.service
        # A distribution of 128 points instead of as many as a trace has: for guesses only.
        self._condensed: Distribution = (
            Empirical(samples=tuple(middle_grid(service).tolist()))
            if isinstance(service, Empirical)
            else service
        )
        self._floors: dict[object, float] = {}
        self._guesses: dict[object, int] = {}
        self._templates: dict[Style, Scenario] = {}
        plan = question.scenario.provider_model().prices.plans[question.scenario.queue.plan]
        self._price, self._capacity_usd = plan.requests, capacity_usd_of(question.scenario)
        self._instance_usd = instance_usd_per_hour(question.scenario) * HOURS_PER_MONTH
        self._fleets: dict[Style, tuple[int, int]] = {}
        self._most_useful = self._most_useful_workers()

    def _most_useful_workers(self) -> float:
        """The most workers of the whole fleet that are of use; infinite without a downstream that refuses.

        As many workers as it has connections can keep them all in use, and each one more is only ever refused.
        """
        downstream = self.question.setup.downstream
        if downstream is None or not downstream.rejects or downstream.connections is None:
            return math.inf
        return max(downstream.connections, self.space.instances[0] * self.space.workers[0])

    def setup(self, scenario: Scenario) -> Setup:
        """The setup of a candidate, which shares the workload, the client and the model with the question's."""
        own, provider = self.question.setup.behaviour, scenario.provider()
        each = provider.behaviour(scenario.queue, scenario.consumers)
        return replace(
            self.question.setup,
            behaviour=replace(each, call_cost_s=own.call_cost_s, message_cost_s=own.message_cost_s),
            semantics=provider.semantics(scenario.queue),
            instances=scenario.consumers.instances,
            workers_each=scenario.consumers.workers,
        )

    def fleet(self, style: Style, instances: int, workers: int) -> Setup:
        """The setup of a style with so many instances and workers, without the checks that a scenario has."""
        if style not in self._templates:
            self._templates[style] = style.scenario(
                self.question.scenario, template_instances(self.question.scenario), 12 * style.step
            )
        template = self._templates[style]
        consumers = template.consumers.model_copy(update=style.sizes(instances, workers))
        return self.setup(template.model_copy(update={"consumers": consumers}))

    def most_workers(self, style: Style) -> int:
        """The most workers of an instance that the step of a style and all limits allow; 0: it allows none."""
        return self._most(style)[0]

    def most_instances(self, style: Style) -> int:
        """The most instances with so many workers that the limits of the provider allow."""
        return self._most(style)[1]

    def _most(self, style: Style) -> tuple[int, int]:
        if style not in self._fleets:
            low, high = self.space.workers
            few, many = self.space.instances
            steps = _largest(
                math.ceil(low / style.step),
                high // style.step,
                lambda n: self._allowed(style, few, n * style.step),
            )
            workers = steps * style.step
            most = _largest(few, many, lambda n: self._allowed(style, n, workers)) if workers else 0
            self._fleets[style] = workers, most
        return self._fleets[style]

    def _allowed(self, style: Style, instances: int, workers: int) -> bool:
        if instances * workers > self._most_useful:
            return False
        try:
            style.scenario(self.question.scenario, instances, workers)
        except ScenarioError:
            return False
        return True

    def bounds(self, style: Style, instances: int) -> Bounds:
        """The bounds of a possible style with so many instances, at its most workers."""
        most = self.most_workers(style)
        reason = self.forbidden(style, instances)
        fewest = 0 if reason else self._fewest(style, instances, most)
        return Bounds(fewest=fewest, reason=reason)

    def forbidden(self, style: Style, instances: int) -> str:
        """Why no number of workers in so many instances is possible, or ""."""
        most = self.most_workers(style)
        if not most:
            return f"it needs a multiple of {style.step} workers, within the limits of the provider"
        return self._forbids(self.fleet(style, instances, most))

    def fewest_instances(self, style: Style) -> int:
        """The fewest instances that no bound forbids; 0 when the most are forbidden too."""
        few, many = self.space.instances[0], self.most_instances(style)
        if not many or self.forbidden(style, many):
            return 0
        if not self.forbidden(style, few):
            return few
        return _smallest(few, many, lambda n: not self.forbidden(style, n))

    def least_usd(self, style: Style, instances: int) -> float:
        """No month of a style with so many instances costs less, provided that all messages are completed."""
        setup = self.fleet(style, instances, self.most_workers(style))
        scaling = self.question.scenario.scaling
        usd = self._capacity_usd + self._instance_usd * (scaling.fewest if scaling else instances)
        if self._price is not None and setup.rate_per_s is not None:
            per_message = least_requests_per_message(setup, self._price)
            usd += self._price.usd(per_message * setup.rate_per_s * _MONTH_S)
        return usd

    @property
    def bill_is_known(self) -> bool:
        """Whether a month costs the same whatever calls are made, so that no run has to tell."""
        return self._price is None

    def _forbids(self, setup: Setup) -> str:
        """Which bound forbids a fleet; "" when none does. More workers and instances never make it worse."""
        for target in self.question.targets.evaluated():
            if target.metric in LATENCIES:
                least_s = self.floor_s(setup, LATENCIES[target.metric])
                if least_s > target.bound:
                    return f"{target} is below the floor of {format_duration(least_s)}"
        return self._overload(setup)

    def _overload(self, setup: Setup) -> str:
        """Why a load of a known rate cannot be carried; "" when theory knows no reason."""
        if setup.rate_per_s is None or setup.arrivals == "burst_at_once":
            return ""
        capacity = capacity_of(setup)
        if setup.rate_per_s >= capacity.per_s:
            rate, most = format_rate(setup.rate_per_s), format_rate(capacity.per_s)
            binding = capacity.ceilings[0].resource
            return f"unstable: the offered load of {rate} reaches the capacity of {most}, bound by {binding}"
        utilization, cpu = (self.question.targets.get(metric) for metric in ("utilization", "cpu"))
        if utilization is not None and setup.offered_load is not None and not setup.may_refuse:
            share = setup.offered_load / setup.workers
            if share > utilization.bound:
                return (
                    f"{utilization} is below the {format_fraction(share)} that the load takes of all workers"
                )
        cores = capacity.of("client cores")
        if cpu is not None and cores is not None and setup.rate_per_s / cores.per_s > cpu.bound:
            share = setup.rate_per_s / cores.per_s
            return f"{cpu} is below the {format_fraction(share)} that the client's own work takes"
        return ""

    def _fewest(self, style: Style, instances: int, most: int) -> int:
        """The fewest workers, in steps, that capacity and utilization allow."""
        least = math.ceil(self.space.workers[0] / style.step)

        def possible(steps: int) -> bool:
            return not self._overload(self.fleet(style, instances, steps * style.step))

        return _smallest(least - 1, most // style.step, possible) * style.step

    def floor_s(self, setup: Setup, p: float) -> float:
        """The floor of a latency quantile, which depends on few of the settings."""
        each = setup.behaviour
        key: tuple[object, ...] = (
            p,
            each.discipline,
            each.message_cost_s,
            each.batch,
            each.linger_s,
            bool(each.prefetch),
            each.wait_s,
        )
        if each.wait_s == 0.0:
            key += (setup.receivers, each.idle_pause_s, each.drops_expired)
        if key not in self._floors:
            self._floors[key] = floor_of(setup, p)
        return self._floors[key]

    def guess(self, style: Style, instances: int, bounds: Bounds) -> int:
        """About the fewest workers that meet the latency targets, by Allen and Cunneen's formula."""
        most, step = self.most_workers(style), style.step
        asked = [t for t in self.question.targets if t.metric in LATENCIES]
        if not asked or self.question.setup.rate_per_s is None:
            return min(bounds.fewest + step, most)
        held_s = handling_s(self.fleet(style, instances, most))
        key = (f"{held_s:.2g}", instances, step, bounds.fewest)
        if key not in self._guesses:

            def good(steps: int) -> bool:
                quick = replace(self.fleet(style, instances, steps * step), service=self._condensed)
                return all(approximate_of(quick, LATENCIES[t.metric]) <= t.bound for t in asked)

            self._guesses[key] = _smallest(bounds.fewest // step - 1, most // step, good) * step
        return self._guesses[key]


def _largest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The largest number from low to high at which ``holds``, which holds up to there; 0 when nowhere."""
    if low > high or not holds(low):
        return 0
    return high if holds(high) else _smallest(low, high, lambda n: not holds(n)) - 1


def _smallest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number above low at which ``holds``, which then holds up to high, where it is taken to."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
