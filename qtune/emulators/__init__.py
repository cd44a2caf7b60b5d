"""Servers that speak a provider's protocol on this machine, so that its own SDK can be tried and measured offline.

from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.emulators.sqs import SqsEmulator
"""

from qtune.emulators import servicebus, sqs

__all__ = ["servicebus", "sqs"]
