"""ONNX's reading and writing at indices beyond its own node tests: gradients, duplicates, negative indices, limits."""

import itertools

import numpy as np
import pytest
from operator_calls import call, check_gradient, numbers, refused, values

from tinygrad_cnn import Tensor
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.testing import gradcheck

COMBINE = {"none": lambda a, b: b, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


@pytest.mark.parametrize(
    ("op_type", "constants", "attributes"),
    [
        ("Gather", [np.array([[2, -1], [0, 2]])], {"axis": 1}),
        ("Gather", [np.array(-2)], {"axis": -1}),
        ("GatherElements", [np.array([[[1], [-3]], [[0], [0]]])], {"axis": 1}),
        ("GatherND", [np.array([[0, -1], [0, 2]])], {}),
        ("GatherND", [np.array([[[1, -1], [1, 3]], [[0, 0], [0, 0]]])], {"batch_dims": 1}),
        ("Compress", [np.array([True, False, True])], {"axis": 1}),
        ("Compress", [np.array([False, True, True])], {}),
        ("Trilu", [np.array(1)], {"upper": 0}),
        ("ReverseSequence", [np.array([3, 1])], {"batch_axis": 0, "time_axis": 1}),
        ("Unique", [], {"axis": 1, "outputs": 4}),
    ],
)
def test_gradients_flow_to_what_is_read(op_type, constants, attributes):
    check_gradient(op_type, [numbers(2, 3, 4)], constants, **attributes)


def test_gather_puts_the_axes_of_the_indices_where_the_axis_was():
    x = numbers(2, 5, 3)
    for axis, shape in itertools.product((0, 1, -1), ((), (4,), (2, 3), (0,))):
        indices = np.random.default_rng(0).integers(-x.shape[axis], x.shape[axis], shape)
        np.testing.assert_array_equal(values("Gather", x, indices, axis=axis), np.take(x, indices, axis))
    refused("index 5 is outside of an axis; lengths are 5", "Gather", x, np.array([0, 5]), axis=1)
    refused("index -3 is outside of an axis; lengths are 2", "Gather", x, np.array([-3]))
    refused("the indices are float64; integers are needed", "Gather", x, np.array([0.0]))
    with pytest.raises(OnnxError, match=r"a result of shape \(1048576, 1048576\) takes"):
        call("Gather", np.ones((1, 1 << 20)), np.zeros(1 << 20, np.int64))


def test_h183_a_gather_of_elements_has_as_many_axes_as_what_it_reads():
    text = "indices of shape {} for shape (2, 3); as many axes are needed, none longer but 1"
    for shape in ((2,), (3, 1)):
        refused(text.format(shape), "GatherElements", np.ones((2, 3)), np.zeros(shape, np.int64), axis=1)
        refused(
            text.format(shape), "ScatterElements", np.ones((2, 3)), np.zeros(shape, np.int64), np.ones(shape), axis=1
        )


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_points_are_read_for_each_place_of_the_shared_axes(batch):
    x, depth = numbers(2, 3, 4, 5), 3 - batch
    draw = np.random.default_rng(batch)
    lead = (*x.shape[:batch], 2)
    indices = np.stack([draw.integers(-n, n, lead) for n in x.shape[batch : batch + depth]], -1)
    expected = np.empty((*lead, 5))
    for place in np.ndindex(lead):
        expected[place] = x[(*place[:batch], *indices[place])]
    np.testing.assert_array_equal(values("GatherND", x, indices, batch_dims=batch), expected)


def test_points_that_do_not_fit_are_refused():
    x = np.ones((2, 3))
    refused(
        "indices of shape (3, 1) for shape (2, 3) with 1 axes shared",
        "GatherND",
        x,
        np.zeros((3, 1), np.int64),
        batch_dims=1,
    )
    refused(
        "indices of shape (2, 1) for shape (2, 3) with 2 axes shared",
        "GatherND",
        x,
        np.zeros((2, 1), np.int64),
        batch_dims=2,
    )
    refused("3 indices each for shape (2, 3); 1 to 2 are needed", "GatherND", x, np.zeros((1, 3), np.int64))
    refused("index 3 is outside of an axis; lengths are [2 3]", "GatherND", x, np.array([[1, 3]]))
    text = "updates of shape (2,); (2, 3) is needed, a part of x for each point"
    refused(text, "ScatterND", x, np.array([[1], [0]]), np.ones(2))
    text = "updates of shape (1, 3) for indices of shape (1, 2); one for each is needed"
    refused(text, "ScatterElements", x, np.zeros((1, 2), np.int64), np.ones((1, 3)))
    refused(
        "reduction 'mean'; it can be 'none', 'add', 'mul', 'max', 'min'",
        "ScatterND", x, np.array([[1]]), np.ones((1, 3)), reduction="mean",
    )  # fmt: skip


@pytest.mark.parametrize("reduction", COMBINE)
def test_elements_are_written_one_after_another(reduction):
    x, indices = numbers(3, 5), np.array([[2, 0, -1, 0], [2, 0, 2, 1], [-3, 0, 2, 1], [2, 0, 2, 1], [2, 0, 1, 1]])
    updates = numbers(*indices.shape, seed=1)
    expected = x.copy()
    for i, j in np.ndindex(indices.shape):
        expected[indices[i, j], j] = COMBINE[reduction](expected[indices[i, j], j], updates[i, j])
    found = values("ScatterElements", x, indices, updates, axis=0, reduction=reduction)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    _check_written("ScatterElements", x, indices, updates, axis=0, reduction=reduction)


@pytest.mark.parametrize("reduction", COMBINE)
def test_parts_are_written_at_points_one_after_another(reduction):
    x, indices = numbers(3, 2, 4), np.array([[[2, -1], [0, 0]], [[2, 1], [2, 1]], [[-1, 1], [1, 0]]])
    updates = numbers(3, 2, 4, seed=1)
    expected = x.copy()
    for place in np.ndindex(indices.shape[:-1]):
        at = tuple(indices[place])
        expected[at] = COMBINE[reduction](expected[at], updates[place])
    np.testing.assert_allclose(values("ScatterND", x, indices, updates, reduction=reduction), expected, rtol=1e-14)
    _check_written("ScatterND", x, indices, updates, reduction=reduction)


def _check_written(op_type, x, indices, updates, **attributes):
    assert gradcheck(lambda x, updates: call(op_type, x, indices, updates, **attributes), [x, updates])


def test_the_old_scatter_is_that_of_elements():
    found = values("Scatter", np.zeros((2, 3)), np.array([[1, 0, 1]]), np.array([[5.0, 6.0, 7.0]]), opset=10)
    assert found.tolist() == [[0, 6, 0], [5, 0, 7]]


def test_many_updates_of_one_element_take_few_steps():
    n = 1 << 15
    x, updates = Tensor(np.zeros(3), requires_grad=True), Tensor(np.arange(n) / n, requires_grad=True)
    y = call("ScatterElements", x, np.ones(n, np.int64), updates, reduction="max")
    y.sum().backward()
    assert y.tolist() == [0, (n - 1) / n, 0]
    assert np.flatnonzero(updates.grad.numpy()).tolist() == [n - 1]


def test_one_hot_counts_negative_indices_from_the_end_and_leaves_others_out():
    found = values("OneHot", np.array([[0, -1], [3, -4]]), np.array(3), np.array([5.0, 7.0]), axis=1)
    assert found.shape == (2, 3, 2)
    assert found[0].tolist() == [[7, 5], [5, 5], [5, 7]]
    assert (found[1] == 5).all()
    assert values("OneHot", np.array(1), np.array([2.0]), np.int8([0, 1])).tolist() == [0, 1]
    ends = Tensor([2.0, 3.0], requires_grad=True)
    call("OneHot", np.array([0, 1, 9]), np.array(4), ends).sum().backward()
    assert ends.grad.tolist() == [10, 2]
    refused(
        "depth of shape (2,), values of shape (2,); one number and two are needed",
        "OneHot", np.array([0]), np.array([1, 2]), np.array([0.0, 1.0]),
    )  # fmt: skip


def test_h183_a_depth_beyond_the_limit_is_refused_before_it_is_used():
    with pytest.raises(OnnxError, match=r"^OneHot 'here': a result of shape \(1, 1099511627776\) takes"):
        call("OneHot", np.array([0]), np.array(2**40), np.array([0.0, 1.0]))
    refused(
        "a result of shape (1, -2) cannot be; no size may be negative",
        "OneHot", np.array([0]), np.array(-2), np.array([0.0, 1.0]),
    )  # fmt: skip


def test_places_of_what_is_not_zero():
    found = values("NonZero", np.array([[0.0, 2.0], [np.nan, 0.0]]))
    assert (found.tolist(), found.dtype) == ([[0, 1], [1, 0]], np.int64)
    assert values("NonZero", np.array(3.0)).shape == (0, 1)


def test_a_condition_is_a_row_no_longer_than_the_axis():
    x = np.arange(6).reshape(2, 3)
    assert values("Compress", x, np.array([False, True])).tolist() == [1]
    text = "the condition is {}; a row of at most 3 booleans is needed"
    for wrong in (np.ones(4, np.bool_), np.ones(3), np.ones((1, 3), np.bool_)):
        refused(text.format(f"{wrong.dtype} of shape {wrong.shape}"), "Compress", x, wrong, axis=1)


def test_distinct_values_come_sorted_or_in_the_order_of_the_first():
    x = np.array([3.0, 1.0, 3.0, 2.0, 1.0])
    parts = values("Unique", x, outputs=4)
    assert [part.tolist() for part in parts] == [[1, 2, 3], [1, 3, 0], [2, 0, 2, 1, 0], [2, 1, 2]]
    parts = values("Unique", x, outputs=4, sorted=0)
    assert [part.tolist() for part in parts] == [[3, 1, 2], [0, 1, 3], [0, 1, 0, 2, 1], [2, 2, 1]]
    parts = values("Unique", np.array([[1, 0, 1], [2, 0, 2]]), outputs=4, axis=-1)
    assert [part.tolist() for part in parts] == [[[0, 1], [0, 2]], [1, 0], [1, 0, 1], [1, 2]]
    assert [part.size for part in values("Unique", np.zeros(0), outputs=4)] == [0, 0, 0, 0]


@pytest.mark.parametrize("k", [0, 1, -2, 2**62, -(2**62)])
def test_triangles_and_diagonals_at_any_distance(k):
    x, near = numbers(2, 3, 4), max(-9, min(k, 9))
    np.testing.assert_array_equal(values("Trilu", x, np.array(k)), np.triu(x, near))
    np.testing.assert_array_equal(values("Trilu", x, np.array(k), upper=0), np.tril(x, near))
    np.testing.assert_array_equal(values("EyeLike", x[0], k=k), np.eye(3, 4, near))


def test_triangles_need_matrices():
    assert values("EyeLike", np.ones((2, 3), np.int8), dtype=11).dtype == np.float64
    refused("shape (2,); a matrix is needed", "EyeLike", np.ones(2))
    refused("shape (2,); at least two axes are needed", "Trilu", np.ones(2))
    refused("k is (1, 2); one number is needed", "Trilu", np.ones((2, 2)), np.array([1, 2]))


@pytest.mark.parametrize(("batch", "time"), [(0, 1), (1, 0), (2, 0), (-1, 1)])
def test_sequences_are_reversed_up_to_their_lengths(batch, time):
    x = numbers(3, 4, 5)
    lengths = np.arange(x.shape[batch]) % (x.shape[time] + 1)
    rows = np.moveaxis(x, (batch, time), (0, 1))
    expected = np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(rows, lengths, strict=True)])
    found = values("ReverseSequence", x, lengths, batch_axis=batch, time_axis=time)
    np.testing.assert_array_equal(np.moveaxis(found, (batch, time), (0, 1)), expected)


def test_sequences_longer_than_the_axis_are_refused():
    refused("lengths [3, 0] for axes 1 and 0 of shape (2, 2)", "ReverseSequence", np.ones((2, 2)), np.array([3, 0]))
    refused("lengths [1] for axes 1 and 0 of shape (2, 2)", "ReverseSequence", np.ones((2, 2)), np.array([1]))
