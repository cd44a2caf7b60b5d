"""Recommendation: the cheapest setting that meets the targets, and how sure that is."""

from qtune.recommendation.recommendation import (
    Candidate,
    Check,
    Effort,
    Headroom,
    Probe,
    Recommendation,
)
from qtune.targets import Target, Targets

__all__ = [
    "Candidate",
    "Check",
    "Effort",
    "Headroom",
    "Probe",
    "Recommendation",
    "Target",
    "Targets",
]
