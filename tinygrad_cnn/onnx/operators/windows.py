"""What Conv, ConvTranspose and the pools have in common: kernels, strides, pads and auto_pad, along one axis or two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...graph import Tensor
from ...ops.index import getitem
from ...ops.layout import pad, reshape
from .registry import Node

__all__ = ["Windows", "as_plane", "bordered", "from_plane", "out_sizes", "windows"]

Pair = tuple[int, int]
AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
LARGEST = 1 << 40  # of a stride, pad or dilation: more cannot be meant, and products stay exact


@dataclass(frozen=True)
class Windows:
    """Two-dimensional windows; a line is a plane of height 1, for which height says nothing but 1 and 0."""

    rank: int
    size: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: tuple[Pair, Pair]  # ((top, bottom), (left, right))

    @property
    def reach(self) -> Pair:
        """How many rows and columns a window covers, from its first cell to its last."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1


def windows(node: Node, x: Tensor, kernel_shape: Sequence[int], transposed: bool = False) -> Windows:
    """The windows that a node's attributes say, for an input of (n c l) or (n c h w)."""
    rank = x.ndim - 2
    if rank < 1:
        raise node.fail(f"the input has shape {x.shape}; (n, c, length) or (n, c, h, w) is needed")
    if rank > 2:
        raise node.unsupported(
            f"the input has shape {x.shape}; windows along one or two axes are supported, not {rank}"
        )
    kernel = _lengths(node, "kernel_shape", kernel_shape, rank, 1)
    stride = _lengths(node, "strides", node.attribute("strides", [1] * rank), rank, 1)
    dilation = _lengths(node, "dilations", node.attribute("dilations", [1] * rank), rank, 1)
    size = tuple(x.shape[2:])
    auto = node.attribute("auto_pad", "NOTSET")
    if auto not in AUTO_PADS:
        raise node.fail(f"auto_pad is {auto!r}; it can be {', '.join(AUTO_PADS)}")
    if auto == "NOTSET":
        flat = _lengths(node, "pads", node.attribute("pads", [0] * (2 * rank)), 2 * rank, -LARGEST)
        pads = list(zip(flat[:rank], flat[rank:], strict=True))  # all begins come first
    elif auto == "VALID" or transposed:
        pads = [(0, 0)] * rank
    else:
        pads = [_same(*sizes, auto) for sizes in zip(size, kernel, stride, dilation, strict=True)]
    size, kernel, stride, dilation = (_two(values, 1) for values in (size, kernel, stride, dilation))
    return Windows(rank, size, kernel, stride, dilation, _two(pads, (0, 0)))


def _lengths(node: Node, name: str, values: Any, count: int, least: int) -> tuple[int, ...]:
    if len(values) != count:
        raise node.fail(f"{name} has {len(values)} numbers, needs {count}")
    if min(values) < least or max(values) > LARGEST:
        raise node.fail(f"{name} is {list(values)}; {least} to {LARGEST} are possible")
    return tuple(int(value) for value in values)


def _same(n: int, k: int, s: int, d: int, auto: str) -> Pair:
    """Pads that give ceil(n / s) windows; an odd one goes last, or first with SAME_LOWER."""
    total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def _two(values: Sequence[Any], first: Any) -> tuple[Any, Any]:
    """(a) -> (first, a); (a, b) as it is."""
    return (first, values[0]) if len(values) == 1 else (values[0], values[1])


def as_plane(x: Tensor) -> Tensor:
    """(a b l) -> (a b 1 l); (a b h w) as it is."""
    return x if x.ndim == 4 else reshape(x, (*x.shape[:2], 1, x.shape[2]))


def from_plane(y: Tensor, rank: int) -> Tensor:
    """(n c 1 l) -> (n c l) for rank 1."""
    return y if rank == 2 else reshape(y, (*y.shape[:2], y.shape[3]))


def out_sizes(node: Node, at: Windows, ceil_mode: bool = False) -> Pair:
    """How many windows there are; with ceil_mode also the last one that begins in the image or the pads before it."""
    sizes = []
    for n, r, s, (lo, hi) in zip(at.size, at.reach, at.stride, at.pads, strict=True):
        room = n + lo + hi - r
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + lo:
            count -= 1
        if room < 0 or count < 1 or n < 1:
            raise node.fail(f"no window of {r} fits into the {n} cells of an axis with pads {lo} and {hi}")
        sizes.append(count)
    return sizes[0], sizes[1]


def bordered(node: Node, x: Tensor, borders: Sequence[Pair], value: float = 0.0) -> Tensor:
    """A plane with so many rows and columns of `value` before and after it; a negative number cuts as many off."""
    if all(border == (0, 0) for border in borders):
        return x
    if any(max(-lo, -hi) > n for n, (lo, hi) in zip(x.shape[2:], borders, strict=True)):
        raise node.fail(f"pads of {tuple(borders)} cut off more than the {tuple(x.shape[2:])} cells that there are")
    shape = tuple(n + lo + hi for n, (lo, hi) in zip(x.shape[2:], borders, strict=True))
    node.allow((*x.shape[:2], *shape), x.dtype.itemsize)
    if any(lo < 0 or hi < 0 for lo, hi in borders):
        cut = tuple(slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape[2:], borders, strict=True))
        x = getitem(x, (slice(None), slice(None), *cut))
    widths = ((0, 0), (0, 0), *((max(lo, 0), max(hi, 0)) for lo, hi in borders))
    return x if not any(map(any, widths)) else pad(x, widths, value)
