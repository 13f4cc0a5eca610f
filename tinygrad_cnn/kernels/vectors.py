"""The inner loops of convolution in vector code, which numba compiles for processors with AVX2 or AVX-512: float32.

A loop in Python leaves sums of products in memory; here a block of them stays in the vector registers, as in a BLAS.
The building blocks are emitted as LLVM instructions and called with addresses by the loops below them. Nothing checks
an address: the loops check the sizes of their arrays before they take any. Elsewhere the loops of tiles.py and the
matrix products of conv_im2col.py compute the same.

Importing this module imports numba.
Source: Goto & van de Geijn, Anatomy of high-performance matrix multiplication (2008); Lavin & Gray (2015), sec. 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numpy.typing import NDArray

from .instructions import (
    AVAILABLE,
    FLOAT,
    INT,
    LANES,
    VECTOR,
    Value,
    all_lanes,
    at,
    emits,
    entry,
    first_lanes,
    load,
    load_some,
    njit,
    pointer,
    store,
    store_some,
)

__all__ = [
    "AVAILABLE",
    "LANES",
    "PANEL",
    "correlate",
    "correlate_tiles",
    "correlate_tiles_weights",
    "correlate_weights",
    "kernels_to_tiles",
]

Array = NDArray[Any]
Pair = tuple[int, int]
Window = tuple[Pair, Pair, Pair]
Room = tuple[Array, Array, Array, Array, Array]

PANEL = 2 * LANES  # outputs that a block computes at once; fewer are computed in one vector, or in half of one


# A block of sums of products: out[m] = start[m] + sum over runs and k of a[m, run, k] b[run, k]


def _write_block(b: Any, rows: int, vectors: int, lanes: int, arguments: dict[str, Any]) -> None:
    """`rows` rows of `vectors` vectors, whose sums stay in registers; see `_multiply` for the arguments."""
    get, kind = arguments.__getitem__, ir.VectorType(FLOAT, lanes)
    mask = first_lanes(b, b.sub(get("width"), INT(lanes * (vectors - 1))), lanes)

    def part(address: Any, v: int) -> Any:
        address = at(b, address, (INT(4 * lanes), v))
        return load_some(b, address, mask) if v == vectors - 1 else load(b, address, kind)

    sums = {(m, v): cgutils.alloca_once(b, kind) for m in range(rows) for v in range(vectors)}
    for (m, v), total in sums.items():
        b.store(part(at(b, get("start"), (get("start_row"), m)), v), total)
    place, factors = cgutils.alloca_once(b, INT), cgutils.alloca_once(b, INT)
    b.store(get("b"), factors)
    with cgutils.for_range(b, get("runs")) as run:
        offset = b.load(pointer(b, b.add(get("offsets"), b.mul(run.index, INT(8))), INT))
        b.store(b.add(get("a"), offset), place)
        with cgutils.for_range(b, get("length")):
            here, there = b.load(place), b.load(factors)
            values = [part(there, v) for v in range(vectors)]
            for m in range(rows):
                scalar = b.load(pointer(b, at(b, here, (get("by_row"), m)), FLOAT))
                factor = all_lanes(b, scalar, lanes)
                for v in range(vectors):
                    product = b.fmul(factor, values[v], flags=("contract",))
                    b.store(b.fadd(b.load(sums[m, v]), product, flags=("contract",)), sums[m, v])
            b.store(b.add(here, get("by_term")), place)
            b.store(b.add(there, get("step")), factors)
    for (m, v), total in sums.items():
        address = at(b, get("out"), (get("out_row"), m), (INT(4 * lanes), v))
        if v == vectors - 1:
            store_some(b, b.load(total), address, mask)
        else:
            store(b, b.load(total), address)


_BLOCK = "a by_row by_term offsets runs length b step start start_row out out_row width"


def _write_blocks(b: Any, rows: Any, *values: Any) -> None:
    """Any number of rows: blocks of 8, then one of 4, and one of 3, 2 or 1.

    Where nothing is added to what is there, the last block may begin early and compute some rows a second time.
    """
    arguments = dict(zip(_BLOCK.split(), values, strict=True))
    apart = b.icmp_signed("!=", arguments["start"], arguments["out"])
    again = b.and_(apart, b.icmp_signed(">=", rows, INT(8)))
    blocks = b.lshr(b.add(rows, b.select(again, INT(7), INT(0))), INT(3))
    rest = b.select(again, INT(0), rows)  # its last three bits

    def block(first: Any, size: int, vectors: int, lanes: int) -> None:
        moved = {
            name: b.add(arguments[name], b.mul(arguments[row], first))
            for name, row in (("a", "by_row"), ("start", "start_row"), ("out", "out_row"))
        }
        _write_block(b, size, vectors, lanes, {**arguments, **moved})

    def all_rows(vectors: int, lanes: int) -> None:
        with cgutils.for_range(b, blocks) as loop:
            first, latest = b.shl(loop.index, INT(3)), b.sub(rows, INT(8))
            block(b.select(b.icmp_signed("<", first, latest), first, latest), 8, vectors, lanes)
        with b.if_then(b.icmp_signed("!=", b.and_(rest, INT(4)), INT(0))):
            block(b.and_(rows, INT(-8)), 4, vectors, lanes)
        for size in (3, 2, 1):
            with b.if_then(b.icmp_signed("==", b.and_(rest, INT(3)), INT(size))):
                block(b.and_(rows, INT(-4)), size, vectors, lanes)

    with b.if_else(b.icmp_signed(">", arguments["width"], INT(LANES))) as (wide, narrow):
        with wide:
            all_rows(2, LANES)
        with narrow, b.if_else(b.icmp_signed(">", arguments["width"], INT(LANES // 2))) as (whole, half):
            with whole:
                all_rows(1, LANES)
            with half:
                all_rows(1, LANES // 2)


_blocks = emits("rows " + _BLOCK, _write_blocks)


@njit
def _multiply(
    rows: int,
    a: int,
    by_row: int,
    by_term: int,
    offsets: int,
    runs: int,
    length: int,
    b: int,
    step: int,
    start: int,
    start_row: int,
    out: int,
    out_row: int,
    width: int,
) -> None:
    """out[m, :width] = start[m, :width] + sum over runs r and k < length of a[m, r, k] b[r, k, :width], m < rows.

    Everything is an address or a number of bytes, but rows, runs, length and width <= PANEL.
    a: a[m, r, k] lies at a + offsets[r] + m by_row + k by_term; offsets: the address of int64 numbers.
    b: vectors, `step` apart, all runs in sequence.
    start, out: with start_row and out_row between rows; they may be the same.
    """
    _blocks(rows, a, by_row, by_term, offsets, runs, length, b, step, start, start_row, out, out_row, width)


# The transforms of Winograd's F(4x4, 3x3), LANES channels at once, all in registers; tiles.py explains them


def _twice(sums: Callable[[Sequence[Any]], list[Any]], square: list[list[Any]]) -> list[list[Any]]:
    """The sums down every column, then along every row."""
    columns = [sums(column) for column in zip(*square, strict=True)]
    return [sums(row) for row in zip(*columns, strict=True)]


def _pixels(d: Sequence[Any]) -> list[Any]:
    """B^T d"""
    even, odd = d[4] - 4 * d[2], d[3] - 4 * d[1]
    near, far = d[4] - d[2], 2 * (d[3] - d[1])
    return [4 * d[0] - 5 * d[2] + d[4], even + odd, even - odd, near + far, near - far, 4 * d[1] - 5 * d[3] + d[5]]


def _outputs(m: Sequence[Any]) -> list[Any]:
    """A^T m"""
    near, far, in_turn, out_turn = m[1] + m[2], m[3] + m[4], m[1] - m[2], m[3] - m[4]
    return [m[0] + near + far, in_turn + 2 * out_turn, near + 4 * far, in_turn + 8 * out_turn + m[5]]


def _spread(y: Sequence[Any]) -> list[Any]:
    """A y"""
    even, odd = y[0] + y[2], y[1] + y[3]
    near, far = y[0] + 4 * y[2], 2 * y[1] + 8 * y[3]
    return [y[0], even + odd, even - odd, near + far, near - far, y[3]]


def _kernel(w: Sequence[Any]) -> list[Any]:
    """G w"""
    even, odd = (-1 / 6) * (w[0] + w[2]), (-1 / 6) * w[1]
    near, far = (1 / 24) * w[0] + (1 / 6) * w[2], (1 / 12) * w[1]
    return [(1 / 4) * w[0], even + odd, even - odd, near + far, near - far, w[2]]


def _square(b: Any, side: int, address: Any, by_row: Any, by_column: Any) -> list[list[Value]]:
    """side x side vectors from memory."""
    return [[Value(b, load(b, at(b, address, (by_row, i), (by_column, j)))) for j in range(side)] for i in range(side)]


def _transform(side: int, sums: Any, bias: str = "") -> Any:
    """out[i, j] = the transform of side x side vectors, plus a bias if it has one; memory steps in bytes."""

    def write(b: Any, address: Any, row: Any, column: Any, out: Any, out_row: Any, out_column: Any, *bias: Any) -> None:
        added = [Value(b, load(b, place)) for place in bias]
        for i, line in enumerate(_twice(sums, _square(b, side, address, row, column))):
            for j, value in enumerate(line):
                store(b, sum(added, value).value, at(b, out, (out_row, i), (out_column, j)))

    return emits(f"address row column out out_row out_column {bias}", write)


_to_tile, _spread_tile = _transform(6, _pixels), _transform(4, _spread)
_kernel_tile = _transform(3, _kernel)
_from_tile = _transform(6, _outputs, "bias")


def _write_sizes(b: Any, address: Any, count: Any, out: Any) -> None:
    """Add the sums of |x| and x^2 of `count` vectors to two float64 at out, and keep the largest |x| in a third.

    nan is among the sums, and is not the largest.
    """
    kind = ir.FunctionType(VECTOR, [VECTOR])
    size = cgutils.get_or_insert_function(b.module, kind, f"llvm.fabs.v{LANES}f32")
    totals = [cgutils.alloca_once(b, VECTOR) for _ in range(3)]
    for total in totals:
        b.store(ir.Constant(VECTOR, [0.0] * LANES), total)
    with cgutils.for_range(b, count) as loop:
        x = b.call(size, [load(b, b.add(address, b.mul(loop.index, INT(4 * LANES))))])
        so_far, squares, most = map(b.load, totals)
        b.store(b.fadd(so_far, x), totals[0])
        b.store(b.fadd(squares, b.fmul(x, x)), totals[1])
        b.store(b.select(b.fcmp_ordered(">", x, most), x, most), totals[2])
    for k, total in enumerate(totals):
        place = pointer(b, b.add(out, INT(8 * k)), ir.DoubleType())
        result, vector = b.load(place), b.load(total)
        for lane in range(LANES):
            value = b.fpext(b.extract_element(vector, ir.IntType(32)(lane)), ir.DoubleType())
            result = b.fadd(result, value) if k < 2 else b.select(b.fcmp_ordered(">", value, result), value, result)
        b.store(result, place)


def _write_copy(b: Any, to: Any, source: Any, count: Any) -> None:
    cgutils.raw_memcpy(b, *(pointer(b, address, ir.IntType(8)) for address in (to, source)), count, 1)


def _write_clear(b: Any, to: Any, count: Any) -> None:
    cgutils.memset(b, pointer(b, to, ir.IntType(8)), count, 0)


_sizes = emits("address count out", _write_sizes)
_copy, _clear = emits("to source count", _write_copy), emits("to count", _write_clear)


# Convolution without columns: the windows are read where they are


@njit
def _copy_padded(x: Array, n: int, row: int, column: int, height: int, width: int, channels: int, out: Array) -> None:
    """The pixels from (row, column) on of image n, with zeros outside: (n h w c) -> out (height*width*channels)."""
    h, w, c = x.shape[1:]
    if len(out) < height * width * channels or channels < c or n < 0 or n >= len(x):
        raise ValueError("padded: the array is too small")
    first, stop = max(0, -column), min(width, w - column)
    inside = stop - first
    for i in range(height):
        to = out.ctypes.data + i * width * channels * 4
        if row + i < 0 or row + i >= h or inside <= 0:
            _clear(to, width * channels * 4)
            continue
        _clear(to, first * channels * 4)
        _clear(to + stop * channels * 4, (width - stop) * channels * 4)
        source, to = x.ctypes.data + ((n * h + row + i) * w + column + first) * c * 4, to + first * channels * 4
        for j in range(inside if channels > c else 1):
            _copy(to + j * channels * 4, source + j * c * 4, (c if channels > c else inside * c) * 4)
            _clear(to + (j * channels + c) * 4, (channels - c) * 4)


@entry
def correlate(
    x: Array,
    blocks: Array,
    window: Window,
    offsets: Array,
    length: int,
    w: Array,
    bias: Array,
    y: Array,
    place: Pair,
    step: Pair,
    columns: int,
    padded: Array,
) -> None:
    """Windows of some blocks times kernels: (n h w c), w (panels terms lanes), bias (o) -> y (n ... o).

    blocks (k 4): first and last image, first and last row of windows. window: strides, corner, size. Window (i, j)
    reads runs of `length` values in an area of that size at (i, j)*stride + corner, `offsets` bytes from its start;
    its result is y[n, place + step*(i, j)]. padded: room for what a block's rows of one image read.
    """
    ((down, right), corner, size), (panels, terms, lanes) = window, w.shape
    c, o, width = x.shape[3], y.shape[3], (columns - 1) * right + size[1]
    if (
        columns < 1 or place[1] + (columns - 1) * step[1] >= y.shape[2] or min(*place, *step, down, right) < 0
        or len(x) != len(y) or terms != len(offsets) * length or panels * lanes < o or (panels - 1) * lanes >= o
        or lanes > PANEL or len(bias) < panels * lanes
    ):  # fmt: skip
        raise ValueError("correlate: the arrays do not fit")
    for k in offsets:
        if k < 0 or k % 4 or k // 4 + length > ((size[0] - 1) * width + size[1]) * c:
            raise ValueError("correlate: an offset leaves the window")
    line = down * width * c * 4
    for block in blocks:
        n0, n1, r0, r1 = block
        if n0 < 0 or n1 > len(x) or r0 < 0 or place[0] + (r1 - 1) * step[0] >= y.shape[1]:
            raise ValueError("correlate: a block leaves the images")
        for n in range(n0, n1):
            _copy_padded(x, n, r0 * down + corner[0], corner[1], (r1 - r0 - 1) * down + size[0], width, c, padded)
            for p in range(panels):
                for i in range(r0, r1):
                    out = ((n * y.shape[1] + place[0] + i * step[0]) * y.shape[2] + place[1]) * o + p * lanes
                    _multiply(
                        columns, padded.ctypes.data + (i - r0) * line, right * c * 4, 4,
                        offsets.ctypes.data, len(offsets), length,
                        w.ctypes.data + p * terms * lanes * 4, lanes * 4, bias.ctypes.data + p * lanes * 4, 0,
                        y.ctypes.data + out * 4, step[1] * o * 4, min(lanes, o - p * lanes),
                    )  # fmt: skip


@entry
def correlate_weights(
    x: Array,
    g: Array,
    blocks: Array,
    window: Window,
    offsets: Array,
    length: int,
    dw: Array,
    padded: Array,
    lines: Array,
    panel: Array,
) -> None:
    """Add to dw what some blocks bring: (n h w c), (n oh ow o) -> (panels terms lanes).

    The adjoint of `correlate` in w. lines, panel: room for a number for each row, for lanes outputs of each window.
    """
    ((down, right), corner, size), (panels, terms, lanes) = window, dw.shape
    c, (oh, ow, o) = x.shape[3], g.shape[1:]
    width = (ow - 1) * right + size[1]
    if (
        len(x) != len(g) or ow < 1 or min(down, right) < 0 or terms != len(offsets) * length or panels * lanes < o
        or (panels - 1) * lanes >= o or lanes > PANEL
    ):  # fmt: skip
        raise ValueError("correlate_weights: the arrays do not fit")
    for k in offsets:
        if k < 0 or k % 4 or k // 4 + length > ((size[0] - 1) * width + size[1]) * c:
            raise ValueError("correlate_weights: an offset leaves the window")
    for i in range(len(lines)):
        lines[i] = i * down * width * c * 4
    for block in blocks:
        n0, n1, r0, r1 = block
        pixels = (r1 - r0) * ow
        if n0 < 0 or n1 > len(x) or r0 < 0 or r1 > oh or len(lines) < r1 - r0 or len(panel) < pixels * lanes:
            raise ValueError("correlate_weights: a block leaves the images, or has no room")
        for n in range(n0, n1):
            _copy_padded(x, n, r0 * down + corner[0], corner[1], (r1 - r0 - 1) * down + size[0], width, c, padded)
            given = g.ctypes.data + (n * oh + r0) * ow * o * 4
            for p in range(panels):
                used = min(lanes, o - p * lanes)
                source, step = given, o * 4
                if panels > 1:  # pixels a power of two apart would meet in the same part of the cache
                    source, step = panel.ctypes.data, lanes * 4
                    for k in range(pixels):
                        _copy(source + k * step, given + (k * o + p * lanes) * 4, used * 4)
                for r in range(len(offsets)):
                    out = dw.ctypes.data + (p * terms + r * length) * lanes * 4
                    _multiply(
                        length, padded.ctypes.data + offsets[r], 4, right * c * 4, lines.ctypes.data, r1 - r0, ow,
                        source, step, out, lanes * 4, out, lanes * 4, used,
                    )  # fmt: skip


# Winograd's chain on a chunk of tiles; winograd.py explains it


@entry
def kernels_to_tiles(w: Array, channels: Pair, u: Array) -> None:
    """G w G^T for some input channels: (panels 9 c lanes) -> u (36 panels c lanes)."""
    panels, c, lanes = u.shape[1:]
    if w.shape != (panels, 9, c, lanes) or len(u) != 36 or lanes % LANES or channels[0] < 0 or channels[1] > c:
        raise ValueError("kernels_to_tiles: the arrays do not fit")
    one, line = c * lanes * 4, u.size // 36 * 4
    for p in range(panels):
        for k in range(channels[0], channels[1]):
            for e in range(0, lanes, LANES):
                source, to = ((p * 9 * c + k) * lanes + e) * 4, ((p * c + k) * lanes + e) * 4
                _kernel_tile(w.ctypes.data + source, 3 * one, one, u.ctypes.data + to, 6 * line, line)


@njit
def _pixels_to_tiles(
    x: Array, block: Array, tw: int, corner: Pair, channels: int, padded: Array, v: Array, seen: Array
) -> None:
    """B^T d B for the tiles of a block: (n h w c) -> v (36 tiles*channels + room); corner: zeros above and left.

    block: first and last image, first and last row of tiles. seen (n tile rows 3): gets the sums of |x| and of x^2 and
    the largest |x| of the pixels in these rows, at the block's first.
    """
    n0, n1, r0, r1 = block
    height, width = 4 * (r1 - r0) + 2, 4 * tw + 2
    if channels % LANES or len(v) != 36 or v.shape[1] < (n1 - n0) * (r1 - r0) * tw * channels:
        raise ValueError("pixels_to_tiles: the arrays do not fit")
    line, down = v.shape[1] * 4, width * channels * 4
    to = v.ctypes.data
    sizes = seen.ctypes.data + r0 * 24
    first = min(corner[0], 2)  # rows that two blocks read are measured in one of them, whatever the corner
    stop = height if r1 == seen.shape[1] else first + 4 * (r1 - r0)
    for n in range(n0, n1):
        _copy_padded(x, n, 4 * r0 - corner[0], -corner[1], height, width, channels, padded)
        for i in range(first, stop):
            _sizes(padded.ctypes.data + i * down, width * channels // LANES, sizes + n * seen.shape[1] * 24)
        for i in range(r1 - r0):
            for j in range(tw):
                source = padded.ctypes.data + 4 * i * down + 4 * j * channels * 4
                for e in range(0, channels, LANES):
                    _to_tile(source + e * 4, down, channels * 4, to, 6 * line, line)
                    to += LANES * 4


@entry
def correlate_tiles(
    x: Array, blocks: Array, tw: int, corner: Pair, u: Array, bias: Array, y: Array, room: Room, seen: Array
) -> None:
    """The outputs of the tiles of some blocks: (n h w c), u (36 panels channels lanes) -> y (n oh ow o), plus bias.

    blocks (k 4): first and last image, first and last row of tiles. bias (panels*lanes). seen: see _pixels_to_tiles.
    room: for a block's rows of one image, for its tiles in and out, (36 tiles*channels + some) and
    (36 tiles*panels*lanes + some), for a tile that sticks out, 16*LANES; and PANEL zeros, int64.
    """
    padded, v, m, spare, zeros = room
    oh, ow, o = y.shape[1:]
    panels, channels, lanes = u.shape[1:]
    if (
        len(u) != 36 or panels * lanes < o or lanes % LANES or lanes > PANEL or len(bias) < panels * lanes
        or 4 * (tw - 1) >= ow or len(m) != 36 or len(x) != len(y) or len(seen) != len(x) or seen.shape[2] != 3
        or len(spare) < 16 * LANES or len(zeros) < PANEL
    ):  # fmt: skip
        raise ValueError("correlate_tiles: the arrays do not fit")
    line = m.shape[1] * 4
    for block in blocks:
        n0, n1, r0, r1 = block
        tiles = (n1 - n0) * (r1 - r0) * tw
        if n0 < 0 or n1 > len(x) or r0 < 0 or r1 > seen.shape[1] or 4 * (r1 - 1) >= oh:
            raise ValueError("correlate_tiles: a block leaves the images")
        if m.shape[1] < tiles * panels * lanes:
            raise ValueError("correlate_tiles: a block has no room")
        _pixels_to_tiles(x, block, tw, corner, channels, padded, v, seen)
        for f in range(36):
            for p in range(panels):
                _multiply(
                    tiles, v.ctypes.data + f * v.shape[1] * 4, channels * 4, 4, zeros.ctypes.data, 1, channels,
                    u.ctypes.data + (f * panels + p) * channels * lanes * 4, lanes * 4, zeros.ctypes.data, 0,
                    m.ctypes.data + f * line + p * tiles * lanes * 4, lanes * 4, lanes,
                )  # fmt: skip
        t = 0
        for n in range(n0, n1):
            for i in range(r0, r1):
                for j in range(tw):
                    for k in range(0, o, LANES):
                        place = ((n * oh + 4 * i) * ow + 4 * j) * o + k
                        source = m.ctypes.data + ((k // lanes * tiles + t) * lanes + k % lanes) * 4
                        whole = 4 * i + 4 <= oh and 4 * j + 4 <= ow and k + LANES <= o
                        _from_tile(
                            source, 6 * line, line, y.ctypes.data + place * 4 if whole else spare.ctypes.data,
                            ow * o * 4 if whole else 16 * LANES, o * 4 if whole else 4 * LANES,
                            bias.ctypes.data + k * 4,
                        )  # fmt: skip
                        if not whole:
                            for p in range(min(4, oh - 4 * i)):
                                for q in range(min(4, ow - 4 * j)):
                                    to = y.ctypes.data + (place + (p * ow + q) * o) * 4
                                    _copy(to, spare.ctypes.data + (4 * p + q) * LANES * 4, min(LANES, o - k) * 4)
                    t += 1


@entry
def correlate_tiles_weights(
    x: Array,
    g: Array,
    blocks: Array,
    tw: int,
    corner: Pair,
    lanes: int,
    du: Array,
    room: Room,
    seen: Array,
    seen_g: Array,
) -> None:
    """Add to du what the tiles of some blocks bring: (n h w c), (n oh ow o) -> (36 channels panels*lanes).

    The adjoint of `correlate_tiles` in u, with the same arguments.
    """
    (channels, o), (padded, v, m, _, zeros) = du.shape[1:], room
    oh, panels = g.shape[1], o // lanes
    if (
        len(du) != 36 or o % lanes or lanes % LANES or lanes > PANEL or o < g.shape[3] or len(m) != 36
        or len(x) != len(g) or len(seen) != len(x) or seen.shape != seen_g.shape or seen.shape[2] != 3
        or len(zeros) < PANEL
    ):  # fmt: skip
        raise ValueError("correlate_tiles_weights: the arrays do not fit")
    line, down = m.shape[1] * 4, 4 * tw * o * 4
    for block in blocks:
        n0, n1, r0, r1 = block
        tiles = (n1 - n0) * (r1 - r0) * tw
        if n0 < 0 or n1 > len(x) or r0 < 0 or r1 > seen.shape[1] or 4 * (r1 - 1) >= oh:
            raise ValueError("correlate_tiles_weights: a block leaves the images")
        if m.shape[1] < tiles * o:
            raise ValueError("correlate_tiles_weights: a block has no room")
        _pixels_to_tiles(x, block, tw, corner, channels, padded, v, seen)
        t = 0
        for n in range(n0, n1):
            _copy_padded(g, n, 4 * r0, 0, 4 * (r1 - r0), 4 * tw, o, padded)
            sizes = seen_g.ctypes.data + (n * seen.shape[1] + r0) * 24
            _sizes(padded.ctypes.data, 4 * (r1 - r0) * 4 * tw * o // LANES, sizes)
            for i in range(r1 - r0):
                for j in range(tw):
                    for k in range(0, o, LANES):
                        source = padded.ctypes.data + 4 * i * down + (4 * j * o + k) * 4
                        to = m.ctypes.data + ((k // lanes * tiles + t) * lanes + k % lanes) * 4
                        _spread_tile(source, down, o * 4, to, 6 * line, line)
                    t += 1
        for f in range(36):
            for p in range(panels):
                out = du.ctypes.data + (f * channels * o + p * lanes) * 4
                _multiply(
                    channels, v.ctypes.data + f * v.shape[1] * 4, 4, channels * 4, zeros.ctypes.data, 1, tiles,
                    m.ctypes.data + f * line + p * tiles * lanes * 4, lanes * 4, out, o * 4, out, o * 4, lanes,
                )  # fmt: skip
