"""The maxima of windows in vector code: float32 and int32, channels last; pool_loops.py computes the same elsewhere.

A loop in Python proves anew for every window that its rows of channels are apart, which takes as long as the work.
Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numpy.typing import NDArray

from .instructions import INT, LANES, all_lanes, emits, entry, first_lanes, load_some, pointer, store_some

Array = NDArray[Any]
_INT32 = ir.IntType(32)


def _write_best(
    b: Any, cells: Any, count: Any, base: Any, pixel: Any, image: Any, out: Any, winners: Any, channels: Any
) -> None:
    """For up to LANES channels the largest of `count` cells and its number; the first of equal ones, nan above all.

    cells: the address of numbers, int32, to which `base` is added; pixel: bytes of one; image: the address of cell 0;
    channels: from here on, if more than LANES then the first of them.
    """
    mask = first_lanes(b, channels, LANES)
    best = cgutils.alloca_once(b, ir.VectorType(ir.FloatType(), LANES))
    place = cgutils.alloca_once(b, ir.VectorType(_INT32, LANES))

    def cell(k: Any) -> tuple[Any, Any]:
        number = b.add(b.sext(b.load(pointer(b, b.add(cells, b.mul(k, INT(4))), _INT32)), INT), base)
        value = load_some(b, b.add(image, b.mul(number, pixel)), mask)
        return value, all_lanes(b, b.trunc(number, _INT32), LANES)

    value, number = cell(INT(0))
    b.store(value, best)
    b.store(number, place)
    with cgutils.for_range(b, b.sub(count, INT(1))) as loop:
        value, number = cell(b.add(loop.index, INT(1)))
        most = b.load(best)
        better = b.and_(b.fcmp_unordered(">", value, most), b.fcmp_ordered("ord", most, most))
        b.store(b.select(better, value, most), best)
        b.store(b.select(better, number, b.load(place)), place)
    store_some(b, b.load(best), out, mask)
    store_some(b, b.load(place), winners, mask)


_best = emits("cells count base pixel image out winners channels", _write_best)


@entry
def maxima(
    x: Array,
    images: tuple[int, int],
    rows: Array,
    columns: Array,
    sh: int,
    sw: int,
    y: Array,
    winners: Array,
    at: Array,
) -> None:
    """The maxima of some images and their cells: (n h w c) -> y, winners (n oh ow c); at (2, cells): room for numbers.

    Cell k of window (i, j) is pixel (i*sh + rows[k], j*sw + columns[k]), if that lies inside.
    """
    h, w, c = x.shape[1:]
    oh, ow = y.shape[1:3]
    if (
        y.shape != winners.shape or len(x) != len(y) or y.shape[3] != c or images[0] < 0 or images[1] > len(x)
        or len(rows) != len(columns) or len(rows) < 1 or at.shape != (2, len(rows))
    ):  # fmt: skip
        raise ValueError("maxima: the arrays do not fit")
    first_row, last_row, first_column, last_column = rows[0], rows[0], columns[0], columns[0]
    for k in range(len(rows)):
        first_row, last_row = min(first_row, rows[k]), max(last_row, rows[k])
        first_column, last_column = min(first_column, columns[k]), max(last_column, columns[k])
        at[0, k] = rows[k] * w + columns[k]
    for n in range(images[0], images[1]):
        image = x.ctypes.data + n * h * w * c * 4
        for i in range(oh):
            inside = i * sh + first_row >= 0 and i * sh + last_row < h
            for j in range(ow):
                numbers, cells, base = at.ctypes.data, len(rows), i * sh * w + j * sw
                if not inside or j * sw + first_column < 0 or j * sw + last_column >= w:
                    numbers, cells, base = numbers + 4 * len(rows), 0, 0
                    for k in range(len(rows)):
                        row, column = i * sh + rows[k], j * sw + columns[k]
                        if 0 <= row < h and 0 <= column < w:
                            at[1, cells] = row * w + column
                            cells += 1
                    if cells == 0:
                        raise ValueError("maxima: a window has no cell inside the image")
                for e in range(0, c, LANES):
                    place = (((n * oh + i) * ow + j) * c + e) * 4
                    _best(
                        numbers, cells, base, c * 4, image + e * 4,
                        y.ctypes.data + place, winners.ctypes.data + place, c - e,
                    )  # fmt: skip
