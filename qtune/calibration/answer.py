"""What comes of a calibration; a module of its own, so that a report on it loads nothing that only a fit needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qtune.providers import ProviderModel
from qtune.providers.calibration import Calibration
from qtune.result import Result
from qtune.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

    from qtune.calibration.fitting import Fit
    from qtune.calibration.heldout import Comparison

_LEVELS: Final = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True, kw_only=True)
class Calibrated(Shown):
    """A provider model that was fitted to runs and held against others.

    model: with its section ``calibration``. fit: what was fitted, with what the runs do not tell. comparisons: settings
    that the fit has not seen. runs: those of the fit.
    """

    model: ProviderModel
    fit: Fit
    comparisons: tuple[Comparison, ...]
    runs: tuple[Result, ...]

    @property
    def calibration(self) -> Calibration:
        """What the model says of itself."""
        assert self.model.calibration is not None
        return self.model.calibration

    def to_frame(self) -> pd.DataFrame:
        """One row for each number that was predicted: setting, metric, measured, predicted, low, high, error."""
        import pandas as pd

        return pd.DataFrame(self.curves()["points"])

    def curves(self) -> dict[str, Any]:
        """What a figure shows: every number as measured and as predicted, and quantiles against quantiles.

        points: setting, metric, measured, predicted, low, high. quantiles: by setting below saturation, those of the
        latency from 1 to 99 %, measured and predicted, in seconds.
        """
        points = [
            {"setting": found.run.name, **number.model_dump(), "error": number.error}
            for found in self.comparisons
            for number in found.run.numbers
        ]
        quantiles = {
            found.run.name: {
                "measured_s": np.quantile(found.measured_s, _LEVELS).tolist(),
                "predicted_s": np.quantile(found.predicted_s, _LEVELS).tolist(),
            }
            for found in self.comparisons
            if not found.run.saturated and found.measured_s.size and found.predicted_s.size
        }
        return {"points": points, "quantiles": quantiles, "levels": _LEVELS.tolist()}
