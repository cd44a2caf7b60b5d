"""Analysis: what the rows of runs say, how sure that is, and what theory says without a run."""

from qtune.analysis.bottleneck import Explanation, explain
from qtune.analysis.capacity import Capacity, Ceiling, capacity_of, capacity_per_s
from qtune.analysis.compare import Comparison, compare
from qtune.analysis.control import run_until_narrow
from qtune.analysis.cost import Cost, least_month_usd
from qtune.analysis.finding import Finding
from qtune.analysis.floor import approximate_latency_s, floor_s
from qtune.analysis.intervals import Estimate
from qtune.analysis.setup import STEADY, Setup, setup_of
from qtune.analysis.stability import Verdict
from qtune.analysis.stages import Stage
from qtune.analysis.summary import Summary, summarize
from qtune.analysis.warmup import WarmUp

__all__ = [
    "STEADY",
    "Capacity",
    "Ceiling",
    "Comparison",
    "Cost",
    "Estimate",
    "Explanation",
    "Finding",
    "Setup",
    "Stage",
    "Summary",
    "Verdict",
    "WarmUp",
    "approximate_latency_s",
    "capacity_of",
    "capacity_per_s",
    "compare",
    "explain",
    "floor_s",
    "least_month_usd",
    "run_until_narrow",
    "setup_of",
    "summarize",
]
