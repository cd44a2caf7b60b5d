"""The probe: do consumers come back when all handlers have stood still for two lock periods?

A setting whose client holds more messages than it can handle within a lock meets its targets for as long as
nothing happens. After a pause every lock in the buffer has run out; what is then handled is handled in vain,
meanwhile the next locks run out, and that never ends. Such a setting is no answer, so each one is paused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from qtune.analysis import capacity_of
from qtune.analysis.quantiles import estimate_quantile
from qtune.analysis.summary import lateness_of
from qtune.faults import PauseHandlers
from qtune.recommendation.objectives import LATENCIES
from qtune.recommendation.question import Question, rate_of
from qtune.recommendation.recommendation import Probe
from qtune.recommendation.trials import PROBE_SEEDS, Laboratory, Trial
from qtune.result import DELIVERY_LATE, MESSAGE_DEAD_LETTERED, Result
from qtune.scenario import Scenario
from qtune.units import format_duration

_RUNS: Final = 2
_JUDGED: Final = 2_000
_LATENCIES: Final = 20.0
_MOST_SAMPLES: Final = 2_000
_HALF: Final = 0.5
PAUSED_LOCKS: Final = 2.0
"""How many lock periods all handlers stand still."""


def probe(laboratory: Laboratory, trial: Trial) -> Probe:
    """Pause all handlers of a candidate for two lock periods, at the expected load, and see when it is back.

    After one period the first locks have only just run out, and at half load even a buffer of 1,000 messages
    that a worker needs 100 s for survives that; after two, whatever is held too long has shown it.

    By a fluid model the queue of a pause is worked off in pause * load / (1 - load). Allowed are one and a half
    of that, one more lock (what was locked when the pause began must first come back) and twenty of the longest
    bounded latency. From then on every latency target must be met, and most of what falls due be completed.
    """
    question, setup = laboratory.question, trial.setup
    pause_s, rate_per_s = PAUSED_LOCKS * setup.semantics.lock_s, rate_of(trial.scenario, setup)
    capacity_per_s = capacity_of(setup).per_s
    unit_s = max([t.bound for t in question.targets if t.metric in LATENCIES] + [setup.service.mean])
    if setup.rate_per_s is None or setup.arrivals == "burst_at_once":
        waiting = _waiting(trial.scenario)
        drain_s = waiting / capacity_per_s
    else:
        load = min(rate_per_s / capacity_per_s, 0.999)
        drain_s = pause_s * load / (1.0 - load)
    allowed_s = 1.5 * drain_s + setup.semantics.lock_s + _LATENCIES * unit_s
    if trial.scenario.scaling is not None:
        allowed_s += trial.scenario.scaling.reaction_s
    before_s = max(0.25 * pause_s, _LATENCIES * unit_s)
    judged_s = max(_JUDGED / rate_per_s, 2.0 * _LATENCIES * unit_s)
    if setup.arrivals == "burst_at_once":  # nothing falls due later, so there is nothing to judge after that
        before_s, judged_s = 0.5 * drain_s, 0.0
    at_s = float(math.ceil(before_s))
    end_s = at_s + pause_s
    horizon_s = float(math.ceil(end_s + allowed_s + judged_s))
    seeds = tuple(range(laboratory.seed + PROBE_SEEDS, laboratory.seed + PROBE_SEEDS + _RUNS))
    scenario = _paused(question, trial.scenario, at_s, pause_s, horizon_s)
    most = laboratory.budget.most_messages_per_run
    if setup.arrivals != "burst_at_once" and rate_per_s * horizon_s > most:
        text = (
            f"not probed: a pause of two lock periods ({format_duration(pause_s)}) and its aftermath would be "
            f"{rate_per_s * horizon_s:.3g} messages, and one run may have {most:,}: "
            "use a shorter lock or a larger budget"
        )
        return _probe(scenario, seeds, pause_s, allowed_s, [], False, text)
    laboratory.tell("probe")
    runs = list(laboratory.simulate(scenario, seeds, limited=False))
    late = [text for run in runs if (text := _still_late(run, question, end_s + allowed_s))]
    if late:
        text = f"it does not come back within {format_duration(allowed_s)} of a pause of {format_duration(pause_s)}: "
        text += late[0]
    else:
        text = f"it comes back within {format_duration(allowed_s)} of a pause of {format_duration(pause_s)}"
    return _probe(scenario, seeds, pause_s, allowed_s, runs, not late, text)


def _probe(
    scenario: Scenario,
    seeds: tuple[int, ...],
    pause_s: float,
    allowed_s: float,
    runs: Sequence[Result],
    came_back: bool,
    text: str,
) -> Probe:
    recoveries = [_recovery_s(run) for run in runs]
    wasted = [np.count_nonzero(run.deliveries["outcome"] == DELIVERY_LATE) for run in runs]
    dead = [np.count_nonzero(run.messages["state"] == MESSAGE_DEAD_LETTERED) for run in runs]
    known = bool(runs) and not any(map(math.isnan, recoveries))
    return Probe(
        scenario=scenario,
        seeds=seeds,
        pause_s=pause_s,
        allowed_s=allowed_s,
        recovery_s=max(recoveries) if known else math.nan,
        wasted_handler_calls=float(np.mean(wasted)) if runs else math.nan,
        dead_letters=float(np.mean(dead)) if runs else math.nan,
        came_back=came_back,
        text=text,
    )


def _waiting(scenario: Scenario) -> float:
    """The most messages that can wait: the customers of a closed loop, or a whole backlog."""
    arrivals = scenario.arrivals
    return float(getattr(arrivals, "customers", 0) or getattr(arrivals, "messages", 0))


def _paused(question: Question, scenario: Scenario, at_s: float, for_s: float, horizon_s: float) -> Scenario:
    """The candidate with the pause alone; a load with a course of its own is replaced by its mean rate."""
    changes: dict[str, object] = {
        "faults": (PauseHandlers(at_s=at_s, for_s=for_s),),
        "horizon_s": horizon_s,
        "warm_up_s": 0.0,
    }
    if scenario.arrivals.kind not in ("poisson", "renewal", "closed_loop", "burst_at_once"):
        assert question.setup.rate_per_s is not None
        changes["arrivals"] = {"kind": "poisson", "rate_per_s": question.setup.rate_per_s}
    return scenario.with_(**changes, **drawn_service(scenario))


def drawn_service(scenario: Scenario) -> dict[str, object]:
    """The change by which service times that a trace gives to its messages are drawn, for another load; else none."""
    by_message_s = scenario.service_by_message_s(whole_trace=True)
    if by_message_s is None:
        return {}
    samples = np.sort(by_message_s)
    chosen = samples[:: max(1, samples.size // _MOST_SAMPLES)]
    return {"service_time": {"family": "empirical", "samples": tuple(chosen.tolist())}}


def _still_late(run: Result, question: Question, from_s: float) -> str:
    """What is not met by the messages that fall due from an instant on; "" when all is well again."""
    if question.setup.arrivals == "burst_at_once":
        still = int(np.count_nonzero(np.isnan(run.messages["left_s"])))
        return f"{still} messages are still open" if still else ""
    due = run.messages["due_s"] >= from_s
    lateness = lateness_of(run, from_s)
    # What fell due in the last moments cannot be completed yet.
    old = due & (run.messages["due_s"] <= 0.5 * (from_s + run.horizon_s))
    completed = np.count_nonzero(~np.isnan(run.messages["completed_s"][old]))
    if not old.any() or completed < _HALF * np.count_nonzero(old):
        return f"of {np.count_nonzero(old)} messages that fall due then {completed} are completed"
    for target in question.targets.evaluated():
        if target.metric in LATENCIES:
            value = estimate_quantile([lateness], LATENCIES[target.metric], 0.95)
            if not value.known or value.low > target.bound:
                shown = format_duration(value.value) if value.known else value.reason
                return f"{target} is missed then: {shown}"
    return ""


def _recovery_s(run: Result) -> float:
    """From the end of the pause until as few messages are there as before it; NaN when that is never seen."""
    (fault,) = run.scenario.faults
    assert isinstance(fault, PauseHandlers)
    states = run.states
    inside = states["backlog"] + states["in_flight"]
    before = inside[states["time_s"] <= fault.at_s]
    after = (states["time_s"] >= fault.end_s) & (inside <= before.max())
    return float(states["time_s"][after][0] - fault.end_s) if after.any() else math.nan
