"""The door of verification: a scenario in, sixteen judged assertions out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from qtune.scenario import Scenario
from qtune.targets import Targets
from qtune.verification import latency, resources, scaling, throughput
from qtune.verification.assertion import Assertion, Verification
from qtune.verification.bench import CONFIDENCE, Bench

_JUDGES: Final[tuple[Callable[[Bench], Assertion], ...]] = (
    throughput.sustained,
    throughput.batches,
    throughput.linear,
    throughput.limits,
    latency.threshold,
    latency.overhead,
    latency.connections_reused,
    latency.timeouts,
    resources.memory,
    resources.connections,
    resources.processor,
    resources.released,
    scaling.more_consumers,
    scaling.shorter_queue,
    scaling.degradation,
    scaling.recovery,
)


def verify(
    scenario: Scenario,
    targets: Targets | str | Iterable[str] | None = None,
    *,
    seed: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Judge the sixteen behavioural assertions of the queue-runtime document for a setting, by simulation.

    targets: what "target throughput" and "threshold" mean; None: the throughput is the load's own, and the assertion
    about the latency does not apply. seed: the first of all seeds; None takes the scenario's.
    on_progress: called with how many assertions are judged, and how many there are.

    Each rests on five replications under common seeds and on intervals of 95 %; one that they leave open fails. What
    the simulator has no model of is "not applicable", with the reason. InputError as for a simulation.
    """
    asked = targets if targets is None or isinstance(targets, Targets) else Targets.parse(targets)
    bench = Bench(scenario if seed is None else scenario.replace("seed", seed), asked)

    def one(number: int, judge: Callable[[Bench], Assertion]) -> Assertion:
        if on_progress is not None:
            on_progress(number, len(_JUDGES))
        return judge(bench)

    return Verification(
        scenario=bench.scenario,
        targets=asked,
        assertions=tuple(one(number, judge) for number, judge in enumerate(_JUDGES)),
        confidence=CONFIDENCE,
        seeds=bench.seeds,
    )
