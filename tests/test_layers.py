"""Who may import whom, read from the syntax tree of every module."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import qtune

PACKAGE = Path(qtune.__file__).parent

# Module or folder of qtune -> what it may import from qtune. "shipped" may be imported by anything.
FOUNDATION = {"errors", "units", "shipped", "shown"}
QUANTITIES = FOUNDATION | {"records", "distributions", "exactmath", "traces", "shapes"}
PARTS = {"arrivals", "groups", "producer", "consumer", "downstream", "handler", "autoscaling", "faults"}
WORDS = QUANTITIES | PARTS | {"providers", "scenario"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "targets": {"errors", "units"},
    "exactmath": set(),
    "units": {"errors"},
    "shown": {""},  # the door: it asks for a report as a face does
    "shipped": {"errors"},
    "records": {"errors", "units"},
    "distributions": FOUNDATION | {"records", "exactmath"},
    "traces": FOUNDATION | {"records"},
    "shapes": FOUNDATION | {"records", "distributions", "traces"},
    **dict.fromkeys(PARTS, QUANTITIES),
    "strictyaml": FOUNDATION | {"records"},
    "reading": FOUNDATION | {"records", "strictyaml"},
    "writing": FOUNDATION | {"records", "strictyaml"},
    "providers": QUANTITIES | {"consumer", "reading", "writing"},
    "handler_checks": QUANTITIES | {"providers"},
    "checks": QUANTITIES | {"autoscaling", "faults", "groups", "handler_checks", "providers"},
    "scenario": QUANTITIES | PARTS | {"providers", "checks"},
    "presets": WORDS | {"checks", "reading", "writing"},
    "conditions": set(),
    "result": WORDS | {"presets", "conditions"},
    "invariants": WORDS | {"result"},
    "digest": WORDS | {"result"},
    "engine": WORDS | {"result"},
    "simulation": FOUNDATION | {"scenario", "engine", "result", "digest"},
    "broker": FOUNDATION | {"providers"},
    "adapters": WORDS | {"result", "broker"},
    "emulators": FOUNDATION | {"broker", "providers"},
    "analysis": FOUNDATION
    | {"distributions", "downstream", "faults", "handler", "producer", "providers", "records", "scenario"}
    | {"result"},
    "workload": WORDS | {"engine"},
    "measurement": WORDS | {"result", "conditions", "workload", "adapters"},
    "calibration": WORDS | {"result", "conditions", "analysis", "engine", "simulation", "measurement"},
    "figures": WORDS | {"result", "analysis", "recommendation"},
    "recommendation": WORDS | {"result", "analysis", "engine", "simulation", "targets"},
    "verification": FOUNDATION
    | {"scenario", "result", "analysis", "simulation", "targets", "recommendation"},
    "lab": FOUNDATION
    | {"records", "reading", "scenario", "result", "analysis", "simulation", "targets", "recommendation"},
    "prediction": FOUNDATION | {"scenario", "result", "analysis", "simulation"},
    "exports": WORDS
    | {
        "presets",
        "reading",
        "writing",
        "targets",
        "result",
        "conditions",
        "analysis",
        "calibration",
        "figures",
        "recommendation",
        "verification",
        "lab",
    },
    "ui": set(),
    "__main__": {"ui"},
}

# Library -> the only places that may import it. The others may be used anywhere.
HOME_OF = {
    "simpy": r"engine\.reference(\.|$)",
    "numba": r"engine\.kernel",
    "llvmlite": r"engine\.kernel",
    "boto3": r"adapters\.sqs(\.|$)",
    "botocore": r"adapters\.sqs(\.|$)",
    "azure": r"adapters\.servicebus(\.|$)",
    "plotly": r"ui(\.|$)",
    "ipywidgets": r"ui(\.|$)",
    "anywidget": r"ui(\.|$)",
    "prometheus_client": r"measurement\.metrics$",
    "IPython": r"measurement\.notebook_line$",
    "typer": r"ui(\.|$)",
    "rich": r"ui(\.|$)",
}

# What a function may import when it is called: slow to load or optional, and not needed on every path.
DELAYED = {*HOME_OF, "pandas", "scipy", "yaml"}
# The same inside qtune: a run needs only one engine, and rows do not need the reader of scenarios.
DELAYED_OF_QTUNE = {
    ("simulation", "qtune.engine.kernel"),
    ("simulation", "qtune.engine.reference"),
    ("result", "qtune.presets"),
}

# Neither correctly rounded nor equal on every platform, so rows that pass through them are not repeatable.
PLATFORM_DEPENDENT = re.compile(
    r"exp2?|expm1|log(2|10|1p)?|pow|power|float_power|cbrt|hypot|a?(sin|cos|tan)h?|arc(sin|cos|tan)h?2?|atan2"
    r"|l?gamma|erfc?|v?dot|matmul|inner|einsum"
)


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported module: by which module, from where, and whether only when a function is called."""

    by: str
    line: int
    target: str
    in_function: bool

    @property
    def layer(self) -> str:
        """The module or folder of qtune that imports."""
        return self.by.split(".")[0]

    @property
    def library(self) -> str:
        """The top-level package that is imported."""
        return self.target.split(".")[0]

    @property
    def part(self) -> str:
        """The module or folder of qtune that is imported; "" for the door."""
        return self.target.partition(".")[2].split(".")[0]

    def __str__(self) -> str:
        return f"qtune/{self.by.replace('.', '/')}, line {self.line}, imports {self.target}"


