"""ONNX's reductions beyond its own node tests: gradients, where the axes stand by opset, nothing to reduce, limits."""

import math

import numpy as np
import pytest
from operator_calls import call, check_gradient, numbers, refused, values

from tinygrad_cnn.onnx import OnnxError

BY_NUMPY = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceL1": lambda x, **how: np.sum(np.abs(x), **how),
    "ReduceL2": lambda x, **how: np.sqrt(np.sum(x * x, **how)),
    "ReduceSumSquare": lambda x, **how: np.sum(x * x, **how),
    "ReduceLogSum": lambda x, **how: np.log(np.sum(x, **how)),
    "ReduceLogSumExp": lambda x, **how: np.log(np.sum(np.exp(x), **how)),
}


@pytest.mark.parametrize("op_type", BY_NUMPY)
def test_the_axes_are_an_attribute_and_later_an_input(op_type):
    x, since = np.abs(numbers(2, 3, 4)), 13 if op_type == "ReduceSum" else 18
    for axes in ((1,), (-1, 0), (0, 1, 2)):
        expected = BY_NUMPY[op_type](x, axis=axes, keepdims=True)
        np.testing.assert_allclose(values(op_type, x, opset=since - 1, axes=list(axes)), expected, rtol=1e-12)
        np.testing.assert_allclose(values(op_type, x, np.array(axes), opset=since), expected, rtol=1e-12)
        flat = values(op_type, x, np.array(axes), opset=since, keepdims=0)
        np.testing.assert_allclose(flat, BY_NUMPY[op_type](x, axis=axes), rtol=1e-12)


@pytest.mark.parametrize("op_type", BY_NUMPY)
def test_no_axes_are_all_or_with_noop_none(op_type):
    x = np.abs(numbers(2, 3))
    everything = BY_NUMPY[op_type](x, keepdims=True)
    np.testing.assert_allclose(values(op_type, x), everything, rtol=1e-12)
    np.testing.assert_allclose(values(op_type, x, np.zeros(0, np.int64)), everything, rtol=1e-12)
    since = 13 if op_type == "ReduceSum" else 18
    each = values(op_type, x, np.zeros(0, np.int64), opset=since, noop_with_empty_axes=1)
    np.testing.assert_allclose(each, BY_NUMPY[op_type](x[None], axis=0), rtol=1e-12)


@pytest.mark.parametrize("op_type", BY_NUMPY)
def test_gradients_flow_through_reductions(op_type):
    x = np.abs(numbers(2, 3, 4)) if op_type == "ReduceLogSum" else numbers(2, 3, 4)
    check_gradient(op_type, [x], [np.array([0, -1])], keepdims=0)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.float16])
@pytest.mark.parametrize("op_type", BY_NUMPY)
def test_a_reduction_keeps_the_dtype(op_type, dtype):
    assert values(op_type, np.ones((2, 3), dtype)).dtype == dtype
    assert values(op_type, np.ones((2, 0), dtype)).dtype == dtype


OF_NOTHING = {
    **dict.fromkeys(["ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"], 0),
    **dict.fromkeys(["ReduceMax", "ReduceLogSum", "ReduceLogSumExp"], -math.inf),
    "ReduceMin": math.inf,
    "ReduceProd": 1,
    "ReduceMean": math.nan,
}


@pytest.mark.parametrize(("op_type", "expected"), OF_NOTHING.items())
def test_of_nothing_a_reduction_is_its_neutral_value(op_type, expected):
    np.testing.assert_array_equal(values(op_type, np.ones((2, 0, 3)), np.array([1])), np.full((2, 1, 3), expected))


def test_of_no_integers_the_extrema_are_the_ends_of_their_range():
    assert values("ReduceMax", np.zeros(0, np.int8)).tolist() == [-128]
    assert values("ReduceMin", np.zeros(0, np.uint8)).tolist() == [255]
    assert values("ReduceMax", np.zeros(0, np.bool_)).tolist() == [False]
    assert values("ReduceMin", np.zeros(0, np.bool_)).tolist() == [True]
    assert values("ReduceMean", np.zeros(0, np.int8)).tolist() == [0]


