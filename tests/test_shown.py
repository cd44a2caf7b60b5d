"""What a notebook shows of each thing: static HTML, and plain text beside it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from IPython.core.formatters import DisplayFormatter

import qtune
from qtune.lab import load_incident, reproduce
from qtune.scenario import Scenario

SCENARIO = Scenario(
    name="<orders> & more",
    arrivals={"kind": "poisson", "rate_per_s": 60.0},
    service_time={"family": "exponential", "mean_s": 0.05},
    queue={"provider": "memory"},
    consumers={"workers": 6, "receive_wait_s": 1.0},
    horizon_s=60.0,
    seed=7,
)


class Reader(HTMLParser):
    """Checks that elements are closed in order, and keeps their names and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.open.append(tag)
        self.names.add(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that has no inside."""
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        """The innermost element ends."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Words."""
        self.text += data


def shown(thing: object) -> tuple[Reader, str]:
    """What IPython would put into a notebook: the HTML, read, and the plain text."""
    data, _ = DisplayFormatter().format(thing)
    reader = Reader()
    reader.feed(data["text/html"])
    reader.close()
    assert reader.open == []
    return reader, data["text/plain"]


@pytest.fixture(scope="module")
def things() -> dict[str, object]:
    """One of each kind, small."""
    results = qtune.replicate(SCENARIO, 2)
    targets = qtune.Targets.parse("p95=500ms")
    return {
        "Scenario": SCENARIO,
        "Result": results[0],
        "Summary": qtune.summarize(results),
        "Recommendation": qtune.recommend(SCENARIO, targets),
        "ProviderModel": qtune.load_model("sqs"),
        "Incident": load_incident("A1"),
        "Report": qtune.describe(SCENARIO),
        "Verification": qtune.verify(SCENARIO, targets=targets),
    }


KINDS = (
    "Scenario",
    "Result",
    "Summary",
    "Recommendation",
    "ProviderModel",
    "Incident",
    "Report",
    "Verification",
)


@pytest.mark.parametrize("kind", KINDS)
def test_each_thing_is_shown_as_static_html_and_as_text(things: dict[str, object], kind: str) -> None:
    """Nothing that runs or that a viewer strips, names are only names, and the text says the same as the HTML."""
    reader, text = shown(things[kind])
    assert reader.names.isdisjoint({"script", "style", "link", "iframe", "img", "orders"})
    words = set(text.split()) - {"-"}
    missing = [word for word in words if word not in reader.text]
    assert not missing
    assert len(words) > 10


@pytest.mark.parametrize("kind", ["Scenario", "Result", "Summary"])
def test_the_seed_is_always_seen(things: dict[str, object], kind: str) -> None:
    """Whoever sees an answer can run it again."""
    reader, text = shown(things[kind])
    assert "seed" in text
    assert "7" in text
    assert "seed" in reader.text


@pytest.mark.parametrize("kind", ["Result", "Summary", "Recommendation"])
def test_answers_have_pictures(things: dict[str, object], kind: str) -> None:
    """Drawn in SVG, inside the HTML."""
    reader, _ = shown(things[kind])
    assert "svg" in reader.names


@pytest.mark.parametrize(
    "kind", ["Scenario", "Summary", "Recommendation", "ProviderModel", "Incident", "Verification"]
)
def test_each_thing_is_a_tidy_table_too(things: dict[str, object], kind: str) -> None:
    """One row for each fact, with names that are said once."""
    frame = things[kind].to_frame()  # type: ignore[attr-defined]
    assert len(frame) >= (1 if kind == "Recommendation" else 4)
    assert frame.columns.is_unique


def test_the_table_of_a_recommendation_has_every_setting_that_was_looked_at(
    things: dict[str, object],
) -> None:
    """The answer first, with the metric of the target in its unit."""
    found = things["Recommendation"]
    assert isinstance(found, qtune.Recommendation)
    frame = found.to_frame()
    assert len(frame) == 1 + len(found.runners_up) + len(found.failed)
    assert frame["fate"][0] == "the answer"
    assert frame["p95_s"][0] == found.checks[0].estimate.value


def test_a_case_of_the_lab_is_shown_when_it_has_run() -> None:
    """With what was reported and what was seen."""
    reader, text = shown(reproduce(load_incident("C2")))
    assert "C2" in text
    assert "svg" in reader.names or "table" in reader.names
