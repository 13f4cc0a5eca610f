"""PyTorch's names mean here what they mean there, and every mix of dtypes gives the same dtype."""

import operator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from torch_problems import BOTH, OURS, THEIRS, a, agree, compare, derivatives, fails, grid, values  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402

# Names: one test for each row of "coming from PyTorch"


@pytest.mark.parametrize("name", ["max", "min"])
def test_max_and_min_with_dim_give_values_and_indices_the_first_at_ties(name: str) -> None:
    x = a([2, 5, 5, 2], [7, 1, 7, 1], [0, 0, 0, 0])
    for call in (
        lambda x: getattr(x, name)(1),
        lambda x: getattr(x, name)(dim=-1),
        lambda x: getattr(x, name)(0, True),
    ):
        agree(lambda m, x, call=call: call(x).values, x)
        agree(lambda m, x, call=call: call(x)[1], x, order=0)
    values_of, indices = OURS.constant(x).max(1)
    assert values_of.shape == indices.shape == (3,)


@pytest.mark.parametrize("name", ["max", "min"])
def test_max_without_dim_and_amax_share_a_tie_evenly(name: str) -> None:
    x = a([3, 3, 1], [1, 3, 1])
    agree(lambda m, x: getattr(x, name)(), x)
    agree(lambda m, x: getattr(x, f"a{name}")(1), x)
    agree(lambda m, x: getattr(x, f"a{name}")(dim=(0, 1), keepdim=True), x)


def test_max_of_two_tensors_is_the_elementwise_maximum() -> None:
    agree(lambda m, x, y: x.max(y) + x.min(y), a(1, 2, 3), a(3, 2, 1))


def test_var_corrects_by_1_and_numpy_by_0() -> None:
    x = grid(0, 3, 4)
    agree(lambda m, x: x.var(), x)
    agree(lambda m, x: x.var(0), x)
    agree(lambda m, x: x.var(dim=1, correction=0, keepdim=True), x)
    assert values(np.var(OURS.constant(x))) == pytest.approx(np.var(x))


def test_transpose_swaps_two_axes_and_permute_reorders_all() -> None:
    x = grid(0, 2, 3, 4)
    agree(lambda m, x: x.transpose(0, -1), x)
    agree(lambda m, x: x.permute(2, 0, 1), x)
    agree(lambda m, x: x.permute((-1, 0, -2)), x)
    agree(lambda m, x: x[0].T @ x[0] + x.mT[1] @ x[1], x)
    assert np.transpose(OURS.constant(x)).shape == (4, 3, 2)


def test_expand_keeps_a_length_at_minus_1() -> None:
    agree(lambda m, x: x.expand(5, -1, 4), grid(0, 3, 1))
    agree(lambda m, x: x.expand((2, 3)), grid(0))


def test_reshape_view_and_flatten() -> None:
    x = grid(0, 2, 3, 4)
    agree(lambda m, x: x.reshape(-1, 6), x)
    agree(lambda m, x: x.view(4, 6), x)
    agree(lambda m, x: x.flatten(), x)
    agree(lambda m, x: x.flatten(1), x)
    agree(lambda m, x: m.flatten(x, start_dim=-3, end_dim=-2), x)


def test_squeeze_leaves_longer_axes_and_unsqueeze_counts_from_the_new_end() -> None:
    x = grid(0, 1, 3, 1)
    for call in (
        lambda x: x.squeeze(),
        lambda x: x.squeeze(1),
        lambda x: x.squeeze((0, -1)),
        lambda x: x.unsqueeze(-1),
    ):
        agree(lambda m, x, call=call: call(x), x)


def test_flip_takes_the_axes_loose_or_as_a_tuple() -> None:
    agree(lambda m, x: x.flip(0, 2), grid(0, 2, 3, 4))
    agree(lambda m, x: m.flip(x, (1,)), grid(0, 2, 3, 4))


