"""The kernel against the same model in SimPy, in larger fleets, and on two threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import pbkdf2_hmac
from statistics import median
from typing import Any

import lean_simpy
import numpy as np
from lean_simpy import Outcome
from measure import Row, Spread, agreement, cpu_s, rate, ratios, short, take_turns
from plans import SCENARIOS, MessageModel, fleet, message_plan, plan_of_everything
from rows import outcome_of

from qtune.engine.kernel import run as run_kernel
from qtune.engine.plan import Plan
from qtune.engine.reference import run as run_reference
from qtune.result import CALL_THROTTLED

Tables = tuple[np.ndarray[Any, np.dtype[Any]], ...]
Engine = Callable[[Any], Tables]

BARS = {"base": 120.0, "backlog": 145.0}
BAR_TOGETHER = 60.0
BAR_THREADS = 1.8


def same(a: Tables, b: Tables) -> bool:
    """Whether two runs have the same rows in every bit (NaN equals NaN)."""
    for left, right in zip(a, b, strict=True):
        if len(left) != len(right):
            return False
        for column in left.dtype.names or ():
            x, y = (np.ascontiguousarray(each[column]) for each in (left, right))
            both_nan = np.isnan(x) & np.isnan(y) if x.dtype.kind == "f" else False
            if not np.all((_bits(x) == _bits(y)) | both_nan):
                return False
    return True


def _bits(column: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    return column.view(np.int64 if column.itemsize == 8 else np.int32)


def on(engine: Engine, plan_of: Callable[[int], Plan], kept: dict[int, Tables]) -> Callable[[int], float]:
    """A contender: CPU seconds a message of an engine on the plan of each seed; the last rows stay in ``kept``."""

    def timed(number: int) -> float:
        plan = plan_of(number)
        kept.clear()
        spent_s = cpu_s(lambda: kept.update({number: engine(plan)}))
        return spent_s / len(kept[number][0])

    return timed


def on_lean(model: MessageModel, messages: int, seen: list[Outcome]) -> Callable[[int], float]:
    """A contender: CPU seconds a message of lean SimPy; outcomes go to ``seen``."""

    def timed(number: int) -> float:
        spent_s = cpu_s(lambda: seen.append(lean_simpy.run(model, messages, number)))
        return spent_s / seen[-1].messages

    return timed


def compare_reference(quick: bool, full: bool) -> list[Row]:
    """The kernel against the reference, which must have the same rows, and against lean SimPy."""
    messages, rounds = (30_000, 3) if quick else (60_000, 5)
    return [row for model in SCENARIOS for row in _against_simpy(model, messages, rounds)]


def _against_simpy(model: MessageModel, messages: int, rounds: int) -> list[Row]:
    kernel_rows: dict[int, Tables] = {}
    reference_rows: dict[int, Tables] = {}
    lean: list[Outcome] = []
    ours: list[Outcome] = []
    identical: list[bool] = []
    plan_of = partial(message_plan, model, messages)
    reference = on(run_reference, plan_of, reference_rows)

    def reference_checked(number: int) -> float:
        spent_s = reference(number)
        identical.append(same(kernel_rows[number], reference_rows[number]))
        ours.append(outcome_of(reference_rows[number]))
        return spent_s

    contenders = {
        "kernel": on(run_kernel, plan_of, kernel_rows),
        "reference": reference_checked,
        "lean SimPy": on_lean(model, messages, lean),
    }
    costs = take_turns(contenders, rounds, often={"kernel": 5})
    rows = []
    for name, bar in (("reference", BARS.get(model.name)), ("lean SimPy", None)):
        spread = ratios(costs, name, "kernel")
        rows.append(
            Row(
                what=f"kernel / {name}, {model.name}",
                bar=f"{bar:g}x" if bar else "",
                measured=spread.text("x"),
                met=spread.middle >= bar if bar else None,
                command="python benchmarks/run.py reference",
                notes=(f"{rate(costs, 'kernel')} against {rate(costs, name)}",),
            )
        )
    both = [[each.mean_sojourn_s for each in outcomes[1:]] for outcomes in (ours, lean)]
    identity = f"rows identical in {sum(identical)} of {len(identical)} runs"
    rows[0] = Row(**{**vars(rows[0]), "notes": (*rows[0].notes, identity)})
    rows[1] = Row(**{**vars(rows[1]), "notes": (*rows[1].notes, agreement("mean sojourn in s", *both))})
    return rows


def compare_fleets(quick: bool, full: bool) -> list[Row]:
    """Whether the kernel's advantage survives larger fleets at the same load."""
    rounds = 2 if quick else 3
    sizes = {8: 20_000, 64: 40_000, 512: 80_000} if quick else {8: 40_000, 64: 80_000, 512: 160_000}
    contenders: dict[str, Callable[[int], float]] = {}
    for instances, messages in sizes.items():
        plan_of = partial(message_plan, fleet(instances), messages)
        contenders[f"kernel {instances}"] = on(run_kernel, plan_of, {})
        contenders[f"reference {instances}"] = on(run_reference, plan_of, {})
    costs = take_turns(contenders, rounds, often={f"kernel {instances}": 3 for instances in sizes})
    advantage = {
        instances: [
            slow / fast
            for slow, fast in zip(costs[f"reference {instances}"], costs[f"kernel {instances}"], strict=True)
        ]
        for instances in sizes
    }
    rows = []
    for instances in sizes:
        spread = Spread.of(advantage[instances])
        least = median(advantage[8])
        rows.append(
            Row(
                what=f"kernel / reference, {instances} x 4 workers",
                bar="" if instances == 8 else f"{short(least)}x (as with 8)",
                measured=spread.text("x"),
                met=None if instances == 8 else spread.middle >= least,
                command="python benchmarks/run.py fleets",
                notes=(
                    f"{rate(costs, f'kernel {instances}')} against {rate(costs, f'reference {instances}')}",
                ),
            )
        )
    return rows


