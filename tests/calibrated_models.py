"""Calibrated models for tests: a shipped one with every prior replaced, and errors on settings that are chosen."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from qtune.providers import ProviderModel, dump_model, load_model

MADE = date(2026, 11, 25)


def held_out(name: str, load: float, **numbers: tuple[float, float]) -> dict[str, Any]:
    """A setting with its numbers by metric, each as measured and as predicted."""
    found = [
        {"metric": metric, "measured": measured, "predicted": predicted}
        for metric, (measured, predicted) in numbers.items()
    ]
    return {"name": name, "setting": f"{name} workers", "load": load, "numbers": found}


def section(*runs: dict[str, Any]) -> dict[str, Any]:
    """The section ``calibration`` with these settings, or one whose p95 was 10 % too high."""
    default = held_out("usual", 0.7, p50=(0.1, 0.1), p95=(0.5, 0.55), p99=(0.9, 0.9), throughput=(40.0, 40.0))
    return {
        "made": MADE,
        "server": "a server on this machine",
        "client": "in-process",
        "versions": {"qtune": "0.1.0", "python": "3.11.9", "machine": "Linux x86_64, 2 cores"},
        "parameters": [
            {
                "name": "latency.send",
                "value": 1 / 3e4,
                "low": 3.1e-5,
                "high": 3.7e-5,
                "unit": "s",
                "identified": True,
            },
            {"name": "latency.renew", "unit": "s", "identified": False, "reason": "no lock was renewed"},
        ],
        "residuals": [
            {
                "run": "idle",
                "stage": "send call",
                "statistic": "p95",
                "measured": 0.1 / 3,
                "simulated": 0.0333,
            }
        ],
        "held_out": list(runs) or [default],
    }


def calibrated(provider: str = "memory", *runs: dict[str, Any], **changes: Any) -> ProviderModel:
    """A shipped model of which every parameter has been measured, with a section about these settings."""

    def measured(value: Any) -> Any:
        if isinstance(value, dict):
            known = {"prior": False} if "prior" in value else {}
            return {key: measured(item) for key, item in value.items()} | known
        return value

    values = measured(load_model(provider).model_dump(by_alias=True))
    return ProviderModel(**{**values, "name": f"my-{provider}", "calibration": section(*runs), **changes})


def written(model: ProviderModel, folder: Path) -> Path:
    """The file ``models/NAME.yaml`` in a folder."""
    path = folder / "models" / f"{model.name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(dump_model(model), encoding="utf-8")
    return path
