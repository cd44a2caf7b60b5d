"""Rules of Amazon SQS that change throughput, latency, loss, order or cost: simulated, or why not."""

from __future__ import annotations

from qtune.providers.base import Rule, modelled, not_modelled

_MODEL = "botocore 1.44.8, service model of SQS"
_BOTO = "botocore 1.44.8, source"
_ONE_THREAD = "Amazon SQS Developer Guide, best practices: long polling with one thread for each queue"
_API = "Amazon SQS API Reference, DeleteMessage"
_QUOTAS = "Amazon SQS Developer Guide, quotas of standard queues and of messages"
_TIMEOUT = "Amazon SQS Developer Guide, visibility timeout"
_DEAD_LETTERS = "Amazon SQS Developer Guide, dead-letter queues and message retention"
_FIFO = "Amazon SQS Developer Guide, FIFO delivery logic"
FAIR = "Amazon SQS Developer Guide, how fair queues work"
_POWERTOOLS = "Powertools for AWS Lambda, SqsFifoPartialProcessor with skipGroupOnError"
_LOOK_AHEAD = "Amazon SQS Developer Guide, avoiding large backlogs with the same message group ID"
_LATENCY = "end-to-end latencies of queue, poller and invocation, a report of 2022-09 (second-hand)"
_LAMBDA = "AWS Lambda Developer Guide, scaling of SQS event source mappings"
_LAMBDA_MODEL = "botocore 1.44.8, service model of Lambda"
_LAMBDA_WINDOW = "AWS Lambda Developer Guide, event source mappings, batching behavior"
_PRICES = "cloudburn.io, guide to SQS prices (second-hand)"


