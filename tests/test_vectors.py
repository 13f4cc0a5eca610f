"""Vector code: it stays inside its arrays, refuses those that do not fit, and computes what the loops compute.

It is called with raw addresses, so a wrong one would not be an error but another array's wrong value.
"""

import ctypes
import mmap
import os
import platform
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation.plain import plain
from test_kernels import LAYOUTS, laid_out

import tinygrad_cnn as tg
from tinygrad_cnn.kernels import (
    buffers,
    compiled,
    conv,
    conv_depthwise,
    conv_direct,
    packing,
    parallel,
    pool_loops,
    winograd,
)

ROOT = Path(__file__).resolve().parent.parent
F = np.float32

needs_vectors = pytest.mark.skipif(
    compiled.vectors() is None, reason="numba is not installed or refused, or vector code does not know this processor"
)


def normal(shape, seed, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(F)


def last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


# Nothing outside an array is read or written

GUARD = 4096  # bytes before and after
NAN = np.array([0x7FFFA5A5], np.uint32)  # whoever reads it gets nan


class Guarded:
    """Arrays between guards, all of nan at first; and NumPy, but for that."""

    def __init__(self):
        self.arrays = []

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=float):
        shape = shape if isinstance(shape, tuple) else (shape,)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        whole = np.full((size + 3 + 2 * GUARD) // 4, NAN)
        self.arrays.append(whole)
        return whole.view(np.uint8)[GUARD : GUARD + size].view(dtype).reshape(shape)

    def zeros(self, shape, dtype=float):
        zeros = self.empty(shape, dtype)
        zeros[...] = 0
        return zeros

    def copy(self, x):
        copy = self.empty(x.shape, x.dtype)
        copy[...] = x
        return copy

    def scratch(self, name, size, dtype=F):
        return self.empty((size,), dtype)

    def buffer(self, shape, dtype=F):
        return self.empty(shape, dtype)

    def check(self):
        for whole in self.arrays:
            assert (whole[: GUARD // 4] == NAN).all()
            assert (whole[-GUARD // 4 :] == NAN).all()
        self.arrays.clear()


class Fenced(Guarded):
    """Arrays that end where a page ends, or begin where one begins, beside pages that nobody may read."""

    sides = np.random.default_rng(0)

    def empty(self, shape, dtype=float):
        shape = shape if isinstance(shape, tuple) else (shape,)
        size, page = int(np.prod(shape)) * np.dtype(dtype).itemsize, mmap.PAGESIZE
        pages = -(-max(size, 1) // page)
        memory = np.frombuffer(mmap.mmap(-1, (pages + 2) * page), np.uint8)
        for edge in (0, pages + 1):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(memory.ctypes.data + edge * page), page, 0) == 0
        start = page if self.sides.random() < 0.5 else (pages + 1) * page - size
        self.arrays.append(memory)
        return memory[start : start + size].view(dtype).reshape(shape)

    def check(self):
        self.arrays.clear()


def use(guarded, patch):
    patch.setattr(parallel, "scratch", guarded.scratch)
    patch.setattr(buffers, "empty", guarded.buffer)
    patch.setattr(packing, "_kept", {})
    for module in (conv_depthwise, conv_direct, winograd, packing, pool_loops):
        for loop in vars(module).values():
            if isinstance(loop, compiled.Loop):  # it may yet be compiled, and is to find NumPy
                code, names = loop.python.__code__, dict(vars(module))
                patch.setattr(loop, "python", types.FunctionType(code, names, loop.__name__))
                patch.setattr(loop, "_fast", None)
        patch.setattr(module, "np", guarded)


OUTPUTS = [1, 3, 5, 8, 9, 16, 17, 31, 32, 33, 40, 70]


def problem(rng, three_by_three):
    """(n, c, o), kernel, stride, dilation, corner, size of the image and of the output, which may be cropped."""
    n, c, o = int(rng.integers(1, 4)), int(rng.integers(1, 40)), int(rng.choice(OUTPUTS))
    kernel, stride, dilation, corner, size, out = [], [], [], [], [], []
    for _ in range(2):
        k, s, d = (3, 1, 1) if three_by_three else (int(rng.integers(1, m)) for m in (5, 4, 4))
        before, after = (int(p) for p in rng.integers(0, 3, 2))
        h = max(1, d * (k - 1) + 1 - before - after) + int(rng.integers(0, 12))
        windows = (h + before + after - d * (k - 1) - 1) // s + 1
        windows = max(1, windows - int(rng.integers(0, 2)))
        for numbers, number in zip(
            (kernel, stride, dilation, corner, size, out), (k, s, d, before, h, windows), strict=True
        ):
            numbers.append(number)
    return (n, c, o), *map(tuple, (kernel, stride, dilation, corner, size, out))


def compute(guarded, seed, problems):
    """All maps of both modules for some random problems."""
    rng = np.random.default_rng(seed)
    for trial in range(problems):
        (n, c, o), kernel, stride, dilation, corner, size, out = problem(rng, trial % 2)
        x, g = (guarded.copy(rng.standard_normal(s).astype(F)) for s in ((n, *size, c), (n, *out, o)))
        w, b = (guarded.copy(rng.standard_normal(s).astype(F)) for s in ((o, c, *kernel), (o,)))
        results = [
            conv_direct.conv2d(x, w, b, stride, corner, dilation, out, keep=trial % 3 == 0),
            conv_direct.input_grad(g, w, size, stride, corner, dilation),
            conv_direct.weight_grad(x, g, kernel, stride, corner, dilation),
        ]
        if trial % 2:
            back = 2 - corner[0], 2 - corner[1]
            results += [
                winograd.forward(x, w, b, corner, out, trust=True, keep=trial % 3 == 0)[0],
                winograd.forward(g, w, None, back, size, turned=True, trust=True)[0],
                winograd.weight_grad(x, g, corner, trust=True),
            ]
        kernel = tuple(min(k, h) for k, h in zip(kernel, size, strict=True))
        padding = tuple((k // 2, k // 2) for k in kernel)
        out = tuple((h + 2 * (k // 2) - k) // s + 1 for h, k, s in zip(size, kernel, stride, strict=True))
        images = x.transpose(0, 3, 1, 2)
        results += pool_loops.max_pool2d(images, kernel, stride, padding, (1, 1), out, "first")
        g, y = guarded.copy(rng.standard_normal((n, *out, c)).astype(F)), guarded.empty((n, *out, c), F)
        taps, b = (guarded.copy(rng.standard_normal(s).astype(F)) for s in ((c, 1, *kernel), (c,)))
        conv_depthwise.conv2d(images, taps, b, stride, padding, (1, 1), y)
        results += [y, conv_depthwise.weight_grad(images, g, kernel, stride, padding, (1, 1), np.dtype(F))]
        for result in results:
            assert np.isfinite(result).all()
            assert result.dtype == F or (abs(result) < size[0] * size[1]).all()
        guarded.check()


@needs_vectors
@pytest.mark.parametrize("blocks", ["whole", "small"])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_written_outside_an_array_and_nothing_outside_gets_into_a_result(monkeypatch, seed, blocks):
    if blocks == "small":
        monkeypatch.setattr(conv_direct, "BLOCK", 2**10)
        monkeypatch.setattr(winograd, "BLOCK", 1)
        monkeypatch.setattr(winograd, "LEAST", 1)
    guarded = Guarded()
    use(guarded, monkeypatch)
    compute(guarded, seed, 40)


@needs_vectors
@pytest.mark.skipif(sys.platform != "linux", reason="asks for memory in Linux's way")
def test_not_even_a_value_that_is_not_used_is_read_outside_an_array():
    program = "import pytest, test_vectors as t\nf = t.Fenced()\nt.use(f, pytest.MonkeyPatch())\nt.compute(f, 0, 100)"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_guard_sees_a_value_outside():
    guarded = Guarded()
    for place in (-1, 5):
        guarded.zeros(5, F)
        guarded.arrays[-1][GUARD // 4 + place] = 0
        with pytest.raises(AssertionError):
            guarded.check()
        guarded.arrays.clear()
    assert np.isnan(guarded.empty((2, 3), F)).all()


# The sums of the loops


@st.composite
def problems(draw):
    """Convolutions whose outputs fill vectors or do not, asymmetric in everything, cut into blocks."""
    n, c = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 5, 16, 17]))
    o = draw(st.sampled_from(OUTPUTS))
    kernel, stride, dilation, padding, size, out = [], [], [], [], [], []
    for _ in range(2):
        k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
        sides = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        h = max(1, d * (k - 1) + 1 - sum(sides)) + draw(st.integers(0, 7))
        windows = (h + sum(sides) - d * (k - 1) - 1) // s + 1
        windows = draw(st.integers(max(1, windows - 1), windows))
        for numbers, number in zip(
            (kernel, stride, dilation, padding, size, out), (k, s, d, sides, h, windows), strict=True
        ):
            numbers.append(number)
    seed, scale = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1e-6, 1.0, 1e4]))
    x, w, g = (
        laid_out(normal(shape, seed + k, scale), draw(st.sampled_from(LAYOUTS)))
        for k, shape in enumerate([(n, c, *size), (o, c, *kernel), (n, o, *out)])
    )
    b = draw(st.sampled_from([None, F, float]))
    b = b if b is None else np.random.default_rng(seed + 3).standard_normal(o).astype(b)
    block = draw(st.sampled_from([1, 2000, conv_direct.BLOCK]))
    params = tuple(stride), tuple(padding), tuple(dilation), 1
    return x, w, b, g, params, tuple(out), block, draw(st.sampled_from([1, 2, conv_direct.PARTS]))


def three_maps(x, w, b, g, params, out):
    return (
        conv.conv2d(x, w, b, *params, out),
        conv.conv2d_input_grad(g, w, x.shape[2:], *params),
        conv.conv2d_weight_grad(x, g, w.shape[2:], *params),
    )


def gamma(n):
    """The relative error of a sum of n products (Higham, Accuracy and Stability, lemma 3.1)."""
    return n * 2.0**-24 / (1 - n * 2.0**-24)


@needs_vectors
@given(problems())
def test_direct_sums_equal_the_loops_within_the_bound_of_their_length(case):
    x, w, b, g, params, out, block, parts = case
    before = [a.copy() for a in (x, w, g)]
    with pytest.MonkeyPatch.context() as patch, tg.conv_algorithm("direct"):
        patch.setattr(conv_direct, "BLOCK", block)
        patch.setattr(conv_direct, "STEPS", max(block, 1))
        patch.setattr(conv_direct, "PARTS", parts)
        results = three_maps(x, w, b, g, params, out)
    wide = [a if a is None else np.ascontiguousarray(a, float) for a in (x, w, b, g)]
    with tg.conv_algorithm("loops"):
        exact = three_maps(*wide, params, out)
        size = three_maps(*(a if a is None else abs(a) for a in wide), params, out)
    (o, c, kh, kw), pixels = w.shape, len(x) * out[0] * out[1]
    lengths = c * kh * kw + 2, o * kh * kw, pixels  # the bias is rounded, and added
    for y, right, most, length in zip(results, exact, size, lengths, strict=True):
        assert (y.shape, y.dtype) == (right.shape, F)
        assert (abs(y - right) <= gamma(length) * most).all()
    for result in results:
        assert result.flags.writeable
        assert not any(np.shares_memory(result, a) for a in (x, w, g))
    for a, copy in zip((x, w, g), before, strict=True):
        assert np.array_equal(a, copy)


@needs_vectors
@given(problems(), st.booleans())
def test_float16_is_summed_in_float32_and_rounded_once(case, with_float32):
    x, w, b, g, params, out, *_ = case
    x, w, g = (np.clip(a, -8, 8).astype(np.float16) for a in (x, w, g))
    w = w.astype(F) if with_float32 else w
    with tg.conv_algorithm("direct"), np.errstate(over="ignore"):
        results = three_maps(x, w, b, g, params, out)
        wide = three_maps(x.astype(F), w.astype(F), b, g.astype(F), params, out)
    for y, right, dtype in zip(results, wide, (w.dtype, w.dtype, np.float16), strict=True):
        assert y.dtype == dtype
        with np.errstate(over="ignore"):
            assert np.array_equal(y, right.astype(dtype))


@needs_vectors
def test_a_pixel_that_is_not_finite_reaches_its_own_windows_only():
    x, w = normal((2, 5, 7, 6), 0), normal((9, 5, 3, 2), 1)
    x[1, 2, 3, 4] = np.nan
    params = (2, 1), ((1, 0), (0, 1)), (1, 2), 1
    with tg.conv_algorithm("direct"):
        y = conv.conv2d(x, w, None, *params)
    with tg.conv_algorithm("im2col"):
        right = conv.conv2d(x, w, None, *params)
    assert np.isnan(right).any()
    assert np.array_equal(np.isnan(y), np.isnan(right))


@needs_vectors
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups", "dtype"),
    [
        ((2, 2), (1, 1), (1, 1), 2, F),
        ((2, 2), (1, 1), (1, 1), 1, np.float64),
        ((2, 1), (conv_direct.REACH + 1, 1), (1, 1), 1, F),
        ((2, 1), (1, 1), (conv_direct.REACH, 1), 1, F),
    ],
)
def test_what_is_not_for_direct_sums_is_computed_by_im2col(kernel, stride, dilation, groups, dtype):
    x, w = normal((2, 4, 70, 5), 0).astype(dtype), normal((6, 4 // groups, *kernel), 1).astype(dtype)
    results = []
    for name in ("direct", "im2col"):
        with tg.conv_algorithm(name):
            results.append(conv.conv2d(x, w, None, stride, ((0, 0), (0, 0)), dilation, groups))
    assert results[0].dtype == dtype
    assert np.array_equal(*results)


# Arrays that do not fit


def sentinel(shape, dtype=F):
    return np.full(shape, 7, dtype)


def one_block(*numbers):
    return np.array([numbers], np.int64)


def for_copy_padded():
    out = sentinel(7 * 8 * 4)
    return {
        "x": normal((2, 5, 6, 3), 0),
        "n": 1,
        "row": -1,
        "column": -1,
        "height": 7,
        "width": 8,
        "channels": 4,
        "out": out,
    }


def for_correlate():
    """Two images of 5 x 6 pixels and 3 channels, a kernel of 3 x 2, with a place and steps in the result."""
    lanes = compiled.vectors().LANES
    return {
        "x": sentinel((2, 5, 6, 3)),
        "blocks": one_block(0, 2, 0, 3),
        "window": ((1, 1), (0, 0), (3, 2)),
        "offsets": np.array([0, 72, 144], np.int64),
        "length": 6,
        "w": sentinel((2, 18, lanes)),
        "bias": sentinel(2 * lanes),
        "y": sentinel((2, 7, 12, 2 * lanes - 3)),
        "place": (1, 2),
        "step": (2, 2),
        "columns": 5,
        "padded": sentinel(5 * 6 * 3),
    }


def for_correlate_weights():
    lanes = compiled.vectors().LANES
    return {
        "x": sentinel((2, 5, 6, 3)),
        "g": sentinel((2, 3, 5, 2 * lanes - 3)),
        "blocks": one_block(0, 2, 0, 3),
        "window": ((1, 1), (0, 0), (3, 2)),
        "offsets": np.array([0, 72, 144], np.int64),
        "length": 6,
        "dw": sentinel((2, 18, lanes)),
        "padded": sentinel(5 * 6 * 3),
        "lines": sentinel(3, np.int64),
        "panel": sentinel(3 * 5 * lanes),
    }


def for_kernels_to_tiles():
    lanes = compiled.vectors().LANES
    return {"w": sentinel((2, 9, 3, lanes)), "channels": (1, 3), "u": sentinel((36, 2, 3, lanes))}


def for_maxima():
    """Two images of 5 x 6 pixels, windows of 2 x 2."""
    lanes = compiled.vectors().LANES
    return {
        "x": normal((2, 5, 6, lanes + 1), 0),
        "images": (0, 2),
        "rows": np.array([0, 0, 1, 1]),
        "columns": np.array([0, 1, 0, 1]),
        "sh": 1,
        "sw": 1,
        "y": sentinel((2, 4, 5, lanes + 1)),
        "winners": sentinel((2, 4, 5, lanes + 1), np.int32),
        "at": sentinel((2, 4), np.int32),
    }


def for_correlate_tiles():
    """Two images of 6 x 7 pixels: 2 x 2 tiles each, of which the last stick out."""
    lanes = compiled.vectors().LANES
    return {
        "x": sentinel((2, 6, 7, 3)),
        "blocks": one_block(0, 2, 0, 2),
        "tw": 2,
        "corner": (1, 1),
        "u": sentinel((36, 2, lanes, lanes)),
        "bias": sentinel(2 * lanes),
        "y": sentinel((2, 6, 7, 2 * lanes - 3)),
        "padded": sentinel(10 * 10 * lanes),
        "v": sentinel((36, 8 * lanes)),
        "m": sentinel((36, 8 * 2 * lanes)),
        "spare": sentinel(16 * lanes),
        "zeros": np.zeros(2 * lanes, np.int64),
        "seen": sentinel((2, 2, 3), float),
    }


def for_correlate_tiles_weights():
    lanes = compiled.vectors().LANES
    return {
        "x": sentinel((2, 6, 7, 3)),
        "g": sentinel((2, 6, 7, 2 * lanes - 3)),
        "blocks": one_block(0, 2, 0, 2),
        "tw": 2,
        "corner": (1, 1),
        "lanes": lanes,
        "du": sentinel((36, lanes, 2 * lanes)),
        "padded": sentinel(10 * 10 * 2 * lanes),
        "v": sentinel((36, 8 * lanes)),
        "m": sentinel((36, 8 * 2 * lanes)),
        "spare": sentinel(16 * lanes),
        "zeros": np.zeros(2 * lanes, np.int64),
        "seen": sentinel((2, 2, 3), float),
        "seen_g": sentinel((2, 2, 3), float),
    }


FITTING = {
    "_copy_padded": (for_copy_padded, "out"),
    "correlate": (for_correlate, "y"),
    "correlate_weights": (for_correlate_weights, "dw"),
    "kernels_to_tiles": (for_kernels_to_tiles, "u"),
    "correlate_tiles": (for_correlate_tiles, "y"),
    "correlate_tiles_weights": (for_correlate_tiles_weights, "du"),
    "maxima": (for_maxima, "y"),
}


def call(name, arguments):
    """The loop with these arguments, of which some make up its room."""
    room = ("padded", "v", "m", "spare", "zeros")
    if "tiles" in name and "v" in arguments:
        rooms = tuple(arguments.pop(part) for part in room)
        seen = [arguments.pop(part) for part in ("seen", "seen_g") if part in arguments]
        arguments = {**arguments, "room": rooms, **dict(zip(("seen", "seen_g"), seen, strict=False))}
    module = compiled.pool_vectors() if name == "maxima" else compiled.vectors()
    getattr(module, name)(*arguments.values())


def shorter(axis):
    return lambda a: np.ascontiguousarray(np.delete(a, -1, axis))


def longer(axis):
    return lambda a: np.ascontiguousarray(np.concatenate([a, a.take([-1], axis)], axis))


def without(_):
    return np.zeros((2, 3, 0, 13), F)


def become(value):
    return lambda _: value


def at(place, value):
    def change(a):
        a = a.copy()
        a.flat[place] = value
        return a

    return change


def reshaped(*shape):
    """An array of this shape, in which functions stand for what they make of LANES."""
    return lambda _: sentinel(tuple(m(compiled.vectors().LANES) if callable(m) else m for m in shape))


def half(lanes):
    return lanes // 2


def three(lanes):
    return 3 * lanes


def wrong(complaint, **changes):
    """Arguments that do not fit, and what is said of them."""
    return changes, complaint


BLOCKS = [  # first and last image, first and last row
    wrong("a block leaves the images", blocks=at(0, -1)),
    wrong("a block leaves the images", blocks=at(1, 3)),
    wrong("a block leaves the images", blocks=become(one_block(0, 2, -1, 1))),
    wrong("a block leaves the images", blocks=become(one_block(0, 2, 2, 4))),
]
OFFSETS = [
    wrong("an offset leaves the window", offsets=at(0, -4)),
    wrong("an offset leaves the window", offsets=at(1, 74)),
    wrong("an offset leaves the window", offsets=at(2, 304 - 16)),
]
FIT = "the arrays do not fit"
SMALL = "padded: the array is too small"
WRONG = {
    "_copy_padded": [
        wrong(SMALL, n=become(-1)),
        wrong(SMALL, n=become(2)),
        wrong(SMALL, out=shorter(0)),
        wrong(SMALL, channels=become(2)),
    ],
    "correlate": [
        wrong(FIT, columns=become(0)),
        wrong(FIT, columns=become(6)),
        wrong(FIT, place=become((-1, 2))),
        wrong(FIT, place=become((1, -1))),
        wrong(FIT, step=become((-2, 2))),
        wrong(FIT, step=become((2, -2))),
        wrong(FIT, window=become(((-1, 1), (0, 0), (3, 2)))),
        wrong(FIT, window=become(((1, -1), (0, 0), (3, 2)))),
        wrong(FIT, x=longer(0)),
        wrong(FIT, y=longer(0)),
        wrong(FIT, offsets=longer(0)),
        wrong(FIT, length=become(5)),
        wrong(FIT, w=longer(1)),
        wrong(FIT, w=shorter(0)),
        wrong(FIT, bias=shorter(0)),
        *OFFSETS,
        *BLOCKS,
        wrong(SMALL, padded=shorter(0)),
    ],
    "correlate_weights": [
        wrong(FIT, x=longer(0)),
        wrong(FIT, g=longer(0)),
        wrong(FIT, g=without),
        wrong(FIT, window=become(((-1, 1), (0, 0), (3, 2)))),
        wrong(FIT, window=become(((1, -1), (0, 0), (3, 2)))),
        wrong(FIT, length=become(5)),
        wrong(FIT, dw=longer(1)),
        wrong(FIT, dw=shorter(0)),
        wrong(FIT, dw=reshaped(2, 18, three)),
        *OFFSETS,
        *BLOCKS,
        wrong("has no room", lines=shorter(0)),
        wrong("has no room", panel=shorter(0)),
        wrong(SMALL, padded=shorter(0)),
    ],
    "kernels_to_tiles": [
        wrong(FIT, w=shorter(0)),
        wrong(FIT, w=shorter(1)),
        wrong(FIT, w=shorter(2)),
        wrong(FIT, w=shorter(3)),
        wrong(FIT, u=shorter(0)),
        wrong(FIT, u=reshaped(36, 2, 3, half), w=reshaped(2, 9, 3, half)),
        wrong(FIT, channels=become((-1, 2))),
        wrong(FIT, channels=become((0, 4))),
    ],
    "maxima": [
        wrong(FIT, winners=lambda winners: winners[:, :3].copy()),
        wrong(FIT, x=longer(0)),
        wrong(FIT, x=longer(3)),
        wrong(FIT, images=become((-1, 2))),
        wrong(FIT, images=become((0, 3))),
        wrong(FIT, columns=shorter(0)),
        wrong(FIT, rows=become(np.zeros(0, int)), columns=become(np.zeros(0, int)), at=lambda at: at[:, :0].copy()),
        wrong(FIT, at=shorter(0)),
        wrong(FIT, at=longer(1)),
        wrong("a window has no cell inside the image", rows=become(np.array([-2, -1, -2, -1]))),
    ],
    "correlate_tiles": [
        wrong(FIT, u=shorter(0)),
        wrong(FIT, u=shorter(1)),
        wrong(FIT, u=reshaped(36, 4, int, half)),
        wrong(FIT, u=reshaped(36, 1, int, three), bias=reshaped(three)),
        wrong(FIT, bias=shorter(0)),
        wrong(FIT, tw=become(3)),
        wrong(FIT, m=shorter(0)),
        wrong(FIT, x=longer(0)),
        wrong(FIT, y=longer(0)),
        wrong(FIT, seen=longer(0)),
        wrong(FIT, seen=longer(2)),
        wrong(FIT, spare=shorter(0)),
        wrong(FIT, zeros=shorter(0)),
        *BLOCKS,
        wrong("a block leaves the images", y=lambda y: y[:, :4].copy()),
        wrong("a block leaves the images", blocks=become(one_block(0, 2, 1, 3)), y=lambda y: y.repeat(2, 1)),
        wrong("a block has no room", m=shorter(1)),
        wrong(FIT, u=shorter(2)),
        wrong(FIT, v=shorter(0)),
        wrong(FIT, v=shorter(1)),
        wrong(SMALL, x=reshaped(2, 6, 7, lambda lanes: lanes + 1)),
        wrong(SMALL, padded=shorter(0)),
    ],
    "correlate_tiles_weights": [
        wrong(FIT, du=shorter(0)),
        wrong(FIT, du=shorter(2)),
        wrong(FIT, du=reshaped(36, int, int)),
        wrong(FIT, du=reshaped(36, lambda lanes: lanes - 1, lambda lanes: 2 * lanes)),
        wrong(FIT, lanes=lambda lanes: lanes // 2),
        wrong(FIT, lanes=three, du=reshaped(36, int, three)),
        wrong(FIT, m=shorter(0)),
        wrong(FIT, x=longer(0)),
        wrong(FIT, g=longer(0)),
        wrong(FIT, seen=longer(0)),
        wrong(FIT, seen=longer(0), seen_g=longer(0)),
        wrong(FIT, seen=longer(2), seen_g=longer(2)),
        wrong(FIT, seen=longer(1)),
        wrong(FIT, seen_g=shorter(1)),
        wrong(FIT, zeros=shorter(0)),
        *BLOCKS,
        wrong("a block leaves the images", g=lambda g: g[:, :4].copy()),
        wrong("a block leaves the images", blocks=become(one_block(0, 2, 1, 3)), g=lambda g: g.repeat(2, 1)),
        wrong("a block has no room", m=shorter(1)),
        wrong(FIT, v=shorter(0)),
        wrong(FIT, v=shorter(1)),
        wrong(SMALL, x=reshaped(2, 6, 7, lambda lanes: lanes + 1)),
        wrong(SMALL, padded=lambda padded: padded[: len(padded) // 2 - 1]),
    ],
}


@needs_vectors
@pytest.mark.parametrize("name", FITTING)
def test_arrays_that_fit_are_taken(name):
    make, result = FITTING[name]
    arguments = make()
    call(name, dict(arguments))
    assert (arguments[result] != 7).any()


@needs_vectors
@pytest.mark.parametrize(
    ("name", "changes", "complaint"), [(name, *case) for name, cases in WRONG.items() for case in cases]
)
def test_arrays_that_do_not_fit_are_refused_and_left_as_they_were(name, changes, complaint):
    make, result = FITTING[name]
    arguments = make()
    for argument, change in changes.items():
        arguments[argument] = change(arguments[argument])
    with pytest.raises(ValueError, match=complaint):
        call(name, dict(arguments))
    with plain([], loops=True, vectors=True), pytest.raises(ValueError, match=complaint):
        call(name, dict(arguments))
    assert (arguments[result] == 7).all()


DEPTHWISE = {  # arrays that fit: forward's x, taps, bias, offsets, y; weight_grad's x, g, taps
    "forward": [(2, 5, 6, 3), (3, 2, 3), (3,), (6,), (2, 2, 2, 3)],
    "weight_grad": [(2, 5, 6, 3), (2, 2, 2, 3), (2, 3, 2, 3)],
}


@needs_vectors
@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_arrays_that_do_not_fit_are_refused(name):
    def run(shapes, steps=(2, 3, 1, 2)):
        x, taps, *rest = (np.ones(shape, F) for shape in shapes)
        out = rest[-1]
        out[...] = 99
        loop = getattr(compiled.depthwise_vectors(), name)
        if name == "forward":
            loop(x, taps, rest[0], *steps, np.zeros(shapes[3], np.int64), out)
        else:
            loop(x, taps, *steps, out)
        return out

    fits = DEPTHWISE[name]
    assert (run(fits) != 99).all()
    more = {(6,): -1}  # room may be larger
    wrong = [[*fits[:k], (shape[0] + more.get(shape, 1), *shape[1:]), *fits[k + 1 :]] for k, shape in enumerate(fits)]
    wrong += [[(2, 4, 6, 3), *fits[1:]], [(2, 5, 5, 3), *fits[1:]], [(2, 5, 6, 4), *fits[1:]]]
    for shapes in wrong:
        with pytest.raises(ValueError, match="depthwise: the arrays do not fit"):
            run(shapes)
        with plain([], loops=True, vectors=True), pytest.raises(ValueError, match="depthwise: the arrays do not fit"):
            run(shapes)
    with pytest.raises(ValueError, match="depthwise: the arrays do not fit"):
        run(fits, (2, -3, 1, 2))


@needs_vectors
def test_vector_code_refuses_an_array_with_gaps():
    x, y = np.ones((2, 3, 4, 5), F)[:, :, :3], np.zeros((2, 3, 3, 5), F)
    room = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match=r"^forward: an array of shape \(2, 3, 3, 5\) is not contiguous$"):
        compiled.depthwise_vectors().forward(x, np.ones((1, 1, 5), F), np.zeros(5, F), 1, 1, 1, 1, room, y)
    assert not y.any()


def test_depthwise_windows_of_an_image_made_by_a_layer_may_leave_columns_and_rows_over():
    """Found by generated networks: such an image is a part of memory that goes on."""
    rng = np.random.default_rng(0)
    x, first, w = (rng.normal(size=shape) for shape in ((2, 1, 6, 8), (4, 1, 1, 1), (4, 1, 2, 1)))

    def both(dtype):
        arrays = [tg.Tensor(a.astype(dtype), requires_grad=True) for a in (x, first, w)]
        y = tg.conv2d(tg.conv2d(arrays[0], arrays[1]), arrays[2], stride=(3, 2), groups=4)
        (y * y).sum().backward()
        return [y.numpy(), *(a.grad.numpy() for a in arrays)]

    for found, wanted in zip(both(F), both(np.float64), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


# Other processors


COMPUTE = """
import sys
import numpy as np, tinygrad_cnn as tg
from tinygrad_cnn.kernels import compiled, conv

rng = np.random.default_rng(0)
for c, o, kernel, stride in [(19, 21, (3, 3), (1, 1)), (3, 4, (3, 2), (2, 1)), (16, 33, (3, 3), (1, 1))]:
    x, w, b = (rng.standard_normal(s).astype("f") for s in ((2, c, 9, 8), (o, c, *kernel), (o,)))
    params = stride, ((1, 0), (0, 1)), (1, 1), 1
    g = np.cos(np.arange(conv.conv2d(x, w, b, *params).size, dtype="f")).reshape(conv.conv2d(x, w, b, *params).shape)

    def maps(*arrays):
        x, w, b, g = arrays
        return (conv.conv2d(x, w, b, *params), conv.conv2d_input_grad(g, w, (9, 8), *params),
                conv.conv2d_weight_grad(x, g, kernel, *params))

    with tg.conv_algorithm("im2col"):
        exact = maps(*(a.astype(float) for a in (x, w, b, g)))
    for name in ("direct", "winograd", "auto"):
        with tg.conv_algorithm(name):
            for y, right in zip(maps(x, w, b, g), exact, strict=True):
                assert abs(y - right).max() < 2e-5 * abs(right).max(), (name, c, o, abs(y - right).max())
"""

FOUND = """
from tinygrad_cnn.kernels import compiled

vectors = compiled.vectors()
print(vectors and vectors.LANES, compiled.spin() is not None, compiled.available())
"""


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed, or refused")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these processors are of the x86 family")
@pytest.mark.parametrize(
    ("processor", "features", "program", "found"),
    [
        ("haswell", "+avx2,+fma,+avx,+sse4.2", COMPUTE + FOUND, "8 True True"),
        ("nehalem", "+sse4.2", COMPUTE + FOUND, "None False True"),
        ("haswell", "+avx2,+avx,+sse4.2", FOUND, "None False True"),
    ],
    ids=["AVX2", "SSE", "no FMA"],
)
def test_other_processors_compute_the_same(tmp_path, processor, features, program, found):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TINYGRAD_CNN_")}
    clean |= {"PYTHONPATH": str(ROOT), "TINYGRAD_CNN_QUIET": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    clean |= {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    process = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=clean)
    assert (process.returncode, process.stdout.strip(), process.stderr) == (0, found, "")


@needs_vectors
@pytest.mark.parametrize("algorithm", ["auto", "direct", "winograd"])
@pytest.mark.parametrize(("c", "o", "kernel"), [(3, 8, (3, 2)), (16, 33, (3, 3)), (40, 5, (1, 1)), (17, 16, (3, 3))])
def test_without_vector_code_results_are_close(monkeypatch, algorithm, c, o, kernel):
    x, w, b = normal((3, c, 9, 8), 0), normal((o, c, *kernel), 1), normal(o, 2)
    params = (1, 1), ((1, 0), (0, 1)), (1, 1), 1
    out = 11 - kernel[0], 10 - kernel[1]
    g = normal((3, o, *out), 3)
    with tg.conv_algorithm(algorithm):
        fast = three_maps(x, w, b, g, params, out)
        monkeypatch.setattr(compiled, "vectors", lambda: None)
        plain = three_maps(x, w, b, g, params, out)
        with tg.conv_algorithm("im2col"):
            columns = three_maps(x, w, b, g, params, out)
    for y, right, column in zip(fast, plain, columns, strict=True):
        assert (y.shape, y.dtype) == (right.shape, right.dtype)
        assert np.allclose(y, right, rtol=0, atol=2e-5 * abs(right).max())
        assert algorithm != "direct" or np.array_equal(right, column)
