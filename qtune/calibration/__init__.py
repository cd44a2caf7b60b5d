"""From measured runs to a provider model: what its parameters are, how sure that is, and what the runs do not tell."""

from qtune.calibration.calibrating import Calibrated, calibrate
from qtune.calibration.design import Expense
from qtune.calibration.runs import Progress

__all__ = ["Calibrated", "Expense", "Progress", "calibrate"]