RULES: tuple[Rule, ...] = (
    modelled(
        "a received message is invisible for the visibility timeout, then it can be received again",
        _TIMEOUT,
        setting="queue.visibility_timeout",
        as_of="2022-09",
    ),
    modelled(
        "a delete with the handle of a receive that has timed out succeeds; here it always deletes the message",
        _API,
    ),
    modelled(
        "a change of visibility starts the timeout anew, for that receive only; heartbeats come after half of it",
        _TIMEOUT,
        setting="consumers.renewal",
        as_of="2022-09",
    ),
    modelled(
        "a timeout is extended up to 12 h from the first receive",
        _TIMEOUT,
        setting="consumers.renewal",
        as_of="2022-09",
    ),
    modelled(
        "visibility 0 gives a message back at once",
        _TIMEOUT,
        setting="failures.on_failure",
        as_of="2022-09",
    ),
    modelled(
        "a long poll asks all servers, returns as soon as one message is there, and is empty only on its timeout",
        _MODEL,
        setting="consumers.receive_wait",
    ),
    modelled(
        "a receive returns up to ten messages",
        _MODEL,
        setting="consumers.receive_batch",
    ),
    modelled(
        "up to ten messages are deleted in one call",
        _MODEL,
        setting="consumers.settle_batch",
    ),
    modelled(
        "a delete batch may fail in part, and the caller deletes those entries again; AWS states no rate",
        _MODEL,
        setting="consumers.settle_entry_failures",
    ),
    modelled(
        "a message that was received more often than maxReceiveCount is moved to the dead-letter queue",
        _MODEL,
        setting="queue.max_receive_count",
    ),
    modelled(
        "a message is lost when its retention ends, 4 d by default",
        _MODEL,
        setting="queue.message_retention",
    ),
    modelled(
        "a fleet that could hold more than 120,000 messages in flight is refused",
        _QUOTAS,
    ),
    modelled(
        "a message holds 1 B to 1 MiB",
        _QUOTAS,
        setting="message_size",
    ),
    modelled(
        "every started 64 KiB of a call is a request, and so is an empty receive; tiers and a free million a month",
        _PRICES,
        setting="model",
        as_of="2026-03",
    ),
    modelled(
        "receive calls wait 0 s by default and bring one message",
        _MODEL,
        setting="consumers.receive_wait",
    ),
    modelled(
        "Lambda: one record that fails makes its whole batch come back, unless the function reports partial failures",
        _LAMBDA,
        setting="handler.failure",
    ),
    modelled(
        "Lambda: an invocation beyond the reserved concurrency is throttled; its receive counts, and the timeout runs",
        _LAMBDA,
        setting="downstream.when_full",
    ),
    modelled(
        "a short poll asks a random part of the servers and may miss messages that are there; how large is assumed",
        _MODEL,
        setting="consumers.receive_wait",
    ),
    modelled(
        "with the quota in flight reached, a long poll returns nothing and a short poll an error",
        _QUOTAS,
        setting="queue.in_flight_limit",
    ),
    modelled(
        "boto3 repeats failed calls: legacy, or standard with a quota of 500 tokens",
        _BOTO,
        setting="consumers.retry_mode",
    ),
    modelled(
        "a call whose connection breaks fails and is repeated; what a receive would have brought stays invisible",
        _BOTO,
        setting="faults",
    ),
    modelled(
        "a poller that takes several queues in turn polls each only when it has been with all the others",
        _ONE_THREAD,
        setting="consumers.other_queues",
    ),
    modelled(
        "a send batch holds ten entries and 1 MiB, and may fail in part",
        _MODEL,
        setting="producers.batch",
    ),
    modelled(
        "whose receive gets a message when several wait is not documented: who has waited longest, or any of them",
        _MODEL,
        setting="model",
    ),
    not_modelled(
        "a deleted message may be delivered again when a server that was down comes back",
        "AWS states no rate",
        _API,
    ),
    modelled(
        "FIFO: a receive returns as many messages of one group as it can, then of the next; the oldest group first",
        _FIFO,
        setting="queue.type",
    ),
    modelled(
        "FIFO: a group is locked while one of its messages is in flight, so a poison message blocks it until it leaves",
        _FIFO,
        setting="queue.type",
    ),
    modelled(
        "FIFO: a message that is not deleted in time is the first of its group again, and the late delete fails",
        _TIMEOUT,
        setting="queue.visibility_timeout",
        as_of="2022-09",
    ),
    modelled(
        "FIFO: 300 calls a second for each action",
        _QUOTAS,
        setting="queue.type",
    ),
    modelled(
        "FIFO: consumers handle one message of a group at a time, and none of it after a failure until it comes again",
        _POWERTOOLS,
        setting="consumers.keep_group_order",
    ),
    modelled(
        "FIFO: a receive looks for groups among the first 120,000 messages, so a group with as many hides all others; "
        "those in flight are taken to count",
        _LOOK_AHEAD,
        setting="queue.type",
    ),
    not_modelled(
        "FIFO: calls take longer than those of a standard queue, at the median about 1.7 times as long",
        "the shipped model has one latency for both types: calibrate, or name a model of your own",
        _LATENCY,
    ),
    modelled(
        "FIFO: in high-throughput mode as many calls of each action a second as the region allows, 2,400 to 70,000",
        _QUOTAS,
        setting="queue.high_throughput",
    ),
    not_modelled(
        "FIFO: in high-throughput mode each partition has 300 calls of each action a second",
        "AWS does not say how it maps groups to partitions: a few busy groups get further here than on AWS",
        _QUOTAS,
    ),
    not_modelled(
        "FIFO: duplicates are suppressed for 5 min",
        "a simulated send is repeated only when it was refused, so there is no duplicate to suppress",
        _MODEL,
    ),
    modelled(
        "fair queues put off tenants with 30 messages or more in flight that are over a tenth of all, until they have "
        "none waiting or send none for 5 min; the one with the fewest in flight first; the bounds are approximate",
        FAIR,
        setting="queue.fair",
    ),
    not_modelled(
        "fair queues also put off tenants that take more than a tenth of the processing time of late",
        "AWS does not say how long that looks back, so a tenant of few and long messages is never noisy here",
        FAIR,
    ),
    modelled(
        "a queue can delay its messages by up to 15 min; their retention counts from the send all the same",
        _MODEL,
        setting="queue.delay",
    ),
    not_modelled(
        "on a standard queue a message can have a delay of its own",
        "all messages of a simulated queue have the queue's",
        _MODEL,
    ),
    modelled(
        "a dead-letter queue has a retention of its own, counted from the first send, or from the move on a FIFO queue",
        _DEAD_LETTERS,
        setting="queue.dead_letter_retention",
        as_of="2023-02",
    ),
    not_modelled(
        "a change of an attribute takes up to 60 s",
        "attributes do not change during a run",
        _MODEL,
    ),
    modelled(
        "boto3's retry mode adaptive slows a throttled client down to 0.7 of its rate, lets it come back by a cubic "
        "curve; a call that waits for its turn keeps the turn that it got, whatever the rate becomes meanwhile",
        _BOTO,
        setting="consumers.retry_mode",
    ),
    modelled(
        "a client keeps 10 idle connections; a call that finds none opens one, and a full pool closes what comes back",
        _BOTO,
        setting="consumers.max_pool_connections",
    ),
    not_modelled(
        "a connection that has been idle for long is closed by the server, and the next call opens it again",
        "AWS does not say after how long; a simulated pool keeps its connections to the end",
        _BOTO,
    ),
    modelled(
        "Lambda polls with 5 concurrent batches at first, 300 more a minute, up to 1,250 or MaximumConcurrency",
        _LAMBDA,
        setting="scaling",
    ),
    modelled(
        "Lambda gathers a batch until BatchSize, or for MaximumBatchingWindowInSeconds, up to 10,000 messages or 6 MB",
        _LAMBDA_MODEL,
        setting="handler.window",
    ),
    modelled(
        "Lambda: the next batching window begins when the call before is over",
        _LAMBDA_WINDOW,
        setting="handler.window",
    ),
    not_modelled(
        "Lambda: provisioned mode",
        "a mapping is a fleet of pollers that grows by 300 a minute",
        _LAMBDA,
    ),
    modelled(
        "KEDA: a fleet with an idleReplicaCount sleeps with so many pods, and wakes to its fewest",
        "KEDA 2.21, documentation and source",
        setting="scaling",
        as_of="2026-08",
    ),
    modelled(
        "KEDA: more failed questions than failureThreshold in a row, and the fallback's replicas are what is wanted",
        "KEDA 2.21, documentation and source",
        setting="scaling",
        as_of="2026-08",
    ),
    not_modelled(
        "KEDA: ScaledJob starts jobs that end with their work, by one of four strategies",
        "a fleet's instances stay until the scaler removes them",
        "KEDA 2.21, documentation",
        as_of="2026-08",
    ),
    modelled(
        "KEDA counts messages in flight, wakes and sends to sleep; the pod autoscaler doubles, and waits 300 s",
        "KEDA 2.21 and Kubernetes, documentation",
        setting="scaling",
        as_of="2026-08",
    ),
    modelled(
        "KEDA's scaler does not count message groups; a metric of one's own may, as scaling: groups has it",
        "kedacore/keda#1479; that such a metric counts those in flight is assumed",
        setting="scaling",
    ),
    modelled(
        "AWS target tracking keeps the visible messages of each instance at a target, by metrics of a minute",
        "Amazon EC2 Auto Scaling guide, scaling based on SQS; its three and fifteen points are assumed",
        setting="scaling",
    ),
    modelled(
        "a FIFO queue costs 0.50 USD a million requests",
        _PRICES,
        setting="queue.type",
        as_of="2026-03",
    ),
    modelled(
        "a fair queue costs 0.10 USD more a million requests",
        _PRICES,
        setting="queue.fair",
        as_of="2026-03",
    ),
)
