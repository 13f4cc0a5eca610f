"""Looking at a model before it is trained: `doctor`, which finds mistakes, and `solve_conv`, which finds sizes."""

from .examination import CHECKS, Check, doctor
from .findings import Finding, Findings
from .windows import Window, solve_conv

__all__ = ["CHECKS", "Check", "Finding", "Findings", "Window", "doctor", "solve_conv"]