def test_cat_and_stack_take_a_list_and_dim() -> None:
    x, y = grid(0, 2, 3), grid(1, 2, 1)
    agree(lambda m, x, y: m.cat([x, y], dim=1), x, y)
    agree(lambda m, x, y: m.cat((x, x)), x, y)
    agree(lambda m, x, y: m.stack([x, x], 1), x, y)


def test_functional_pad_lists_the_last_axis_first() -> None:
    agree(lambda m, x: m.F.pad(x, (1, 2)), grid(0, 2, 3))
    agree(lambda m, x: m.F.pad(x, (1, 0, 0, 2), value=7.0), grid(0, 2, 3))


def test_size_is_a_method_and_dim_and_numel_too() -> None:
    for m in BOTH:
        x = m.constant(grid(0, 2, 3))
        assert (tuple(x.size()), x.size(-1), x.dim(), x.ndim, x.numel(), len(x)) == ((2, 3), 3, 2, 2, 6, 2)
        with pytest.raises(IndexError, match=r"-2.*1"):
            x.size(5)


def test_keyword_spellings_of_reductions() -> None:
    agree(lambda m, x: x.sum(dim=1, keepdim=True) + x.sum(axis=0), grid(0, 3, 3))
    agree(lambda m, x: x.mean(dim=(0, 1)) + x.logsumexp(dim=0), grid(0, 3, 3))


@pytest.mark.parametrize("name", ["max", "min"])
def test_max_and_min_read_both_spellings_and_refuse_what_would_be_dropped(name: str) -> None:
    x = OURS.constant(grid(0, 2, 3))
    f = getattr(x, name)
    assert f(axis=1, keepdim=True).shape == (2, 1)
    assert f(dim=1, keepdims=True).values.shape == f(dim=1, keepdim=True).indices.shape == (2, 1)
    assert f(keepdim=True).shape == f(keepdims=True).shape == (1, 1)
    with pytest.raises(TypeError, match=f"{name}: dim and axis were both given"):
        f(dim=1, axis=0)
    with pytest.raises(TypeError, match=rf"{name}: dim is \(0, 1\).*use a{name}, or {name}\(axis=\(0, 1\)\)"):
        f(dim=(0, 1))


def test_keyword_spellings_of_layout() -> None:
    x = grid(0, 2, 1, 3)
    agree(lambda m, x: x.flip(dims=(0, 2)) + m.flip(x, dims=(1,)), x)
    agree(lambda m, x: x.permute(dims=(2, 0, 1)).reshape(shape=(3, 2)), x)
    agree(lambda m, x: m.cat([x, x], axis=1) + m.concat([x, x], axis=-2), x)
    agree(lambda m, x: x.squeeze(axis=1).unsqueeze(axis=-1) + m.stack([x[:, 0]], axis=-1), x)
    agree(lambda m, x: m.squeeze(x, dim=1) + m.unsqueeze(x, dim=0)[0, :, 0], x)


def test_a_parameter_given_under_two_names_is_refused() -> None:
    x = OURS.constant(grid(0, 2, 3))
    for call in (
        lambda: tg.cat([x, x], 0, axis=0),
        lambda: tg.stack([x], dim=0, axis=0),
        lambda: x.squeeze(0, axis=0),
        lambda: x.unsqueeze(0, axis=0),
        lambda: x.flip(0, dims=(0,)),
        lambda: x.permute(1, 0, dims=(1, 0)),
        lambda: x.reshape(6, shape=6),
    ):
        with pytest.raises(TypeError, match="are the same parameter; give one"):
            call()
    for call in (x.flip, x.unsqueeze):
        with pytest.raises(TypeError, match=f"{call.__name__}: .* given"):
            call()


def test_a_list_to_join_holds_arrays_only() -> None:
    x = OURS.constant(grid(0, 2, 3))
    for join in (tg.cat, tg.stack, np.concatenate, np.stack):
        with pytest.raises(TypeError, match="entry 1 of the list is a float; Tensors or ndarrays are needed"):
            join([x, 2.0])


