"""Scenarios to start from, one for each provider, as `qtune init` writes them."""

from __future__ import annotations

from typing import Literal

Provider = Literal["sqs", "servicebus", "memory"]

_HEAD = """\
# `qtune simulate {name}` predicts what this does; `qtune recommend {name} --target p95=500ms` tunes it.
# Every quantity carries its unit: 200ms, 30s, 5min, 800/s, 4KiB. A key that does not exist is an error.
name: my-queue

# What comes in. Also: renewal (cv), piecewise, bursts, trace, counts (your CSV), burst_at_once, closed_loop.
arrivals: {{kind: poisson, rate: 20/s}}

# How long a handler works on one message. Give cv (spread over mean) or p95; or samples of your own:
# {{family: empirical, file: times.csv, column: seconds}}
service_time: {{family: lognormal, mean: 200ms, p95: 450ms}}
message_size: 4KiB

failures:
  rate: 0.1%               # of the attempts of a handler; poison: share of messages that can never succeed
  on_failure: {on_failure}
"""

_TAIL = """
# What goes wrong on the way, to see whether the queue comes back:
# faults:
#   - {kind: pause_handlers, at: 10min, for: 30s}
#   - {kind: throttling, at: 20min, for: 30s, rate: 50/s}
#   - {kind: outage, at: 25min, for: 10s}

horizon: 30min             # how long to look
seed: 1
"""

_QUEUES = {
    "sqs": """
queue:
  provider: sqs
  visibility_timeout: 30s  # longer than a handler works on the messages it received together
  max_receive_count: 5     # then to the dead-letter queue; leave it out if there is none
  message_retention: 4d

consumers:
  instances: 2
  workers: 4               # concurrent handlers in each instance
  receive_batch: 1         # 1 to 10; with more, a message waits for those before it
  receive_wait: 20s        # long polling
  # polling: buffer        # one poller that fills a buffer: with buffer: 20
  # settle: batch          # deletes collected: with settle_batch: 10
  # renewal: {max: 5min}   # extend the visibility timeout while a handler works
  instance_price: 0.05     # USD an hour
""",
    "servicebus": """
queue:
  provider: servicebus
  tier: standard           # premium has messaging_units: 1, 2, 4, 8 or 16
  lock_duration: 60s       # at most 5min
  max_delivery_count: 10   # then to the dead-letter queue

consumers:
  instances: 2
  workers: 4               # concurrent handlers in each instance, each with a receiver of its own
  client: azure-servicebus-7.15  # also azure-servicebus-7.14, azure-processor, azure-functions: they behave otherwise
  prefetch: 0              # messages that wait in the client while their locks run
  settle: each             # concurrent: do not wait for the broker's answer
  # renewal: {max: 5min}   # AutoLockRenewer
  instance_price: 0.05     # USD an hour
""",
    "memory": """
queue:
  provider: memory
  max_queue_size: 1000
  when_full: block         # a send waits for room; reject refuses it
  lock_duration: 30s
  max_delivery_count: 3

consumers:
  workers: 8               # concurrent handlers
  cores: 2
  polling: buffer          # one poller fills a buffer that all workers take from; or permits
  buffer: 20
  receive_batch: 10
  receive_wait: 1s
""",
}

_ON_FAILURE = {
    "sqs": "lock_expiry  # a bare boto3 loop gives nothing back; or abandon: it is back at once",
    "servicebus": "abandon      # given back at once, and counted as a delivery; or lock_expiry",
    "memory": "abandon      # given back at once, and counted as a delivery; or lock_expiry",
}


def starting_text(provider: Provider, name: str) -> str:
    """A commented scenario for a queue of that provider, to be kept in a file called ``name``."""
    return _HEAD.format(name=name, on_failure=_ON_FAILURE[provider]) + _QUEUES[provider] + _TAIL
