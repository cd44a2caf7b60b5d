"""A queue's settings in the words of Service Bus, as the rules that its broker keeps to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qtune.emulators.servicebus.values import Malformed
from qtune.providers.base import DeliverySemantics
from qtune.providers.servicebus import SERVICEBUS, ServiceBusQueue


def semantics_of(settings: Mapping[str, Any]) -> DeliverySemantics:
    """The rules for a queue with these settings, such as ``{"lock_duration": 30, "requires_session": True}``.

    They are those of a scenario's queue; what is left out has its default there. An emulator has no tiers and counts no
    credits. InputError: a setting that no queue has, or a value that it cannot have.
    """
    return SERVICEBUS.semantics(ServiceBusQueue(**{"tier": "premium", **settings}))


def settings_in(data: bytes) -> dict[str, Any]:
    """Settings written as JSON. Malformed: they are not a JSON object."""
    try:
        found = json.loads(data or b"{}")
    except ValueError as wrong:
        raise Malformed(f"settings are JSON, and this is not: {wrong}") from None
    if not isinstance(found, dict):
        raise Malformed("settings are a JSON object")
    return found
