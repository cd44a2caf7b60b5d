"""Verification: does a setting behave as a message system should? Sixteen assertions, each judged by simulation."""

from qtune.verification.assertion import Assertion, Outcome, Verification
from qtune.verification.judging import verify

__all__ = ["Assertion", "Outcome", "Verification", "verify"]
