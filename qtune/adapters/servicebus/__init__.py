"""Azure Service Bus queues over azure-servicebus, its own SDK for Python; loaded when the first connection opens."""

from qtune.adapters.servicebus.adapter import ServiceBusAdapter

__all__ = ["ServiceBusAdapter"]
