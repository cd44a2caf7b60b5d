"""A run simulated again under another provider model: the same messages, handlers and consumers."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from qtune.providers import dump_model
from qtune.providers.model import ProviderModel
from qtune.result import Result
from qtune.simulation import simulate


def simulated_again(run: Result, model: ProviderModel) -> Result:
    """The run's scenario with its own seed, on a broker and with a client as the model has them."""
    with TemporaryDirectory(prefix="qtune-") as folder:
        path = Path(folder) / "model.yaml"
        path.write_text(dump_model(model), encoding="utf-8")
        return simulate(run.scenario.with_(model=str(path)), seed=run.seed)
