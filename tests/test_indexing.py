"""Indexing as PyTorch has it: integers select before index arrays gather, and assignment follows the same rule."""

import itertools

import numpy as np
import pytest

from tinygrad_cnn import Tensor

INDEX = np.array([2, 0, 2])
MASK = np.array([[True, False, True, True], [False, False, True, False], [True, False, False, False]])
SEPARATED = [
    ((0, slice(None), INDEX), lambda x: x[0][:, INDEX]),
    ((slice(None), 1, slice(None), INDEX), lambda x: x[:, 1][:, :, INDEX]),
    ((-1, MASK), lambda x: x[-1][MASK]),
    ((INDEX[:2] % 2, slice(None), 3), lambda x: x[:, :, 3][INDEX[:2] % 2]),
    ((0, ..., INDEX), lambda x: x[0][..., INDEX]),
    ((None, 0, INDEX), lambda x: x[0][INDEX][None]),
]


@pytest.mark.parametrize(("index", "expected"), SEPARATED)
def test_an_integer_beside_an_index_array_selects_first(index, expected):
    values = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    x = Tensor(values, requires_grad=True)
    out = x[index]
    np.testing.assert_array_equal(out.numpy(), expected(values))
    cotangent = np.random.default_rng(1).standard_normal(out.shape)
    out.backward(cotangent)
    places = np.arange(values.size).reshape(values.shape)
    by_hand = np.bincount(expected(places).ravel(), cotangent.ravel(), values.size).reshape(values.shape)
    np.testing.assert_allclose(x.grad.numpy(), by_hand, rtol=1e-15)


@pytest.mark.parametrize(("index", "expected"), SEPARATED)
def test_an_assignment_reaches_the_elements_that_the_index_reads(index, expected):
    x = Tensor(np.zeros((2, 3, 4, 5)))
    field = np.random.default_rng(2).standard_normal(x.shape)
    read = np.isin(np.arange(120).reshape(x.shape), expected(np.arange(120).reshape(x.shape)))
    x[index] = expected(field)
    np.testing.assert_array_equal(x.numpy(), np.where(read, field, 0.0))


BOOLS = [  # and what NumPy and PyTorch agree on
    ((True, [0, 1], 0), lambda x: x[[0, 1], 0]),
    ((True, 0, [0, 1]), lambda x: x[0][[0, 1]]),
    (([0, 1], True, 0), lambda x: x[[0, 1], 0]),
    ((np.True_, [0, 1], 0), lambda x: x[[0, 1], 0]),
    ((np.array(True), [0, 1], 0), lambda x: x[[0, 1], 0]),
    ((True, 0, slice(None), [0, 1]), lambda x: x[0][:, [0, 1]].T),
    ((slice(None), [0, 1], True, 0), lambda x: x[:, [0, 1], 0]),
    ((True, 0, np.array([True, False, True])), lambda x: x[0, [0, 2]]),
]


@pytest.mark.parametrize(("index", "expected"), BOOLS)
def test_True_beside_an_integer_and_an_index_array_stands_for_no_axis(index, expected):
    values = np.arange(24.0).reshape(2, 3, 4)
    x = Tensor(values.copy(), requires_grad=True)
    np.testing.assert_array_equal(x[index].numpy(), expected(values))
    cotangent = np.random.default_rng(4).standard_normal(expected(values).shape)
    x[index].backward(cotangent)
    written, by_hand = Tensor(np.zeros((2, 3, 4))), np.zeros(24)
    by_hand[expected(values).astype(int)] = cotangent
    written[index] = cotangent
    np.testing.assert_array_equal(x.grad.numpy(), by_hand.reshape(2, 3, 4))
    np.testing.assert_array_equal(written.numpy(), by_hand.reshape(2, 3, 4))


def test_an_ellipsis_of_no_axes_separates_index_arrays_as_in_numpy():
    values, i = np.arange(4.0).reshape(2, 2), np.array([0, 1])
    assert Tensor(values)[None, i, ..., i].shape == values[None, i, ..., i].shape == (2, 1)
    assert Tensor(values)[None, i, i].shape == (1, 2)


def drawn_index(rng, shape):
    """Parts that PyTorch takes, too: each kind beside each other, bools among them; `...` for one axis at least."""
    parts, axis, broadcast = [], 0, (2, 3)[rng.integers(2) :]
    while axis < len(shape) and rng.random() < 0.9:
        kind, n = rng.choice(["bool", "none", "integer", "slice", "rest", "array", "mask"]), shape[axis]
        if kind == "bool":
            parts.append(
                [True, np.True_, np.array(True), Tensor(True), False][rng.choice(5, p=[0.4, 0.2, 0.2, 0.1, 0.1])]
            )
        elif kind == "none":
            parts.append(None)
        elif kind == "rest" and ... not in [part for part in parts if part is ...]:
            parts.append(...)
            axis += int(rng.integers(1, len(shape) - axis + 1))
            shape = (*shape[:axis], *shape[axis:])
        elif kind == "integer":
            parts.append(int(rng.integers(-n, n)))
            axis += 1
        elif kind == "slice":
            parts.append(slice(int(rng.integers(-n, n)), None, int(rng.integers(1, 3))))
            axis += 1
        elif kind == "array":
            parts.append(rng.integers(-n, n, broadcast))
            axis += 1
        elif kind == "mask":
            width = int(rng.integers(1, min(2, len(shape) - axis) + 1))
            parts.append(
                rng.permutation(np.arange(np.prod(shape[axis : axis + width])) < 3).reshape(shape[axis : axis + width])
            )
            axis += width
    return tuple(parts)


