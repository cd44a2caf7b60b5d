"""What qtune knows without a run: providers, models, presets, examples, targets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qtune.errors import InputError, ModelError, Problem, did_you_mean
from qtune.presets import Preset, load_preset, preset_names
from qtune.providers import Provider, ProviderModel, all_providers, get_provider, load_model, model_names
from qtune.providers.files import find_model
from qtune.shipped import models_dir, shipped_names
from qtune.targets import METRICS, PROFILES, Metric


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """Everything shipped, by name.

    models: all provider models, or the one that was asked for. examples: scenarios to start from, as files.
    metrics, profiles: what a target can bound, and sets of targets by name. whole: whether models is all.
    """

    models: Mapping[str, ProviderModel]
    presets: Mapping[str, Preset]
    examples: Mapping[str, Path]
    metrics: Mapping[str, Metric]
    profiles: Mapping[str, Mapping[str, str]]
    whole: bool = True

    def provider_of(self, model: str) -> Provider:
        """The provider that a model is of: its limits, clients and words."""
        return get_provider(self.models[model].provider)

    def presets_of(self, provider: str) -> dict[str, Preset]:
        """The presets for queues of one provider."""
        return {name: preset for name, preset in self.presets.items() if preset.queue.provider == provider}


def catalogue(model: str | None = None) -> Catalogue:
    """What qtune knows: of every shipped model and installed provider, or of one model.

    model: the name or the path of a provider model, or the name of a provider. InputError for any other.
    """
    if model is None:
        defaults = (provider.default_model for provider in all_providers().values())
        names = dict.fromkeys([*model_names(), *defaults])
        models = {name: load_model(name) for name in names}
    else:
        return catalogue_of(load_model(_model_name(model)))
    return _catalogue(models, whole=True)


def catalogue_of(model: ProviderModel) -> Catalogue:
    """What qtune knows of one model."""
    return _catalogue({model.name: model}, whole=False)


def _catalogue(models: Mapping[str, ProviderModel], *, whole: bool) -> Catalogue:
    return Catalogue(
        models=models,
        presets={name: load_preset(name) for name in preset_names()},
        examples={Path(file).stem: models_dir() / "examples" / file for file in shipped_names("examples")},
        metrics=METRICS,
        profiles=PROFILES,
        whole=whole,
    )


def _model_name(name: str) -> str:
    """The name or path of a model, shipped or in the folder ``models``, or the default model of a provider."""
    known = all_providers()
    if name in known and name not in model_names():
        return known[name].default_model
    with suppress(ModelError):
        return find_model(name, Path())
    names = sorted({*model_names(), *known})
    message = f"there is no provider, no model and no file of this name; there are {', '.join(names)}."
    raise InputError(Problem(where="model", value=name, message=message + did_you_mean(name, names)))
