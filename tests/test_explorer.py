"""The explorer without a browser: sliders, figures, words, and what its buttons do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

import qtune
from qtune.ui.explorer import Explorer, explore
from qtune.ui.explorer.knobs import LOAD, knobs_of

ORDERS = """
name: orders
arrivals: {kind: poisson, rate: 100/s}
service_time: {family: exponential, mean: 30ms}
queue: {provider: memory, lock_duration: 5s}
consumers: {workers: 6, receive_wait: 1s}
horizon: 1h
"""


@pytest.fixture
def explorer() -> Explorer:
    """One that stands on a scenario."""
    made = explore(qtune.load_scenario(ORDERS, name="orders"), target="p95=300ms")
    assert isinstance(made, Explorer)
    return made


def trace(explorer: Explorer, name: str) -> object:
    """A trace of the figure by its name."""
    (found,) = (one for one in explorer.figure.data if one.name == name)
    return found


def test_the_first_view_is_the_scenario_itself(explorer: Explorer) -> None:
    """Figures have the numbers of the run, the words its verdict, the code the scenario."""
    assert explorer.scenario == explorer.base
    curve = qtune.figures.latency_curve(explorer.view.result, warm_up_s=explorer.view.summary.warm_up.cut_s)
    assert np.allclose(trace(explorer, "latency").x, 1000.0 * curve.latency_s)  # type: ignore[attr-defined]
    assert explorer.view.summary.verdict.text in explorer.words.value
    assert "What binds" in explorer.words.value
    assert list(trace(explorer, "all messages").x) == ["send", "queue", "buffer", "service"]  # type: ignore[attr-defined]
    assert "name: orders" in explorer.code.value
    assert list(trace(explorer, "target").x) == [300.0, 300.0]  # type: ignore[attr-defined]


def test_a_slider_changes_the_scenario_the_figures_and_the_words(explorer: Explorer) -> None:
    """With three times the load, six workers do not keep up; what was tried before stays in the picture."""
    before = explorer.words.value
    explorer.sliders[LOAD].value = 3.0
    assert explorer.scenario.arrivals.rate_per_s == pytest.approx(300.0)  # type: ignore[union-attr]
    assert explorer.view.summary.verdict.kind == "unstable"
    assert explorer.words.value != before
    explorer.sliders[LOAD].value = 1.0
    explorer.sliders["consumers.workers"].value = 12
    assert explorer.view.scenario.consumers.workers == 12
    assert len(trace(explorer, "tried").x) == 2  # type: ignore[attr-defined]


def test_moves_that_come_fast_are_one_and_the_last_wins(explorer: Explorer) -> None:
    """A slider that is drawn over ten values runs once, with the tenth."""
    shown = []
    explorer._show = shown.append  # type: ignore[method-assign]

    async def draw() -> None:
        for workers in range(7, 17):
            explorer.sliders["consumers.workers"].value = workers
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)

    asyncio.run(draw())
    assert [view.scenario.consumers.workers for view in shown] == [16]


def test_a_setting_that_cannot_be_is_said_and_the_last_view_stays() -> None:
    """A renewal shorter than the lock gives the words of the error beside the sliders, and nothing else moves."""
    text = ORDERS.replace("{workers: 6,", "{workers: 6, renewal: {max: 1min},")
    explorer = explore(qtune.load_scenario(text, name="orders"))
    assert isinstance(explorer, Explorer)
    before, words = explorer.view, explorer.words.value
    explorer.sliders["consumers.renewal.max_s"].value = 2.0
    assert "a lock already lasts 5s" in explorer.message.value
    assert (explorer.view, explorer.words.value) == (before, words)
    explorer.sliders["consumers.renewal.max_s"].value = 20.0
    assert "lasts" not in explorer.message.value
    assert explorer.view.scenario.consumers.renewal == before.scenario.consumers.renewal.model_copy(
        update={"max_s": 20.0}
    )


@pytest.mark.parametrize("preset", ["sqs-high-throughput", "azure-high-throughput", "memory-testing"])
def test_each_provider_has_the_knobs_that_it_has(preset: str) -> None:
    """Prefetch on Service Bus, batch and wait elsewhere; a lock everywhere; each slider's value is the scenario's."""
    scenario = qtune.load_scenario(ORDERS, name="orders").using(qtune.load_preset(preset))
    paths = {knob.path: knob for knob in knobs_of(scenario)}
    assert ("consumers.prefetch" in paths) is (scenario.queue.provider == "servicebus")
    assert ("consumers.receive_batch" in paths) is (scenario.queue.provider != "servicebus")
    assert any("lock" in path or "visibility" in path for path in paths)
    for path, knob in paths.items():
        assert knob.low <= knob.value <= knob.high, path


@pytest.mark.parametrize(
    ("consumers", "shown"),
    [
        ("{workers: 2}", None),
        ("{workers: 2, receive_wait: 1.5s}", 1.5),
        ("{workers: 2, receive_wait: 3s}", 3.0),
    ],
)
def test_sliders_show_what_the_client_does_and_change_nothing_by_themselves(
    consumers: str, shown: float | None
) -> None:
    """A wait that the scenario does not name is that of its client, and one of half seconds stays what it is."""
    text = ORDERS.replace("{workers: 6, receive_wait: 1s}", consumers)
    explorer = explore(qtune.load_scenario(text, name="orders"))
    assert isinstance(explorer, Explorer)
    wait_s = explorer.base.behaviour().wait_s if shown is None else shown
    assert explorer.sliders["consumers.receive_wait_s"].value == pytest.approx(wait_s)
    assert explorer.scenario == explorer.base


def test_recommend_puts_its_answer_on_the_sliders(explorer: Explorer) -> None:
    """And the preset that is saved then is the one that recommend itself would have written."""
    explorer.sliders["consumers.workers"].value = 20
    explorer.recommend().join()
    assert explorer.answer is not None
    assert explorer.sliders["consumers.workers"].value == explorer.answer.scenario.consumers.workers
    assert explorer.view.scenario == explorer.answer.scenario
    assert "USD a month" in explorer.message.value
    assert not explorer.recommends.disabled


def test_a_target_that_nothing_meets_is_said(explorer: Explorer) -> None:
    """The words of the refusal stand beside the sliders."""
    explorer.target = "p95=1ms"
    explorer.recommend().join()
    assert explorer.answer is None
    assert "p95" in explorer.message.value


def test_saving_writes_what_the_sliders_say_and_never_over_a_file(explorer: Explorer, tmp_path: Path) -> None:
    """A scenario that loads again as it stands; a second time the file is not touched."""
    explorer.file.value = str(tmp_path / "mine.yaml")
    explorer.sliders["consumers.workers"].value = 9
    explorer.save()
    written = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert qtune.load_scenario(written, name="mine") == explorer.scenario
    explorer.save()
    assert "exists" in explorer.message.value
    assert (tmp_path / "mine.yaml").read_text(encoding="utf-8") == written


def test_viewers_without_a_kernel_see_the_static_report(explorer: Explorer) -> None:
    """The bundle has the widget and, for viewers that know none, HTML with figures."""
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "<svg" in bundle["text/html"]


def test_without_widgets_a_static_report_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing is said, with the command that installs it."""
    monkeypatch.setattr("qtune.ui.explorer.widget.NEEDS", ("ipywidgets", "a_module_that_is_not_there"))
    shown = explore(qtune.load_scenario(ORDERS, name="orders"))
    assert "<svg" in shown.to_html()  # type: ignore[attr-defined]
    assert "a_module_that_is_not_there" in capsys.readouterr().err
