"""A real broker on real time, by the rules that the engines simulate; doors such as an adapter or a server lead to it."""

from qtune.broker.broker import Broker
from qtune.broker.demand import HandsOutTo
from qtune.broker.message import (
    TOO_MANY_DELIVERIES,
    Counters,
    Counts,
    DeadLetter,
    Delivery,
    Message,
    Outcome,
    Receiver,
    SessionReceiver,
)
from qtune.broker.store import Store

__all__ = [
    "TOO_MANY_DELIVERIES",
    "Broker",
    "Counters",
    "Counts",
    "DeadLetter",
    "Delivery",
    "HandsOutTo",
    "Message",
    "Outcome",
    "Receiver",
    "SessionReceiver",
    "Store",
]
