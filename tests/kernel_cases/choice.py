"""Which algorithm computes a convolution: stand-ins that compute by matrix products keep what they are called with."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import oracles
import pytest

from tinygrad_cnn.kernels import compiled, conv, conv_direct, conv_im2col, conv_loops

from . import case
from .arrays import NONE, frozen, laid_out, same, whole
from .conv import Problem

F16, F32, F64 = np.float16, np.float32, np.float64
FUNCTIONS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
UNIT = Problem(3, 3, (4, 5), 4, (3, 3), (1, 1), ((1, 2), (2, 0)))
PROBLEMS = {
    "unit": UNIT,
    "square": UNIT._replace(padding=((1, 1), (1, 1))),
    "first windows only": UNIT._replace(out=(3, 2)),
    "padded by 3 above": UNIT._replace(padding=((3, 0), (0, 1))),
    "padded by 3 at the left": UNIT._replace(padding=((0, 1), (3, 0))),
    "strided down": UNIT._replace(stride=(2, 1)),
    "strided across": UNIT._replace(stride=(1, 2)),
    "dilated down": UNIT._replace(dilation=(2, 1)),
    "dilated across": UNIT._replace(dilation=(1, 2)),
    "groups": Problem(3, 4, (4, 5), 6, (3, 3), (1, 1), ((1, 2), (2, 0)), (1, 1), 2),
    "3x2": UNIT._replace(kernel=(3, 2)),
    "2x3": UNIT._replace(kernel=(2, 3)),
    "1x2": UNIT._replace(kernel=(1, 2), out=(2, 3)),
    "2x1": UNIT._replace(kernel=(2, 1)),
    "1x1": UNIT._replace(kernel=(1, 1)),
    "steps down too long": Problem(2, 3, (67, 4), 2, (2, 3), (65, 1)),
    "steps across too long": Problem(2, 3, (4, 67), 2, (3, 2), (1, 65)),
    "too many taps": Problem(1, 2, (66, 2), 1, (65, 1)),
    "too far apart": Problem(2, 3, (3, 85), 2, (1, 3), (1, 1), NONE, (1, 40)),
    "one image": Problem(1, 3, (3, 4), 5, (3, 3), (1, 1), ((2, 1), (0, 2))),
}


@cache
def solved(name, kinds):
    """x, w, b, g in the dtypes `kinds` of x, w and g, b in float64, and what comes of them."""
    at = PROBLEMS[name]
    shapes = (at.n, at.c, *at.size), (at.o, at.c // at.groups, *at.kernel), (at.n, at.o, *at.windows)
    x, w, g = (whole(shape, seed, kind) for seed, (shape, kind) in enumerate(zip(shapes, kinds, strict=True)))
    b = whole(at.o, 9)
    y = oracles.conv2d(x, w, b, *at.params)[:, :, : at.windows[0], : at.windows[1]]
    dx = oracles.conv2d_input_grad(g, w, at.size, *at.params)
    dw = oracles.conv2d_weight_grad(x, g, at.kernel, *at.params)
    return x, w, b, g, (y, dx, dw)


def last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1), F32)


def of_whole_numbers(function, *arguments):
    """What a kernel computes in float32, by NumPy alone."""
    return function(*(a.astype(np.int64) if isinstance(a, np.ndarray) else a for a in arguments)).astype(F32)


class StandIns:
    """In the places of the four algorithms, as where there is vector code; `calls` are (algorithm, images).

    refused: the images that Winograd is not right for.
    """

    def __init__(self, patch, refused=()):
        self.calls, self.flags, self.refused = [], {}, list(refused)
        for name, module in (("loops", conv_loops), ("im2col", conv_im2col)):
            own = {one: self.keeping(name, getattr(module, one)) for one in FUNCTIONS}
            patch.setattr(conv, name, SimpleNamespace(**own))
        patch.setattr(conv, "winograd", SimpleNamespace(forward=self.forward, weight_grad=self.weight_grad))
        patch.setattr(compiled, "vectors", lambda: "vector code")
        direct = {"conv2d": self.direct, "input_grad": self.direct_input, "weight_grad": self.direct_weight}
        patch.setattr(conv, "direct", SimpleNamespace(fits=conv_direct.fits, **direct))

    def keeping(self, name, function):
        def kept(*arguments):
            assert None not in arguments[3:]  # every size is said
            self.calls.append((name, len(arguments[0])))
            return function(*arguments)

        return kept

    def take(self, name, *arrays, **flags):
        self.calls.append((name, len(arrays[0])))
        self.flags = flags
        for a in arrays:  # images, in the order of pixels
            assert a.flags.c_contiguous
            assert a.dtype == F32
        return [a.transpose(0, 3, 1, 2) for a in arrays]

    def forward(self, x, w, b, padding, out, *, turned=False, trust=False, keep=False):
        (x,) = self.take("winograd", x, trust=trust, keep=keep)
        self.bias = b
        assert b is None or b.dtype == F32
        w = w[:, :, ::-1, ::-1].swapaxes(0, 1) if turned else w
        sides = (padding[0], 9), (padding[1], 9)
        y = last(of_whole_numbers(conv_im2col.conv2d, x, w, b, (1, 1), sides, (1, 1), 1, out))
        y[self.refused] = np.nan
        return y, np.array(self.refused, np.int64)

    def weight_grad(self, x, g, padding, *, trust=False):
        x, g = self.take("winograd", x, g, trust=trust)
        sides = (padding[0], 9), (padding[1], 9)
        return (
            None
            if self.refused
            else of_whole_numbers(conv_im2col.conv2d_weight_grad, x, g, (3, 3), (1, 1), sides, (1, 1), 1)
        )

    def direct(self, x, w, b, stride, corner, dilation, out, *, keep=False):
        (x,) = self.take("direct", x, keep=keep)
        sides = (corner[0], 99), (corner[1], 99)
        return last(of_whole_numbers(conv_im2col.conv2d, x, w, b, stride, sides, dilation, 1, out))

    def direct_input(self, g, w, size, stride, corner, dilation):
        (g,) = self.take("direct", g)
        sides = (corner[0], 99), (corner[1], 99)
        return last(of_whole_numbers(conv_im2col.conv2d_input_grad, g, w, size, stride, sides, dilation, 1))

    def direct_weight(self, x, g, size, stride, corner, dilation):
        x, g = self.take("direct", x, g)
        sides = (corner[0], 99), (corner[1], 99)
        return of_whole_numbers(conv_im2col.conv2d_weight_grad, x, g, size, stride, sides, dilation, 1)


LETTERS = {"l": "loops", "d": "direct", "i": "im2col", "w": "winograd"}
SINGLE = (F32, F32, F32)
# What 'auto', 'direct' and 'winograd' take for each of the three functions.
CHOICES = [
    *[(name, SINGLE, "www", "ddd", "www") for name in ("unit", "square", "first windows only", "one image")],
    *[(name, SINGLE, "wdw", "ddd", "wiw") for name in ("padded by 3 above", "padded by 3 at the left")],
    *[
        (name, SINGLE, "ddd", "ddd", "iii")
        for name in ("strided down", "strided across", "dilated down", "dilated across", "3x2", "2x3", "1x2", "2x1")
    ],
    ("1x1", SINGLE, "iii", "ddd", "iii"),
    ("groups", SINGLE, "iii", "iii", "iii"),
    *[
        (name, SINGLE, "iii", "iii", "iii")
        for name in ("steps down too long", "steps across too long", "too many taps", "too far apart")
    ],
    ("unit", (F16, F16, F16), "ddd", "ddd", "iii"),
    ("unit", (F64, F64, F64), "iii", "iii", "iii"),
    ("unit", (np.int64, np.int64, np.int64), "iii", "iii", "iii"),
    ("unit", (F16, F32, F32), "dwd", "ddd", "iwi"),
    ("unit", (F32, F16, F32), "ddw", "ddd", "iiw"),
    ("unit", (F32, F32, F16), "wdd", "ddd", "wii"),
    ("unit", (F64, F32, F32), "iwi", "idi", "iwi"),
    ("unit", (F32, F64, F32), "iiw", "iid", "iiw"),
    ("unit", (F32, F32, F64), "wii", "dii", "wii"),
    ("unit", (F32, F64, F64), "iii", "iii", "iii"),
]


@case(
    "conv",
    *[
        (problem, kinds, name, letters)
        for problem, kinds, auto, direct, winograd in CHOICES
        for name, letters in (
            ("auto", auto),
            ("direct", direct),
            ("winograd", winograd),
            *((("im2col", "iii"), ("loops", "lll")) if problem in ("unit", "groups", "strided down") else ()),
        )
    ],
)
def each_call_is_computed_by_its_algorithm(problem, kinds, name, letters):
    at, (x, w, b, g, wanted) = PROBLEMS[problem], solved(problem, kinds)
    b = b.astype(kinds[0])
    with pytest.MonkeyPatch.context() as patch, conv.conv_algorithm(name):
        patch.setattr(conv, "FEWEST", (99, 99) if name == "winograd" else (3, 3))
        patch.setattr(conv, "PIXELS", 10)
        told = StandIns(patch)
        found = [
            conv.conv2d(x, w, b, *at.params, *([at.out] if at.out else [])),
            conv.conv2d_input_grad(g, w, at.size, *at.params),
            conv.conv2d_weight_grad(x, g, at.kernel, *at.params),
        ]
        assert told.calls == [(LETTERS[letter], at.n) for letter in letters]
        pairs = (x, w), (g, w), (x, g)
        for one, values, pair in zip(found, wanted, pairs, strict=True):
            same(one, values, np.result_type(*pair))


@case("conv", ("planes",), ("channels last",), ("every second",))
def only_winograd_is_told_to_trust_and_kernels_are_kept(layout):
    at, (x, w, b, g, (y, dx, dw)) = UNIT, solved("unit", SINGLE)
    x, g = laid_out(x, layout), laid_out(g, layout)
    for name, trust in (("auto", False), ("winograd", True)):
        with pytest.MonkeyPatch.context() as patch, conv.conv_algorithm(name):
            patch.setattr(conv, "FEWEST", (3, 3))
            patch.setattr(conv, "PIXELS", 10)
            told = StandIns(patch)
            for keep in (False, True):
                same(conv.conv2d(x, w, None, *at.params, keep=keep), y - b[:, None, None], F32)
                assert told.flags == {"trust": trust, "keep": keep}
            same(conv.conv2d(x, w, b, *at.params), y, F32)  # biases in float64
            assert told.flags == {"trust": trust, "keep": False}
            single = b.astype(F32)
            conv.conv2d(x, w, single, *at.params)
            assert told.bias is single
            same(conv.conv2d_input_grad(g, w, at.size, *at.params), dx, F32)
            assert told.flags == {"trust": trust, "keep": False}
            same(conv.conv2d_weight_grad(x, g, at.kernel, *at.params), dw, F32)
            assert told.flags == {"trust": trust}
            assert told.calls == [("winograd", at.n)] * 6
    with pytest.MonkeyPatch.context() as patch, conv.conv_algorithm("direct"):
        told = StandIns(patch)
        for keep in (False, True):
            same(conv.conv2d(x, w, b, *at.params, keep=keep), y, F32)
            assert told.flags == {"keep": keep}


@case("conv", ((1,), "auto"), ((0, 2), "winograd"), ((0, 1, 2), "auto"), ((2,), "auto"))
def images_that_winograd_refuses_are_computed_by_im2col(refused, name):
    at, (x, w, b, g, (y, dx, dw)) = UNIT, solved("unit", SINGLE)
    with pytest.MonkeyPatch.context() as patch, conv.conv_algorithm(name):
        patch.setattr(conv, "FEWEST", (3, 3))
        patch.setattr(conv, "PIXELS", 10)
        told = StandIns(patch, refused)
        same(conv.conv2d(x, w, b, *at.params), y, F32)
        same(conv.conv2d(x, w, b, *at.params, (3, 2)), y[:, :, :3, :2], F32)
        same(conv.conv2d_input_grad(g, w, at.size, *at.params), dx, F32)
        assert told.calls == [("winograd", 3), ("im2col", len(refused))] * 3
        told.calls.clear()
        same(conv.conv2d_weight_grad(x, g, at.kernel, *at.params), dw, F32)
        assert told.calls == [("winograd", 3), ("direct" if name == "auto" else "im2col", 3)]


@case("conv")
def without_vector_code_im2col_computes_what_direct_would():
    at, (x, w, b, g, wanted) = PROBLEMS["strided down"], solved("strided down", SINGLE)
    with pytest.MonkeyPatch.context() as patch:
        told = StandIns(patch)
        patch.setattr(compiled, "vectors", lambda: None)
        for name in ("auto", "direct"):
            with conv.conv_algorithm(name):
                same(conv.conv2d(x, w, b, *at.params), wanted[0], F32)
                same(conv.conv2d_input_grad(g, w, at.size, *at.params), wanted[1], F32)
                same(conv.conv2d_weight_grad(x, g, at.kernel, *at.params), wanted[2], F32)
        assert told.calls == [("im2col", 3)] * 6


def zeros(*shape):
    return frozen(np.zeros(shape, F32))


@case("conv", (False,), (True,))
def auto_takes_winograd_from_so_many_channels_and_pixels_on(keep):
    fewest, pixels = (16 if compiled.available() else 32), (32 if keep else 128)
    same_size = ((1, 1), (1, 1))
    for c, o, (n, h, w), winograd in (
        (fewest, fewest, (1, pixels, 1), True),
        (fewest, fewest, (2, pixels // 8, 4), True),
        (fewest, fewest, (1, 1, pixels), True),
        (fewest, fewest, (pixels, 1, 1), True),
        (fewest + 1, fewest + 2, (1, 2, pixels // 2 + 1), True),
        (fewest - 1, 2 * fewest, (1, pixels, 1), False),
        (2 * fewest, fewest - 1, (1, pixels, 1), False),
        (fewest, fewest, (1, pixels - 1, 1), False),
        (fewest, fewest, (1, 1, pixels - 1), False),
        (fewest, fewest, (pixels - 1, 1, 1), False),
    ):
        wanted = "winograd" if winograd else "direct"
        x, kernels, g = zeros(n, c, h, w), zeros(o, c, 3, 3), zeros(n, o, h, w)
        with pytest.MonkeyPatch.context() as patch:
            told = StandIns(patch)
            conv.conv2d(x, kernels, None, (1, 1), same_size, (1, 1), 1, keep=keep)
            assert told.calls.pop() == (wanted, n)
            if not keep:
                conv.conv2d_input_grad(g, kernels, (h, w), (1, 1), same_size, (1, 1), 1)
                conv.conv2d_weight_grad(x, g, (3, 3), (1, 1), same_size, (1, 1), 1)
                assert told.calls == [(wanted, n)] * 2


@case("conv")
def images_come_in_the_order_of_pixels_in_float32_and_are_not_copied_in_vain():
    x = whole((7, 3, 4, 5), 1, F32)
    ordered = laid_out(x, "channels last")
    assert np.shares_memory(conv._last(ordered), ordered)
    for one in (
        *(laid_out(x, layout) for layout in ("planes", "Fortran", "every second")),
        laid_out(x.astype(F16), "channels last"),
        x.astype(F64),
    ):
        found = conv._last(one)
        same(found, x.transpose(0, 2, 3, 1), F32)
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, one)
    assert conv._last(zeros(0, 3, 4, 5)).shape == (0, 4, 5, 3)


@case("conv", *[(name,) for name in conv.NAMES])
def every_algorithm_computes_the_definition(name):
    for problem in ("unit", "strided down", "one image"):
        at, (x, w, b, g, wanted) = PROBLEMS[problem], solved(problem, SINGLE)
        with conv.conv_algorithm(name):
            found = [
                conv.conv2d(x, w, b, *at.params),
                conv.conv2d_input_grad(g, w, at.size, *at.params),
                conv.conv2d_weight_grad(x, g, at.kernel, *at.params),
            ]
        for one, values in zip(found, wanted, strict=True):
            assert one.dtype == F32
            assert one.flags.writeable
            assert np.allclose(one, values, rtol=0, atol=1e-5 * abs(values).max())


@case("conv", (np.nan, "winograd"), (np.inf, "winograd"), (1e30, "auto"))
def a_value_that_spoils_tiles_reaches_no_window_but_its_own(value, name):
    at, (x, w, b, g, _) = UNIT, solved("unit", SINGLE)
    x, g = x.copy(), g.copy()
    x[1, 2, 0, 4] = g[2, 3, 4, 0] = value
    wanted = (
        conv_im2col.conv2d(x, w, b, *at.params),
        conv_im2col.conv2d_input_grad(g, w, at.size, *at.params),
        conv_im2col.conv2d_weight_grad(x, g, at.kernel, *at.params),
    )
    with pytest.MonkeyPatch.context() as patch, conv.conv_algorithm(name):
        patch.setattr(conv, "FEWEST", (3, 3))
        patch.setattr(conv, "PIXELS", 10)
        found = (
            conv.conv2d(x, w, b, *at.params),
            conv.conv2d_input_grad(g, w, at.size, *at.params),
            conv.conv2d_weight_grad(x, g, at.kernel, *at.params),
        )
    for one, values in zip(found, wanted, strict=True):
        assert np.allclose(one, values, rtol=1e-5, atol=1e-3, equal_nan=True)


@case("conv")
def an_algorithm_is_chosen_for_a_block_and_given_back():
    assert conv._chosen.get() == "auto"
    with conv.conv_algorithm("loops"):
        with pytest.raises(KeyError, match="direct"), conv.conv_algorithm("direct"):
            {}[conv._chosen.get()]
        assert conv._chosen.get() == "loops"
    assert conv._chosen.get() == "auto"
    assert conv.conv_algorithm("winograd")(conv._chosen.get)() == "winograd"
    with pytest.raises(ValueError, match=r"name is 'fft'; it can be 'auto', 'loops', 'direct', 'im2col', 'winograd'"):
        conv.conv_algorithm("fft").__enter__()
    assert conv._chosen.get() == "auto"
