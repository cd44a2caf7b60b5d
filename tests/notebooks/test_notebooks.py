"""The lessons, run from top to bottom as a reader runs them."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.checkout

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
MOST_CELLS = 12


def test_there_are_lessons() -> None:
    """The folder is where it should be."""
    assert "01-a-first-queue.ipynb" in LESSONS


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    """No cell fails, none writes to standard error, and nothing is left beside the notebook."""
    before = sorted(os.listdir(FOLDER))
    lesson = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(lesson, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in lesson.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.get("text")
    assert any(cell.get("outputs") for cell in lesson.cells)
    assert sorted(os.listdir(FOLDER)) == before


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_short_and_kept_without_outputs(name: str) -> None:
    """One question in bold, an exercise, a dozen cells of code at most; outputs are not part of the repository."""
    lesson = nbformat.read(FOLDER / name, as_version=4)
    code = [cell for cell in lesson.cells if cell.cell_type == "code"]
    assert len(code) <= MOST_CELLS
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert "?**" in lesson.cells[0].source
    assert name.startswith("99") or any("## Your turn" in cell.source for cell in lesson.cells)
