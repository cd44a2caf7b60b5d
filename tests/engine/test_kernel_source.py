"""The kernel's source: it runs without a compiler, stays inside its arrays, and is never run in an old version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import qtune
from qtune.engine.kernel.compiled import source_stamp

PACKAGE = Path(qtune.__file__).parent
TESTS = Path(__file__).resolve().parent.parent

# Run in a process of its own, because how the kernel is compiled is decided when it is imported.
COMPARE = """
import sys
from engine_features import FROM_CODES, FROM_ROWS, FROM_SETTINGS, features
from engine_plans import result_of
from engine_random import LOST_RELEASE, any_plan, by_chance
from qtune.engine.kernel.compiled import COMPILED
from qtune.result import same_rows

seen = set()
for plan in (LOST_RELEASE, *(any_plan(*by_chance(seed)) for seed in range(int(sys.argv[1])))):
    kernel = result_of("kernel", plan)
    assert same_rows(kernel, result_of("reference", plan)) is None
    seen.update(features(plan, kernel))
everything = FROM_CODES | FROM_SETTINGS | FROM_ROWS
print("compiled" if COMPILED else "plain", len(everything - seen), "missing", sorted(everything - seen))
"""

# The same of the jump loop, which only few of those plans reach.
COMPARE_JUMPS = """
import sys
from engine_lines import HAPPENS, any_line, happened
from engine_plans import Rows, run
from engine_random import by_chance
from qtune.engine.kernel import by_jumps
from qtune.engine.kernel.compiled import COMPILED

seen = set()
for seed in range(int(sys.argv[1])):
    plan = any_line(*by_chance(seed))
    jumped = by_jumps(plan)
    if jumped is not None:
        for table, same in zip(jumped, run("reference", plan), strict=True):
            assert table.tobytes() == same.tobytes(), plan
        seen |= happened(plan, Rows(*jumped))
print("compiled" if COMPILED else "plain", sorted(HAPPENS - seen))
"""

# Which loops are compiled for a plan that needs the slot calendar, and for one that does not.
LOOPS = """
import engine_plans as p
from qtune.distributions import Constant
from qtune.engine.kernel.jump import jump
from qtune.engine.kernel.loop import advance
from qtune.engine.plan import LINK_SLIDING, POLL
import sys
fields = {"discipline": POLL, "wait_s": 1.0} if sys.argv[1] == "poll" else {"discipline": LINK_SLIDING}
p.run("kernel", p.queue_plan(horizon_s=10.0, tables=p.tables(service=Constant(value=1.0)), **fields, **p.at_once(1)))
print(len(advance.signatures), len(jump.signatures))
"""

# The first receive of an idle queue, which says whether a change of the source was noticed.
SHORT = """
import engine_plans as p
from qtune.distributions import Constant
from qtune.engine.plan import POLL
plan = p.queue_plan(horizon_s=10.0, discipline=POLL, wait_s=1.0, tables=p.tables(service=Constant(value=1.0)),
                    **p.at_once(1))
print(len(p.run("kernel", plan).deliveries), p.run("kernel", plan).messages["completed_s"][0])
"""


def python(code: str, *arguments: str, package: Path = PACKAGE, **environment: str) -> str:
    """What a program prints that runs in a new process, with the qtune that is in this folder."""
    paths = os.pathsep.join([str(package.parent), str(TESTS)])
    found = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],  # -P: not the qtune of the current folder
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_the_kernel_is_ordinary_python() -> None:
    """Without a compiler the kernel's source runs as Python and has the reference's rows."""
    assert python(COMPARE, "30", NUMBA_DISABLE_JIT="1").startswith("plain")


@pytest.mark.slow
def test_the_kernel_is_ordinary_python_in_every_feature() -> None:
    """The same with plans that make everything happen."""
    assert python(COMPARE, "300", NUMBA_DISABLE_JIT="1") == "plain 0 missing []"


@pytest.mark.slow
def test_the_kernel_stays_inside_its_arrays(tmp_path: Path) -> None:
    """Compiled with bounds checks the kernel has the same rows and raises nothing, with every feature."""
    answer = python(COMPARE, "300", NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert answer == "compiled 0 missing []"


def test_the_jump_loop_is_ordinary_python() -> None:
    """Without a compiler the source of the jump loop runs as Python and has the reference's rows."""
    assert python(COMPARE_JUMPS, "60", NUMBA_DISABLE_JIT="1") == "plain []"


@pytest.mark.slow
def test_the_jump_loop_stays_inside_its_arrays(tmp_path: Path) -> None:
    """Compiled with bounds checks the jump loop has the same rows and raises nothing, with everything it can do."""
    answer = python(COMPARE_JUMPS, "600", NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert answer == "compiled []"


def test_only_the_loop_that_runs_is_compiled() -> None:
    """A plan for the slot calendar does not wait until the jump loop is compiled, nor the other way round."""
    assert python(LOOPS, "poll") == "1 0"
    assert python(LOOPS, "link") == "0 1"


@pytest.mark.slow
def test_an_edit_of_any_source_is_noticed(tmp_path: Path) -> None:
    """Code that was compiled from older sources is never run, whichever of the kernel's files has changed.

    numba itself would look only at the file of the compiled function.
    """
    copy = tmp_path / "site" / "qtune"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    models = PACKAGE / "models" if (PACKAGE / "models").is_dir() else PACKAGE.parent / "models"
    shutil.copytree(models, copy.parent / "models")
    kernel = copy / "engine" / "kernel"
    cache = str(tmp_path / "cache")
    before = source_stamp(kernel)
    assert python(SHORT, package=copy, NUMBA_CACHE_DIR=cache) == "1 1.0"

    # Handlers of the changed kernel begin a second late; the file is not that of any compiled function.
    workers = kernel / "workers.py"
    text = workers.read_text(encoding="utf-8")
    line = "row.started_s = compute(w, row.consumer, p.message_cost_s, now_s)"
    assert text.count(line) == 1
    workers.write_text(text.replace(line, line + " + 1.0"), encoding="utf-8")
    assert source_stamp(kernel) != before
    assert python(SHORT, package=copy, NUMBA_CACHE_DIR=cache) == "1 2.0"


@pytest.mark.parametrize(
    "file",
    [
        *("engine/kernel/loop.py", "engine/kernel/draws.py", "engine/streams.py", "engine/plan.py"),
        "engine/slots.py",
        *("distributions/tables.py", "result.py"),
    ],
)
def test_the_stamp_covers_what_is_compiled_in(tmp_path: Path, file: str) -> None:
    """The stamp of the compiled code depends on every file of the kernel and on those whose constants it holds."""
    copy = tmp_path / "qtune"
    for folder in ("engine", "distributions"):
        shutil.copytree(PACKAGE / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE / "result.py", copy / "result.py")
    kernel = copy / "engine" / "kernel"
    before = source_stamp(kernel)
    assert before == source_stamp(PACKAGE / "engine" / "kernel")
    path = copy / file
    path.write_text(path.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    assert source_stamp(kernel) != before
