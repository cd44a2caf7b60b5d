"""Small scenarios that the tests of the command line and of the exports run in a moment."""

from __future__ import annotations

STEADY = """\
name: small
arrivals: {kind: poisson, rate: 50/s}
service_time: {family: exponential, mean: 20ms}
queue: {provider: memory, lock_duration: 2s}
consumers: {workers: 4, polling: buffer, buffer: 8, receive_wait: 1s}
horizon: 60s
"""

OVERLOADED = STEADY.replace("50/s", "500/s").replace("small", "overloaded")
