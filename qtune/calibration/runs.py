"""The runs of a calibration, kept in a folder, so that one that was broken off goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from qtune.calibration.place import Place
from qtune.conditions import BUSY
from qtune.errors import InputError, Problem, ProviderFailure
from qtune.measurement import Live, measure
from qtune.result import Result
from qtune.scenario import Scenario

AROUND_S: Final = 2.0
"""What a run takes beside its horizon: processes begin and end, and a queue is made and removed."""

TRIES: Final = 3
"""So often a run is made at most."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a calibration is: what it does, and seconds of how many, of all its runs."""

    doing: str
    done_s: float
    of_s: float


Watch = Callable[[Progress], None]


class Runs:
    """Measures scenarios on one place, each once.

    folder: where each is kept under its name; None: nowhere. of_s: how long all of them will take. busiest: a run on a
    machine that was busier is made again, in the hope that others leave it alone then.
    """

    def __init__(
        self, place: Place, folder: Path | None, watch: Watch, of_s: float, busiest: float = BUSY
    ) -> None:
        self.place, self.folder, self.of_s, self.busiest = place, folder, of_s, busiest
        self.done_s = 0.0
        self._watch = watch
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._check_same_place(folder / "place.json")

    def tell(self, doing: str) -> None:
        """Say what is done between runs."""
        self._watch(Progress(doing=doing, done_s=self.done_s, of_s=self.of_s))

    def __call__(self, scenario: Scenario) -> Result:
        """The run of a scenario: the one that is kept, or one that is measured now and kept.

        InputError when another scenario is kept under its name; ProviderFailure when nothing was done in the run.
        """
        path = None if self.folder is None else self.folder / f"{scenario.name}.npz"
        if path is not None and path.exists():
            result = self._kept(path, scenario)
        else:
            self.tell(f"measuring {scenario.name}")
            result = self._believable(scenario)
            if path is not None:
                unfinished = result.save(path.with_name(f"unfinished-{path.name}"))
                unfinished.replace(path)
        self.done_s += scenario.horizon_s + AROUND_S
        return result

    def _believable(self, scenario: Scenario) -> Result:
        """The run of a scenario, tried again when the machine was too busy; the last try as it is."""
        for attempt in range(TRIES):
            result = _with_work(self.measured(scenario))
            busy = 0.0 if result.conditions is None else result.conditions.utilization_mean
            if not busy > self.busiest or attempt == TRIES - 1:
                break
            self.tell(f"measuring {scenario.name} again, as the machine was {busy:.0%} busy")
        return result

    def measured(self, scenario: Scenario) -> Result:
        """The run of a scenario on the place, now."""
        place, doing = self.place, f"measuring {scenario.name}"

        def watch(live: Live) -> None:
            self._watch(Progress(doing=doing, done_s=self.done_s + live.time_s, of_s=self.of_s))

        return measure(
            scenario, endpoint=place.endpoint, queue=place.queue, takes_over=place.takes_over, watch=watch
        )

    def _kept(self, path: Path, scenario: Scenario) -> Result:
        kept = Result.load(path)
        if kept.scenario != scenario:
            message = "this run is of another calibration: give another folder, or remove this one"
            raise InputError(Problem(where="runs", value=str(path), message=message))
        return kept

    def _check_same_place(self, path: Path) -> None:
        """Runs of two servers are not mixed."""
        place = self.place
        about = {
            "provider": place.provider,
            "client": place.client,
            "server": place.server,
            "tier": place.tier,
        }
        if not any(path.parent.glob("*.npz")):
            path.write_text(json.dumps(about), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != json.dumps(about):
            message = (
                "this folder holds runs of another server or client: give another folder, or remove this one"
            )
            raise InputError(Problem(where="runs", value=str(path.parent), message=message))


def _with_work(run: Result) -> Result:
    """The run, if any message was completed in it: otherwise it tells nothing, and is not kept."""
    if np.isnan(run.messages["completed_s"]).all():
        raise ProviderFailure(
            f"measuring {run.scenario.name}: of {len(run.messages)} messages none was completed within "
            f"{run.horizon_s:g} s; is the server well? The runs before are kept: calibrate again to go on"
        )
    return run
