"""Who sends the messages: how many senders share the work, so that a slow send can hold the next one up."""

from __future__ import annotations

from qtune.records import Count, Record


class Producers(Record):
    """``instances`` processes with ``senders`` concurrent send calls each, one message per call.

    A message that falls due while all senders are busy waits for one; latency is still counted from its due
    instant. Without producers in a scenario the broker has each message at its due instant.
    """

    instances: Count = 1
    senders: Count

    @property
    def senders_total(self) -> int:
        """Send calls that can be under way at the same time."""
        return self.instances * self.senders
