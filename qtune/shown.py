"""What a notebook shows of a thing: the report on it, as static HTML with the plain text beside it."""

from __future__ import annotations

import qtune


class Shown:
    """Something that there is a report on; a notebook shows that in place of a long record.

    It is the report of :func:`qtune.describe`, so that notebook and command line say the same.
    """

    __slots__ = ()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What IPython asks for; it picks the richest that it can show, and keeps the rest for other viewers."""
        report = qtune.describe(self)  # type: ignore[arg-type]
        return {"text/plain": report.to_text(), "text/html": report.to_html()}
