"""Depthwise convolution in vector code: float32, channels last, one kernel for each channel.

conv_depthwise.py computes the same elsewhere. Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numpy.typing import NDArray

from .instructions import FLOAT, INT, LANES, at, emits, entry, first_lanes, load_some, pointer, store_some

Array = NDArray[Any]
_VECTOR = ir.VectorType(FLOAT, LANES)
AT_ONCE = 4  # neighbouring outputs that share the loads of the kernel


def _write_outputs(pixels: int) -> Any:
    """For up to LANES channels of some neighbouring outputs: out = bias + the sum of cell * tap over the taps.

    x: the address of the first output's window; right: bytes to the next one's; offsets: the address of the bytes from
    a window's start to each of its `count` cells; taps, step: the kernels' values and the bytes between two taps;
    channels: from here on, if more than LANES then the first of them.
    """

    def write(
        b: Any,
        x: Any,
        right: Any,
        offsets: Any,
        count: Any,
        taps: Any,
        step: Any,
        bias: Any,
        out: Any,
        out_right: Any,
        channels: Any,
    ) -> None:
        mask = first_lanes(b, channels, LANES)
        sums = [cgutils.alloca_once(b, _VECTOR) for _ in range(pixels)]
        for total in sums:
            b.store(load_some(b, bias, mask), total)
        with cgutils.for_range(b, count) as loop:
            offset = b.load(pointer(b, b.add(offsets, b.mul(loop.index, INT(8))), INT))
            tap = load_some(b, b.add(taps, b.mul(loop.index, step)), mask)
            for k, total in enumerate(sums):
                cell = load_some(b, at(b, b.add(x, offset), (right, k)), mask)
                product = b.fmul(cell, tap, flags=("contract",))
                b.store(b.fadd(b.load(total), product, flags=("contract",)), total)
        for k, total in enumerate(sums):
            store_some(b, b.load(total), at(b, out, (out_right, k)), mask)

    return emits("x right offsets count taps step bias out out_right channels", write)


def _write_tap(b: Any, x: Any, right: Any, g: Any, g_right: Any, count: Any, out: Any, channels: Any) -> None:
    """For up to LANES channels: out += the sum of cell * g over `count` neighbouring outputs, in two sums in turn."""
    mask = first_lanes(b, channels, LANES)
    zero = ir.Constant(_VECTOR, [0.0] * LANES)
    even, odd = (cgutils.alloca_once(b, _VECTOR) for _ in range(2))
    b.store(load_some(b, out, mask), even)
    b.store(zero, odd)

    def add(k: Any, total: Any) -> None:
        cell, given = load_some(b, b.add(x, b.mul(k, right)), mask), load_some(b, b.add(g, b.mul(k, g_right)), mask)
        product = b.fmul(cell, given, flags=("contract",))
        b.store(b.fadd(b.load(total), product, flags=("contract",)), total)

    with cgutils.for_range(b, b.lshr(count, INT(1))) as loop:
        first = b.shl(loop.index, INT(1))
        add(first, even)
        add(b.add(first, INT(1)), odd)
    with b.if_then(b.icmp_signed("!=", b.and_(count, INT(1)), INT(0))):
        add(b.sub(count, INT(1)), even)
    store_some(b, b.fadd(b.load(even), b.load(odd)), out, mask)


_outputs, _output = _write_outputs(AT_ONCE), _write_outputs(1)
_tap = emits("x right g g_right count out channels", _write_tap)


@entry
def forward(x: Array, taps: Array, bias: Array, sh: int, sw: int, dh: int, dw: int, offsets: Array, y: Array) -> None:
    """(n h w c) padded, (kh kw c), (c) -> y (n oh ow c); offsets: room for a number for each tap, int64."""
    (n, oh, ow, c), (kh, kw), (h, w) = y.shape, taps.shape[:2], x.shape[1:3]
    if (
        len(x) != n or x.shape[3] != c or taps.shape[2] != c or len(bias) != c or len(offsets) < kh * kw
        or min(sh, sw, dh, dw) < 0 or (oh - 1) * sh + (kh - 1) * dh >= h or (ow - 1) * sw + (kw - 1) * dw >= w
    ):  # fmt: skip
        raise ValueError("depthwise: the arrays do not fit")
    for p in range(kh):
        for q in range(kw):
            offsets[p * kw + q] = (p * dh * w + q * dw) * c * 4
    for image in range(n):
        for i in range(oh):
            for e in range(0, c, LANES):
                channels = c - e
                source = x.ctypes.data + (((image * h + i * sh) * w) * c + e) * 4
                out = y.ctypes.data + (((image * oh + i) * ow) * c + e) * 4
                j = 0
                while j < ow:
                    if ow - j >= AT_ONCE:
                        _outputs(
                            source + j * sw * c * 4, sw * c * 4, offsets.ctypes.data, kh * kw, taps.ctypes.data + e * 4,
                            c * 4, bias.ctypes.data + e * 4, out + j * c * 4, c * 4, channels,
                        )  # fmt: skip
                        j += AT_ONCE
                    else:
                        _output(
                            source + j * sw * c * 4, sw * c * 4, offsets.ctypes.data, kh * kw, taps.ctypes.data + e * 4,
                            c * 4, bias.ctypes.data + e * 4, out + j * c * 4, c * 4, channels,
                        )  # fmt: skip
                        j += 1


@entry
def weight_grad(x: Array, g: Array, sh: int, sw: int, dh: int, dw: int, taps: Array) -> None:
    """Add to taps what some images bring: (n h w c) padded, (n oh ow c) -> (oh kh kw c), each row of outputs apart."""
    (n, oh, ow, c), (kh, kw), (h, w) = g.shape, taps.shape[1:3], x.shape[1:3]
    if (
        len(x) != n or x.shape[3] != c or taps.shape[0] != oh or taps.shape[3] != c
        or min(sh, sw, dh, dw) < 0 or (oh - 1) * sh + (kh - 1) * dh >= h or (ow - 1) * sw + (kw - 1) * dw >= w
    ):  # fmt: skip
        raise ValueError("depthwise: the arrays do not fit")
    for image in range(n):
        for i in range(oh):
            for p in range(kh):
                for q in range(kw):
                    for e in range(0, c, LANES):
                        cell = ((image * h + i * sh + p * dh) * w + q * dw) * c + e
                        _tap(
                            x.ctypes.data + cell * 4, sw * c * 4,
                            g.ctypes.data + (((image * oh + i) * ow) * c + e) * 4, c * 4, ow,
                            taps.ctypes.data + (((i * kh + p) * kw + q) * c + e) * 4, c - e,
                        )  # fmt: skip