def modules() -> list[tuple[str, Path]]:
    """Every module of the package: its dotted name below qtune (a folder has its own name), and its file."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), file))
    return found


def targets_of(statement: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names that an import statement reaches; of a library, only the module."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    assert statement.module, f"line {statement.lineno}: write the module's whole name"
    assert statement.level == 0, f"line {statement.lineno}: write the module's whole name"
    if statement.module.split(".")[0] == "qtune":
        return [f"{statement.module}.{alias.name}" for alias in statement.names]
    return [statement.module]


def imports_in(module: str, file: Path) -> Iterator[Import]:
    """Every import of a file, with the names it reaches: `from qtune import units` reaches qtune.units."""

    def visit(node: ast.AST, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.Import | ast.ImportFrom):
                for target in targets_of(child):
                    yield Import(by=module, line=child.lineno, target=target, in_function=in_function)
            yield from visit(child, inside)

    yield from visit(ast.parse(file.read_text(encoding="utf-8")), False)


def all_imports() -> list[Import]:
    """Every import of every module of the package, without those of the door, which type checkers read."""
    return [found for module, file in modules() if module for found in imports_in(module, file)]


def test_every_module_has_a_place_in_the_table() -> None:
    """A new module at the top of the package is given its place in the design before it is used."""
    assert {module.split(".")[0] for module, _ in modules() if module} <= MAY_IMPORT.keys()


def test_the_table_has_no_cycle() -> None:
    """The table is a design: some order of the modules has every import pointing back."""
    order = list(TopologicalSorter({by: may - {by} for by, may in MAY_IMPORT.items()}).static_order())
    assert (
        order.index("scenario")
        < order.index("engine")
        < order.index("recommendation")
        < order.index("exports")
    )


def test_imports_follow_the_design() -> None:
    """Data flows one way: each module imports only what stands to its left in the design."""
    wrong = [
        str(found)
        for found in all_imports()
        if found.library == "qtune"
        and found.layer != "ui"
        and found.part not in MAY_IMPORT[found.layer] | {found.layer, "__version__"}
    ]
    assert not wrong, "\n".join(wrong)


def test_faces_see_only_the_public_names() -> None:
    """The command line and the notebook use what every user can use: the public names of qtune."""
    wrong = [
        str(found)
        for found in all_imports()
        if found.layer == "ui"
        and found.library == "qtune"
        and found.target != "qtune"
        and not found.target.startswith("qtune.ui")
        and found.target.removeprefix("qtune.") not in qtune.__all__
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_but_the_command_imports_a_face() -> None:
    """Everything works without the faces: only `python -m qtune` and the faces import `qtune.ui`."""
    wrong = [
        str(found) for found in all_imports() if found.target.startswith("qtune.ui") and found.layer != "ui"
    ]
    assert wrong == ["qtune/__main__, line 3, imports qtune.ui.cli.main"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("engine.reference", "engine.kernel"),
        ("engine.kernel", "engine.reference"),
        ("engine", "adapters"),
        ("adapters", "engine"),
        ("adapters.sqs", "adapters.servicebus"),
        ("adapters.servicebus", "adapters.sqs"),
        ("providers.sqs", "providers.servicebus"),
        ("providers.servicebus", "providers.sqs"),
    ],
)
def test_rivals_do_not_know_each_other(one: str, other: str) -> None:
    """Two engines, two adapters or two providers share only what stands to the left of both."""
    wrong = [
        str(found)
        for found in all_imports()
        if found.by.startswith(one) and found.target.startswith(f"qtune.{other}")
    ]
    assert not wrong, "\n".join(wrong)


def test_each_library_stays_in_its_home() -> None:
    """SimPy is known to the reference engine only, the compiler to the kernel, each SDK to one adapter."""
    wrong = [
        str(found)
        for found in all_imports()
        if found.library in HOME_OF and not re.match(HOME_OF[found.library], found.by)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.checkout
def test_every_library_is_declared(checkout: Path) -> None:
    """Every library that qtune imports is a dependency or an extra of its own, not a guest of another's."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    optional = ("notebook", "azure", "aws", "metrics")
    lines = [*project["dependencies"], *(line for extra in optional for line in extras[extra])]
    declared = {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in lines}
    brought = {
        "yaml": "pyyaml",
        "azure": "azure-servicebus",
        "botocore": "boto3",
        "llvmlite": "numba",
        "pydantic_core": "pydantic",
        "prometheus_client": "prometheus-client",
        "IPython": "ipython",
    }
    used = {found.library for found in all_imports()} - {"qtune", *sys.stdlib_module_names}
    assert {brought.get(library, library) for library in used} <= declared


def test_imports_inside_functions_only_delay_what_is_heavy() -> None:
    """A function imports only what is slow or optional; never a module of qtune to get around a cycle."""
    wrong = [
        str(found)
        for found in all_imports()
        if found.in_function
        and found.library not in DELAYED
        and not any(
            found.layer == layer and found.target.startswith(prefix) for layer, prefix in DELAYED_OF_QTUNE
        )
    ]
    assert not wrong, "\n".join(wrong)


def test_engines_use_only_arithmetic_that_is_equal_everywhere() -> None:
    """What feeds the engines is made of + - * / and square roots, so every platform has the same rows."""
    wrong = []
    for module, file in modules():
        if module.split(".")[0] not in {"engine", "exactmath"}:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in {"math", "np", "numpy"} and PLATFORM_DEPENDENT.fullmatch(node.attr):
                    wrong.append(f"{module}, line {node.lineno}: {node.value.id}.{node.attr}")
            elif isinstance(node, ast.ImportFrom) and node.module in {"math", "numpy"}:
                names = {alias.name for alias in node.names if PLATFORM_DEPENDENT.fullmatch(alias.name)}
                wrong.extend(f"{module}, line {node.lineno}: {node.module}.{name}" for name in sorted(names))
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                wrong.append(f"{module}, line {node.lineno}: @")
    assert not wrong, "\n".join(wrong)
