"""Assertions 1 to 4: throughput that lasts, that batches and consumers raise, and that keeps to limits."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from qtune.analysis import Estimate, capacity_of, setup_of
from qtune.errors import InputError
from qtune.recommendation.objectives import Figures, Meter, checks_of
from qtune.result import OP_SEND, Result
from qtune.scenario import Scenario
from qtune.simulation import read_each
from qtune.targets import Targets
from qtune.units import format_count, format_duration, format_fraction
from qtune.verification.assertion import Assertion, judged, not_applicable
from qtune.verification.bench import ANY_LOAD, HOUR_S, MOST_MESSAGES, Bench, estimate, ratio

LINEAR: Final = 0.9
"""So much of the throughput that the number of consumers promises is taken as linear."""

_WARM_UP: Final = 0.05


def sustained(bench: Bench) -> Assertion:
    """The queue keeps up for an hour, or for all the course that its load has, and meets the throughput asked for."""
    scenario, setup = bench.long, bench.setup
    if scenario.arrivals.kind == "burst_at_once":
        return not_applicable(1, "a backlog that is there at once offers no rate to sustain")
    if bench.rate_per_s * scenario.horizon_s > MOST_MESSAGES:
        most = f"{MOST_MESSAGES:,} messages"
        return not_applicable(1, f"an hour would have more than {most} in a run: verify a part of the load")
    targets = bench.targets or Targets.parse(ANY_LOAD)
    meter, own = Meter(scenario, targets), scenario.warm_up_s
    warm_up_s = own if own != "auto" else _WARM_UP * scenario.horizon_s

    def figures(run: Result) -> Figures:
        return meter.figures(run, setup, warm_up_s)

    found = list(
        read_each(scenario, bench.seeds, figures, threads=1)
    )  # an hour can be many rows: one run at a time
    fallen = [figure.verdict_text for figure in found if figure.verdict != "stable"]
    short = "" if scenario.horizon_s >= HOUR_S else ", all that its load lasts"
    reason = f"over {format_duration(scenario.horizon_s)}{short}: {(fallen or [found[0].verdict_text])[0]}"
    throughput = estimate([figure.values["throughput"] for figure in found], "1/s")
    target = targets.get("throughput")
    if target is None or fallen:
        return judged(1, not fallen, reason, throughput=throughput)
    (check,) = (check for check in checks_of(targets, found, setup) if check.target == target)
    return judged(1, check.status == "met", f"{reason}; {target} is {check.status}", throughput=throughput)


def batches(bench: Bench) -> Assertion:
    """With batches a completed message takes fewer calls than without, before the same backlog."""
    scenario, consumers = bench.scenario, bench.scenario.consumers
    batch = max(consumers.receive_batch or 1, bench.setup.behaviour.batch)
    if bench.setup.behaviour.discipline == "link_sliding":
        return not_applicable(
            2, "this client is pushed its messages and settles each: it has no batch operation"
        )
    if batch == 1 and bench.setup.behaviour.settle_batch == 1:
        batch = most_of(scenario, "receive_batch")
    try:
        many = scenario.with_(consumers={"receive_batch": batch})
        one = scenario.with_(consumers={"receive_batch": 1, "settle": "each", "settle_batch": None})
    except InputError as error:
        return not_applicable(2, f"this setting has no counterpart: {error.problems[0].message}")
    single, batched = ([_calls_per_message(run) for run in bench.drain(tried)] for tried in (one, many))
    share = ratio(batched, single)
    reason = (
        f"before a backlog, batches of up to {format_count(batch, 'message')} must take fewer calls a message "
        "than single messages"
    )
    evidence = {"calls_single": estimate(single), "calls_batched": estimate(batched), "quotient": share}
    return judged(2, share.high < 1.0, reason, **evidence)


def _calls_per_message(run: Result) -> float:
    completed = int(np.count_nonzero(~np.isnan(run.messages["completed_s"])))
    calls = int(np.count_nonzero((run.calls["op"] != OP_SEND) & ~np.isnan(run.calls["end_s"])))
    return calls / completed if completed else math.nan


def most_of(scenario: Scenario, name: str) -> int:
    """The most that a limit of the provider allows; 10 where it has no such limit."""
    bounds = (limit.value for limit in scenario.provider().limits if limit.name == name)
    return int(next((bound for bound in bounds if bound is not None), 10.0))


def linear(bench: Bench) -> Assertion:
    """Two and four times the consumers complete as many times more, up to the ceiling that theory knows."""
    before = bench.throughput_per_s(bench.scenario)
    evidence = {"throughput": estimate(before, "1/s")}
    texts, shown = [], True
    for factor in (2, 4):
        try:
            scenario = bench.scaled(factor)
        except InputError as error:
            texts.append(f"{factor} times the consumers: {error.problems[0].message}")
            break
        found = ratio(bench.throughput_per_s(scenario), before)
        capacity = capacity_of(setup_of(scenario))
        promised = min(float(factor), capacity.per_s / capacity_of(bench.setup).per_s)
        evidence[f"times_with_{factor}"] = found
        shown = shown and found.low >= LINEAR * promised
        bound = "" if promised > (1.0 - 1e-9) * factor else f", bound by {capacity.ceilings[0].resource}"
        texts.append(
            f"{factor} times the consumers must complete {LINEAR * promised:.3g} times as many{bound}"
        )
    if len(evidence) == 1:
        return not_applicable(3, f"the provider's limits leave no room for more consumers: {texts[0]}")
    return judged(3, shown, "before the same backlog, " + "; ".join(texts), **evidence)


def limits(bench: Bench) -> Assertion:
    """Every limit that is simulated is kept in the runs; one that is known and not simulated leaves it open."""
    known = bench.scenario.provider().limits
    kept = [limit for limit in known if limit.modelled]
    most = Estimate(
        value=float(max(run.states["in_flight"].max() for run in bench.runs())), replications=len(bench.seeds)
    )
    open_ones = [limit.name for limit in known if not limit.modelled and limit.unit.endswith("a second")]
    if open_ones:
        return not_applicable(
            4,
            f"known and not simulated, so that nothing says how it is handled: {', '.join(open_ones)}",
            most_in_flight=most,
        )
    in_flight = next((limit for limit in kept if limit.name == "messages in flight"), None)
    bound = math.inf if in_flight is None or in_flight.value is None else in_flight.value
    reason = f"{format_count(len(kept), 'limit')} of the provider checked when the scenario was made"
    if math.isfinite(bound):
        reason += (
            f"; of the {bound:,.0f} messages that may be in flight {format_fraction(most.value / bound)} were"
        )
    return judged(4, most.value <= bound, reason, most_in_flight=most)
