"""What a handler is given at a time, and how long it works on several messages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from qtune.records import Count, Fraction, PositiveSeconds, Record, Seconds, whole, wrong_at

_CALLS_AT_FIRST = 100


class CircuitBreaker(Record):
    """A circuit breaker in each instance, round every attempt of its handlers.

    Closed, it lets attempts through and remembers the outcomes of the last ``window``. When there are ``min_calls`` of
    them and ``failure_rate`` or more of them failed, it opens: for ``open_for`` every attempt fails at once, without
    work. The first attempt after that finds it half open: ``half_open_calls`` attempts are let through, and when
    so many have ended (or min_calls, if these are fewer) it opens again or closes, by the same failure rate.
    An attempt that the downstream refuses is a failure. An outcome counts in the state that it finds.

    failure_rate, window, min_calls, open_for_s, half_open_calls: failureRateThreshold, slidingWindowSize (count based),
        minimumNumberOfCalls, waitDurationInOpenState and permittedNumberOfCallsInHalfOpenState of resilience4j, with
        its defaults (https://resilience4j.readme.io/docs/circuitbreaker). min_calls None: 100, or all of a
        smaller window. A breaker that opens after k failures in a row has failure_rate 100% and a window of k.
    """

    failure_rate: Fraction = 0.5
    window: Count = 100
    min_calls: Count | None = None
    open_for_s: PositiveSeconds = 60.0
    half_open_calls: Count = 10

    @model_validator(mode="after")
    def _can_open(self) -> CircuitBreaker:
        if self.failure_rate <= 0.0:
            raise wrong_at(
                ("failure_rate",), self.failure_rate, "it would open without a failure: use more than 0%"
            )
        if self.min_calls is not None and self.min_calls > self.window:
            message = f"no more than window ({self.window}) outcomes are remembered, so it could never open"
            raise wrong_at(("min_calls",), self.min_calls, message)
        return self

    @property
    def least(self) -> int:
        """How many outcomes it needs, closed, before it may open."""
        return min(_CALLS_AT_FIRST, self.window) if self.min_calls is None else self.min_calls

    @property
    def least_half_open(self) -> int:
        """How many outcomes it needs, half open, to decide."""
        return min(self.least, self.half_open_calls)


class Handler(Record):
    """How handlers take messages: one at a time, or the whole batch of a receive in one call.

    cpu_share: the part of a handler's time that holds one of its instance's cores; the rest waits for something else.
        A core is held in one piece, in the order of asking, as by threads that are not interrupted. Where the system
        shares a core in slices instead, the mean wait for it is 2 / (1 + cv^2) times that: equal for exponential times,
        double for constant ones, shorter for times that vary more (M/G/1, processor sharing against first come).
    takes: "message" or "batch".
    most: most messages in one call; None: all that a receive can bring. What is beyond it waits for the next call.
        With a window it may be more than that: the BatchSize of AWS Lambda.
    window_s: receives go on, and nothing is handled, until the batch is full, or so long after it began with at least
        one message: the MaximumBatchingWindowInSeconds of AWS Lambda. The next window begins when the call is over. The
        locks of what waits run meanwhile. None: a call has what one receive brought.
    batch_time: a call works for the sum of its messages' service times ("sum", one after the other inside the handler)
        or the longest of them ("longest", all at once).
    per_call_s: time that a call takes beside its messages, such as one transaction.
    failure: when one message of a call fails, so do all ("whole", as an AWS Lambda function without partial batch
        response), or only those that fail by themselves come back ("partial").
    circuit_breaker: what makes attempts fail at once while too many fail; None: nothing.

    A None that applies takes the default: "sum", 0 s and "whole".
    """

    cpu_share: Fraction = 0.0
    takes: Literal["message", "batch"] = "message"
    most: Annotated[int, whole(at_least=2)] | None = None
    window_s: PositiveSeconds | None = None
    batch_time: Literal["sum", "longest"] | None = None
    per_call_s: Seconds | None = None
    failure: Literal["whole", "partial"] | None = None
    circuit_breaker: CircuitBreaker | None = None

    @model_validator(mode="after")
    def _only_batches_have_settings(self) -> Handler:
        for name in ("most", "window_s", "batch_time", "per_call_s", "failure"):
            value = getattr(self, name)
            if self.takes == "message" and value is not None:
                message = "the handler takes single messages: use takes: batch, or leave this out"
                raise wrong_at((name,), value, message)
        return self

    def most_of(self, receive_batch: int) -> int:
        """Most messages in one call where a receive brings up to so many."""
        return 1 if self.takes == "message" else self.most or receive_batch