def test_random_indices_with_bools_beside_other_parts_agree_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI installs it")
    rng = np.random.default_rng(5)
    compared = beside = numpy_too = 0
    for _ in range(900):
        values = rng.standard_normal(rng.integers(2, 5, rng.integers(2, 5)))
        index = drawn_index(rng, values.shape)
        bools = [np.ndim(part) == 0 and getattr(part, "dtype", type(part)) in (bool, np.bool_) for part in index]
        plain = tuple(np.asarray(part.array) if isinstance(part, Tensor) else part for part in index)
        theirs = tuple(torch.tensor(part) if isinstance(part, (np.ndarray, np.bool_)) else part for part in plain)
        leaf = torch.tensor(values, requires_grad=True)
        try:
            expected = leaf[theirs]
        except IndexError:
            with pytest.raises(IndexError):
                Tensor(values)[index]
            continue
        x = Tensor(values, requires_grad=True)
        out = x[index]
        np.testing.assert_array_equal(out.numpy(), expected.detach().numpy(), err_msg=str(index))
        cotangent = rng.standard_normal(out.shape)
        out.backward(cotangent)
        expected.backward(torch.tensor(cotangent))
        np.testing.assert_allclose(x.grad.numpy(), leaf.grad.numpy(), rtol=1e-13, err_msg=str(index))
        ours, written = Tensor(values.copy()), torch.tensor(values)
        number = float(rng.standard_normal())
        ours[index] = number
        written[theirs] = number
        np.testing.assert_array_equal(ours.numpy(), written.numpy(), err_msg=str(index))
        compared += 1
        beside += any(bools) and any(isinstance(part, int) and not isinstance(part, bool) for part in index)
        numpy_too += np.shape(values[plain]) == out.shape and np.array_equal(values[plain], out.numpy())
    assert compared > 600
    assert beside > 60
    assert numpy_too > 0.9 * compared


def test_a_0_d_integer_tensor_is_an_integer():
    x = Tensor(np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(x[Tensor(1), :, INDEX].numpy(), x.numpy()[1][:, INDEX])


def test_every_mix_of_index_parts_agrees_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI installs it")
    values = np.random.default_rng(3).standard_normal((2, 3, 4))
    parts = [0, -1, slice(None), slice(1, None), None, ..., np.array([0, 1, 1]), np.array([[1, 0]]), MASK]
    compared = 0
    for index in itertools.chain(itertools.product(parts, repeat=2), itertools.product(parts, repeat=3)):
        if sum(part is ... for part in index) > 1:
            continue
        theirs = tuple(torch.tensor(part) if isinstance(part, np.ndarray) else part for part in index)
        try:
            expected = torch.tensor(values)[theirs].numpy()
        except IndexError:
            with pytest.raises(IndexError):
                Tensor(values)[index]
            continue
        np.testing.assert_array_equal(Tensor(values)[index].numpy(), expected, err_msg=str(index))
        compared += 1
    assert compared > 200


@pytest.mark.parametrize("index", [(1, 2), (1, -2), (np.int64(1), 2), (Tensor(1), 2), (1, ..., 2), (1, 2, ...)])
def test_one_element_is_a_view_of_its_memory_too(index):
    x = Tensor(np.arange(12.0).reshape(3, 4))
    element = x[index]
    assert element.shape == ()
    assert np.shares_memory(element.array, x.array)
    element.fill_(-5.0)
    assert x.numpy()[1, index[1] if isinstance(index[1], int) else 2] == -5.0


def test_a_loop_over_a_vector_gives_its_elements_as_views():
    x = Tensor([1.0, 2.0, 3.0])
    for element in x:
        element.mul_(2.0)
    assert x.tolist() == [2.0, 4.0, 6.0]


def test_a_change_through_one_element_is_seen_by_the_graph():
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True)
    loss = (x * w).sum()
    x[0].zero_()
    with pytest.raises(RuntimeError, match=r"zero_|fill_|changed"):
        loss.backward()


@pytest.mark.parametrize("index", [3, -4, (0, 5), ([0, 7],), (slice(None), 5)])
def test_an_index_out_of_range_names_axis_length_and_index(index):
    x = Tensor(np.zeros((3, 4)))
    message = r"index -?\d is out of bounds for axis \d with size [34]; the shape is \(3, 4\)"
    with pytest.raises(IndexError, match=f"getitem: {message}"):
        x[index]
    with pytest.raises(IndexError, match=rf"x\[i\] = v: {message}"):
        x[index] = 0.0
