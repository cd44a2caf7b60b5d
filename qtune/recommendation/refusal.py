"""What is refused before any run: targets that contradict the workload, or that no setting can meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qtune.analysis.capacity import receive_round_trip_s
from qtune.errors import Infeasible
from qtune.recommendation.objectives import LATENCIES
from qtune.recommendation.question import Question, least_dead_share, rate_of
from qtune.recommendation.screen import Screen
from qtune.recommendation.styles import Style
from qtune.targets import Target
from qtune.units import format_duration, format_fraction, format_rate, format_usd

COST_SLACK = 1e-3
"""The least bill is one of means, so a run can come out this much below it by chance."""


def refuse_the_impossible(screen: Screen) -> dict[Style, int]:
    """The fewest instances of every style that is possible.

    Infeasible, whose data has the floors, when a target contradicts the workload, or no style is possible.
    """
    question, styles = screen.question, screen.space.styles
    data: dict[str, object] = {"targets": [str(target) for target in question.targets], "runs": 0}
    reasons = list(_contradictions(question))
    if not reasons:
        reasons = list(_below_the_floor(screen, data))
    fewest = {} if reasons else {style: screen.fewest_instances(style) for style in styles}
    possible = {style: count for style, count in fewest.items() if count}
    if not reasons and not possible:
        found = (screen.forbidden(style, max(screen.most_instances(style), 1)) for style in styles)
        reasons = list(dict.fromkeys(found))
    cost = question.targets.get("cost")
    if not reasons and cost is not None:
        least_usd = min(screen.least_usd(style, count) for style, count in possible.items())
        if least_usd > cost.bound * (1.0 + COST_SLACK):
            data["least_month_usd"] = least_usd
            reasons = [
                f"{cost}: no setting that carries the load costs less than {format_usd(least_usd)}/month"
            ]
    if reasons:
        data["reasons"] = reasons
        raise Infeasible("infeasible: " + "\n  ".join(reasons), data)
    return possible


def _contradictions(question: Question) -> Iterator[str]:
    """Targets that no setting of the consumers can change."""
    scenario, setup, targets = question.scenario, question.setup, question.targets
    dead, failed = least_dead_share(scenario), scenario.failures.rate**scenario.failures.attempts
    call_s = min([setup.calls.settle.mean, *([setup.calls.send.mean] if setup.senders else [])])
    facts = (
        ("dead_letters", dead, f"{format_fraction(dead)} of the messages fail at every delivery"),
        (
            "error_rate",
            failed,
            f"{format_fraction(failed)} of the deliveries fail by the scenario's own rate",
        ),
        ("duplicates", setup.work.deliveries - 1.0, "failures alone cause more deliveries than that"),
        ("api_call", call_s, f"a call takes {format_duration(call_s)} on average"),
    )
    for metric, least, text in facts:
        target = targets.get(metric)
        if target is not None and least > target.bound * (1.0 + 1e-9):
            yield f"{target} contradicts the scenario: {text}"
    target = targets.get("throughput")
    if target is not None:
        most_per_s = rate_of(scenario, replace(setup, instances=10**6)) * (1.0 - dead)
        if most_per_s < target.bound * (1.0 - 1e-9):
            yield f"{target} contradicts the scenario: it can offer {format_rate(most_per_s)} at most"


def _below_the_floor(screen: Screen, data: dict[str, object]) -> Iterator[str]:
    """Latency targets that are below the floor of every style; the data gets all floors."""
    space, question = screen.space, screen.question
    setups = [
        screen.fleet(style, screen.most_instances(style), screen.most_workers(style))
        for style in space.styles
        if screen.most_workers(style)
    ]
    floors_s: dict[str, float] = {}
    for target in question.targets.evaluated():
        if target.metric not in LATENCIES or not setups:
            continue
        p = LATENCIES[target.metric]
        best = min(setups, key=lambda setup: screen.floor_s(setup, p))
        floors_s[target.metric] = screen.floor_s(best, p)
        if floors_s[target.metric] > target.bound:
            yield _floor_text(
                target, floors_s[target.metric], best.service.quantile(p), receive_round_trip_s(best)
            )
    data["floors_s"] = floors_s


def _floor_text(target: Target, floor_s: float, service_s: float, receive_s: float) -> str:
    return (
        f"{target} is below the floor of {format_duration(floor_s)}, which no setting can beat: "
        f"the {target.metric} of the service time alone is {format_duration(service_s)}, and around it come the "
        "client's work, the wait for a poll and a part of the receive's round trip "
        f"({format_duration(receive_s)} on average)"
    )
