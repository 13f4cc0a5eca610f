"""Data-parallel training: the processes that mpiexec starts hold the same model, and each a part of every batch."""

from .counts import local_count
from .group import Group, abort, get_rank, get_world_size, init
from .parallel import DataParallel
from .sampler import DistributedSampler

__all__ = [
    "DataParallel",
    "DistributedSampler",
    "Group",
    "abort",
    "get_rank",
    "get_world_size",
    "init",
    "local_count",
]
