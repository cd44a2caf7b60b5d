"""Measured runs: the load of a scenario on a real queue, with rows like those of a simulation."""

from qtune.measurement.run import Watch, measure
from qtune.measurement.where import adapter_of

__all__ = ["Watch", "adapter_of", "measure"]
