"""Convolutions and pools of many shapes against onnxruntime, and their gradients against central differences."""

import random

import numpy as np
import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

import onnxruntime
from import_models import floats, one

from tinygrad_cnn.onnx import load_onnx

AUTO = ["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


def theirs(proto, arrays):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{i}": array for i, array in enumerate(arrays)})


def ours(proto, arrays):
    out = load_onnx(proto.SerializeToString())(*arrays)
    return [y.array for y in (out if isinstance(out, tuple) else (out,))]


def agree(proto, arrays, rtol=1e-4):
    for mine, other in zip(ours(proto, arrays), theirs(proto, arrays), strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(mine, other, rtol, 1e-5)


def problem(draw, rank):
    """Kernel, strides, dilations, pads and sizes with nothing symmetric."""
    kernel = [draw.randint(1, 4) for _ in range(rank)]
    strides = [draw.randint(1, 3) for _ in range(rank)]
    dilations = [draw.choice([1, 1, 2, 3]) for _ in range(rank)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [r + draw.randint(0, 5) for r in reach]
    pads = [draw.randint(0, k - 1) for k in kernel + kernel]
    return kernel, strides, dilations, pads, size


def attributes(draw, kernel, strides, dilations, pads):
    """With "same" padding only what onnxruntime computes: no dilation, no stride beyond the kernel."""
    auto = draw.choice(AUTO)
    padded = {"pads": pads} if auto == "NOTSET" else {"auto_pad": auto}
    if auto.startswith("SAME"):
        dilations, strides = [1] * len(kernel), [min(s, k) for s, k in zip(strides, kernel, strict=True)]
    return {"strides": strides, "dilations": dilations, **padded}


@pytest.mark.parametrize("seed", range(40))
def test_conv_is_onnxruntimes(seed):
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    kernel, strides, dilations, pads, size = problem(draw, draw.choice([1, 2, 2]))
    group = draw.choice([1, 1, 2, 3])
    c, o = group * draw.randint(1, 2), group * draw.randint(1, 2)
    arrays = [floats(rng, draw.randint(1, 2), c, *size), floats(rng, o, c // group, *kernel), floats(rng, o)]
    arrays = arrays[: draw.choice([2, 3])]
    agree(one("Conv", arrays, 13, group=group, **attributes(draw, kernel, strides, dilations, pads)), arrays)


@pytest.mark.parametrize("seed", range(40))
def test_conv_transpose_is_onnxruntimes(seed):
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    kernel, strides, dilations, _, _ = problem(draw, draw.choice([1, 2, 2]))
    size = [draw.randint(1, 4) for _ in kernel]
    group = draw.choice([1, 1, 2])
    c, o = group * draw.randint(1, 2), draw.randint(1, 2)
    arrays = [floats(rng, draw.randint(1, 2), c, *size), floats(rng, c, o, *kernel), floats(rng, group * o)]
    arrays = arrays[: draw.choice([2, 3])]
    extra = [draw.randint(0, s - 1) for s in strides]  # onnxruntime refuses more
    whole = [
        s * (n - 1) + d * (k - 1) + 1 + e for s, n, d, k, e in zip(strides, size, dilations, kernel, extra, strict=True)
    ]
    how = draw.choice(["pads", "output_shape", "auto"])
    if how == "pads":
        befores = [draw.randint(0, max(min(2, n - 1), 0)) for n in whole]
        afters = [draw.randint(0, max(min(2, n - b - 1), 0)) for n, b in zip(whole, befores, strict=True)]
        more = {"pads": befores + afters}
    elif how == "output_shape":
        more = {"output_shape": [max(n - draw.randint(0, 3), 1) for n in whole]}
        more["auto_pad"] = draw.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER"])
    else:
        more = {"auto_pad": "VALID"}
    proto = one(
        "ConvTranspose", arrays, 11, group=group, strides=strides, dilations=dilations, output_padding=extra, **more
    )
    agree(proto, arrays)


@pytest.mark.parametrize("seed", range(40))
def test_max_pool_and_its_indices_are_onnxruntimes(seed):
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    rank = draw.choice([1, 2, 2])
    kernel, strides, dilations, pads, size = problem(draw, rank)
    x = floats(rng, draw.randint(1, 2), draw.randint(1, 3), *size)
    more = attributes(draw, kernel, strides, dilations, pads)
    ceil_mode = draw.choice([0, 1]) if "pads" in more else 0
    for outputs in (1, 2):
        order = {"storage_order": draw.choice([0, 1])} if outputs == 2 and rank == 2 else {}
        agree(one("MaxPool", [x], 12, outputs, kernel_shape=kernel, ceil_mode=ceil_mode, **order, **more), [x])


@pytest.mark.parametrize("seed", range(40))
def test_average_and_lp_pool_are_onnxruntimes(seed):
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    kernel, strides, dilations, pads, size = problem(draw, draw.choice([1, 2, 2]))
    x = floats(rng, draw.randint(1, 2), draw.randint(1, 3), *size)
    more = attributes(draw, kernel, strides, dilations, pads)
    ceil_mode = draw.choice([0, 1]) if "pads" in more else 0
    counted = draw.choice([0, 1])
    agree(one("AveragePool", [x], 19, kernel_shape=kernel, ceil_mode=ceil_mode, count_include_pad=counted, **more), [x])
    agree(one("LpPool", [x], 18, kernel_shape=kernel, p=draw.choice([1, 2, 3]), **more), [x])


@pytest.mark.parametrize("op_type", ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"])
@pytest.mark.parametrize("sizes", [(5,), (3, 4), (2, 3, 4)])
def test_global_pools_of_any_rank_are_onnxruntimes(op_type, sizes):
    x = floats(np.random.default_rng(len(sizes)), 2, 3, *sizes)
    more = {"p": 3} if op_type == "GlobalLpPool" else {}
    agree(one(op_type, [x], 13, **more), [x])
