"""Which memory was changed in place, and when.

Everything that changes a Tensor's memory calls `mark_changed`. Nodes and changes are numbered by one
clock, so a Node that keeps an array whose memory carries a later number knows that its value is gone.
The identity of memory is the ndarray at the end of the chain of `.base`: views, `.data` and
`detach()` share it by construction, and ops pay nothing for the check.
"""

import os
import threading
import weakref
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

tick = count(1).__next__
latest = [0]  # the number of the newest change, in a list so that other modules see it move

# The callbacks of these weak references are dict.pop(key, reference) itself: no Python code, so that neither a
# signal nor the end of the interpreter can strike inside one.
_changes: dict[int, tuple[weakref.ref[Array], int, str]] = {}
_shared: dict[int, weakref.ref[Array]] = {}

lock = threading.RLock()  # of what threads share in the engine: the newest change, and the leaves' gradients


def _unlock_child() -> None:
    """A process forked while another thread held the lock would wait for it forever."""
    global lock
    lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_child)


def owner(array: Array) -> Array:
    """The ndarray at the end of the chain of bases: two arrays overlap only if they share it."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def mark_changed(array: Array, by: str) -> None:
    """Note that `by` ("add_", "x[i] = v", ...) changed the memory of `array`."""
    root = owner(array)
    key = id(root)
    with lock:
        now = tick()
        _changes[key] = (weakref.ref(root, partial(_changes.pop, key)), now, by)
        latest[0] = now


def changed_since(array: Array, time: int) -> str | None:
    """What changed the memory of `array` after `time`, or None."""
    change = _changes.get(id(owner(array)))
    return change[2] if change is not None and change[1] > time else None


def mark_shared(array: Array) -> None:
    """Note that the memory of `array` belongs to somebody else, who may write to it unseen."""
    root = owner(array)
    key = id(root)
    _shared[key] = weakref.ref(root, partial(_shared.pop, key))


def is_shared(array: Array) -> bool:
    """Whether the memory came in through from_numpy."""
    return id(owner(array)) in _shared


def freeze(value: Any) -> Any:
    """A value that later writes cannot reach: arrays are copied unless read-only and owning their memory."""
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return value if value.flags.owndata and not value.flags.writeable else value.copy()
    if type(value) in (tuple, list):
        return type(value)(map(freeze, value))
    array = getattr(value, "array", None)  # a Tensor inside an index
    return array.copy() if isinstance(array, np.ndarray) else value
