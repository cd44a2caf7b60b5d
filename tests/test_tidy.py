"""The habits of the project that a machine can check, so that no reviewer has to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parent.parent
MADE_BY_TOOLS = {"__pycache__", "build", "dist", "htmlcov"}
TEXTS = {".py", ".toml", ".md", ".yaml", ".yml", ".json", ".ipynb"}

Explained = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 70

# Put together from pieces, so that this file does not hold what it looks for.
UNFINISHED = [
    *("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"),
    *("pytest.sk" + "ip", "importor" + "skip", "skip" + "if", "x" + "fail"),
]
ELSEWHERE = [
    r"\b(?:" + "|".join(("pypi", "pythonhosted", "npmjs", "anaconda", "debian")) + r")\.(?:org|com)\b",
    "(?<![\\w.~])/(?:" + "|".join(("ro" + "ot", "ho" + "me", "wo" + "rk", "Us" + "ers")) + r")/\w",
    r"\bissue" + r" #?\d+\b",
]

# How a unit is spelled where the name of a number ends in one; the others are the ways not to.
MISSPELLED_UNIT = re.compile(
    r"_(?:ms|msec|sec|secs|seconds|millis|minutes|hours|us|kb|mb|kib|mib|pct|percent)$"
)
NEEDS_UNIT = re.compile(
    r"(?:^|_)(?:age|delay|duration|horizon|interval|latency|lifetime|period|timeout|ttl)$"
)


def texts() -> list[Path]:
    """Every text of the project, but nothing that a tool has made and no environment."""

    def below(folder: Path) -> Iterator[Path]:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                hidden = entry.name.startswith(".") and entry.name != ".ci"
                if not (hidden or entry.name in MADE_BY_TOOLS or (entry / "pyvenv.cfg").exists()):
                    yield from below(entry)
            elif entry.suffix in TEXTS or entry.parent.name == ".ci":
                yield entry

    return list(below(ROOT))


PYTHON = [file for file in texts() if file.suffix == ".py"]
PACKAGE = [file for file in PYTHON if file.is_relative_to(ROOT / "qtune")]
TESTS = [file for file in PYTHON if file.is_relative_to(ROOT / "tests")]


def name_of(file: Path) -> str:
    """The file as a reader knows it: its path in the checkout."""
    return file.relative_to(ROOT).as_posix()


@cache
def tree_of(file: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def functions_of(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_the_whole_project_is_looked_at() -> None:
    """The other tests of this file see the package, the tests, the texts and the checks."""
    seen = {name_of(file) for file in texts()}
    assert {"qtune/__init__.py", "tests/test_tidy.py", "README.md", "pyproject.toml", ".ci/run"} <= seen


def test_files_are_short() -> None:
    """A file is read in one sitting: at most 400 lines."""
    lengths = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in PYTHON}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    """A function fits on a screen: at most 70 lines."""
    long = {
        f"{name_of(file)}:{node.lineno} {node.name}": lines
        for file in PYTHON
        for node in functions_of(tree_of(file))
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_names_of_modules_say_what_is_in_them() -> None:
    """No module is a drawer for what has no name."""
    drawers = {"common", "helper", "helpers", "misc", "shared", "tools", "util", "utils"}
    assert [
        name_of(file) for file in PYTHON if file.stem.strip("_") in drawers or file.parent.name in drawers
    ] == []


def lines_with(patterns: list[str]) -> list[str]:
    """Every line of the project in which one of the patterns is found."""
    wanted = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return [
        f"{name_of(file)}:{number}: {line.strip()}"
        for file in texts()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if wanted.search(line)
    ]


def test_nothing_is_left_unfinished() -> None:
    """There is no reminder, no stub and no switched-off test: what is there works."""
    found = lines_with([rf"\b{re.escape(mark)}\b" for mark in UNFINISHED])
    assert not found, "\n".join(found)


def test_nothing_names_a_place_or_a_number_of_elsewhere() -> None:
    """No text names a package registry, a path of one machine or a number that only a tracker can explain."""
    found = lines_with(ELSEWHERE)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (UNFINISHED[0], "# TO" + "DO: later"),
        (UNFINISHED[4], "@pytest.sk" + "ip"),
        (ELSEWHERE[0], "https://py" + "pi.org/simple"),
        (ELSEWHERE[1], "see /ho" + "me/someone/notes"),
        (ELSEWHERE[2], "see iss" + "ue #12"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: str, line: str) -> None:
    """Each pattern of this file finds an example of what it forbids."""
    assert re.search(pattern, line)


def test_no_tabs_no_blanks_at_the_end_and_one_newline() -> None:
    """Texts hold no tab and no blank at the end of a line, and end with one newline."""
    wrong = []
    for file in texts():
        text = file.read_text(encoding="utf-8")
        blanks = "\t" in text or re.search(r" $", text, re.MULTILINE)
        if blanks or text.endswith("\n\n") or (text and not text.endswith("\n")):
            wrong.append(name_of(file))
    assert not wrong, "\n".join(wrong)


@cache
def explained_above() -> dict[str, set[str]]:
    """For each class of the package by name, the methods that a class above it explains."""
    classes = {
        node.name: node
        for file in PACKAGE
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ClassDef)
    }

    def above(name: str) -> set[str]:
        found: set[str] = set()
        for base in (re.sub(r"\[.*|.*\.", "", ast.unparse(base)) for base in classes[name].bases):
            if base in classes and base != name:
                found |= above(base) | {
                    node.name for node in functions_of(classes[base]) if ast.get_docstring(node)
                }
        return found

    return {name: above(name) for name in classes}


def public_definitions(file: Path) -> Iterator[tuple[str, Explained]]:
    """The module, its public classes, functions and methods, without methods explained in a class above."""
    tree, above = tree_of(file), explained_above()
    yield name_of(file), tree
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    for scope in scopes:
        known = above[scope.name] if isinstance(scope, ast.ClassDef) else set()
        for node in scope.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            repeats = node.name in known or any(
                ast.unparse(mark).endswith(("overload", ".setter")) for mark in node.decorator_list
            )
            if not node.name.startswith("_") and not repeats:
                yield f"{name_of(file)}:{node.lineno} {node.name}", node
                if isinstance(node, ast.ClassDef):
                    scopes.append(node)


def test_every_public_thing_has_a_docstring() -> None:
    """Every module, public class, function and method opens with a sentence that says what it is."""
    silent = [
        place
        for file in PACKAGE
        for place, node in public_definitions(file)
        if not (ast.get_docstring(node) or "").partition("\n\n")[0].rstrip().endswith((".", ":", ")", "?"))
    ]
    assert not silent, "\n".join(silent)


def test_every_test_says_what_it_holds() -> None:
    """The docstring of a test is a sentence that could stand in the manual."""
    silent = [
        f"{name_of(file)}:{node.lineno} {node.name}"
        for file in TESTS
        for node in functions_of(tree_of(file))
        if node.name.startswith("test_") and not (ast.get_docstring(node) or "").strip().endswith(".")
    ]
    assert not silent, "\n".join(silent)


def numbers_of(file: Path) -> Iterator[tuple[str, str]]:
    """Every annotated number of a file, a field or an argument: where it stands, and its name."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.arg):
            name, annotation = node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, annotation = node.target.id, node.annotation
        else:
            continue
        if annotation is not None and set(re.findall(r"\w+", ast.unparse(annotation))) & {"float", "int"}:
            yield f"{name_of(file)}:{node.lineno} {name}", name.lower()


def test_the_unit_is_the_last_word_of_a_number() -> None:
    """A number with a unit is named with it, spelled one way: `lock_s`, `rate_per_s`, `size_bytes`."""
    wrong = [
        place
        for file in PACKAGE
        for place, name in numbers_of(file)
        if MISSPELLED_UNIT.search(name) or NEEDS_UNIT.search(name)
    ]
    assert not wrong, "\n".join(wrong)
