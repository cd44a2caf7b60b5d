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
from qtune.engine.kernel.levels import ALWAYS, IDLE, OFTEN, level_of
from qtune.engine.plan import BY_AGE, BY_FAIRNESS, BY_SESSION, Plan
from qtune.result import same_rows

TESTS = Path(__file__).parents[1]
KNOWN = {PLAIN: ALWAYS | IDLE, USUAL: ALWAYS | IDLE | OFTEN}
OFF = {
    level: {name: default for name, default in DEFAULTS.items() if name not in known}
    for level, known in KNOWN.items()
}


def plan_of(level: int, seed: int) -> Plan:
    """A random plan without anything that this level of the loop does not know."""
    plan = replace(any_plan(*by_chance(seed)), **OFF[level])
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


@pytest.mark.parametrize("level", KNOWN)
def test_no_plan_needs_a_step_of_a_higher_level(level: int) -> None:
    """Run as ordinary Python, a step fails where the world is below its level; random plans of a level reach none."""
    code = f"import test_levels as t\nfor seed in range(40): t.result_of('kernel', t.plan_of({level}, seed))"
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
