"""What a handler is given at a time, and how long it works on several messages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from qtune.records import Fraction, Record, Seconds, whole, wrong_at


class Handler(Record):
    """How handlers take messages: one at a time, or the whole batch of a receive in one call.

    cpu_share: the part of a handler's time that holds one of its instance's cores; the rest waits for something else.
        A core is held in one piece, in the order of asking, as by threads that are not interrupted. Where the system
        shares a core in slices instead, the mean wait for it is 2 / (1 + cv^2) times that: equal for exponential times,
        double for constant ones, shorter for times that vary more (M/G/1, processor sharing against first come).
    takes: "message" or "batch".
    most: most messages in one call; None: all that a receive can bring. What is beyond it waits for the next call.
    batch_time: a call works for the sum of its messages' service times ("sum", one after the other inside the handler)
        or the longest of them ("longest", all at once).
    per_call_s: time that a call takes beside its messages, such as one transaction.
    failure: when one message of a call fails, so do all ("whole", as an AWS Lambda function without partial batch
        response), or only those that fail by themselves come back ("partial").

    A None that applies takes the default: "sum", 0 s and "whole".
    """

    cpu_share: Fraction = 0.0
    takes: Literal["message", "batch"] = "message"
    most: Annotated[int, whole(at_least=2)] | None = None
    batch_time: Literal["sum", "longest"] | None = None
    per_call_s: Seconds | None = None
    failure: Literal["whole", "partial"] | None = None

    @model_validator(mode="after")
    def _only_batches_have_settings(self) -> Handler:
        for name in ("most", "batch_time", "per_call_s", "failure"):
            value = getattr(self, name)
            if self.takes == "message" and value is not None:
                message = "the handler takes single messages: use takes: batch, or leave this out"
                raise wrong_at((name,), value, message)
        return self

    def most_of(self, receive_batch: int) -> int:
        """Most messages in one call where a receive brings up to so many."""
        return 1 if self.takes == "message" else self.most or receive_batch
