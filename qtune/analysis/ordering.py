"""Rule R7 for the client: where a queue is ordered by group, its workers must keep to that order too."""

from __future__ import annotations

from collections.abc import Iterator

from qtune.analysis.finding import Finding
from qtune.analysis.setup import Setup


def order_findings(setup: Setup) -> Iterator[Finding]:
    """R7 for a receiver whose workers take messages of one group at the same time; none where order is kept.

    The queue hands out as many messages of one group to one receive as it takes. In hand they are the client's matter.
    """
    behaviour = setup.behaviour
    if setup.semantics.hands_out != "by group" or behaviour.keeps_order:
        return
    at_once = min(setup.most_per_receive, setup.workers_each // behaviour.receivers)
    change = "consumers.keep_group_order: true, or consumers.receive_batch: 1" if at_once > 1 else ""
    yield Finding(
        rule="R7",
        subject="order in a group",
        ratio=float(at_once),
        text=f"{at_once} workers may handle messages of one group at the same time, and only one keeps their order",
        change=change,
    )
