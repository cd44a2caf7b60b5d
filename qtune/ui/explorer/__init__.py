"""The explorer: sliders, and what a queue does when they move."""

from __future__ import annotations

from qtune.ui.explorer.widget import Explorer, explore

__all__ = ["Explorer", "explore"]
