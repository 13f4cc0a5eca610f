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
