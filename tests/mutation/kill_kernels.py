"""Whether the cases of a kernel notice that it is broken: see tests/kernel_cases."""

import contextvars
import warnings

import pytest
from kernel_cases import cases

from .kernels import KernelMutant, kernel
from .plain import VECTOR_CODE, drives_vectors, plain, start

# Modules that do the same with loops and without them, and what those of others import.
ONE_WAY = ("conv_loops", "windows", "packing", "normal", "pool_loops", *VECTOR_CODE)
BESIDE = ("conv_loops", "conv_im2col", "conv_depthwise", "pool_loops", "norm", "standardize", "reduce", "sweeps")
BESIDE += ("conv_direct", "activations", "winograd", "tiles", "packing")


def ways(name: str) -> tuple[tuple[bool, bool], ...]:
    """With loops or not, and with vector code or not: see `plain`. NumPy, which is mostly faster, comes first."""
    if name in VECTOR_CODE:
        return ((True, True),)
    found = [(True, False)] if name in ONE_WAY else [(False, False), (True, False)]
    return (*found, (True, True)) if drives_vectors(name) else tuple(found)


_first: dict[str, list[int]] = {}  # the cases of a module, with those first that noticed the latest mutants


def passes(name: str) -> bool:
    """Whether every case of a kernel module passes, in every way."""
    table = cases(name)
    order = _first.setdefault(name, list(range(len(table))))
    modules = [kernel(other) for other in BESIDE]
    for loops, vectors in ways(name):
        with plain(modules, loops=loops, vectors=vectors), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for k in order:
                start()
                try:
                    table[k][1]()
                except BaseException:  # neighbours of this mutant will be noticed by the same case
                    order.remove(k)
                    order.insert(0, k)
                    raise
    return True


def survives_kernel(mutant: KernelMutant) -> bool:
    """Whether no case notices. What a broken kernel leaves in context variables is not seen by the next one."""
    try:
        with mutant.applied():
            return contextvars.copy_context().run(passes, mutant.label.split(".")[0])
    except (Exception, pytest.fail.Exception):  # a broken kernel that raises is noticed, whatever it raises
        return False
