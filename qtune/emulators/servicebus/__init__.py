"""A Service Bus namespace on this machine: AMQP 1.0 in front of qtune's broker, for the provider's own SDKs."""
