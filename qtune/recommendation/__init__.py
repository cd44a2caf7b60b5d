"""Recommendation: the cheapest setting that meets the targets, and how sure that is."""

from qtune.recommendation.advise import recommend
from qtune.recommendation.budget import Budget, Progress
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
    "Budget",
    "Candidate",
    "Check",
    "Effort",
    "Headroom",
    "Probe",
    "Progress",
    "Recommendation",
    "Target",
    "Targets",
    "recommend",
]
