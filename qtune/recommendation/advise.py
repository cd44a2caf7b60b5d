"""The door of the recommender: a scenario and targets in, the cheapest setting that meets them out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from qtune.analysis import explain
from qtune.recommendation.account import assumptions_of, failures, nothing_found
from qtune.recommendation.budget import Budget, BudgetSpentError, Progress
from qtune.recommendation.confirm import Confirmation, confirm
from qtune.recommendation.headroom import headroom
from qtune.recommendation.probe import probe
from qtune.recommendation.question import pose
from qtune.recommendation.recommendation import Effort, Probe, Recommendation
from qtune.recommendation.refusal import refuse_the_impossible
from qtune.recommendation.screen import Screen
from qtune.recommendation.search import Search, pick
from qtune.recommendation.space import space_of
from qtune.recommendation.trials import Laboratory, Trial
from qtune.scenario import Scenario
from qtune.targets import Targets
from qtune.units import format_count

_RUNNERS_UP: Final = 5
_DEEPER: Final = (8, 16)


def recommend(
    scenario: Scenario,
    targets: Targets | str | Iterable[str],
    *,
    seed: int | None = None,
    keep: str | Iterable[str] = (),
    most_workers: int | None = None,
    most_instances: int | None = None,
    budget: Budget | None = None,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Recommendation:
    """The cheapest setting of the consumers that meets every target, confirmed by runs that did not choose it.

    scenario: the workload, the provider, the client, the cores and the price of an instance are taken as given;
    instances, workers and the ways to receive and settle are searched. targets: a Targets, or its text.
    seed: the first of all seeds; None takes the scenario's. The same seed gives the same answer.
    keep: paths that stay as they are, such as "consumers.prefetch". most_workers, most_instances: the largest
    fleet to consider; None: 64 each, or what the scenario has if that is more. budget: how much to simulate.
    threads: runs at the same time; None: one for each processor. on_progress: called while it works.

    A throughput above what the scenario offers raises its load to that rate, with the same course; a steady load
    is simulated for as long as the precision needs. Both are said in ``notes``. A setting that does not come back
    from a pause of two lock periods, or that loses more than 0.1 % of its locks, is never the answer.

    Infeasible (an AnswerIsNo) when no setting of the space meets the targets, at once when theory can tell, with
    the floors or the nearest misses in its data. InputError when the question cannot be asked.
    """
    start_s = time.perf_counter()
    asked = targets if isinstance(targets, Targets) else Targets.parse(targets)
    used = Budget() if budget is None else budget
    question = pose(scenario, asked, used.most_messages_per_run)
    space = space_of(question.scenario, keep, most_workers, most_instances)
    screen = Screen(question, space)
    possible = refuse_the_impossible(screen)
    laboratory = Laboratory(
        question,
        screen,
        seed=question.scenario.seed if seed is None else seed,
        budget=used,
        threads=threads,
        on_progress=on_progress,
    )
    prober = Prober(laboratory)
    search = Search(laboratory, possible)
    chosen, confirmation, notes = _choose(search, prober)
    taken = headroom(laboratory, chosen)
    runners_up = _runners_up(search, prober, chosen)
    return Recommendation(
        scenario=confirmation.scenario,
        asked=scenario,
        settings=space.settings(confirmation.scenario),
        targets=asked,
        checks=confirmation.checks,
        summary=confirmation.summary,
        probe=prober.probes[chosen],
        headroom=taken,
        explanation=explain(confirmation.summary),
        runners_up=tuple(trial.candidate(space.settings(trial.scenario)) for trial in runners_up),
        failed=failures(laboratory, possible),
        seeds=confirmation.seeds,
        effort=Effort(
            candidates=len(laboratory.trials),
            runs=laboratory.runs,
            messages=laboratory.messages,
            wall_s=time.perf_counter() - start_s,
        ),
        assumptions=assumptions_of(laboratory, confirmation),
        notes=(*question.notes, *notes),
    )


class Prober:
    """Probes candidates, each once, and remembers what came of it."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self.probes: dict[Trial, Probe] = {}

    def comes_back(self, trial: Trial) -> bool:
        """Whether a candidate comes back from a pause; one that does not is no answer any more."""
        if trial not in self.probes:
            found = self.probes[trial] = probe(self._laboratory, trial)
            if not found.came_back:
                trial.fate, trial.reason = "does not come back", found.text
        return self.probes[trial].came_back


def _choose(search: Search, prober: Prober) -> tuple[Trial, Confirmation, list[str]]:
    """Search and confirm in turn, until a candidate stands by runs of its own."""
    notes: list[str] = []
    laboratory = search.laboratory
    refused = attempts = 0
    while True:
        try:
            if not notes:
                search.explore()
        except BudgetSpentError:
            notes.append("the budget ended the search: a cheaper setting may exist")
            for trial in laboratory.trials.values():
                if trial.passed and trial not in search.pool:
                    search.add(trial)
        if not search.pool:
            raise nothing_found(laboratory, bool(notes))
        chosen = pick(search.pool)
        try:
            if refused:
                laboratory.deepen(chosen, _DEEPER[min(refused, len(_DEEPER)) - 1])
            if chosen.passed and prober.comes_back(chosen):
                attempts += 1
                found = confirm(laboratory, chosen, attempts)
                if not found.reason:
                    return chosen, found, [*notes, *_how_sure(laboratory, found, attempts)]
                chosen.fate, chosen.reason = "misses", f"by fresh runs {found.reason}"
                refused += 1
                search.refuse(chosen)
            else:
                search.replace(chosen)
        except BudgetSpentError:
            notes.append("the budget ended the search: a cheaper setting may exist")
            search.pool = [trial for trial in search.pool if trial.passed and trial is not chosen]


def _how_sure(laboratory: Laboratory, found: Confirmation, attempt: int) -> list[str]:
    runs = len(found.seeds)
    notes = [
        f"chosen among {len(laboratory.trials)} simulated settings and confirmed by {runs} fresh runs: every target "
        f"is met by the end of an interval of {100.0 * found.level:.4g} %, so that "
        f"{format_count(attempt, 'attempt')} at confirmation and three looks at each err in at most 5 % of the cases "
        "together",
        "cheapest: ways to receive and settle that were left out cost more, by their least bill or by one run; within "
        "one, more workers are taken to be no slower, and a cheaper setting may have been passed over by chance or "
        "as too close to call",
    ]
    if found.width > 0.05:
        notes.append(f"the p95 is known to ±{100.0 * found.width:.2g} % only")
    return notes


def _runners_up(search: Search, prober: Prober, chosen: Trial) -> list[Trial]:
    """The next cheapest that meet everything, with the present way to receive among them, and near misses."""
    good: list[Trial] = []
    seen = {(chosen.style, chosen.instances)}
    try:
        now = search.present()
    except BudgetSpentError:
        now = None
    trials = search.laboratory.trials.values()
    ordered = sorted((t for t in trials if t.passed), key=lambda t: (t.usd, t.workers * t.instances))
    for trial in [*([now] if now is not None else []), *ordered]:
        if len(good) == _RUNNERS_UP - 2:
            break
        if (trial.style, trial.instances) not in seen and prober.comes_back(trial):
            seen.add((trial.style, trial.instances))
            good.append(trial)
    good.sort(key=lambda t: (t.usd, t.workers * t.instances))
    near = sorted(
        (t for t in trials if t.fate in ("misses", "open") and t.figures), key=lambda t: (t.excess, t.usd)
    )
    return [*good, *near[: _RUNNERS_UP - len(good)]]
