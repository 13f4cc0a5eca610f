"""ONNX's arithmetic, logic and conversions beyond what its own node tests ask: gradients, opsets, integers, errors."""

import math

import numpy as np
import pytest
from operator_calls import call, check_gradient, numbers, refused, values

from tinygrad_cnn import Tensor
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.onnx.errors import OnnxUnsupported

INSIDE = ["Acos", "Asin", "Atanh"]
ABOVE = ["Acosh", "Log", "Reciprocal", "Sqrt"]
EVERYWHERE = ["Abs", "Asinh", "Atan", "Cos", "Cosh", "Erf", "Exp", "Neg", "Sin", "Sinh", "Tan", "Identity"]


@pytest.mark.parametrize("op_type", INSIDE + ABOVE + EVERYWHERE)
def test_gradients_flow_through_functions_of_one_input(op_type):
    x = numbers(2, 3)
    check_gradient(op_type, [x / 3 if op_type in INSIDE else np.abs(x) + 1 if op_type in ABOVE else x / 2])


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
def test_gradients_flow_to_both_sides_of_a_broadcast(op_type):
    check_gradient(op_type, [numbers(2, 1, 4), numbers(3, 1, seed=1)])


@pytest.mark.parametrize("op_type", ["Max", "Min", "Sum", "Mean"])
def test_one_or_three_inputs_are_taken_too(op_type):
    check_gradient(op_type, [numbers(2, 3)])
    check_gradient(op_type, [numbers(2, 3), numbers(3, seed=1), numbers(2, 1, seed=2)])


def test_the_mean_of_three():
    np.testing.assert_allclose(values("Mean", [1.0, 2.0], [3.0, 5.0], [[8.0, 2.0]]), [[4.0, 3.0]], rtol=1e-6)


def test_powers_have_gradients_and_the_dtype_of_the_base():
    check_gradient("Pow", [np.abs(numbers(2, 3)), numbers(3, seed=1)])
    assert values("Pow", np.array([2, 3], np.int32), np.array([0.5, 2.0], np.float32)).tolist() == [1, 9]
    assert values("Pow", np.array([2, -2], np.int64), np.array([-1, 3])).tolist() == [0, -8]
    for base in (np.int32, np.int64, np.float32, np.float64, np.float16):
        for exponent in (np.int32, np.int64, np.float32, np.float64):
            assert values("Pow", np.full((2, 1), 2, base), np.full(3, 3, exponent)).dtype == base
    big = 3**33
    assert values("Pow", np.array([3], np.int64), np.array([33], np.int64)).item() == big


def test_integers_are_divided_towards_zero():
    x, y = np.meshgrid(np.arange(-7, 8), [-3, -2, -1, 1, 2, 3])
    found = values("Div", x.astype(np.int32), y.astype(np.int32))
    assert found.dtype == np.int32
    assert found.tolist() == [
        [math.trunc(a / b) for a, b in zip(*rows, strict=True)] for rows in zip(x, y, strict=True)
    ]
    assert values("Div", np.uint8([7, 200]), np.uint8([2, 3])).tolist() == [3, 66]
    large = np.array([-(2**62) - 1])
    assert values("Div", large, np.array([2])).item() == -(2**61)


@pytest.mark.parametrize("op_type", ["Div", "Mod"])
def test_integers_over_zero_are_refused(op_type):
    refused("integers over 0; there is no such whole number", op_type, np.arange(3), np.array([1, 0, 2]))


def test_rests_have_the_sign_of_the_divisor_or_with_fmod_of_the_number():
    x, y = np.meshgrid([*numbers(9) * 4, *numbers(9) / 4, 0.0], [-3.0, -0.7, 0.7, 3.0])
    np.testing.assert_array_equal(values("Mod", x, y, fmod=1), np.fmod(x, y))
    np.testing.assert_array_equal(values("Mod", x, y, opset=28), np.mod(x, y))
    assert values("Mod", np.array(-7.5), np.array(2.0), fmod=1).item() == -1.5
    whole = np.array([-7, 7, -7, 7]), np.array([3, -3, -3, 3])
    assert values("Mod", *whole).tolist() == [2, -2, -1, 1]
    assert values("Mod", *whole, fmod=1).tolist() == [-1, 1, -1, 1]
    for fmod in (0, 1):
        check_gradient("Mod", [numbers(2, 3) * 3, np.array([0.77, -1.3, 2.1])], fmod=fmod)


