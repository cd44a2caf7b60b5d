"""A real broker on real time, by the rules that the engines simulate; an adapter or a server is a door to it."""

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
