"""ONNX's constants, ranges and random numbers: every attribute, limits, and seeds."""

import math

import numpy as np
import pytest
from operator_calls import call, refused, values

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor
from tinygrad_cnn.onnx import OnnxError


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"value_float": 1.5}, np.float32(1.5)),
        ({"value_floats": [1.5, 2.0]}, np.float32([1.5, 2])),
        ({"value_int": 2**40}, np.int64(2**40)),
        ({"value_ints": [3, 4]}, np.int64([3, 4])),
        ({"value": Tensor([[1.0, 2.0]])}, np.float32([[1, 2]])),
    ],
)
def test_a_constant_is_what_its_attribute_says(attributes, expected):
    found = values("Constant", **attributes)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_constant_without_a_number_is_refused():
    refused(
        "no number is in the attributes ['value_string']; 'value' or one of ['value_float', 'value_floats', "
        "'value_int', 'value_ints'] is needed",
        "Constant", value_string="a",
    )  # fmt: skip


def test_a_constant_of_a_shape_has_the_type_of_its_value():
    found = values("ConstantOfShape", np.array([2, 0, 3]))
    assert (found.shape, found.dtype) == ((2, 0, 3), np.float32)
    found = values("ConstantOfShape", np.array([2, 1]), value=Tensor(np.int8([7])))
    assert (found.tolist(), found.dtype) == ([[7], [7]], np.int8)
    assert values("ConstantOfShape", np.zeros(0, np.int64)).shape == ()
    refused("the value has 2 elements; one is needed", "ConstantOfShape", np.array([1]), value=Tensor([1.0, 2.0]))
    refused("a result of shape (2, -1) cannot be; no size may be negative", "ConstantOfShape", np.array([2, -1]))


def test_h183_a_constant_beyond_the_limit_is_refused_before_it_is_made():
    for shape in ([2**40], [2**20, 2**20], [2**62, 2**62]):
        with pytest.raises(OnnxError, match=r"^ConstantOfShape 'here': a result of shape .* more than the limit of"):
            call("ConstantOfShape", np.array(shape))


@pytest.mark.parametrize(
    ("dtype", "spans"),
    [
        (np.int64, [(0, 5, 1), (5, 0, -2), (3, 3, 1), (0, 5, -1), (-7, 8, 4), (2**62, 2**62 + 5, 2)]),
        (np.int32, [(0, 5, 2), (5, -6, -3)]),
        (np.float64, [(0.0, 1.0, 0.25), (1.0, -1.0, -0.5), (0.5, 0.5, 1.0), (0.0, 1.1, 0.5)]),
        (np.float32, [(0.0, 1.0, 0.125)]),
    ],
)
def test_ranges_are_numpys(dtype, spans):
    for span in spans:
        found = values("Range", *(np.array(number, dtype) for number in span))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.arange(*span).astype(dtype))


def test_ranges_that_do_not_end_are_refused():
    refused(
        "from 0.0 to 1.0 by 0.0; finite numbers and a step that is not 0 are needed",
        "Range", np.array(0.0), np.array(1.0), np.array(0.0),
    )  # fmt: skip
    refused(
        "from 0.0 to inf by 1.0; finite numbers and a step that is not 0 are needed",
        "Range", np.array(0.0), np.array(math.inf), np.array(1.0),
    )  # fmt: skip
    text = "shapes (2,), (), (); three numbers are needed"
    refused(text, "Range", np.array([0, 1]), np.array(3), np.array(1))
    for span in ((0, 2**62, 1), (-(2**62), 2**62, 1), (0.0, 1e300, 1e-300), (-1e308, 1e308, 1.0)):
        with pytest.raises(OnnxError, match=r"^Range 'here': a result of shape \(\d+,\) takes \d+ bytes, more than"):
            call("Range", *(np.array(number) for number in span))
    assert values("Range", np.array(1e308), np.array(-1e308), np.array(1.0)).size == 0


def test_random_numbers_have_the_mean_the_bounds_and_the_type_that_are_asked_for():
    tg.manual_seed(3)
    normal = values("RandomNormal", shape=[100, 100], mean=5.0, scale=2.0)
    assert normal.dtype == np.float32
    assert abs(normal.mean() - 5) < 0.1
    assert abs(normal.std() - 2) < 0.1
    even = values("RandomUniformLike", np.zeros((50, 40)), low=-3.0, high=-1.0)
    assert (even.shape, even.dtype) == ((50, 40), np.float64)
    assert -3 <= even.min() < -2.9
    assert -1.1 < even.max() < -1
    assert values("RandomNormalLike", np.zeros(3, np.int64), dtype=10).dtype == np.float16
    coins = values("Bernoulli", np.full((50, 40), 0.25), dtype=6)
    assert coins.dtype == np.int32
    assert set(coins.ravel()) == {0, 1}
    assert abs(coins.mean() - 0.25) < 0.05
    assert values("Bernoulli", np.float32([0, 1])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("op_type", "inputs"), [("RandomNormal", ()), ("RandomUniform", ()), ("Bernoulli", ([0.5] * 20,))]
)
def test_a_seed_draws_the_same_numbers_and_without_one_the_seed_of_the_engine_does(op_type, inputs):
    options = {} if inputs else {"shape": [20]}
    first, again, other = (values(op_type, *inputs, seed=seed, **options) for seed in (1.0, 1.0, 2.0))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    drawn = []
    for seed in (5, 5, 6):
        tg.manual_seed(seed)
        drawn.append(values(op_type, *inputs, **options))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_random_numbers_beyond_the_limit_or_of_integers_are_refused():
    refused("random numbers in int32; a float is needed", "RandomUniform", shape=[2], dtype=6)
    with pytest.raises(OnnxError, match=r"a result of shape \(1048576, 1048576\) takes"):
        call("RandomNormal", shape=[1 << 20, 1 << 20])
