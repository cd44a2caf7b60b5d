"""The floor of the latency, which no run can beat, and an approximation of it to screen settings by.

The floor is never above what a run can reach in the long run, so a target below it is out of reach.
Everything that may make a message wait but need not (other messages, lost locks, failures) is left out.
"""

from __future__ import annotations

import math

import numpy as np

from qtune.analysis.capacity import capacity_of, receive_round_trip_s
from qtune.analysis.grids import low_grid, low_grid_of_parts, low_grid_of_sum, low_sum_quantile
from qtune.analysis.setup import Setup, setup_of
from qtune.analysis.theory import GGc
from qtune.distributions import Uniform
from qtune.scenario import Scenario


def floor_s(scenario: Scenario, p: float) -> float:
    """A latency that the ``p`` quantile of no run of this scenario can beat in the long run, in seconds."""
    return floor_of(setup_of(scenario), p)


def floor_of(setup: Setup, p: float) -> float:
    """The least ``p`` quantile: half a send, the delay, the wait for a poll, half a receive, and one service.

    With a client that lingers for a full batch, also what one message in each batch must wait.
    """
    fixed_s = setup.behaviour.message_cost_s + (setup.handler.per_call_s or 0.0) + setup.semantics.delay_s
    around = [setup.calls.receive.scaled(0.5)]
    if setup.senders:
        around.append(setup.calls.send.scaled(0.5))
    if (gap_s := poll_gap_s(setup)) > 0.0:
        around.append(Uniform(0.0, gap_s))
    whole = low_grid_of_parts(setup.service, *around)
    least_s = setup.service.quantile(p) + sum(float(low_grid(part)[0]) for part in around)
    least_s = max(least_s, low_sum_quantile([whole], p))
    share = lingering_share(setup)
    if share > 1.0 - p:
        others = low_grid_of_sum(setup.service, setup.behaviour.batch - 1)
        lingering = np.minimum(others, setup.behaviour.linger_s)
        within = 1.0 - (1.0 - p) / share
        least_s = max(least_s, low_sum_quantile([whole, lingering], within))
    return fixed_s + least_s


def poll_gap_s(setup: Setup) -> float:
    """The least mean time between two polls that reach the broker, when polls do not wait there; otherwise 0.

    A message that falls due independently of the polls waits at least as long as if polls came evenly, and
    then evenly between 0 and this gap. Polls pause after finding nothing, and at most one poll finds each
    message.
    """
    behaviour = setup.behaviour
    independent = setup.arrivals == "poisson" and not setup.senders
    if behaviour.discipline != "poll" or behaviour.wait_s > 0.0 or not independent:
        return 0.0
    assert setup.rate_per_s is not None
    pause_s = behaviour.idle_pause_s
    return (receive_round_trip_s(setup) + pause_s) / (setup.receivers + setup.rate_per_s * pause_s)


def lingering_share(setup: Setup) -> float:
    """The share of messages that surely wait for others of their batch; 0 for clients that do not linger.

    A call of such a client returns early with its batch full, and then the worker handles the last message
    after all others; or it returns late, and then its first message has waited as long as the client
    lingers. Either way at least one message in a batch waits, but for calls whose time runs out just when a
    message comes.
    """
    behaviour = setup.behaviour
    lingers = behaviour.discipline == "link_burst" and behaviour.linger_s > 0.0 and behaviour.batch > 1
    if not lingers or behaviour.prefetch or behaviour.drops_expired or setup.rate_per_s is None:
        return 0.0
    if setup.most_per_call > 1:  # then no message waits for the handling of those before it
        return 0.0
    longest_s = behaviour.wait_s - behaviour.linger_s
    if longest_s <= 0.0:
        return 0.0
    cut_short = setup.receivers / (longest_s * setup.rate_per_s)
    return max(1.0 / behaviour.batch - cut_short, 0.0)


def approximate_latency_s(scenario: Scenario, p: float) -> float:
    """About the ``p`` quantile of the latency, by Allen and Cunneen's formula: to screen by, not a bound.

    Workers are the servers, and a message keeps one for as long as the capacity says. What happens around
    (sends, receives, polls) is added as in the floor. Infinite when the offered load reaches the capacity.

    It is near (15 % at loads up to 80 %) where a free worker gets the oldest message, and too low where
    messages wait in batches or buffers while workers are idle, and where handlers fail.
    """
    return approximate_of(setup_of(scenario), p)


def approximate_of(setup: Setup, p: float) -> float:
    """The same for a setup; a closed loop has no arrival rate, and gets NaN."""
    if setup.rate_per_s is None:
        return math.nan
    # What else than the workers limits the throughput is taken as if it kept the workers busy.
    held_s = setup.workers / capacity_of(setup).per_s
    queue = GGc(
        arrival_per_s=setup.rate_per_s,
        service=setup.service,
        servers=setup.workers,
        arrival_scv=setup.arrival_scv,
        held_mean_s=held_s,
    )
    return queue.sojourn_quantile_s(p) + floor_of(setup, p) - setup.service.quantile(p)
