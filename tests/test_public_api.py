"""The door of the package: which names it has, and that opening it costs nothing."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest

import qtune

# Slow to load, or absent in a small installation; nobody pays for them before using them.
HEAVY = [
    *("azure", "azure.servicebus", "boto3", "botocore"),
    *("anywidget", "ipywidgets", "plotly"),
    *("numba", "pandas", "scipy.special", "scipy.stats", "simpy"),
]


def loaded_after(statement: str) -> list[str]:
    """Which of the heavy modules a fresh interpreter holds after one statement."""
    code = f"{statement}\nimport sys\nprint('|', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("|")[2].split()


def test_every_heavy_module_is_installed_here() -> None:
    """The tests about what stays unloaded mean something only where there is something to load."""
    for name in HEAVY:
        assert import_module(name) is not None


def test_import_loads_nothing_heavy() -> None:
    """`import qtune` loads no SDK, no plotting, no widgets, no compiler and no pandas."""
    assert loaded_after("import qtune") == []


def test_a_report_loads_nothing_heavy() -> None:
    """What only a run, a fit or a table needs is not loaded to describe an answer."""
    assert loaded_after("import qtune.exports") == []


def test_help_loads_nothing_heavy() -> None:
    """`qtune --help` answers before anything heavy is loaded."""
    statement = (
        "import sys; sys.argv = ['qtune', '--help']; from qtune.ui.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code"
    )
    assert loaded_after(statement) == []


@pytest.mark.parametrize("name", qtune.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    """Each public name can be imported, comes from qtune, and has a docstring that says what it is."""
    value = getattr(qtune, name)
    if name == "__version__":
        return
    assert value.__module__.split(".")[0] == "qtune"
    assert inspect.getdoc(value)


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    """The imports that type checkers read name the same homes as the ones used at run time."""
    tree = ast.parse(Path(qtune.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = vars(qtune)["_HOMES"]
    assert typed == homes
    assert sorted({*homes, "__version__"}) == qtune.__all__


def test_no_public_name_is_hidden_by_a_module() -> None:
    """No module has a public name, because importing the module would put it in the name's place."""
    folder = Path(qtune.__file__).parent
    modules = {entry.stem for entry in folder.iterdir() if entry.is_dir() or entry.suffix == ".py"}
    assert modules.isdisjoint(set(qtune.__all__) - {"__version__"})


def test_the_door_is_small() -> None:
    """There are about twenty public names; to add one, remove one or say here why.

    ``measure`` is the 25th: a run on a real queue is what everything else is checked against. ``calibrate`` is the
    26th: it makes the models on which everything else rests. ``explore`` is the 27th: who works in a notebook starts
    there.
    """
    assert len(qtune.__all__) <= 27


def test_completion_lists_the_public_names() -> None:
    """`dir(qtune)` lists every public name, used before or not."""
    assert dir(qtune) == qtune.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist is reported as Python's own modules report it."""
    with pytest.raises(AttributeError, match="'qtune' has no attribute 'simulat'"):
        qtune.simulat  # noqa: B018 - looking it up is the test


def test_the_version_is_the_installed_one() -> None:
    """`qtune.__version__` is the version that the installer knows."""
    assert qtune.__version__ == metadata.version("qtune")
