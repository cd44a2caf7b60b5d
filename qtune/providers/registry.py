"""Which providers there are: three come with qtune, and other packages add theirs by an entry point."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from qtune.errors import InputError, Problem, did_you_mean
from qtune.providers.memory import MEMORY
from qtune.providers.queue import Provider
from qtune.providers.servicebus import SERVICEBUS
from qtune.providers.sqs import SQS

GROUP = "qtune.providers"
BUILT_IN: dict[str, Provider] = {provider.name: provider for provider in (SQS, SERVICEBUS, MEMORY)}


@cache
def all_providers() -> dict[str, Provider]:
    """Every provider by name; InputError names an entry point that is broken or takes a used name."""
    found = dict(BUILT_IN)
    for point in entry_points(group=GROUP):
        where = f"entry point {point.name} = {point.value}"
        try:
            loaded = point.load()
        except Exception as error:  # whatever a foreign package raises, the user must learn which one it is
            message = f"its package must be repaired or removed: {type(error).__name__}: {error}"
            raise InputError(Problem(where=where, value=point.name, message=message)) from error
        if not isinstance(loaded, Provider):
            message = f"an entry point of the group {GROUP} must name a Provider instance"
            raise InputError(Problem(where=where, value=repr(loaded), message=message))
        if loaded.name in found:
            message = (
                f"the provider name {loaded.name!r} is already taken; two packages cannot both define it"
            )
            raise InputError(Problem(where=where, value=loaded.name, message=message))
        found[loaded.name] = loaded
    return found


def get_provider(name: str) -> Provider:
    """The provider of that name; an InputError that lists the known ones if there is none."""
    if name in BUILT_IN:  # without reading the metadata of all installed packages
        return BUILT_IN[name]
    known = all_providers()
    if name not in known:
        message = f"unknown provider; there are {', '.join(known)}.{did_you_mean(name, known)}"
        raise InputError(Problem(where="queue.provider", value=name, message=message))
    return known[name]
