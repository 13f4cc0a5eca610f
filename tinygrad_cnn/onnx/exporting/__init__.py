"""Recorded computations as ONNX models: `export` writes one, `translation` says how an op is written."""

from . import elementwise, layout, losses, reductions, refusals, windows  # noqa: F401 (they fill the table)
from .model import export
from .table import Call, translation

__all__ = ["Call", "export", "translation"]
