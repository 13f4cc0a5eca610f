"""Random numbers: one generator for each thread, so that draws neither race nor repeat.

A generator per thread, not one behind a lock: with a lock the order in which threads come by would decide who
draws which numbers, and no thread could repeat its run. A thread that calls `manual_seed` gets that
seed's own stream, whatever other threads do. A thread that does not gets the next independent stream of the
seed set last, in the order of first use.

Inside `drawing_from` a thread has another generator for a while: a DataLoader gives each item its own, so that what is
drawn for an item depends neither on the thread that makes it nor on the items before.

Whoever draws asks `source` for the generator, so that a checkpoint can note the state before the first draw and draw
the same numbers again.
"""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Self

import numpy as np

from .devices import check_device

__all__ = ["Generator", "default_generator", "manual_seed"]


class Generator(np.random.Generator):
    """A NumPy generator under PyTorch's name: `Generator().manual_seed(0)`, for `generator=` of whatever draws.

    Until it is seeded it starts from the operating system's entropy.
    """

    def __init__(self, device: Any = "cpu") -> None:
        check_device("Generator", device)
        super().__init__(np.random.PCG64())

    def manual_seed(self, seed: int) -> Self:
        """Start anew from `seed` >= 0: the same numbers as np.random.default_rng(seed); returns self."""
        self.bit_generator.state = np.random.PCG64(_seed("Generator.manual_seed", seed)).state
        return self


class _Streams(threading.local):
    generator: np.random.Generator | None = None
    source: Callable[[], np.random.Generator] | None = None  # makes the generator when it is first asked for


_streams = _Streams()
_notes: ContextVar[tuple["Draws", ...]] = ContextVar("notes", default=())  # of the running `noted` blocks
_root: tuple[int, Iterator[int]] = (int(np.random.SeedSequence().generate_state(2, np.uint64)[0]), count())


def manual_seed(seed: int) -> np.random.Generator:
    """Start this thread's generator anew from `seed` >= 0; threads that have not drawn yet follow from it too.

    Returns the generator. Raises TypeError unless `seed` is an integer and ValueError if it is negative.
    """
    global _root
    start = _seed("manual_seed", seed)
    _root = (start, count())
    generator = np.random.default_rng(start)
    _streams.generator = generator
    return generator


def _seed(name: str, seed: int) -> int:
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{name}: the seed is a {type(seed).__name__}; an integer is needed")
    if seed < 0:
        raise ValueError(f"{name}: the seed is {seed}; it must not be negative")
    return int(seed)


def default_generator() -> np.random.Generator:
    """The generator of this thread, which is used where none is given."""
    if _streams.generator is None:
        if _streams.source is not None:
            _streams.generator = _streams.source()
        else:
            seed, streams = _root
            # next() of a count is one step that no other thread can enter: two threads never get one stream.
            _streams.generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(next(streams),)))
    if notes := _notes.get():
        for draws in notes:
            draws.note(_streams.generator, by_default=True)
    return _streams.generator


@contextmanager
def drawing_from(make: Callable[[], np.random.Generator]) -> Iterator[None]:
    """Give this thread the generator that `make()` makes, at its first use, until the block ends."""
    outside = _streams.generator, _streams.source
    _streams.generator, _streams.source = None, make
    try:
        yield
    finally:
        _streams.generator, _streams.source = outside


def source(generator: np.random.Generator | None) -> np.random.Generator:
    """The generator to draw from: this thread's, if none is given. Raises TypeError for what is no generator."""
    if generator is None:
        return default_generator()
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator: a {type(generator).__name__} was given; numpy.random.default_rng(seed) makes one")
    if notes := _notes.get():
        for draws in notes:
            draws.note(generator, by_default=generator is _streams.generator)
    return generator


class Draws:
    """The generators that were drawn from in a block, each with its state before the first draw."""

    def __init__(self) -> None:
        self._default: Any = None
        self._given: dict[int, tuple[np.random.Generator, Any]] = {}

    def note(self, generator: np.random.Generator, by_default: bool) -> None:
        """Note the state of a generator that is about to be drawn from for the first time."""
        if by_default:
            self._default = self._default or generator.bit_generator.state
        elif id(generator) not in self._given:
            self._given[id(generator)] = generator, generator.bit_generator.state

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A block whose draws are noted; an outer one notes them too."""
        token = _notes.set((*_notes.get(), self))
        try:
            yield
        finally:
            _notes.reset(token)

    @contextmanager
    def again(self) -> Iterator[None]:
        """A block that draws the same numbers again, in any thread; afterwards every generator stands where it was."""
        global _root
        root, default = _root, _streams.generator
        given = [(generator, generator.bit_generator.state) for generator, _ in self._given.values()]
        try:
            if self._default is not None:
                _streams.generator = np.random.Generator(np.random.PCG64(0))
                _streams.generator.bit_generator.state = self._default
            for generator, state in self._given.values():
                generator.bit_generator.state = state
            yield
        finally:
            _root, _streams.generator = root, default
            for generator, state in given:
                generator.bit_generator.state = state


@contextmanager
def on_a_copy() -> Iterator[None]:
    """In the block this thread draws from a copy of its generator, so that the block changes no later draw."""
    generator = _streams.generator
    _streams.generator = np.random.default_rng(0) if generator is None else copy.deepcopy(generator)
    try:
        yield
    finally:
        _streams.generator = generator
