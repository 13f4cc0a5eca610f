"""Random numbers: one generator for each thread, so that draws neither race nor repeat.

A generator per thread, not one behind a lock: with a lock the order in which threads come by would decide who
draws which numbers, and no thread could repeat its run. A thread that calls `manual_seed` gets that
seed's own stream, whatever other threads do. A thread that does not gets the next independent stream of the
seed set last, in the order of first use.
"""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import numpy as np

__all__ = ["default_generator", "manual_seed"]


class _Streams(threading.local):
    generator: np.random.Generator | None = None


_streams = _Streams()
_root: tuple[int, Iterator[int]] = (int(np.random.SeedSequence().generate_state(2, np.uint64)[0]), count())


def manual_seed(seed: int) -> np.random.Generator:
    """Start this thread's generator anew from `seed` >= 0; threads that have not drawn yet follow from it too.

    Returns the generator. Raises TypeError unless `seed` is an integer and ValueError if it is negative.
    """
    global _root
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"manual_seed: the seed is a {type(seed).__name__}; an integer is needed")
    if seed < 0:
        raise ValueError(f"manual_seed: the seed is {seed}; it must not be negative")
    _root = (int(seed), count())
    generator = np.random.default_rng(int(seed))
    _streams.generator = generator
    return generator


def default_generator() -> np.random.Generator:
    """The generator of this thread, which is used where none is given."""
    if _streams.generator is None:
        seed, streams = _root
        # next() of a count is one step that no other thread can enter: two threads never get one stream.
        _streams.generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(next(streams),)))
    return _streams.generator


@contextmanager
def on_a_copy() -> Iterator[None]:
    """In the block this thread draws from a copy of its generator, so that the block changes no later draw."""
    generator = _streams.generator
    _streams.generator = np.random.default_rng(0) if generator is None else copy.deepcopy(generator)
    try:
        yield
    finally:
        _streams.generator = generator
