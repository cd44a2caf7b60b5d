"""A run simulated again under another provider model: the same messages, handlers and consumers."""

from __future__ import annotations

from qtune.providers.files import in_no_file
from qtune.providers.model import ProviderModel
from qtune.result import Result
from qtune.simulation import simulate


def simulated_again(run: Result, model: ProviderModel) -> Result:
    """The run's scenario with its own seed, on a broker and with a client as the model has them."""
    with in_no_file(model) as name:
        return simulate(run.scenario.with_(model=name), seed=run.seed)
