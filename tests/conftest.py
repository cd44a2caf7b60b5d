"""What every test shares: repeatable property tests, and the two engines as one fixture."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run and every machine: a suite that fails must fail again when one looks.
settings.register_profile("qtune", derandomize=True, deadline=None, database=None)
settings.load_profile("qtune")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds pyproject.toml, for tests marked `checkout`."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(params=["kernel", "reference"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine by name: a test that takes this states something that holds for both."""
    name: str = request.param
    return name
