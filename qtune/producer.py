"""Who sends the messages: how many senders share the work, and how many messages one call takes."""

from __future__ import annotations

from pydantic import model_validator

from qtune.records import Count, Fraction, Record, Seconds, wrong_at


class Producers(Record):
    """``instances`` processes with ``senders`` concurrent send calls each.

    A message that falls due while all senders are busy waits for one, whichever process it is in; latency is counted
    from its due instant. Without producers in a scenario the broker has each message at its due instant.

    batch: messages in one call at most; a free sender takes what waits, up to so many. More than 1 saves calls and
        requests when messages wait for senders anyway, or with ``linger``.
    batch_from: each call takes a number of messages between this and ``batch``, all equally likely, as some load
        generators do; None: always ``batch``, if as many wait.
    linger_s: how long the oldest message waits for others before a call that is not full is made; 0: not at all.
        Longer means fuller batches and more latency.
    entry_failures: chance that one entry of a batch fails although the call succeeds; it is sent again at once, with
        the other entries of that call that failed. No provider states a rate.
    """

    instances: Count = 1
    senders: Count
    batch: Count = 1
    batch_from: Count | None = None
    linger_s: Seconds = 0.0
    entry_failures: Fraction = 0.0

    @model_validator(mode="after")
    def _batches_make_sense(self) -> Producers:
        if self.batch_from is not None and self.batch_from > self.batch:
            message = f"a call takes at most {self.batch} (batch): use {self.batch} or less"
            raise wrong_at(("batch_from",), self.batch_from, message)
        if self.linger_s > 0.0 and self.batch == 1:
            message = "messages wait for others to join them in a call, but batch is 1: use such as batch: 10"
            raise wrong_at(("linger_s",), self.linger_s, message)
        if self.linger_s > 0.0 and self.instances > 1:
            message = "a batch gathers in one process: use instances: 1 with the load of one, or leave it out"
            raise wrong_at(("linger_s",), self.linger_s, message)
        if self.entry_failures > 0.0 and self.batch == 1:
            message = "entries fail in batches, but batch is 1: use such as batch: 10, or leave it out"
            raise wrong_at(("entry_failures",), self.entry_failures, message)
        if self.entry_failures == 1.0:
            raise wrong_at(("entry_failures",), 1.0, "no message would ever get in: use less than 100%")
        return self

    @property
    def senders_total(self) -> int:
        """Send calls that can be under way at the same time."""
        return self.instances * self.senders

    @property
    def batch_mean(self) -> float:
        """Messages of a call when enough of them wait."""
        least = self.batch if self.batch_from is None else self.batch_from
        return 0.5 * (least + self.batch)
