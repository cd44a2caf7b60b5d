"""Tune the consumers of message queues: simulate, compare, recommend, and say how sure the answer is.

These are all the public names. Each is loaded when it is first asked for, so `import qtune` costs nothing
and needs neither an SDK nor a compiler.

The faces (the command line, the notebook) see nothing else. For them there are `catalogue` (what is shipped),
`predict` (replications and their summary), `describe` (an answer as text, so that no face words or computes
anything) and `load_tuned` (what an exported preset says about how it was made).

The lab of incidents, the figures and the emulators are modules of their own, `qtune.lab`, `qtune.figures` and
`qtune.emulators`, which are loaded when they are first asked for as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# What type checkers and editors read; it names the same homes as `_HOMES` below, and a test compares them.
if TYPE_CHECKING:
    import qtune.emulators  # so that they know the attributes
    import qtune.figures
    import qtune.lab  # noqa: F401
    from qtune.analysis import Summary, summarize
    from qtune.calibration.calibrating import calibrate
    from qtune.errors import AnswerIsNo, InputError, ProviderFailure, QtuneError
    from qtune.exports import catalogue, describe, export, load_tuned
    from qtune.measurement import measure
    from qtune.prediction import predict
    from qtune.presets import dump_scenario, load_preset, load_scenario
    from qtune.providers import load_model
    from qtune.recommendation import Recommendation, Targets, recommend
    from qtune.result import Result
    from qtune.scenario import Scenario
    from qtune.simulation import replicate, simulate
    from qtune.ui.explorer import explore
    from qtune.verification import verify

__version__ = "0.1.0"

__all__ = [
    "AnswerIsNo",
    "InputError",
    "ProviderFailure",
    "QtuneError",
    "Recommendation",
    "Result",
    "Scenario",
    "Summary",
    "Targets",
    "__version__",
    "calibrate",
    "catalogue",
    "describe",
    "dump_scenario",
    "explore",
    "export",
    "load_model",
    "load_preset",
    "load_scenario",
    "load_tuned",
    "measure",
    "predict",
    "recommend",
    "replicate",
    "simulate",
    "summarize",
    "verify",
]

_HOMES = {
    "AnswerIsNo": "qtune.errors",
    "InputError": "qtune.errors",
    "ProviderFailure": "qtune.errors",
    "QtuneError": "qtune.errors",
    "Recommendation": "qtune.recommendation",
    "Result": "qtune.result",
    "Scenario": "qtune.scenario",
    "Summary": "qtune.analysis",
    "Targets": "qtune.recommendation",
    "calibrate": "qtune.calibration.calibrating",
    "catalogue": "qtune.exports",
    "describe": "qtune.exports",
    "dump_scenario": "qtune.presets",
    "explore": "qtune.ui.explorer",
    "export": "qtune.exports",
    "load_model": "qtune.providers",
    "load_preset": "qtune.presets",
    "load_scenario": "qtune.presets",
    "load_tuned": "qtune.exports",
    "measure": "qtune.measurement",
    "predict": "qtune.prediction",
    "recommend": "qtune.recommendation",
    "replicate": "qtune.simulation",
    "simulate": "qtune.simulation",
    "summarize": "qtune.analysis",
    "verify": "qtune.verification",
}


def __getattr__(name: str) -> object:
    """Import the public name when it is first used, and keep it."""
    if name in ("emulators", "figures", "lab"):
        return import_module(f"qtune.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'qtune' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not, for completion."""
    return list(__all__)
