"""How long a slider's move takes to become figures, words and code, at 1,000 messages a second."""

from __future__ import annotations

import time

from measure import Row, Spread

import qtune
from qtune.ui.explorer import Explorer, explore
from qtune.ui.explorer.widget import MERGE_S

BAR_MS = 150.0
SCENARIO = """
name: a thousand a second
arrivals: {kind: poisson, rate: 1000/s}
service_time: {family: lognormal, mean: 20ms, p95: 60ms}
queue: {provider: sqs, visibility_timeout: 30s}
consumers: {instances: 4, workers: 16, receive_batch: 10, receive_wait: 20s}
horizon: 1h
"""


def compare_moves(quick: bool, _full: bool) -> list[Row]:
    """From the event of a slider to the last figure that is sent, with the time in which moves are merged."""
    explorer = explore(qtune.load_scenario(SCENARIO, name="a thousand a second"))
    assert isinstance(explorer, Explorer)
    explorer._make_live()
    slider = explorer.sliders["consumers.workers"]
    taken_ms = []
    for number in range(5 if quick else 40):
        started_s = time.perf_counter()
        slider.value = 12 + number % 7  # without an event loop, this returns when all has been shown
        taken_ms.append(1000.0 * (time.perf_counter() - started_s + MERGE_S))
    spread = Spread.of(taken_ms[1:])
    return [
        Row(
            what="a slider's move at 1,000 messages/s, to figures and words",
            bar=f"{BAR_MS:.0f} ms",
            measured=spread.text(" ms"),
            met=spread.middle < BAR_MS,
            command="python benchmarks/run.py explorer",
            notes=("without what the browser takes to draw",),
        )
    ]
