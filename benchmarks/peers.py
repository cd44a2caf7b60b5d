"""The kernel against other simulators: cimba on the message model and on M/M/8, and Ciw on M/M/8.

Each contender simulates the same model with random numbers of its own, so their answers are compared too: within
sampling error they must be the same. Of cimba and Ciw only the engine's time counts; compiling, building the model and
collecting records do not. Of qtune everything from the plan to the finished rows counts.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import cimba
import cimba_lean
import cimba_plain
import ciw
import numpy as np
from lean_simpy import Outcome
from measure import Row, Spread, agreement, cpu_s, rate, ratios, take_turns
from plans import (
    DISCIPLINES,
    RATE_PER_S,
    SCENARIOS,
    SERVERS,
    SERVICE_S,
    MessageModel,
    erlang_c_sojourn_s,
    lognormal_parameters,
    message_plan,
    queue_plan,
)
from rows import outcome_of

from qtune.engine.kernel import run

Timed = Callable[[int], float]
CIMBA = {"cimba, lean": cimba_lean, "cimba, plain": cimba_plain}
BAR_MESSAGES = 5.0
BAR_QUEUE = 3.0
BAR_CIW = 200.0


def kernel_messages(model: MessageModel, messages: int, seen: list[Outcome]) -> Timed:
    """The kernel on a message model; outcomes go to ``seen``."""

    def timed(number: int) -> float:
        plan = message_plan(model, messages, number)
        got: list[tuple[Any, ...]] = []
        spent_s = cpu_s(lambda: got.append(run(plan)))
        if len(seen) <= number:
            seen.append(outcome_of(got[0]))
        return spent_s / len(got[0][0])

    return timed


def cimba_run(model: Any, number: int) -> tuple[float, Callable[[str], float]]:
    """Run a cimba model; the engine's CPU seconds, and its outputs by name."""
    results = cimba.Experiment(model, replications=1, seed=number).run(workers=1, on_failure="raise")
    outputs = results[model]
    return float(results.meta["native_cpu_time"]), lambda name: float(getattr(outputs, name).values[0, 0])


def cimba_messages(written: ModuleType, model: MessageModel, messages: int, seen: list[Outcome]) -> Timed:
    """A cimba version of a message model; outcomes go to ``seen``."""
    peer = written.fleet(model, messages)
    peer.rate_per_s, peer.horizon_s = model.rate_per_s, model.horizon_s(messages)
    peer.lock_s, peer.wait_s = model.lock_s, model.wait_s
    peer.failures, peer.max_deliveries = model.failures, model.max_deliveries
    peer.service_mu, peer.service_sigma = lognormal_parameters(model.service_mean_s, model.service_cv)
    peer.settle_mu, peer.settle_sigma = lognormal_parameters(model.settle_mean_s, model.settle_cv)
    peer.call_mu, peer.call_sigma = lognormal_parameters(model.call_mean_s, model.call_cv)

    def timed(number: int) -> float:
        spent_s, output = cimba_run(peer, number)
        if len(seen) <= number:
            counts = {name: int(output(name)) for name in ("messages", "completed", "deliveries", "dead")}
            seen.append(Outcome(sojourn_s=output("sojourn_s"), **counts))
        return spent_s / output("messages")

    return timed


def agreements(ours: list[Outcome], theirs: list[Outcome]) -> str:
    """How far two simulators' answers are from each other."""

    def of(outcomes: list[Outcome], read: Callable[[Outcome], float]) -> list[float]:
        return [read(each) for each in outcomes[1:]]

    quantities: dict[str, Callable[[Outcome], float]] = {
        "mean sojourn in s": lambda each: each.mean_sojourn_s,
        "deliveries a message": lambda each: each.deliveries / each.messages,
        "dead letters a thousand": lambda each: 1000.0 * each.dead / each.messages,
    }
    return "; ".join(agreement(name, of(ours, read), of(theirs, read)) for name, read in quantities.items())


def compare_cimba(quick: bool, full: bool) -> list[Row]:
    """The kernel against cimba on the four message models."""
    messages, rounds = (20_000, 3) if quick else (100_000, 9)
    rows = []
    for model in SCENARIOS:
        seen: dict[str, list[Outcome]] = {name: [] for name in ("kernel", *CIMBA)}
        contenders = {"kernel": kernel_messages(model, messages, seen["kernel"])}
        for name, written in CIMBA.items():
            contenders[name] = cimba_messages(written, model, messages, seen[name])
        costs = take_turns(contenders, rounds, often=dict.fromkeys(contenders, 3))
        for name in CIMBA:
            spread = ratios(costs, name, "kernel")
            rows.append(
                Row(
                    what=f"kernel / {name}, {model.name}",
                    bar=f"{BAR_MESSAGES:g}x",
                    measured=spread.text("x"),
                    met=spread.middle >= BAR_MESSAGES,
                    command="python benchmarks/run.py cimba",
                    notes=(
                        f"{rate(costs, 'kernel')} against {rate(costs, name)}",
                        agreements(seen["kernel"], seen[name]),
                    ),
                )
            )
    return rows


