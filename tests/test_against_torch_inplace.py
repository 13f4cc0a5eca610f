"""Functions in place against PyTorch's: the same numbers in the same memory."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch_problems import agree, grid  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402

NAMES = [
    *("abs", "absolute", "ceil", "cos", "exp", "expm1", "floor", "log", "log1p", "neg", "negative", "reciprocal"),
    *("relu", "round", "rsqrt", "sigmoid", "sin", "sqrt", "square", "tanh", "trunc"),
]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("absolute", "negative")])
@given(seed=st.integers(0, 99), dtype=st.sampled_from([np.float32, np.float64, np.int64]))
def test_a_function_in_place(name: str, seed: int, dtype: Any) -> None:
    array = (np.random.default_rng(seed).standard_normal((3, 2, 4)) * 3).astype(dtype)
    found, wanted = array.copy(), array.copy()
    mine, yours = tg.from_numpy(found)[::2, 1:], torch.from_numpy(wanted)[::2, 1:]
    try:
        getattr(yours, f"{name}_")()
    except RuntimeError:  # integers that would become floats
        with pytest.raises(TypeError, match=f"{name}_: float32 values do not fit into a int64 Tensor"):
            getattr(mine, f"{name}_")()
        return
    getattr(mine, f"{name}_")()
    np.testing.assert_allclose(found, wanted, rtol=1e-6 if dtype == np.float32 else 1e-14, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_the_function_itself_has_pytorchs_name(name: str) -> None:
    array = np.linspace(0.1, 2.9, 12).reshape(3, 4)
    expected = getattr(torch, name)(torch.from_numpy(array)).numpy()
    np.testing.assert_allclose(getattr(tg, name)(tg.tensor(array)).numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(getattr(tg.tensor(array), name)().numpy(), expected, rtol=1e-14)


@given(seed=st.integers(0, 99), dim=st.integers(-3, 2), number=st.booleans())
def test_scatter_in_place_of_distinct_indices(seed: int, dim: int, number: bool) -> None:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((3, 4, 5))
    index = np.argsort(draw.random(x.shape), axis=dim)
    rows = draw.integers(1, 4)
    index, src = index[:rows, :rows, :rows], draw.standard_normal((3, 4, 5))
    found, wanted = tg.tensor(x), torch.tensor(x)
    found.scatter_(dim, tg.tensor(index), 2.5 if number else tg.tensor(src))
    wanted.scatter_(dim, torch.tensor(index), 2.5 if number else torch.tensor(src))
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_softmax_in_another_dtype(name: str, dtype: str) -> None:
    x = np.linspace(-9, 9, 24, dtype=np.float16 if dtype == "float32" else np.float32).reshape(2, 3, 4)
    found = getattr(tg.nn.functional, name)(tg.tensor(x), -2, dtype=getattr(tg, dtype))
    wanted = getattr(torch.nn.functional, name)(torch.tensor(x), -2, dtype=getattr(torch, dtype))
    assert str(found.dtype) == str(wanted.dtype).removeprefix("torch.")
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6)


def test_bounds_on_one_side_and_where_as_a_method() -> None:
    for x, other in (grid(0, 3, 4), grid(1, 1, 4)), (grid(2, 2, 1), grid(3, 2, 5)):
        agree(lambda m, x, y: m.clamp_min(x, 0.5) * x.clamp_max(0.25) + x.clamp_min(-1), x, other)
        agree(lambda m, x, y: x.where(x > 0.1, y), x, other)
