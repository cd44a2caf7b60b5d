"""Servers that speak a provider's protocol on this machine, so that its own SDK can be tried and measured offline.

from qtune.emulators.servicebus import ServiceBusEmulator
"""

from qtune.emulators import servicebus

__all__ = ["servicebus"]
