"""Analysis: what the rows of runs say, how sure that is, and what theory says without a run."""

from qtune.analysis.intervals import Estimate
from qtune.analysis.summary import Summary, summarize

__all__ = ["Estimate", "Summary", "summarize"]
