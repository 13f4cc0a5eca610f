"""The processes that mpiexec started, and what they do together.

A collective call is made by all processes in the same order; one that is not made by one of them makes the others wait.
So an exception that leaves one process ends all of them.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from ..kernels.parallel import set_num_threads

__all__ = ["Group", "abort", "get_rank", "get_world_size", "init"]

Array = NDArray[Any]

# What the launchers tell each process: how many were started (MPICH, Intel MPI; Open MPI), or only that it is one.
COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
SIGNS = ("PMIX_RANK",)


class Group:
    """Processes by their ranks from 0 to size - 1. Without a communicator of mpi4py it is this process alone."""

    def __init__(self, comm: Any = None) -> None:
        self.comm = comm
        self.rank: int = 0 if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()

    def add(self, values: Array) -> None:
        """Replace the values of an array, contiguous, by their sums over all processes, the same bits in each."""
        if self.size > 1:
            self.comm.Allreduce(_mpi().IN_PLACE, values)

    def gather(self, values: Array) -> Array:
        """The values of every process, by rank: (k) -> (size k)."""
        found = np.empty((self.size, *values.shape), values.dtype)
        if self.size > 1:
            self.comm.Allgather(np.ascontiguousarray(values), found)
        else:
            found[0] = values
        return found

    def broadcast(self, values: Array) -> None:
        """Replace the values of an array, contiguous, by those of rank 0."""
        if self.size > 1:
            self.comm.Bcast(values, root=0)

    def share(self, value: Any) -> Any:
        """The object of rank 0, pickled on the way; what the others give does not matter."""
        return self.comm.bcast(value, root=0) if self.size > 1 else value

    def collect(self, value: Any) -> list[Any]:
        """The objects of all processes, by rank, pickled on the way."""
        return list(self.comm.allgather(value)) if self.size > 1 else [value]

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            self.comm.Barrier()

    def __repr__(self) -> str:
        return f"Group(rank={self.rank}, size={self.size})"


ALONE = Group()
_world: Group | None = None


def init(threads: int | None = None) -> Group:
    """The processes of this run: all that mpiexec started, or this one alone, for which no mpi4py is needed.

    threads: of the kernels of each process; by default 1 where there are several processes, for which BLAS is held to
    one thread too, and as it is where there is one. Further calls give the same group.
    With several processes an exception that nobody catches ends all of them, with exit code 1. `sys.exit(1)` in one of
    them does so where they were started with `python -m mpi4py script.py`; otherwise the others wait for it.

    Raises ImportError where mpiexec has started several processes and mpi4py is not installed, and RuntimeError where
    it does not see them, as it uses another MPI than mpiexec.
    """
    global _world
    if _world is None:
        _world = _joined(_started())
        if _world.size > 1:
            set_num_threads(1)
            threadpoolctl.threadpool_limits(1, "blas")
            _end_all_after_an_exception()
    if threads is not None:
        set_num_threads(threads)
    return _world


def current() -> Group:
    """The group that `init` gave, this process alone if it was not called."""
    return ALONE if _world is None else _world


def get_rank() -> int:
    """The number of this process, from 0; 0 where it is alone."""
    return init().rank


def get_world_size() -> int:
    """How many processes there are; 1 where this one is alone."""
    return init().size


def abort(code: int = 1) -> None:
    """End all processes at once with this exit code; nothing where there is one, or `init` was not called."""
    if current().size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        current().comm.Abort(code)


def _started() -> int:
    """How many processes the launcher says that it has started; 1 without one."""
    return max([int(os.environ[name]) for name in COUNTS if os.environ.get(name, "").isdecimal()], default=1)


def _joined(started: int) -> Group:
    """The group of all processes, which are `started` in number."""
    if started == 1 and "mpi4py.MPI" not in sys.modules and not any(name in os.environ for name in SIGNS):
        return ALONE
    group = Group(_mpi().COMM_WORLD)
    if group.size == 1 < started:
        raise RuntimeError(
            f"init: mpiexec started {started} processes, but the MPI of mpi4py ({_version()}) sees one; the two are of "
            "different MPIs: start with the mpiexec that pip install 'tinygrad_cnn[mpi]' puts beside python"
        )
    return group if group.size > 1 else ALONE


def _mpi() -> Any:
    """mpi4py.MPI, whose import calls MPI_Init."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            f"init: mpiexec started this process, which needs mpi4py ({error}); pip install 'tinygrad_cnn[mpi]'"
        ) from error
    return MPI


def _version() -> str:
    return str(_mpi().Get_library_version()).partition("\n")[0].strip()


def _end_all_after_an_exception() -> None:
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        abort()

    sys.excepthook = hook
