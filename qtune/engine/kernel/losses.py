"""What a consumer that ends, or a connection that breaks, takes with it: deliveries that nobody will ever settle."""

from __future__ import annotations

from qtune.engine.kernel.clients import broke_since
from qtune.engine.kernel.compiled import rare
from qtune.engine.kernel.polls import REFUSED
from qtune.result import DELIVERY_LOST, DELIVERY_OPEN


@rare()
def lose(w, delivery):  # type: ignore[no-untyped-def]
    """A delivery is lost with who had it."""
    row = w.deliveries[delivery & (len(w.deliveries) - 1)]
    if row.outcome == DELIVERY_OPEN:
        row.outcome = DELIVERY_LOST


@rare(False)
def lose_answer(w, receiver, now_s):  # type: ignore[no-untyped-def]
    """Whether the connection of a poll has broken before its answer lands, which is lost then with all it brings."""
    row = w.receivers[receiver]
    if not broke_since(w, row.start_s, now_s):
        return False
    for place in range(row.landed, row.tail):
        lose(w, w.buffer[receiver, place & (w.buffer.shape[1] - 1)])
    row.tail = row.landed
    row.state = REFUSED
    return True


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
