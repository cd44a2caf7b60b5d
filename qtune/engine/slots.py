"""The order of equal times: one slot for each actor of a plan.

Time is a float64 of seconds from the start of the run. Everything that happens is the event of a *slot*: one actor's
place in the calendar, with at most one pending instant. What happens at equal times is decided by the slot's number,
smallest first, in this order:

    arrivals            a message falls due (before anything else of that instant sees the queue)
    workers             a handler begins an attempt that may have to wait, a handler ends, a settle is confirmed
    background          settles and releases that no worker waits for, by delivery number
    requests            a poll or credit reaches the broker, a long poll runs out, a response lands (polling)
    landings            messages that the broker pushed reach the client (links)
    timers              a receive call's deadline, the client's keep-alive (links); no session, or no message in it
    renewers            a lock renewal is called, or takes effect
    senders             a send reaches the broker, has been served there, or is answered
    customers           a customer of the closed loop has thought
    gathering           the oldest message that waits for a sender has waited for others long enough
    refill              a period of a rate limit begins or an outage ends, and deliveries that it held up go on
    delays              the delay of messages ends, and they can be received
    pause               a pause of all handlers ends
    scaler              the scaler looks at the queue and decides
    fleet               a consumer starts, is told to stop or is killed; starts and ends come before new orders
    samples             the state is written down
    locks               a lock runs out (so a settle at the very end of its lock is still in time)
    retention           a message has outlived its retention

Both engines read these numbers from :func:`slots_of`.
"""

from __future__ import annotations

from typing import NamedTuple

from qtune.engine.plan import BY_SESSION, LINK_BURST, POLL, Plan


class Slots(NamedTuple):
    """First slot number of each kind of actor; ``total`` slots in the calendar, the two queues after them."""

    workers: int
    background: int
    requests: int
    landings: int
    timers: int
    renewers: int
    senders: int
    customers: int
    gathering: int
    refill: int
    delays: int
    pause: int
    scaler: int
    fleet: int
    samples: int
    total: int

    @property
    def arrivals(self) -> int:
        """Rank of an arrival: before every slot."""
        return -1

    @property
    def locks(self) -> int:
        """Rank of a lock that runs out: after every slot."""
        return self.total

    @property
    def retention(self) -> int:
        """Rank of a message that outlives its retention: last of all."""
        return self.total + 1


def slots_of(plan: Plan) -> Slots:
    """The slot numbers of a plan's actors: the order of equal times, and the calendar's layout."""
    links = plan.receivers_total if plan.discipline != POLL else 0
    by_session = plan.hands_out == BY_SESSION
    timed = plan.receivers_total if plan.discipline == LINK_BURST or by_session else 0
    sizes = (
        plan.workers_total,
        1,
        plan.receivers_total,
        links,
        timed,
        plan.receivers_total if by_session else plan.consumers * plan.renewers,
        plan.senders,
        plan.customers,
        1,
        1,
        1 if plan.delay_s > 0.0 else 0,
        1,
        1 if plan.scale_every_s > 0.0 else 0,
        1 if plan.fleet_changes else 0,
        1,
    )
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return Slots(*starts)
