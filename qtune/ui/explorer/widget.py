"""The explorer as a widget: sliders beside words and figures, and buttons that use both."""

from __future__ import annotations

import asyncio
import html
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import qtune
from qtune.ui.explorer.knobs import Knob, knobs_of, steps_of
from qtune.ui.explorer.plots import empty_figure, fill
from qtune.ui.explorer.view import View, scenario_at, target_s, view_of

if TYPE_CHECKING:
    import ipywidgets as widgets

MERGE_S: Final = 0.02
"""Moves that come within so long of each other become one: a slider sends many."""

NEEDS: Final = ("ipywidgets", "plotly", "anywidget")

STARTING: Final = """
name: a first queue
arrivals: {kind: poisson, rate: 100/s}
service_time: {family: lognormal, mean: 50ms, p95: 150ms}
queue: {provider: sqs, visibility_timeout: 30s}
consumers: {workers: 8, receive_batch: 10, receive_wait: 20s}
horizon: 10min
"""


def explore(scenario: qtune.Scenario | None = None, *, target: str = "p95=500ms") -> object:
    """Sliders for a scenario, and live figures, words and costs of what it does: an :class:`Explorer` to show.

    scenario: None: a small SQS queue to begin with. target: what the button `recommend` asks for; the bound of one for
    p95 is drawn.

    Without ipywidgets, plotly or anywidget, which are in qtune[notebook], the static report of one run stands in its
    place, and what is missing is said. InputError for a target that cannot be read.
    """
    given = qtune.load_scenario(STARTING, name="a first queue") if scenario is None else scenario
    qtune.Targets.parse(target)
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        print(
            f"qtune: no sliders without {', '.join(missing)}: pip install 'qtune[notebook]'", file=sys.stderr
        )
        return qtune.describe(view_of(given).result)
    return Explorer(given, target)


