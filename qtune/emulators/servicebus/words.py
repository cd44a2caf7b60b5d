"""An emulator as the command line describes it: with times that carry their units."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtune.broker import HandsOutTo
from qtune.emulators.servicebus.emulator import ServiceBusEmulator
from qtune.emulators.servicebus.faults import Faults
from qtune.errors import InputError, Problem
from qtune.units import parse_duration


def emulator_of(
    *,
    queues: Sequence[str],
    session_queues: Sequence[str],
    lock: str,
    max_delivery_count: int,
    hand_out: HandsOutTo,
    rtt: str,
    server_busy_every: int,
    drop_after: int,
    late_disposition: str,
    host: str,
    port: int,
) -> ServiceBusEmulator:
    """An emulator that has not been started; a queue that is not named here is made when a client first names it.

    lock, rtt, late_disposition: such as "30s" or "20ms". InputError: one of the values cannot be used.
    """
    settings = {"lock_duration": lock, "max_delivery_count": max_delivery_count}
    with_sessions = {**settings, "requires_session": True}
    return ServiceBusEmulator(
        queues={name: settings for name in queues} | {name: with_sessions for name in session_queues},
        settings=settings,
        hands_out_to=hand_out,
        faults=Faults(
            rtt_s=_delay_s(rtt, "--rtt"),
            server_busy_every=server_busy_every,
            drop_after=drop_after,
            late_disposition_s=_delay_s(late_disposition, "--late-disposition"),
        ),
        host=host,
        port=port,
    )


def _delay_s(given: str, where: str) -> float:
    delay_s = parse_duration(given, where=where)
    if not 0 <= delay_s < math.inf:
        raise InputError(Problem(where=where, value=given, message="a delay is at least 0s, and ends"))
    return delay_s
