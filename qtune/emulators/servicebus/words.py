"""An emulator as the command line describes it: with times that carry their units."""

from __future__ import annotations

from collections.abc import Sequence

from qtune.broker import HandsOutTo
from qtune.emulators.servicebus.emulator import ServiceBusEmulator
from qtune.emulators.servicebus.faults import Faults
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
        queues=dict.fromkeys(queues, settings) | dict.fromkeys(session_queues, with_sessions),
        settings=settings,
        hands_out_to=hand_out,
        faults=Faults(
            rtt_s=parse_duration(rtt, where="--rtt"),
            server_busy_every=server_busy_every,
            drop_after=drop_after,
            late_disposition_s=parse_duration(late_disposition, where="--late-disposition"),
        ),
        host=host,
        port=port,
    )
