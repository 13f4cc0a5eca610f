"""Proofs for ops and functions: `gradcheck`, `gradgradcheck`, `check_op`, `exact_check`, `adjoint_check`, samples.

The strategies (`conv_problems`, `pool_problems`, `broadcastable_arrays`, `graphs`) need Hypothesis, which the
extra `test` installs; all the rest works without.
"""

from typing import TYPE_CHECKING, Any

from .exact import adjoint_check, exact_check
from .gradients import GradientError, gradcheck, gradgradcheck
from .properties import check_op
from .samples import Draw, unprovable

if TYPE_CHECKING:
    from .strategies import broadcastable_arrays, conv_problems, graphs, pool_problems

__all__ = [
    "Draw",
    "GradientError",
    "adjoint_check",
    "broadcastable_arrays",
    "check_op",
    "conv_problems",
    "exact_check",
    "gradcheck",
    "gradgradcheck",
    "graphs",
    "pool_problems",
    "unprovable",
]

_STRATEGIES = ("broadcastable_arrays", "conv_problems", "graphs", "pool_problems")


def __getattr__(name: str) -> Any:
    if name not in _STRATEGIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import strategies

    return getattr(strategies, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
