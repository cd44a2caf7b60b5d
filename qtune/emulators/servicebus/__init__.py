"""A Service Bus namespace on this machine: AMQP 1.0 in front of qtune's broker, for the provider's own SDKs."""

from qtune.emulators.servicebus.emulator import ServiceBusEmulator
from qtune.emulators.servicebus.faults import Faults
from qtune.emulators.servicebus.words import emulator_of

__all__ = ["Faults", "ServiceBusEmulator", "emulator_of"]
