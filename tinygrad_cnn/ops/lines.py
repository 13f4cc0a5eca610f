"""Lines as images of height 1: how what is there for (n c h w) is used for (n c l)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..graph import Tensor
from ..shapes import ShapeError
from .layout import reshape


def as_images(name: str, x: Any) -> Any:
    """(n c l) or (c l) as (n c 1 l). Raises ShapeError for another number of axes."""
    shape = tuple(x.shape)
    if len(shape) not in (2, 3):
        raise ShapeError(
            f"{name}: the input has {len(shape)} axes, shape {shape}, needs (n, c, length) or (c, length); "
            "reshape it so"
        )
    return reshape(x, (*(1, *shape)[-3:-1], 1, shape[-1]))


def as_lines(y: Any, batched: bool) -> Tensor:
    """(n c 1 l) as (n c l), or as (c l) unless `batched`."""
    lines: Tensor = reshape(y, (*(y.shape[:2] if batched else y.shape[1:2]), y.shape[3]))
    return lines


@contextmanager
def named(name: str, inner: str, how: str = "") -> Iterator[None]:
    """A block whose errors of the op or geometry `inner` are said to be those of `name`; `how` says how it is used."""
    try:
        yield
    except (ValueError, TypeError, IndexError, MemoryError) as error:
        text = str(error)
        if text.startswith(f"{inner}: "):
            error.args = (f"{name}{how}: {text.removeprefix(f'{inner}: ')}",)
        raise


def named_of_lines(name: str, inner: str) -> AbstractContextManager[None]:
    """`named` for the op `inner` that is used on lines."""
    return named(name, inner, f", as {inner} of height 1")
