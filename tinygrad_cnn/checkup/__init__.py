"""Looking at a model before it is trained: `doctor`, which finds mistakes, and `solve_conv`, which finds sizes."""

from .doctor import CHECKS, Check, doctor
from .findings import Finding, Findings

__all__ = ["CHECKS", "Check", "Finding", "Findings", "doctor"]