@pytest.mark.parametrize("op_type", ["Add", "Mul", "Div", "Sub", "Pow"])
def test_before_opset_7_an_attribute_says_where_the_second_shape_begins(op_type):
    x, y = np.abs(numbers(2, 3, 4)), np.abs(numbers(3, seed=1))
    expected = values(op_type, x, y[:, None])
    np.testing.assert_array_equal(values(op_type, x, y, opset=6, broadcast=1, axis=1), expected)
    np.testing.assert_array_equal(values(op_type, x, y, opset=6, broadcast=1, axis=-2), expected)
    row = numbers(4, seed=2) + 4
    np.testing.assert_array_equal(values(op_type, x, row, opset=6, broadcast=1, axis=2), values(op_type, x, row))
    np.testing.assert_array_equal(values(op_type, x, row, opset=6, broadcast=1), values(op_type, x, row))
    refused("shapes (2, 3, 4) and (4,); before opset 7 they only broadcast with broadcast=1", op_type, x, row, opset=6)
    text = "shape (4, 1) does not fit into (2, 3, 4) from axis 2 on"
    refused(text, op_type, x, row[:, None], opset=6, broadcast=1, axis=2)


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(OnnxError, match=r"^Add 'here': .*\(2, 3\).*\(2,\)"):
        call("Add", np.ones((2, 3)), np.ones(2))


@pytest.mark.parametrize("op_type", ["Add", "Less", "And", "Max", "Where", "BitShift", "Mod"])
def test_an_outer_product_beyond_the_limit_is_refused_before_it_is_made(op_type):
    kind = np.bool_ if op_type == "And" else np.uint32
    x, y = np.ones((1 << 20, 1), kind), np.ones(1 << 20, kind)
    inputs = (np.ones(1 << 20, np.bool_), x, y) if op_type == "Where" else (x, y)
    attributes = {"direction": "LEFT"} if op_type == "BitShift" else {}
    with pytest.raises(OnnxError, match=r"a result of shape \(1048576, 1048576\) takes \d+ bytes, more than the limit"):
        call(op_type, *inputs, **attributes)


def test_the_bounds_of_clip_are_attributes_before_opset_11_and_inputs_since():
    x = np.float32([-3, -1, 0.5, 2])
    assert values("Clip", x, opset=10, min=-2.0, max=1.0).tolist() == [-2, -1, 0.5, 1]
    assert values("Clip", x, opset=10, max=1.0).tolist() == [-3, -1, 0.5, 1]
    assert values("Clip", x, opset=10).tolist() == x.tolist()
    assert values("Clip", x, np.float32(-2)).tolist() == [-2, -1, 0.5, 2]
    assert values("Clip", x, None, np.float32([1])).tolist() == [-3, -1, 0.5, 1]
    found = values("Clip", np.int8([-100, 5, 100]), np.int8(-10), np.int8(10))
    assert found.dtype == np.int8
    assert found.tolist() == [-10, 5, 10]
    refused("min has shape (2,); one number is needed", "Clip", x, np.zeros(2, np.float32))


def test_gradients_flow_to_what_is_clipped_and_to_bounds_that_are_trained():
    check_gradient("Clip", [numbers(3, 4)], [np.array(-1.07), np.array(1.03)])
    check_gradient("Clip", [numbers(3, 4), np.array(-1.07), np.array(1.03)])
    x = Tensor([-2.0, -1.0, 1.0, 2.0], requires_grad=True)
    call("Clip", x, Tensor(-1.0), Tensor(1.0, requires_grad=True)).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_comparisons_and_logic_are_booleans():
    x, y = np.float32([[1, 2, math.nan]]), np.float32([[2], [1]])
    for op_type, f in {"Less": np.less, "GreaterOrEqual": np.greater_equal, "Equal": np.equal}.items():
        found = values(op_type, x, y)
        assert found.dtype == np.bool_
        np.testing.assert_array_equal(found, f(x, y))
    assert values("Xor", [True, False], [True, True]).tolist() == [False, True]


def test_infinities_are_detected_by_their_sign():
    x = [math.inf, -math.inf, math.nan, 1.0]
    assert values("IsInf", x).tolist() == [True, True, False, False]
    assert values("IsInf", x, detect_negative=0).tolist() == [True, False, False, False]
    assert values("IsInf", x, detect_positive=0).tolist() == [False, True, False, False]


def test_gradients_flow_through_the_branch_that_where_takes():
    condition = Tensor([[True, False, True], [False, False, True]])
    assert call("Where", condition, np.ones(3), np.zeros((2, 1))).tolist() == condition.tolist()
    x, y = (Tensor(numbers(*shape), requires_grad=True) for shape in ((3,), (2, 1)))
    call("Where", condition, x, y).sum().backward()
    assert x.grad.tolist() == [1, 0, 2]
    assert y.grad.tolist() == [[1], [2]]
    refused("the condition is float64; booleans are needed", "Where", np.ones(2), np.ones(2), np.ones(2))