FUNCTIONS = {
    "reductions": lambda m, x: m.sum(x, 1) + m.mean(x, dim=1) + m.var(x, 1) + m.amax(x, 1) + m.min(x, 1).values,
    "more reductions": lambda m, x: m.logsumexp(x, (0, 1), keepdim=True) * m.max(x) * m.amin(x, dim=-1),
    "elementwise": lambda m, x: m.exp(m.sin(x)) * m.cos(x) - m.tanh(x) / m.sqrt(m.square(x) + 1) + m.log(m.abs(x) + 1),
    "of two": lambda m, x: m.add(x, m.mul(x, 2)) - m.div(m.sub(x, 1.5), m.pow(x, 2) + 1) + m.neg(m.maximum(x, x * x)),
    "activations": lambda m, x: (
        m.relu(x) * m.sigmoid(x) + m.softmax(x, 1) * m.log_softmax(x, dim=0) + m.clamp(x, min=0.0)
    ),
    "layout": lambda m, x: m.reshape(m.permute(m.unsqueeze(x, 0), (2, 0, 1)), (4, 3)) @ m.transpose(x, 0, 1).T,
    "more layout": lambda m, x: m.cat([m.flip(x, (0,)), m.squeeze(x[None])], 1) * m.stack([x, x], 1).flatten(1),
    "conv2d": lambda m, x: m.conv2d(x[None, None], x[None, None, :2, :2], None, 2, 1, (1, 2)),
    "max_pool2d of ties": lambda m, x: m.max_pool2d((x - x.detach())[None, None], 2, 1, 1),
    "products": lambda m, x: m.matmul(x, x.mT) + m.nn.functional.linear(x, x),
    "comparisons": lambda m, x: m.where(m.isfinite(x / x), x * (x >= 1), m.minimum(x, x - 1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_the_package_take_pytorchs_arguments(name: str) -> None:
    agree(FUNCTIONS[name], grid(1, 3, 4))


INDICES = {
    "integer": 1,
    "negative integer": (-1, 0),
    "slice": (slice(None, None, 2), slice(1, None)),
    "None and ...": (None, Ellipsis, 0),
    "list": [2, 0, 2],
    "list behind a slice": (slice(None), [1, 1, 0]),
    "two arrays": (np.array([0, 2, 0]), np.array([1, 1, 1])),
    "arrays that broadcast": (np.array([[0], [2]]), slice(None), np.array([1, 1, 3])),
    "arrays apart": (np.array([0, 2]), slice(1, None), np.array([3, 3])),
    "bool mask": np.array([True, False, True]),
    "bool mask of two axes": grid(3, 3, 2) > 0,
    "bool mask behind a slice": (slice(None), slice(None), np.array([True, False, False, True])),
    "bool mask of all": grid(4, 3, 2, 4) > 0,
    "bool mask of nothing": np.zeros((3, 2, 4), np.bool_),
    "empty list": np.zeros(0, np.int64),
    "Ellipsis and an array": (Ellipsis, np.array([0, 0, 3])),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing_with(name: str) -> None:
    index = INDICES[name]

    def take(m: Any, x: Any) -> Any:
        if isinstance(index, tuple):
            return x[tuple(m.constant(i) if isinstance(i, np.ndarray) else i for i in index)]
        return x[m.constant(index) if isinstance(index, np.ndarray) else index]

    agree(lambda m, x: take(m, x * x), grid(0, 3, 2, 4))


def test_assigning_by_index_and_the_underscore_methods() -> None:
    def edit(m: Any, x: Any) -> Any:
        x = x.detach().clone()
        x[0] = 5
        x[:, 1] = m.constant(a(-1, -2, -3))
        x[m.constant(np.array([2, 2]))] = m.constant(a([1, 2], [3, 4]))[1]
        x[x > 4] = 0.5
        y = x.add_(1).mul_(2).sub_(m.constant(a(1, 1)), alpha=3).div_(4)
        y.clamp_(min=-1, max=2)
        y += y
        y -= 1
        y *= m.constant(a(2, 3))
        y /= 7
        y **= 2
        assert y is x
        z = x.clone().zero_().fill_(3).copy_(x[0])
        return m.cat([x, z])

    agree(edit, grid(0, 3, 2), order=0)


def test_in_place_operators_while_recording_and_under_no_grad() -> None:
    def residual(m: Any, x: Any) -> Any:
        h = x * 2
        h += x
        h *= x
        h -= 1
        h /= x * x + 1
        return h

    agree(residual, grid(0, 3, 2))
    for m in BOTH:
        w = m.leaf(a(1, 2))
        (w * w).sum().backward()
        with m.no_grad():
            w -= 0.25 * w.grad
        w.data -= 0.25 * w.grad
        np.testing.assert_array_equal(values(w), a(0, 0))
        assert w.requires_grad
        assert w.is_leaf


def test_H123_what_in_place_cannot_be_differentiated_is_refused_as_there() -> None:
    def leaf(m: Any, x: Any) -> Any:
        x = m.leaf(values(x))
        x += 1

    def integers(m: Any, x: Any) -> Any:
        i = m.constant(np.array([1, 2]))
        i += 0.5

    def growing(m: Any, x: Any) -> Any:
        x += m.constant(grid(0, 3, 2))

    def saved(m: Any, x: Any) -> Any:
        x = m.leaf(values(x))
        y = x * 1
        z = y * y
        with m.no_grad():
            y += 1
        z.sum().backward()

    assert fails(leaf, a(1, 2))[0] is RuntimeError
    assert fails(integers, a(1, 2))[0] is TypeError
    assert issubclass(fails(growing, a(1, 2))[0], ValueError)
    assert fails(saved, a(1, 2))[0] is RuntimeError


# Dtypes

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
OPERATIONS = {
    "add": operator.add,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "maximum": lambda x, y: x.maximum(y),
    "lt": operator.lt,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_H24_every_pair_of_dtypes_has_pytorchs_result_dtype(name: str) -> None:
    for left in DTYPES:
        for right in DTYPES:
            for shapes in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ()), ((2, 1), (1,))):
                results = []
                for m in BOTH:
                    x, y = (m.constant(np.ones(s, t)) for s, t in zip(shapes, (left, right), strict=True))
                    results.append(values(OPERATIONS[name](x, y)))
                what = f"{left}{shapes[0]} {name} {right}{shapes[1]}"
                assert results[0].dtype == results[1].dtype, what
                assert results[0].shape == results[1].shape, what
                np.testing.assert_array_equal(*results, err_msg=what)


@pytest.mark.parametrize("number", [True, 2, 2.5, np.float64(2.5)], ids=repr)
@pytest.mark.parametrize("name", [*OPERATIONS, "pow"])
def test_H24_a_number_never_widens_a_tensor(name: str, number: Any) -> None:
    operation = {**OPERATIONS, "pow": operator.pow}[name]
    for dtype in DTYPES:
        for shape in ((2,), ()):
            if name == "maximum" or (name == "pow" and dtype == "bool"):
                continue  # PyTorch's maximum takes no number
            results = [values(operation(m.constant(np.full(shape, 1, dtype)), number)) for m in BOTH]
            assert results[0].dtype == results[1].dtype, (dtype, shape)
            np.testing.assert_allclose(*results, rtol=1e-3)
            if name == "pow" or isinstance(number, np.generic):
                continue  # np.float64(2.5) * tensor is NumPy's in PyTorch
            results = [values(operation(number, m.constant(np.full(shape, 1, dtype)))) for m in BOTH]
            assert results[0].dtype == results[1].dtype, (dtype, shape)


def test_dtypes_of_mixed_where_cat_and_reductions() -> None:
    for left in DTYPES:
        for right in DTYPES:
            results = []
            for m in BOTH:
                x, y = m.constant(np.ones(2, left)), m.constant(np.ones(2, right))
                condition = m.constant(np.array([True, False]))
                results.append([values(t) for t in (m.where(condition, x, y), m.cat([x, y]), m.stack([x, x]))])
            compare(*results, 0.0)
        results = [[values(f(m.constant(np.ones(3, left)))) for f in _reductions(left)] for m in BOTH]
        compare(*results, 1e-3)


def _reductions(dtype: str) -> Any:
    yield lambda x: x.sum()
    yield lambda x: x.amax()
    yield lambda x: x > 0
    if dtype != "bool":
        yield lambda x: x.argmax()
        yield lambda x: x.abs()
    if dtype.startswith("float"):
        yield lambda x: x.mean()
        yield lambda x: x.var()
    if dtype != "float16":
        yield lambda x: x.exp() + x.sqrt() + x.sigmoid()


def test_numbers_chosen_by_a_tensor_and_integers_between_float_bounds() -> None:
    x = np.array([-1, 2, 7])
    for f in (
        lambda m, x: m.where(x > 0, 1.0, 0.0),
        lambda m, x: m.where(x > 0, 2, x),
        lambda m, x: m.where(x > 0, 2.5, x),
        lambda m, x: x.clamp(0.5, 2.5),
        lambda m, x: x.clamp(min=0, max=3),
        lambda m, x: m.clamp(x, max=2.5),
    ):
        agree(f, x, order=0)
        agree(f, x.astype(np.int8), order=0)
        agree(f, x.astype(np.float64), order=0, float32=False)


def test_H25_gradients_have_the_leafs_dtype_through_masks_counts_and_casts() -> None:
    def f(m: Any, x: Any, mask: Any) -> Any:
        y = (x * mask).sum() / mask.sum() + (x * m.constant(np.array([1, 2, 3]))).mean()
        return y.double() * 2 if m is OURS else y.to(torch.float64) * 2

    for dtype in (np.float16, np.float32, np.float64):
        arrays = [a(1, 2, 3).astype(dtype), np.array([True, False, True])]
        results = [derivatives(m, f, arrays, 1) for m in BOTH]
        compare(*results, 1e-2 if dtype == np.float16 else 1e-6)
        assert results[0][1].dtype == dtype


HALVES = {
    "elementwise": lambda m, x: (x * 0.5 + 1).tanh() * x.sigmoid() - x.relu() / (x * x + 1),
    "powers": lambda m, x: (x * x + 1).sqrt() + (x * x + 0.5).log() + x.exp() + x**2,
    "reductions": lambda m, x: x.sum(1) + x.mean(1) + x.var(1) + x.amax(1) + x.logsumexp(1),
    "matmul": lambda m, x: x[:, 0] @ x[0, 0].T,
    "conv2d": lambda m, x: m.F.conv2d(x, x[:1, :, :2, :2] * 0.25, padding=1),
    "pools": lambda m, x: m.F.max_pool2d(x, 2) + m.F.avg_pool2d(x, 2),
    "softmax": lambda m, x: m.F.softmax(x, 1) + m.F.log_softmax(x, -1),
    "losses": lambda m, x: m.F.cross_entropy(x[:, :, 0, 0], m.constant(np.array([1, 0]))) + m.F.mse_loss(x, x * 2),
    "batch norm": lambda m, x: m.F.batch_norm(x, None, None, training=True),
    "layout": lambda m, x: m.cat([x.permute(0, 1, 3, 2), m.F.pad(x, (1, 0, 0, 1))[..., 1:, :4].mT[:, :, :4]], -1),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("name", HALVES)
def test_H26_every_dtype_is_kept_forward_and_in_gradients(name: str, dtype: Any) -> None:
    x = grid(0, 2, 3, 4, 4)
    ours = derivatives(OURS, HALVES[name], [x.astype(dtype)], 1)
    assert {result.dtype for result in ours} == {np.dtype(dtype)}
    compare(ours, derivatives(THEIRS, HALVES[name], [x], 1), 1e-2 if dtype == np.float16 else 1e-5, dtypes=False)


def test_a_list_of_python_numbers_becomes_what_it_becomes_in_pytorch() -> None:
    for data in ([1.0, 2], [1, 2], [True], 3.5, 2, [[1.5], [2]], [], True):
        ours, theirs = tg.Tensor(data), torch.tensor(data)
        assert values(ours).dtype == values(theirs).dtype
        assert ours.shape == tuple(theirs.shape)