class Explorer:
    """Sliders, figures and words of one scenario.

    scenario: what the sliders say now. view: the last run of it. Show it as the last line of a cell.
    """

    def __init__(self, scenario: qtune.Scenario, target: str) -> None:
        import ipywidgets as widgets

        self.base, self.target = scenario, target
        self.view: View = view_of(scenario)
        self.answer: qtune.Recommendation | None = None
        self.tried: list[tuple[float, float]] = []
        self._asked = False
        self._knobs = knobs_of(scenario)
        self.sliders: dict[str, Any] = {knob.path: _slider(widgets, knob) for knob in self._knobs}
        for slider in self.sliders.values():
            slider.observe(self._moved, "value")
        self.figure: Any = empty_figure()  # of the live kind when it is displayed
        self.words, self.message = widgets.HTML(), widgets.HTML()
        self.code = widgets.HTML()
        self.file = widgets.Text(value="preset.yaml", description="file", layout={"width": "220px"})
        self.bar = widgets.IntProgress(min=0, max=100, layout={"width": "220px", "visibility": "hidden"})
        self.recommends = _button(widgets, f"recommend for {target}", self.recommend)
        self.saves = _button(widgets, "save as preset", self.save)
        buttons = widgets.VBox([self.recommends, self.bar, self.file, self.saves, self.message])
        left = widgets.VBox([*self.sliders.values(), buttons], layout={"min_width": "330px"})
        code = widgets.Accordion([self.code], titles=("the same in Python",))
        self._right = widgets.VBox([self.words, code], layout={"flex": "1 1 auto", "overflow": "auto"})
        self.widget: widgets.HBox = widgets.HBox([left, self._right])
        self._show(self.view)

    # -- what it shows -----------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """The widget, and beside it the static report of the view for viewers that cannot run one."""
        self._make_live()
        bundle: dict[str, Any] = dict(self.widget._repr_mimebundle_())
        report = qtune.describe(self.view.result)
        return {**bundle, "text/html": report.to_html(), "text/plain": report.to_text()}

    def _make_live(self) -> None:
        """Put a live figure with all data so far into its place: one that is shown late misses what was sent before."""
        import plotly.graph_objects as go

        self.figure = go.FigureWidget(go.Figure(self.figure))
        words, code = self._right.children[0], self._right.children[-1]
        self._right.children = (words, self.figure, code)

    @property
    def scenario(self) -> qtune.Scenario:
        """What the sliders say. InputError when it contradicts itself."""
        moved = {}
        for knob in self._knobs:
            value = self.sliders[knob.path].value
            if value != knob.value:
                moved[knob.path] = round(value) if knob.whole else value
        return scenario_at(self.base, moved)

    def refresh(self) -> None:
        """Run what the sliders say, and show it; a setting that cannot be is said, and the last view stays."""
        self._asked = False
        try:
            view = view_of(self.scenario)
        except qtune.InputError as error:
            self._say(str(error), bad=True)
            return
        self._say("")
        self._show(view)

    def _show(self, view: View) -> None:
        self.view = view
        if view.p95_s == view.p95_s:  # a queue that does not keep up has none
            self.tried.append((view.month_usd, view.p95_s))
        fill(self.figure, view.result, view.summary, self.tried, target_s(self.target))
        self.words.value = view.words()
        text = qtune.dump_scenario(view.scenario)
        lines = f'import qtune\n\nscenario = qtune.load_scenario("""\n{text}""")\nqtune.predict(scenario)'
        self.code.value = f"<pre>{html.escape(lines)}</pre>"

    def _say(self, text: str, *, bad: bool = False) -> None:
        color = "color: #d9480f" if bad else ""
        self.message.value = f'<div style="max-width: 300px; {color}">{html.escape(text)}</div>'

    # -- what moves it -----------------------------------------------------------------------------------------

    def _moved(self, _change: object) -> None:
        """Run soon: what arrives until then is part of the same move, and the last value wins."""
        if self._asked:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no notebook: nothing comes that could be waited for
            self.refresh()
            return
        self._asked = True
        loop.call_later(MERGE_S, self.refresh)

    def recommend(self) -> threading.Thread:
        """Search for the cheapest setting, beside the notebook, and put the answer on the sliders."""
        self.recommends.disabled, self.bar.layout.visibility, self.bar.value = True, "visible", 0
        searching = threading.Thread(target=self._search, daemon=True)
        searching.start()
        return searching

    def _search(self) -> None:
        def tell(progress: Any) -> None:
            self.bar.value = min(99, self.bar.value + 1)
            self._say(f"{progress.stage}: {progress.candidates} settings, {progress.runs} runs")

        try:
            found = qtune.recommend(self.scenario, self.target, on_progress=tell)
        except qtune.QtuneError as error:  # the answer may be no, and then it says why
            self._say(str(error), bad=True)
        else:
            self.take(found)
        finally:
            self.recommends.disabled, self.bar.layout.visibility = False, "hidden"

    def take(self, found: qtune.Recommendation) -> None:
        """Put an answer on the sliders, and show it."""
        self.answer, self.base = found, found.scenario
        self._knobs = tuple(knob for knob in knobs_of(found.scenario) if knob.path in self.sliders)
        self._asked = True  # all sliders at once, and one run after the last
        for knob in self._knobs:
            slider = self.sliders[knob.path]
            if knob.is_log:
                slider.options = [(f"{value:.3g}", value) for value in steps_of(knob)]
            slider.value = knob.value
        self.refresh()
        settings = ", ".join(f"{path.split('.')[-1]} {value}" for path, value in found.settings.items())
        self._say(f"found: {settings}; {found.month_usd.value:.2f} USD a month")

    def save(self) -> None:
        """Write the preset: the answer with its evidence while the sliders stand on it, otherwise the scenario."""
        try:
            path = self._write(Path(self.file.value))
        except (qtune.QtuneError, OSError) as error:
            self._say(str(error), bad=True)
            return
        self._say(f"written: {path}")

    def _write(self, path: Path) -> Path:
        if self.answer is not None and self.scenario == self.answer.scenario:
            return qtune.export(self.answer, path)
        with path.open("x", encoding="utf-8") as file:
            file.write(qtune.dump_scenario(self.scenario))
        return path


def _slider(widgets: Any, knob: Knob) -> Any:
    """The widget of one knob, which tells every move."""
    common = {
        "description": knob.label,
        "style": {"description_width": "150px"},
        "layout": {"width": "320px"},
        "continuous_update": True,
    }
    if knob.is_log:
        options = [(f"{value:.3g}", value) for value in steps_of(knob)]
        return widgets.SelectionSlider(options=options, value=knob.value, **common)
    if knob.whole:
        return widgets.IntSlider(value=int(knob.value), min=int(knob.low), max=int(knob.high), **common)
    return widgets.FloatSlider(value=knob.value, min=knob.low, max=knob.high, step=0.1, **common)


def _button(widgets: Any, text: str, press: Callable[[], object]) -> Any:
    button = widgets.Button(description=text, layout={"width": "220px"})
    button.on_click(lambda _: press())
    return button
