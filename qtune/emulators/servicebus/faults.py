"""What an emulated namespace does worse than a perfect one; every knob can be turned while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class Faults:
    """Trouble that a namespace makes on purpose; the default makes none.

    rtt_s: round trip time of the network: half of it passes before a client's bytes are looked at, and half before
        the answer is written. It delays and does not limit bandwidth.
    server_busy_every: every so many sends to a queue are refused as a throttled namespace does; 0: none.
    drop_after: a connection is cut without a word after so many messages, in both directions; 0: never.
    late_disposition_s: a settlement takes effect at once, and is answered this much later.
    """

    rtt_s: float = 0.0
    server_busy_every: int = 0
    drop_after: int = 0
    late_disposition_s: float = 0.0


@dataclass(kw_only=True, slots=True)
class Traffic:
    """What a namespace has counted besides its queues' own counters.

    connections: opened so far. connections_open: now. dropped: cut by a fault. malformed: closed because their bytes
    were no AMQP. busy: sends refused by a fault.
    """

    connections: int = 0
    connections_open: int = 0
    dropped: int = 0
    malformed: int = 0
    busy: int = 0
