"""What a plan leaves as it is by default, which tells the features that it has from those that it has not."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import MISSING, fields
from typing import Any, Final

import numpy as np

from qtune.engine.plan import Plan


def _made(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


DEFAULTS: Final = {each.name: made for each in fields(Plan) if (made := _made(each)) is not MISSING}


def only_known_are_on(plan: Plan, known: Set[str]) -> bool:
    """Whether every setting that is not ``known`` has its default, also one that is added later."""
    return all(
        np.array_equal(getattr(plan, name), default)
        for name, default in DEFAULTS.items()
        if name not in known
    )