def test_sums_of_integers_are_exact():
    assert values("ReduceSum", np.int64([2**62, -1, 1])).item() == 2**62
    assert values("ReduceMean", np.int64([2**50 + 1, 2**50 + 1])).item() == 2**50 + 1


def test_nothing_reduced_to_more_than_the_limit_is_refused():
    x = np.zeros((1 << 20, 0, 1 << 20), np.float32)
    assert values("ReduceSum", x, np.array([0])).shape == (1, 0, 1 << 20)
    with pytest.raises(OnnxError, match=r"a result of shape \(1048576, 1, 1048576\) takes 4398046511104 bytes"):
        call("ReduceSum", x, np.array([1]))


def test_axes_that_are_not_there_are_refused():
    x = np.ones((2, 3))
    refused("axis 2 of a Tensor of 2 axes; -2 to 1 are possible", "ReduceSum", x, np.array([2]))
    refused("axes (0, -2) of a Tensor of 2 axes; each may be named once", "ReduceMax", x, np.array([0, -2]))
    refused("axes is float64 of shape (1,); integers along one axis are needed", "ReduceSum", x, np.array([1.0]))


@pytest.mark.parametrize(("op_type", "best"), [("ArgMax", 3.0), ("ArgMin", -3.0)])
def test_the_place_of_an_extremum_is_the_first_or_the_last(op_type, best):
    x = np.array([[best, 0, best], [0, best, best]])
    found = values(op_type, x, axis=-1, keepdims=0)
    assert found.dtype == np.int64
    assert found.tolist() == [0, 1]
    assert values(op_type, x, axis=1, select_last_index=1).tolist() == [[2], [2]]
    assert values(op_type, x).shape == (1, 3)
    refused("axis 1 of shape (2, 0) is empty; at least one element is needed", op_type, np.ones((2, 0)), axis=1)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize(("op_type", "first"), [("CumSum", 0.0), ("CumProd", 1.0)])
def test_running_sums_and_products(op_type, first, exclusive, reverse):
    x, axis = numbers(2, 4, 3), np.array(-2)
    expected = np.empty_like(x)
    total = np.full((2, 3), first)
    for k in range(4)[:: -1 if reverse else 1]:
        after = total + x[:, k] if op_type == "CumSum" else total * x[:, k]
        expected[:, k] = total if exclusive else after
        total = after
    options = {"exclusive": exclusive, "reverse": reverse}
    np.testing.assert_allclose(values(op_type, x, axis, **options), expected, rtol=1e-12)
    check_gradient(op_type, [x], [axis], **options)
    assert values(op_type, np.ones((2, 3), np.int32), np.array([1]), **options).dtype == np.int32


def test_a_running_sum_needs_one_axis():
    refused("axis is (0, 1); one number is needed", "CumSum", np.ones((2, 3)), np.array([0, 1]))


def test_the_largest_come_in_order_of_equal_ones_the_first():
    x = np.array([[3, 1, 3, 2], [0, 5, 4, 5]], np.int32)
    best, where = values("TopK", x, np.array([2]), axis=1, outputs=2)
    assert best.tolist() == [[3, 3], [5, 5]]
    assert where.tolist() == [[0, 2], [1, 3]]
    assert where.dtype == np.int64
    best, where = values("TopK", x, np.array([3]), largest=0, outputs=2)
    assert best.tolist() == [[1, 2, 3], [0, 4, 5]]
    assert where.tolist() == [[1, 3, 0], [0, 2, 1]]
    assert values("TopK", x, opset=9, k=1, outputs=2)[0].tolist() == [[3], [5]]
    check_gradient("TopK", [numbers(3, 4)], [np.array([2])], axis=0)


@pytest.mark.parametrize("k", [5, -1])
def test_more_than_there_are_are_refused(k):
    text = f"k is ({k},); one number from 0 to 4, the length of axis 1, is needed"
    refused(text, "TopK", np.ones((2, 4)), np.array([k]))
    refused(text, "TopK", np.ones((2, 4)), opset=9, k=k)
