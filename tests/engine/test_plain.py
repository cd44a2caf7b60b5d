"""Plain plans, which run a loop without the steps that few plans need."""

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

from qtune.engine.kernel.defaults import DEFAULTS
from qtune.engine.kernel.plain import ALWAYS, IDLE, is_plain
from qtune.engine.plan import Plan
from qtune.result import same_rows

TESTS = Path(__file__).parents[1]
OFF = {name: default for name, default in DEFAULTS.items() if name not in ALWAYS | IDLE}


def plain_plan(seed: int) -> Plan:
    """A random plan without anything that few plans need."""
    return replace(any_plan(*by_chance(seed)), **OFF)


def test_the_plain_loop_has_the_rows_of_the_reference() -> None:
    """Without the rare steps the compiled loop gives the reference's rows, for any plan that needs none of them."""
    for seed in range(200):
        plan = plain_plan(seed)
        assert is_plain(plan)
        assert same_rows(result_of("kernel", plan), result_of("reference", plan)) is None


def test_no_plain_plan_needs_a_rare_step() -> None:
    """Run as ordinary Python, a rare step fails where the world is plain; random plain plans reach none."""
    code = "import test_plain as t\nfor seed in range(40): t.result_of('kernel', t.plain_plan(seed))"
    paths = os.pathsep.join([*sys.path, str(TESTS), str(TESTS / "engine")])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("name", sorted(OFF))
def test_a_setting_that_is_on_is_not_plain(name: str) -> None:
    """Whatever a plan sets that the plain loop does not know sends it to the whole loop."""
    default: Any = OFF[name]
    on = np.array([1.0]) if isinstance(default, np.ndarray) else default + 1
    assert not is_plain(replace(plain_plan(0), **{name: on}))


def test_every_setting_is_known_to_be_plain_or_not() -> None:
    """The names that the plain loop knows are settings of a plan."""
    assert {each.name for each in fields(Plan)} >= ALWAYS | IDLE
