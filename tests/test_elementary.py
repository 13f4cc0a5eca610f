"""What the elementary functions, the counting and cutting ones and the drawing of samples refuse, and NumPy's names."""

import re
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg

x = tg.Tensor(np.arange(6.0).reshape(2, 3))


def refused(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_what_has_no_meaning_is_refused() -> None:
    refused(lambda: tg.tensor([1, 2]) // 0, ZeroDivisionError, "floor_divide: integers over 0")
    refused(lambda: tg.tensor([1, 2]) % tg.tensor([1, 0]), ZeroDivisionError, "remainder: integers over 0")
    refused(lambda: x.masked_select(x), TypeError, "masked_select: the mask is float64; booleans are needed")
    refused(lambda: x.masked_select(tg.ones(2) > 0), tg.ShapeError, "masked_select: shapes (2, 3) and (2,) do not")
    refused(lambda: x.isclose(tg.ones(2)), tg.ShapeError, "isclose: shapes (2, 3) and (2,) do not broadcast")
    refused(lambda: x.allclose(tg.ones(2)), tg.ShapeError, "allclose: shapes (2, 3) and (2,) do not broadcast")
    refused(lambda: x.bincount(), TypeError, "bincount: float64 of shape (2, 3); a row of integers is needed")
    refused(lambda: tg.bincount(tg.tensor([-2, 1])), ValueError, "bincount: the smallest value is -2; 0 or more")
    refused(
        lambda: tg.bincount(tg.tensor([2, 1]), tg.ones(3)),
        tg.ShapeError,
        "bincount: weights of shape (3,) for values of shape (2,)",
    )
    refused(lambda: tg.mm(x, x[0]), tg.ShapeError, "mm: shapes (2, 3) and (3,); 2 and 2 axes are needed, matmul takes")
    refused(lambda: tg.bmm(tg.ones(2, 1, 1), tg.ones(3, 1, 1)), tg.ShapeError, "bmm: 2 and 3 matrices; as many")
    refused(lambda: tg.tril(x[0]), tg.ShapeError, "tril: shape (3,); at least two axes are needed")
    refused(lambda: x[0].diagonal(), tg.ShapeError, "diagonal: shape (3,); at least two axes are needed")
    refused(lambda: x.diagonal(0, 1, -1), ValueError, "diagonal: dim1=1 and dim2=-1 are one axis; two are needed")
    refused(lambda: tg.diag(tg.ones(1, 1, 1)), tg.ShapeError, "diag: shape (1, 1, 1); a vector or a matrix is needed")
    refused(lambda: tg.trace(x[0]), tg.ShapeError, "trace: shape (3,); a matrix is needed")
    refused(lambda: tg.ones(1, 1, 1).t(), tg.ShapeError, "t: shape (1, 1, 1); at most two axes, or name them")
    refused(lambda: x.narrow(1, 2, 2), tg.ShapeError, "narrow: 2 places from 2 on of an axis of length 3")
    refused(lambda: x.rot90(1, (0, -2)), ValueError, "rot90: dims=(0, -2) are one axis; two are needed")
    refused(lambda: x.rot90(1, (0,)), ValueError, "rot90: dims=(0,); two axes are needed")
    refused(lambda: x.repeat_interleave(-1), ValueError, "repeat_interleave: repeats=-1; an integer >= 0")
    refused(lambda: x.repeat_interleave([1, 2], 1), tg.ShapeError, "2 repeats for an axis of length 3; one for each")
    refused(lambda: tg.meshgrid(x), tg.ShapeError, "meshgrid: shapes (2, 3); vectors are needed")
    refused(lambda: tg.meshgrid(x[0], indexing="ji"), ValueError, "meshgrid: indexing='ji'; it is 'ij' or 'xy'")


def test_what_cannot_be_drawn_is_refused() -> None:
    refused(
        lambda: tg.bernoulli(tg.tensor([1])), TypeError, "bernoulli: the probabilities are int64; floats are needed"
    )
    refused(lambda: tg.bernoulli(tg.tensor([1.5])), ValueError, "bernoulli: a probability is below 0, above 1 or nan")
    refused(lambda: tg.normal(0.0, -1.0, (2,)), ValueError, "normal: the smallest std is -1.0; none must be negative")
    refused(
        lambda: tg.normal(tg.zeros(2), 1.0, (2,)),
        tg.ShapeError,
        "normal: size (2,) beside means and stds of shape (2,)",
    )
    refused(lambda: tg.multinomial(tg.ones(1, 1, 1), 1), tg.ShapeError, "weights of shape (1, 1, 1); (k) or (n, k)")
    refused(lambda: tg.multinomial(tg.ones(2), 0), ValueError, "num_samples=0; an integer of at least 1 is needed")
    refused(lambda: tg.multinomial(-tg.ones(2), 1), ValueError, "weights must be finite, not negative, and not all 0")
    refused(lambda: tg.rand(2, generator=0), TypeError, "generator: a int was given; numpy.random.default_rng(seed)")
    refused(lambda: tg.Generator("cuda"), ValueError, "Generator: there is no device 'cuda'")
    refused(lambda: tg.Generator().manual_seed(-1), ValueError, "Generator.manual_seed: the seed is -1")


def test_rounding_whole_numbers_gives_them_in_memory_of_their_own() -> None:
    for whole in (np.array([1, 2, 3]), np.array([True, False]), np.array(7, np.uint8)):
        for rounded in (tg.floor, tg.ceil, tg.trunc, tg.round):
            y = rounded(tg.Tensor(whole))
            assert y.dtype == whole.dtype
            assert y.tolist() == whole.tolist()
            given = whole.copy()
            assert not np.shares_memory(rounded(given), given)


def test_a_generator_takes_every_name_of_the_cpu() -> None:
    for name in ("cpu", "cpu:0", tg.device("cpu", 0)):
        assert tg.rand(2, generator=tg.Generator(name).manual_seed(1)).shape == (2,)


def test_places_of_weight_0_are_not_drawn_beside_weights_that_are_far_apart():
    for seed in range(20):
        generator = np.random.default_rng(seed)
        weights = tg.Tensor(np.array([[0.0, 1e300, 0.0, 1e-300, 5e-324], [1.0, 0.0, 2.0, 0.0, 3.0]]))
        drawn = tg.multinomial(weights, 3, generator=generator).numpy()
        assert drawn[0].tolist() == [1, 3, 4]
        assert sorted(drawn[1].tolist()) == [0, 2, 4]


def test_weights_whose_sum_is_too_large_for_a_float_are_drawn_in_proportion() -> None:
    weights = np.array([1e308, 0.0, 1e308])
    drawn = tg.multinomial(weights, 400, replacement=True, generator=np.random.default_rng(0))
    assert 150 < int((drawn == 0).sum().item()) < 250
    assert set(drawn.tolist()) == {0, 2}


def test_a_seeded_generator_is_numpys() -> None:
    drawn = tg.Generator().manual_seed(7).random(3)
    assert drawn.tolist() == np.random.default_rng(7).random(3).tolist()


def test_the_last_possible_place_is_the_last_that_is_drawn() -> None:
    # weights that rounding makes end below 1 must never yield the place of weight 0 behind them
    weights = tg.Tensor(np.array([0.1] * 10 + [0.0]))
    assert int(tg.multinomial(weights, 5000, replacement=True).max().item()) <= 9


def test_what_loses_a_gradient_is_refused_in_place() -> None:
    h = tg.Tensor([1.0, 2.0], requires_grad=True) * 2.0
    for call, instead in (
        (lambda: h.lerp_(h, 0.5), "x = x + weight * (end - x)"),
        (lambda: h.addcmul_(h, h), "x = x + value * a * b"),
        (lambda: h.addcdiv_(h, h), "x = x + value * a / b"),
        (lambda: h.masked_fill_(h > 0, 0.0), "x = x.masked_fill(mask, value)"),
    ):
        refused(call, RuntimeError, instead)
    assert h.tolist() == [2, 4]
    y = tg.zeros(2)
    refused(
        lambda: y.masked_fill_(tg.ones(2), 1.0), TypeError, "masked_fill_: the mask is float32; booleans are needed"
    )
    refused(lambda: y.masked_fill_(tg.ones(3, 2) > 0, 1.0), tg.ShapeError, "memory of shape (2,) cannot grow")
    refused(lambda: y.masked_fill_(y == 0, y), ValueError, "masked_fill_: the value has shape (2,); one number")


def test_a_graph_notices_a_moving_average() -> None:
    x, average = tg.Tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    out = (x * average).sum()
    average.lerp_(x.detach(), 0.5)
    with pytest.raises(RuntimeError, match="lerp_"):
        out.backward()


@pytest.mark.parametrize(
    "f",
    [
        *(
            np.log1p,
            np.expm1,
            np.log2,
            np.exp2,
            np.tan,
            np.arctan,
            np.sinh,
            np.cosh,
            np.arcsinh,
            np.floor,
            np.ceil,
            np.trunc,
        ),
        *(np.round, np.any, np.all, np.isinf, lambda x: np.floor_divide(x, 2.0), lambda x: np.remainder(x, 4.0)),
        *(lambda x: np.equal(x, 2.0), lambda x: np.any(x, axis=1), lambda x: np.log10(x + 1.0), np.ravel),
        *(np.arccosh, lambda x: np.arctanh(x / 8.0)),
    ],
)
def test_numpys_functions_find_them(f: Any) -> None:
    x = tg.Tensor(np.arange(1.0, 7.0).reshape(2, 3))
    found = f(x)
    assert isinstance(found, tg.Tensor)
    np.testing.assert_array_equal(found.numpy(), f(x.numpy()))


def test_as_tensor_shares_what_it_can() -> None:
    array = np.zeros(2)
    shared = tg.as_tensor(array)
    array[0] = 5
    assert shared.tolist() == [5, 0]
    assert tg.as_tensor(array, dtype=np.float32).dtype == np.float32
    assert tg.as_tensor([1.0, 2.0]).dtype == np.float32
    assert tg.as_tensor(shared, np.int64).tolist() == [5, 0]
    refused(lambda: tg.as_tensor(array, device="cuda"), ValueError, "as_tensor: there is no device 'cuda'")


def test_booleans_have_no_sign_and_no_moving_average() -> None:
    conditions = tg.Tensor(np.array([True, False]))
    for f in (tg.Tensor.sign, tg.sign, np.sign):
        refused(lambda f=f: f(conditions), TypeError, "sign: booleans have no sign; .int() makes numbers")
    assert conditions.int().sign().tolist() == [1, 0]
    message = "lerp_: a bool Tensor; convert it first, as with .float()"
    refused(lambda: conditions.lerp_(conditions, 0.5), TypeError, message)
    assert conditions.tolist() == [True, False]


@pytest.mark.parametrize(
    "turned", [lambda x: x.flip(-1), lambda x: x.flip(0, 1), *(lambda x, k=k: x.rot90(k) for k in range(-1, 4))]
)
def test_a_change_of_what_is_turned_is_none_of_the_input(turned):
    x = tg.arange(6.0).reshape(2, 3)
    y = turned(x)
    assert not np.shares_memory(y.numpy(), x.numpy())
    y.add_(10)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
