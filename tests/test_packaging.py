"""What an installation brings: the package, its shipped files, its command, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import qtune
from qtune.errors import InputError
from qtune.shipped import models_dir, shipped, shipped_names

TRACE = "azure_functions_2021_sample"


def build(checkout: Path, kind: str, folder: Path) -> Path:
    """Build one archive of the checkout with its own build backend; kind is wheel, editable or sdist."""
    code = f"import hatchling.build as b; print(b.build_{kind}({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the files as they stand."""
    return build(Path(__file__).resolve().parent.parent, "wheel", tmp_path_factory.mktemp("wheel"))


def read_in_fresh_environment(archive: Path, folder: Path) -> tuple[Path, str]:
    """Install the archive alone into a new environment; return where a trace is found there, and its text."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, str(archive)], check=True)
    code = (
        f"from qtune.shipped import shipped; p = shipped('traces', {TRACE!r}); print(p); print(p.read_text())"
    )
    done = subprocess.run(
        [str(python), "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    path, _, text = done.stdout.partition("\n")
    return Path(path), text.removesuffix("\n")


@pytest.mark.checkout
def test_a_wheel_brings_the_shipped_files(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    """An installation from the wheel reads shipped files from inside the package, without the checkout."""
    path, text = read_in_fresh_environment(wheel, tmp_path / "env")
    assert path.is_relative_to(tmp_path)
    assert path.parts[-4:-1] == ("qtune", "models", "traces")
    assert text == (checkout / "models" / "traces" / f"{TRACE}.csv").read_text(encoding="utf-8")


@pytest.mark.checkout
def test_an_editable_install_reads_the_checkout(checkout: Path, tmp_path: Path) -> None:
    """An editable installation reads `models/` where it is edited, and copies nothing."""
    archive = build(checkout, "editable", tmp_path)
    path, text = read_in_fresh_environment(archive, tmp_path / "env")
    assert path == checkout / "models" / "traces" / f"{TRACE}.csv"
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.checkout
def test_the_wheel_holds_the_package_and_the_models_and_nothing_else(checkout: Path, wheel: Path) -> None:
    """The wheel holds every file of `qtune/` and of `models/`, its metadata, and no test."""
    named = zipfile.ZipFile(wheel).namelist()
    info = {name for name in named if name.startswith(f"qtune-{qtune.__version__}.dist-info/")}
    expected = {
        f"{target}/{file.relative_to(checkout / source).as_posix()}"
        for source, target in (("qtune", "qtune"), ("models", "qtune/models"))
        for file in (checkout / source).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert set(named) - info == expected
    assert "qtune/py.typed" in named
    licences = {name.partition("/licenses/")[2] for name in info if "/licenses/" in name}
    assert licences == {"LICENSE", "models/traces/LICENSES.md"}


@pytest.mark.checkout
def test_the_source_archive_can_test_itself(checkout: Path, tmp_path: Path) -> None:
    """The source archive holds the tests and everything that a wheel is built from."""
    with tarfile.open(build(checkout, "sdist", tmp_path)) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for file in ("pyproject.toml", "README.md", "LICENSE", "tests/conftest.py", f"models/traces/{TRACE}.csv"):
        assert file in inside


@pytest.mark.checkout
def test_the_two_statements_of_the_version_agree(checkout: Path) -> None:
    """The version in pyproject.toml, in the package and at the top of the changelog is one version."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert project["version"] == qtune.__version__ == newest.split()[1]


def test_shipped_files_are_found_with_or_without_their_ending() -> None:
    """A shipped file is named with or without its ending, and texts about the files are not among them."""
    names = shipped_names("traces")
    assert f"{TRACE}.csv" in names
    assert all(name.endswith(".csv") for name in names)
    assert (
        shipped("traces", TRACE)
        == shipped("traces", f"{TRACE}.csv")
        == models_dir() / "traces" / f"{TRACE}.csv"
    )


@pytest.mark.parametrize("name", ["azure_function_2021_sample", "../../pyproject.toml", ""])
def test_an_unknown_shipped_name_is_refused(name: str) -> None:
    """A name that is not shipped is an error that lists what is; a path is never followed."""
    with pytest.raises(InputError, match="azure_llm_conv_2023") as error:
        shipped("traces", name)
    assert error.value.problems[0].value == name


def test_a_near_miss_gets_a_suggestion() -> None:
    """A mistyped name is answered with the nearest that is shipped."""
    with pytest.raises(InputError, match=f'Did you mean "{TRACE}"'):
        shipped("traces", "azure-functions-2021-sampel")


def test_every_trace_names_its_source_licence_and_changes() -> None:
    """Each shipped trace opens with where it comes from, under which licence, and what was changed."""
    licences = (models_dir() / "traces" / "LICENSES.md").read_text(encoding="utf-8")
    for name in shipped_names("traces"):
        header = [line for line in shipped("traces", name).read_text().splitlines() if line.startswith("#")]
        for word in ("# source:", "# licence:", "# changes:"):
            assert any(line.startswith(word) for line in header), f"{name} does not say {word}"
        assert name in licences
