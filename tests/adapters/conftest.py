"""The queues of the contract as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from adapter_subjects import SUBJECTS, Subject

from qtune.adapters.base import QueueAdapter


@pytest.fixture(scope="session")
def open_subjects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[type[Subject], Subject]]:
    """The subjects that were opened so far; a server is started once for all tests."""
    opened: dict[type[Subject], Subject] = {}
    yield opened
    for subject in reversed(list(opened.values())):
        subject.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes ``subject`` runs for all of them, or for those with the trait that its mark names."""
    names_its_own = any("subject" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "subject" not in metafunc.fixturenames or names_its_own:
        return
    traits = [mark.args[0] for mark in metafunc.definition.iter_markers("only_where")]
    chosen = [
        pytest.param(kind, id=kind.name, marks=[pytest.mark.slow] if kind.is_slow else [])
        for kind in SUBJECTS
        if all(getattr(kind, trait) for trait in traits)
    ]
    metafunc.parametrize("subject", chosen, indirect=True)


@pytest.fixture
def subject(
    request: pytest.FixtureRequest,
    open_subjects: dict[type[Subject], Subject],
    tmp_path_factory: pytest.TempPathFactory,
) -> Subject:
    """One kind of queue, ready to make some."""
    kind: type[Subject] = request.param
    if kind not in open_subjects:
        open_subjects[kind] = kind()
        open_subjects[kind].open(tmp_path_factory.mktemp(kind.name))
    return open_subjects[kind]


class Queues:
    """Makes queues, and removes them after the test."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.made = subject, list[QueueAdapter]()

    def make(self, *, lock_s: float = 30.0, max_deliveries: int = 3) -> QueueAdapter:
        """A queue that is there."""
        adapter = self.subject.adapter(lock_s=lock_s, max_deliveries=max_deliveries)
        self.made.append(adapter)
        adapter.create()
        return adapter

    def close(self) -> None:
        """Remove them."""
        for adapter in self.made:
            adapter.remove()


@pytest.fixture
def queues(subject: Subject) -> Iterator[Queues]:
    """To make queues with."""
    with closing(Queues(subject)) as queues:
        yield queues


@pytest.fixture
def queue(queues: Queues) -> QueueAdapter:
    """A queue with a lock so long that no test sees its end."""
    return queues.make()
