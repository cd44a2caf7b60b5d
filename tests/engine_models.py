"""Provider models for tests in which every call takes a known time: the shipped ones with other latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from qtune.shipped import models_dir


def write_model(
    folder: Path,
    provider: str,
    *,
    round_trip: str = "0s",
    client_cost: str = "0s",
    calls_served_at_once: int = 0,
    call_service: str = "0s",
    **round_trips: str,
) -> str:
    """Write a model of a provider whose calls take constant times, and return its path.

    round_trip: of every kind of call that ``round_trips`` does not name (send, receive, settle, renew).
    A connection is open at once, unless ``connect`` says how long that takes.
    """
    document: dict[str, Any] = yaml.safe_load((models_dir() / f"{provider}.yaml").read_text(encoding="utf-8"))
    for kind in document["latency"]:
        mean = round_trips.get(kind, "0s" if kind == "connect" else round_trip)
        document["latency"][kind] = {
            **document["latency"][kind],
            "time": {"family": "constant", "mean": mean},
        }
    time = {"family": "constant", "mean": call_service}
    document["broker"] = {
        "calls_served_at_once": calls_served_at_once,
        "call_service": {**document["broker"]["call_service"], "time": time},
    }
    for name, client in document["clients"].items():
        document["clients"][name] = {**client, "call_cost": client_cost, "message_cost": client_cost}
    path = folder / f"{provider}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)
