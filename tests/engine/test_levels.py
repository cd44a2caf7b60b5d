"""Levels of the loop: plain and usual plans run one without the steps that they do not need."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_plans import result_of
from engine_random import any_plan, by_chance

from qtune.engine.kernel.compiled import PLAIN, USUAL, WHOLE
from qtune.engine.kernel.defaults import DEFAULTS
from qtune.engine.kernel.growth import grown
from qtune.engine.kernel.layout import FINISHED, LAYOUT
from qtune.engine.kernel.levels import ALWAYS, FOLLOWS_FROM, IDLE, OFTEN, level_of, off_at
from qtune.engine.kernel.loop import advance, begin
from qtune.engine.kernel.world import make_world
from qtune.engine.plan import BY_AGE, BY_FAIRNESS, BY_SESSION, Plan
from qtune.result import same_rows

TESTS = Path(__file__).parents[1]
KNOWN = {PLAIN: ALWAYS | IDLE, USUAL: ALWAYS | IDLE | OFTEN}
OFF = {
    level: {name: default for name, default in DEFAULTS.items() if name not in known}
    for level, known in KNOWN.items()
}
LEVELS = (PLAIN, USUAL, WHOLE)


def plan_of(level: int, seed: int) -> Plan:
    """A random plan without anything that this level of the loop does not know."""
    plan = any_plan(*by_chance(seed))
    if level == WHOLE:
        return plan
    plan = replace(plan, **OFF[level])
    whole = plan.hands_out in (BY_SESSION, BY_FAIRNESS)
    return replace(plan, hands_out=BY_AGE, keeps_order=False) if whole else plan


@pytest.mark.parametrize("level", KNOWN)
def test_each_level_has_the_rows_of_the_reference(level: int) -> None:
    """Without the steps of higher levels the compiled loop gives the reference's rows, for any plan of its level."""
    reached = 0
    for seed in range(200):
        plan = plan_of(level, seed)
        assert level_of(plan) <= level
        reached += level_of(plan) == level
        assert same_rows(result_of("kernel", plan), result_of("reference", plan)) is None
    assert reached > 100


def is_from_the_front(index: Any) -> bool:
    """Whether an index, or none of several, is below 0."""
    return all(place >= 0 for place in index) if isinstance(index, tuple) else index >= 0


class FromTheFront(np.recarray[Any, Any]):
    """An array that takes no index below 0."""

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, slice) or is_from_the_front(index), f"index {index}"
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        assert is_from_the_front(index), f"index {index}"
        super().__setitem__(index, value)


def run_from_the_front(plan: Plan) -> None:
    """Run the kernel's loop over arrays that take no index below 0."""
    world = make_world(plan)
    begin(world)
    code = None
    while code != FINISHED:
        world = grown(world, code) if code is not None else world
        for name, (_, dimensions) in LAYOUT.items():
            if dimensions > 0:
                setattr(world, name, getattr(world, name).view(FromTheFront))
        code = advance(world)


@pytest.mark.parametrize("level", LEVELS)
def test_no_plan_needs_a_step_of_a_higher_level(level: int) -> None:
    """Run as ordinary Python, a step fails where the world is below its level; random plans of a level reach none.

    Nor does one count places from the end of an array; compiled code could not, as it takes every index as it is.
    """
    code = f"import test_levels as t\nfor seed in range(30): t.run_from_the_front(t.plan_of({level}, seed))"
    paths = os.pathsep.join([*sys.path, str(TESTS), str(TESTS / "engine")])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize(("level", "name"), [(level, name) for level in OFF for name in sorted(OFF[level])])
def test_a_setting_that_is_on_needs_a_level_that_knows_it(level: int, name: str) -> None:
    """Whatever a plan sets that a level does not know sends it to a higher one."""
    default: Any = OFF[level][name]
    on = np.array([1.0]) if isinstance(default, np.ndarray) else default + 1
    assert level_of(replace(plan_of(level, 0), **{name: on})) > level


def test_sessions_need_the_whole_loop() -> None:
    """Groups are usual where they are handed out by age or by group, but not by session."""
    assert level_of(replace(plan_of(PLAIN, 0), hands_out=BY_SESSION)) == WHOLE


def test_every_setting_is_known_to_a_level_or_not() -> None:
    """The names that a level knows are settings of a plan."""
    assert {each.name for each in fields(Plan)} >= ALWAYS | IDLE | OFTEN


@pytest.mark.parametrize("level", KNOWN)
def test_a_plan_has_at_its_level_what_the_compiler_is_told(level: int) -> None:
    """What the compiler takes for known at a level is so in every plan of it, also what follows from settings."""
    known = off_at(level)
    assert known.keys() >= OFF[level].keys()
    for seed in range(200):
        plan = plan_of(level, seed)
        assert all(np.array_equal(getattr(plan, name), value) for name, value in known.items())


@pytest.mark.parametrize("name", FOLLOWS_FROM)
def test_what_follows_from_settings_is_off_when_they_are(name: str) -> None:
    """What is said to follow from some settings is off in a plan that has all of them off, whatever else it has."""
    on = 0
    for seed in range(300):
        plan = any_plan(*by_chance(seed))
        on += getattr(plan, name)
        assert not getattr(replace(plan, **{each: DEFAULTS[each] for each in FOLLOWS_FROM[name]}), name)
    assert on > 0