def kernel_queue(discipline: str, messages: int, seen: list[float]) -> Timed:
    """The kernel on M/M/8 in one of its disciplines; mean sojourns go to ``seen``."""

    def timed(number: int) -> float:
        plan = queue_plan(discipline, messages, number)
        got: list[tuple[Any, ...]] = []
        spent_s = cpu_s(lambda: got.append(run(plan)))
        if len(seen) <= number:
            seen.append(outcome_of(got[0]).mean_sojourn_s)
        return spent_s / len(got[0][0])

    return timed


def cimba_queue(written: ModuleType, messages: int, seen: list[float]) -> Timed:
    """A cimba version of M/M/8."""
    peer = written.Queue()
    peer.horizon_s = messages / RATE_PER_S

    def timed(number: int) -> float:
        spent_s, output = cimba_run(peer, number)
        if len(seen) <= number:
            seen.append(output("sojourn_s") / output("completed"))
        return spent_s / messages

    return timed


def ciw_queue(messages: int, seen: list[float]) -> Timed:
    """Ciw's M/M/8; only the simulation is timed."""
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=RATE_PER_S)],
        service_distributions=[ciw.dists.Exponential(rate=1.0 / SERVICE_S)],
        number_of_servers=[SERVERS],
    )

    def timed(number: int) -> float:
        ciw.seed(number)
        simulation = ciw.Simulation(network)
        spent_s = cpu_s(lambda: simulation.simulate_until_max_time(messages / RATE_PER_S))
        if len(seen) <= number:
            records = simulation.get_all_records(only=["service"])
            seen.append(float(np.mean([each.exit_date - each.arrival_date for each in records])))
        return spent_s / messages

    return timed


def _fastest_discipline(messages: int, rounds: int) -> tuple[str, str]:
    """Which discipline says M/M/8 at the least cost, and the speed of each in words."""
    contenders = {name: kernel_queue(name, messages, []) for name in DISCIPLINES}
    costs = take_turns(contenders, rounds, often=dict.fromkeys(contenders, 3))
    fastest = min(DISCIPLINES, key=lambda name: Spread.of(costs[name]).middle)
    return fastest, ", ".join(f"{name} {rate(costs, name)}" for name in DISCIPLINES)


def compare_queue(quick: bool, full: bool) -> list[Row]:
    """The kernel against cimba and Ciw on M/M/8."""
    messages, few, rounds = (50_000, 5_000, 3) if quick else (200_000, 30_000, 9)
    fastest, speeds = _fastest_discipline(messages, rounds)
    seen: dict[str, list[float]] = {name: [] for name in ("kernel", *CIMBA, "Ciw")}
    contenders = {"kernel": kernel_queue(fastest, messages, seen["kernel"])}
    for name, written in CIMBA.items():
        contenders[name] = cimba_queue(written, messages, seen[name])
    contenders["Ciw"] = ciw_queue(few, seen["Ciw"])
    costs = take_turns(contenders, rounds, often=dict.fromkeys(("kernel", *CIMBA), 3))
    exact_s = erlang_c_sojourn_s()
    rows = []
    for name, bar in {**dict.fromkeys(CIMBA, BAR_QUEUE), "Ciw": BAR_CIW}.items():
        spread = ratios(costs, name, "kernel")
        means = agreement("mean sojourn in s", seen["kernel"][1:], seen[name][1:])
        rows.append(
            Row(
                what=f"kernel / {name}, M/M/8",
                bar=f"{bar:g}x",
                measured=spread.text("x"),
                met=spread.middle >= bar,
                command="python benchmarks/run.py queue",
                notes=(
                    f"{rate(costs, 'kernel')} against {rate(costs, name)}",
                    f"{means} (Erlang C: {exact_s:.5g})",
                ),
            )
        )
    rows[0] = Row(**{**vars(rows[0]), "notes": (*rows[0].notes, f"disciplines: {speeds}; taken: {fastest}")})
    return rows