def compare_together(quick: bool, full: bool) -> list[Row]:
    """The kernel against the reference with sessions, credits that throttle and a scaler, all in one plan."""
    messages, rounds = (15_000, 3) if quick else (60_000, 5)
    kernel_rows: dict[int, Tables] = {}
    reference_rows: dict[int, Tables] = {}
    identical: list[bool] = []
    plan_of = partial(plan_of_everything, messages)
    reference = on(run_reference, plan_of, reference_rows)

    def reference_checked(number: int) -> float:
        spent_s = reference(number)
        identical.append(same(kernel_rows[number], reference_rows[number]))
        return spent_s

    kernel = on(run_kernel, plan_of, kernel_rows)
    costs = take_turns({"kernel": kernel, "reference": reference_checked}, rounds, often={"kernel": 5})
    spread = ratios(costs, "reference", "kernel")
    return [
        Row(
            what="kernel / reference, sessions, credits and KEDA",
            bar=f"{BAR_TOGETHER:g}x",
            measured=spread.text("x"),
            met=spread.middle >= BAR_TOGETHER,
            command="python benchmarks/run.py together",
            notes=(
                f"{rate(costs, 'kernel')} against {rate(costs, 'reference')}",
                f"rows identical in {sum(identical)} of {len(identical)} runs",
                happened(kernel_rows[rounds]),
            ),
        )
    ]


def happened(rows: Tables) -> str:
    """How much of what the plan has switched on took place."""
    messages, deliveries, calls, states = rows
    held = deliveries[np.lexsort((deliveries["locked_s"], messages["group"][deliveries["message"]]))]
    group = messages["group"][held["message"]]
    moved = (group[1:] == group[:-1]) & (held["consumer"][1:] != held["consumer"][:-1])
    throttled = np.count_nonzero(calls["outcome"] == CALL_THROTTLED)
    consumers = states["consumers"]
    return (
        f"{np.count_nonzero(moved)} sessions went from one instance to another, {throttled} calls were throttled, and "
        f"there were {consumers.min()} to {consumers.max()} instances"
    )


def compare_threads(quick: bool, full: bool) -> list[Row]:
    """Two replications on two threads against one after the other.

    A control does the same with work that shares nothing and holds no lock (hashing): what it gains is what the machine
    had to give in that round.
    """
    messages, rounds = (100_000, 7) if quick else (400_000, 15)
    plans = [message_plan(SCENARIOS[0], messages, seed) for seed in (1, 2)]
    run_kernel(plans[0])
    hashes = int(150_000 * messages / 100_000)
    gains: dict[str, list[float]] = {"kernel": [], "control": [], "CPU": []}
    with ThreadPoolExecutor(len(plans)) as pool:
        list(pool.map(run_kernel, plans))
        for _ in range(rounds):
            alone = _wall_and_cpu_s(map, run_kernel, plans)
            together = _wall_and_cpu_s(pool.map, run_kernel, plans)
            control = [_wall_and_cpu_s(how, _hash, [hashes, hashes])[0] for how in (map, pool.map)]
            gains["kernel"].append(alone[0] / together[0])
            gains["CPU"].append(together[1] / alone[1])
            gains["control"].append(control[0] / control[1])
    spread = Spread.of(gains["kernel"])
    share = Spread.of(mine / all_ for mine, all_ in zip(gains["kernel"], gains["control"], strict=True))
    return [
        Row(
            what="two threads / one, wall time",
            bar=f"{BAR_THREADS:g}x",
            measured=spread.text("x"),
            met=spread.middle >= BAR_THREADS,
            command="python benchmarks/run.py threads",
            notes=(
                f"best {spread.high:.3g}x; the control gained {Spread.of(gains['control']).text('x')}",
                f"the kernel's gain over the control's: {share.text()}",
                f"CPU time on two threads over that on one: {Spread.of(gains['CPU']).text()}",
            ),
        )
    ]


def _wall_and_cpu_s(
    how: Callable[..., Any], work: Callable[[Any], object], each: list[Any]
) -> tuple[float, float]:
    wall_s, used_s = time.perf_counter(), time.process_time()
    for _ in how(work, each):
        pass
    return time.perf_counter() - wall_s, time.process_time() - used_s


def _hash(rounds: int) -> bytes:
    return pbkdf2_hmac("sha256", b"two", b"threads", rounds)
