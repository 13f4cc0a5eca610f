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
