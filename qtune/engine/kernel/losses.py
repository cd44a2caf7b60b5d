"""What a consumer that ends takes with it: deliveries that nobody will ever settle."""

from __future__ import annotations

from qtune.engine.kernel.compiled import rare
from qtune.result import DELIVERY_LOST, DELIVERY_OPEN


@rare()
def lose(w, delivery):  # type: ignore[no-untyped-def]
    """A delivery is lost with its consumer."""
    row = w.deliveries[delivery & (len(w.deliveries) - 1)]
    if row.outcome == DELIVERY_OPEN:
        row.outcome = DELIVERY_LOST


@rare()
def lose_unheard(w, consumer):  # type: ignore[no-untyped-def]
    """Messages of a session that came when it was closed are in no buffer; the broker waits for the close in vain."""
    for delivery in range(w.broker.deliveries_from, w.broker.deliveries):
        if w.deliveries[delivery & (len(w.deliveries) - 1)].consumer == consumer:
            lose(w, delivery)


@rare()
def lose_background(w, consumer):  # type: ignore[no-untyped-def]
    """Settles and releases of a consumer that are on their way never arrive."""
    for place in range(w.broker.background):
        step = w.background[place]
        if step.receiver >= 0 and w.receivers[step.receiver].consumer == consumer:
            lose(w, step.delivery)
            step.receiver = -1
