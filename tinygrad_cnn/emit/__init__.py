"""Recorded computations as plain NumPy: `to_numpy` writes the script, `template` says how an op is written."""

from . import arrangement, elementwise, losses, windows  # noqa: F401 (they register templates)
from .script import Script, to_numpy
from .templates import Call, template

__all__ = ["Call", "Script", "template", "to_numpy"]