def test_shifted_bits():
    assert values("BitShift", np.uint8([129, 3]), np.uint8([1, 8]), direction="LEFT").tolist() == [2, 0]
    assert values("BitShift", np.uint8([129, 3]), np.uint8([7, 200]), direction="RIGHT").tolist() == [1, 0]
    shifts = np.int8([1, 7, 100, -1])
    assert (
        values("BitShift", np.int8([-8, -8, -8, -8]), shifts, direction="RIGHT", opset=28).tolist() == [-4] + [-1] * 3
    )
    assert values("BitShift", np.int8([8, 3, 8, 8]), shifts, direction="LEFT", opset=28).tolist() == [16, -128, 0, 0]
    refused("direction is 'UP'; it can be 'LEFT' or 'RIGHT'", "BitShift", np.uint8([1]), np.uint8([1]), direction="UP")
    refused("float64 by uint8; integers are needed", "BitShift", [1.0, 2.0], np.uint8([1]), direction="LEFT")


def test_gradients_flow_through_a_cast_between_floats():
    x = Tensor(np.float32([1.25, -2.5]), requires_grad=True)
    y = call("Cast", x, to=11)
    assert y.dtype == np.float64
    (y * np.array([3.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [3, 5]
    assert x.grad.dtype == np.float32
    assert call("Cast", x, to=1) is x


def test_casts_to_integers_drop_the_fraction_and_to_booleans_ask_for_zero():
    assert values("Cast", [-1.9, 1.9, 0.0], to=7).tolist() == [-1, 1, 0]
    assert values("Cast", [-0.1, 0.0, math.nan], to=9).tolist() == [True, False, True]
    assert values("Cast", [True, False], to=10).dtype == np.float16
    named = {"FLOAT": np.float32, "DOUBLE": np.float64, "FLOAT16": np.float16, "BOOL": np.bool_}
    named |= {f"{u}INT{n}": np.dtype(f"{u.lower()}int{n}") for u in ("", "U") for n in (8, 16, 32, 64)}
    for name, dtype in named.items():
        assert values("Cast", [1.5], to=name, opset=5).dtype == dtype
    with pytest.raises(OnnxError, match="data type 0, which ONNX does not have"):
        call("Cast", [1.5], to="NUMBER", opset=5)
    assert values("CastLike", [1.5], np.int8([0])).dtype == np.int8
    assert values("Cast", np.array([math.nan, 1e30]), to=6).shape == (2,)  # whatever they become, without a warning


@pytest.mark.parametrize(
    ("number", "kind"), [(16, "bfloat16"), (8, "string"), (14, "complex64"), (17, "of data type 17")]
)
def test_casts_to_what_no_tensor_holds_are_unsupported(number, kind):
    with pytest.raises(OnnxUnsupported) as caught:
        call("Cast", [1.0], to=number)
    assert str(caught.value) == (
        f"Cast 'here': the attribute 'to' is {kind}; bool, integers and floats of 16 to 64 bits are supported"
    )


def test_a_cast_needs_to_know_where_to():
    refused("the attribute 'to' is missing; it says the element type", "Cast", [1.0])
    refused("the attribute 'to' is missing; it says the element type", "BitCast", [1.0])
    with pytest.raises(OnnxError, match="the attribute 'to' has the data type 99, which ONNX does not have"):
        call("Cast", [1.0], to=99)
    refused("float32 cannot be read as int64; they need the same number of bits", "BitCast", np.float32([1]), to=7)
    assert values("BitCast", np.float32([1]), to=6).tolist() == [0x3F800000]


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [("ij,jk->ik", [(2, 3), (3, 4)]), ("...ij,...j", [(2, 1, 3, 4), (5, 4)]), ("ii->i", [(3, 3)])],
)
def test_gradients_flow_through_einsum(equation, shapes):
    check_gradient("Einsum", [numbers(*shape, seed=i) for i, shape in enumerate(shapes)], equation=equation)


@pytest.mark.parametrize(
    ("equation", "shapes", "size"),
    [
        ("i,j->ij", [(1 << 16,), (1 << 16,)], (1 << 16, 1 << 16)),
        ("i,j", [(1 << 16,), (1 << 16,)], (1 << 16, 1 << 16)),
        ("...i,j...->...ij", [(1 << 12, 1, 1 << 8), (1 << 12, 1, 1 << 12)], (1 << 12, 1 << 12, 1 << 8, 1 << 12)),
    ],
)
def test_einsum_beyond_the_limit_is_refused_before_it_is_made(equation, shapes, size):
    inputs = [Tensor(np.zeros(shape, np.int8)) for shape in shapes]
    with pytest.raises(OnnxError) as caught:
        call("Einsum", *inputs, equation=equation)
    assert str(caught.value).startswith("Einsum 'here': a result of shape (")
    assert f"takes {math.prod(size)} bytes, more than the limit of {1 << 31}" in str(caught.value)


def test_einsum_needs_an_equation():
    refused("the attribute 'equation' is missing; it says which axes are multiplied and summed", "Einsum", [1.0])
