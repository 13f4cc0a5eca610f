"""What a model computed, kept step by step: `record` makes a Trace, `Trace.diff` finds the first difference."""

from .compare import Diff, Difference
from .trace import Step, Trace, record

__all__ = ["Diff", "Difference", "Step", "Trace", "record"]
