"""The reference engine: the model in SimPy, written to be read as the specification."""

from qtune.engine.reference.model import Model, run

__all__ = ["Model", "run"]
