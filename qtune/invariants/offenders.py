"""How a broken law is told: how many rows break it, and the first of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def offenders(where: str, mask: NDArray[np.bool_], law: str) -> Iterator[str]:
    """A sentence if any row of the mask breaks the law."""
    count = int(np.count_nonzero(mask))
    if count:
        yield f"{where}: {law} ({count} rows, first {int(np.argmax(mask))})"
