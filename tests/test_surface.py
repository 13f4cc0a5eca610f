"""What the ops beside the first ones, and the creation functions, refuse, and where they go their own way."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

F = tg.nn.functional


def leaf(array: Any) -> tg.Tensor:
    return tg.Tensor(array, requires_grad=True)


def grid(*shape: int) -> Any:
    return np.random.default_rng(shape).integers(-24, 25, shape) / 8.0


def test_a_norm_that_is_not_there_is_refused() -> None:
    for p in ("nuc", -1, True):
        with pytest.raises(ValueError, match=r"norm: p=.*; it can be a number >= 0, inf, -inf or 'fro'"):
            tg.Tensor([1.0, 2.0]).norm(p)
    with pytest.raises(TypeError, match="norm: the input is int64; convert it first"):
        tg.Tensor([1, 2]).norm()
    with pytest.raises(TypeError, match="std: the input is int64; convert it first"):
        tg.Tensor([1, 2]).std()


def test_the_last_of_duplicates_stays_and_takes_the_gradient() -> None:
    x, src = leaf([1.0, 2.0, 3.0]), leaf([10.0, 20.0, 30.0])
    out = x.scatter(0, tg.tensor([2, 0, 2]), src)
    assert out.tolist() == [20, 2, 30]
    out.backward(np.array([1, 2, 4], np.float32))
    assert (x.grad.tolist(), src.grad.tolist()) == ([0, 2, 0], [0, 1, 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "size and scale_factor; give one of them"),
        ({"size": 3, "scale_factor": 2}, "size and scale_factor; give one of them"),
        ({"size": 3, "mode": "sinc"}, "interpolate: mode='sinc'"),
        ({"size": 3, "mode": "linear"}, "interpolate: mode 'linear' of shape"),
        ({"size": 3, "align_corners": True}, "align_corners has no meaning in mode 'nearest'"),
        ({"size": (3, 3, 3)}, "3 sizes"),
        ({"size": (0, 3)}, "at least one pixel is needed"),
        ({"size": 3, "antialias": True}, "antialias=True is not there"),
    ],
)
def test_what_interpolate_cannot_do_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F.interpolate(tg.Tensor(grid(1, 1, 2, 2)), **options)


def test_a_permutation_holds_every_number_once() -> None:
    drawn = tg.randperm(20, generator=np.random.default_rng(0))
    assert drawn.dtype == np.int64
    assert sorted(drawn.tolist()) == list(range(20))
    assert drawn.tolist() != list(range(20))


@pytest.mark.parametrize(("name", "dtype"), list(itertools.product(["rand", "randn"], [np.float16, np.float64])))
def test_random_numbers_of_another_dtype(name: str, dtype: Any) -> None:
    x = getattr(tg, name)(3, 700, dtype=dtype, generator=np.random.default_rng(0)).numpy()
    assert x.dtype == dtype
    assert x.shape == (3, 700)
    assert name == "randn" or (x.min() >= 0 and x.max() < 1)
    like = getattr(tg, f"{name}_like")(tg.zeros(2, 3, dtype=dtype))
    assert (like.shape, like.dtype) == ((2, 3), dtype)


def test_a_device_is_a_string_that_knows_its_kind() -> None:
    x = tg.zeros(2)
    for given, index in ((tg.device("cpu"), None), (tg.device("cpu:1"), 1), (tg.device("cpu", 0), 0)):
        assert (given.type, given.index) == ("cpu", index)
        assert x.to(given) is x
        assert tg.zeros(2, device=given).device == "cpu"
        assert eval(repr(given), {"device": tg.device}) == given
        assert copy.deepcopy(given).index == index
    assert x.device == tg.device("cpu") == "cpu"
    assert isinstance(x.device, tg.device)
    assert repr(x.device) == "device(type='cpu')"
    assert tg.device("cuda" if tg.cuda.is_available() else "cpu") == x.device
    assert tg.cuda.device_count() == 0


CREATORS = {
    "tensor": lambda **o: tg.tensor([1.0], **o),
    "full": lambda **o: tg.full((2,), 1.0, **o),
    "eye": lambda **o: tg.eye(2, **o),
    "arange": lambda **o: tg.arange(3, **o),
    "linspace": lambda **o: tg.linspace(0.0, 1.0, 3, **o),
    "randint": lambda **o: tg.randint(0, 3, (2,), **o),
    "randperm": lambda **o: tg.randperm(3, **o),
    **{
        name: lambda name=name, **o: getattr(tg, name)(2, 3, **o)
        for name in ("zeros", "ones", "empty", "rand", "randn")
    },
    **{
        f"{name}_like": lambda name=name, **o: getattr(tg, f"{name}_like")(tg.zeros(2), **o)
        for name in ("zeros", "ones", "empty", "rand", "randn")
    },
    "full_like": lambda **o: tg.full_like(tg.zeros(2), 3.0, **o),
    "randint_like": lambda **o: tg.randint_like(tg.zeros(2), 3, **o),
    "new_tensor": lambda **o: tg.zeros(1).new_tensor([1.0], **o),
    "new_full": lambda **o: tg.zeros(1).new_full((2,), 1.0, **o),
    **{f"new_{n}": lambda n=n, **o: getattr(tg.zeros(1), f"new_{n}")(2, **o) for n in ("zeros", "ones", "empty")},
}


@pytest.mark.parametrize("name", CREATORS)
def test_every_creation_function_takes_the_cpu_and_no_other_device(name: str) -> None:
    assert CREATORS[name](device="cpu").device == "cpu"
    assert CREATORS[name](device=tg.device("cpu:0")).shape == CREATORS[name]().shape
    with pytest.raises(ValueError, match="there is no device 'cuda:0'; tinygrad_cnn computes on the cpu"):
        CREATORS[name](device="cuda:0")


def test_what_scripts_do_with_a_gpu_changes_nothing() -> None:
    tg.manual_seed(3)
    expected = tg.rand(4).tolist()
    tg.manual_seed(3)
    tg.cuda.manual_seed(1)
    tg.cuda.manual_seed_all(1)
    tg.cuda.empty_cache()
    tg.cuda.synchronize()
    assert tg.rand(4).tolist() == expected


def test_another_device_is_refused() -> None:
    x = tg.zeros(2)
    for call in (
        lambda: x.to("cuda"),
        lambda: x.to("cuda:1", np.float64),
        lambda: x.to(device="mps"),
        lambda: x.cuda(),
        lambda: x.cuda("cpu"),
        lambda: tg.device("cuda:1"),
        lambda: tg.device("cuda", 1),
        lambda: tg.device("cpux"),
        lambda: tg.nn.Linear(1, 1).to("cuda"),
        lambda: tg.nn.Linear(1, 1).to(device="mps"),
        lambda: tg.nn.Linear(1, 1).cuda(),
        lambda: tg.zeros(2, device="cuda"),
        lambda: tg.tensor([1.0], device="cuda"),
        lambda: tg.rand(2, device="cuda"),
        lambda: x.new_zeros(2, device="meta"),
    ):
        with pytest.raises(ValueError, match=r"there is no device '\w+(:1)?'; tinygrad_cnn computes on the cpu"):
            call()


REFUSED = {
    "zeros: size": (lambda: tg.zeros(-1), ValueError, "integers >= 0 are needed"),
    "full: value": (lambda: tg.full((2,), np.ones(2)), ValueError, "full: the value has shape .2,.; one number"),
    "arange": (lambda: tg.arange(0, 5, -1), ValueError, "from 0 to 5 in steps of -1; end is never reached"),
    "linspace": (lambda: tg.linspace(0, 1, -1), ValueError, "linspace: steps=-1; an integer >= 0"),
    "randint": (lambda: tg.randint(3, 3, (2,)), ValueError, "randint: low=3, high=3"),
    "randint of bytes": (
        lambda: tg.randint(0, 257, (2,), dtype=np.uint8),
        ValueError,
        "randint: numbers from 0 to 256 do not fit into uint8, which holds 0 to 255; choose another dtype",
    ),
    "randint below 0": (lambda: tg.randint(-1, 2, (2,), dtype=np.uint8), ValueError, "from -1 to 1 do not fit"),
    "randint of bools": (lambda: tg.randint(0, 3, (2,), dtype=np.bool_), ValueError, "bool, which holds 0 to 1"),
    "randint, large": (lambda: tg.randint(0, 2**70, (2,)), ValueError, "do not fit into int64"),
    "randint_like": (lambda: tg.randint_like(tg.zeros(2, dtype=np.int8), 129), ValueError, "from 0 to 128 do not"),
    "randperm": (lambda: tg.randperm(129, dtype=np.int8), ValueError, "randperm: numbers from 0 to 128 do not fit"),
    "arange of bytes": (lambda: tg.arange(2, 258, dtype=np.uint8), ValueError, "arange: numbers from 2 to 257 do not"),
    "rand": (lambda: tg.rand(2, dtype=np.int64), TypeError, "rand: dtype int64; it must be a float"),
    "randn": (lambda: tg.randn(2, dtype=np.int64), TypeError, "randn: dtype int64; it must be a float"),
    "dtype": (lambda: tg.zeros(2, dtype=np.complex64), TypeError, "zeros: dtype complex64; it can be bool"),
    "normal_": (lambda: tg.zeros(2).normal_(0, -1), ValueError, "normal_: std=-1; it must not be negative"),
    "normal_ of integers": (lambda: tg.arange(2).normal_(), TypeError, "normal_: a int64 Tensor; it must be float"),
    "uniform_": (lambda: tg.zeros(2).uniform_(1, 0), ValueError, "uniform_: from 1 to 0"),
    "a leaf": (lambda: tg.zeros(2, requires_grad=True).normal_(), RuntimeError, "normal_: a leaf that requires grad"),
    "split of 0": (lambda: tg.arange(3).split(0), ValueError, "split: parts of 0 for an axis of length 3"),
    "split sizes": (lambda: tg.arange(3).split([1, 1]), ValueError, "they must add up to it"),
    "chunk": (lambda: tg.arange(3).chunk(0), ValueError, "chunk: chunks=0; an integer of at least 1"),
    "repeat": (lambda: tg.zeros(2, 3).repeat(2), ValueError, "repeat: sizes .2,. for shape .2, 3."),
    "unflatten": (lambda: tg.arange(6).unflatten(0, (4, 2)), ValueError, "unflatten: sizes .4, 2. for axis 0"),
    "roll": (lambda: tg.arange(6).roll((1, 2)), ValueError, "roll: shifts are .1, 2. without dims"),
    "roll twice": (lambda: tg.arange(6).roll((1, 2), 0), ValueError, "roll: 2 shifts"),
    "movedim": (lambda: tg.zeros(2, 3).movedim((0, 1), 0), ValueError, "as many destinations as sources"),
    "masked_fill": (lambda: tg.zeros(2).masked_fill(tg.zeros(2) > 0, [1, 2]), ValueError, "one number is needed"),
    "outer": (lambda: tg.zeros(2, 2).outer(tg.zeros(2)), ValueError, "outer: shapes .2, 2. and .2,.; two vectors"),
    "tensordot": (lambda: tg.tensordot(tg.zeros(2, 3), tg.zeros(2, 3), 1), ValueError, "their lengths must be equal"),
    "tensordot dims": (lambda: tg.tensordot(tg.zeros(2), tg.zeros(2), 2), ValueError, "tensordot: dims=2 for shapes"),
    "cumsum": (lambda: tg.zeros(2, 2).cumsum((0, 1)), TypeError, "cumsum: axis is .0, 1.; one axis is needed"),
    "pixel_shuffle": (lambda: tg.pixel_shuffle(tg.zeros(3, 2, 2), 2), ValueError, "pixel_shuffle: shape .3, 2, 2. by"),
    "pixel_unshuffle": (lambda: tg.pixel_unshuffle(tg.zeros(1, 3, 2), 2), ValueError, "pixel_unshuffle: shape"),
    "einsum": (lambda: tg.einsum(tg.zeros(2), "i"), TypeError, "einsum: the equation is a Tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


# NumPy's names


def test_numbers_that_just_fit_into_a_dtype_are_made() -> None:
    assert tg.randint(0, 256, (2,), dtype=np.uint8).dtype == np.uint8
    assert tg.randint(-(2**63), 2**63, (2,)).dtype == np.int64
    assert tg.randint(0, 2, (2,), dtype=np.bool_).dtype == np.bool_
    assert tg.randint(0, 300, (2,), dtype=np.float16).dtype == np.float16
    assert sorted(tg.randperm(128, dtype=np.int8).tolist()) == list(range(128))
    assert tg.arange(-128, 128, dtype=np.int8).tolist() == list(range(-128, 128))
    assert tg.arange(3, 3, dtype=np.uint8).shape == (0,)
    assert tg.full((2,), 1e300).tolist() == [np.inf, np.inf]


NUMPY = {
    "prod": lambda x: np.prod(x, axis=1),
    "std": lambda x: np.std(x, axis=0, ddof=1),
    "cumsum": lambda x: np.cumsum(x),
    "cumsum along": lambda x: np.cumsum(x, axis=1),
    "cumprod": lambda x: np.cumprod(x, 0),
    "roll": lambda x: np.roll(x, 2, axis=1),
    "tile": lambda x: np.tile(x, (2, 1)),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "outer": lambda x: np.outer(x, x),
    "tensordot": lambda x: np.tensordot(x, x, ([1], [1])),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "vstack": lambda x: np.vstack([x, x[0]]),
    "hstack": lambda x: np.hstack([x, x[:, :1]]),
    "hstack of vectors": lambda x: np.hstack((x[0], x[1, :2])),
    "dstack": lambda x: np.dstack([x, x]),
    "swapaxes": lambda x: np.swapaxes(x, 0, -1),
    "tril": lambda x: np.tril(x, -1),
    "triu": lambda x: np.triu(x, k=1),
    "repeat": lambda x: np.repeat(x, 2),
    "repeat along": lambda x: np.repeat(x, [1, 0, 2], axis=0),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpys_functions_record_the_op_that_means_the_same(name: str) -> None:
    x = grid(3, 4)
    found = NUMPY[name](leaf(x))
    assert found.requires_grad
    np.testing.assert_allclose(found.numpy(), NUMPY[name](x), rtol=1e-12)
