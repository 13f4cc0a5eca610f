"""What may stand beside a Tensor, what a conversion does to the graph, and what a leaf's gradient is made of."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, from_numpy, grad, nn
from tinygrad_cnn.nn import functional as F


def test_H23_the_gradient_of_a_0_d_leaf_stays_a_writable_array_when_it_accumulates():
    p = Tensor(3.0, requires_grad=True)
    for passes in (1, 2, 3):
        (p * p).backward()
        assert type(p.grad.array) is np.ndarray
        assert p.grad.item() == 6.0 * passes
    p.grad.zero_()
    p.grad += 1
    assert p.grad.numpy() == 1.0


def test_a_0_d_output_given_twice_counts_twice():
    p = Tensor(3.0, requires_grad=True)
    q = p * p
    (g,) = grad([q, q], p)
    assert type(g.array) is np.ndarray
    assert g.item() == 12.0


def test_a_matrix_multiplies_elementwise_like_every_array():
    values = [[1.0, 2.0], [3.0, 4.0]]
    np.testing.assert_array_equal((Tensor(values) * np.array(values).view(np.matrix)).numpy(), [[1, 4], [9, 16]])


@pytest.mark.parametrize(
    ("operand", "message"),
    [
        (np.ma.array([1.0, 2.0], mask=[True, False]), "a masked array, whose mask would be lost"),
        (np.ones(2, complex), "an array of complex128; beside a Tensor"),
        (np.array([1, 2], object), "an array of object; beside a Tensor"),
        (np.array(["a", "b"]), "an array of <U1; beside a Tensor"),
        (Fraction(1, 2), "a Fraction; pass a Tensor"),
        ([1.0, 2.0], "a list; pass a Tensor"),
        (None, "is None; pass a Tensor"),
    ],
)
def test_H33_what_is_no_array_of_numbers_is_refused_beside_a_tensor(operand, message):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=message):
        tg.mul(x, operand)


@pytest.mark.parametrize("length", [(), (3,), (2**16,)])
@pytest.mark.parametrize("function", [tg.add, tg.sub, tg.mul, tg.div, tg.pow, tg.maximum, tg.minimum])
@pytest.mark.parametrize("number", [2, 2.0, np.float32(2), np.float64(2)])
def test_a_number_may_stand_on_either_side_of_a_tensor_or_an_array_of_any_size(function, length, number):
    array = np.full(length, 3.0, np.float32)
    for x in (array, Tensor(array), Tensor(array, requires_grad=True)):
        for arguments, values in (((x, number), (array, 2)), ((number, x), (2, array))):
            right = function(*(np.asarray(a, np.float32) for a in values))
            found = function(*arguments)
            assert np.array_equal(found if x is array else found.numpy(), right)
    assert np.array_equal(sum([Tensor(array), Tensor(array)]).numpy(), array + array)


def test_fractions_and_object_arrays_compute_exactly_without_tensors():
    x = np.array([Fraction(1, 3), Fraction(2, 3)], object)
    assert list(tg.mul(x, Fraction(3, 2))) == [Fraction(1, 2), 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x @ 2.0,
        lambda x: tg.conv2d(x, 3.0),
        lambda x: F.linear(x, Tensor([[1.0, 2.0]]), 1.0),
    ],
)
def test_a_number_where_an_array_is_needed_is_named(call):
    with pytest.raises(TypeError, match=r"its input '\w+' is the number \d\.0; pass a Tensor or an ndarray"):
        call(Tensor([[1.0, 2.0]]))


@pytest.mark.parametrize("convert", [Tensor.int, Tensor.long, Tensor.bool, lambda x: tg.cast(x, np.uint8)])
def test_H27_a_conversion_to_integers_leaves_the_graph(convert):
    x = Tensor([1.5, -2.7], requires_grad=True)
    constant = convert(x)
    assert not constant.requires_grad
    (constant.float() * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), constant.float().numpy())


def test_H121_a_tensor_inside_an_index_is_copied_when_recorded():
    v, i = Tensor([1.0, 2.0, 3.0], requires_grad=True), Tensor([1, 2])
    y = tg.getitem(v, (i,))
    i.zero_()
    y.sum().backward()
    assert v.grad.tolist() == [0.0, 1.0, 1.0]


def test_data_of_a_wrong_shape_changes_nothing():
    h = Tensor([1.0, 2.0], requires_grad=True) * 2
    before = h.array
    with pytest.raises(ValueError, match=r"data: shape \(3,\) for the result of an op of shape \(2,\)"):
        h.data = np.zeros(3, np.float32)
    assert h.array is before


def test_a_leaf_that_gets_data_of_another_shape_keeps_its_hooks():
    seen = []
    p = Tensor([1.0, 2.0], requires_grad=True)
    p.register_hook(lambda g: seen.append(g.shape))
    p.data = np.ones(3, np.float32)
    (p * 2).sum().backward()
    assert (seen, p.grad.tolist()) == ([(3,)], [2.0, 2.0, 2.0])


def test_H121_data_shared_with_the_outside_is_copied_into_a_leaf():
    a = np.ones(3)
    p = nn.Parameter(np.zeros(3))
    p.data = from_numpy(a)
    y = (p * p).sum()
    a[0] = 100
    y.backward()
    assert p.grad.tolist() == [2.0, 2.0, 2.0]


def test_H149_gradients_that_can_be_differentiated_share_no_memory_either():
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    v = Tensor([0.5, -1.5], requires_grad=True)
    gx, gy = grad(x + y, [x, y], v, create_graph=True)
    arrays = [gx.array, gy.array, v.array]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    (back,) = grad((gx * Tensor([2.0, 3.0])).sum(), v)
    assert back.tolist() == [2.0, 3.0]
    (spread,) = grad(x.sum(), x, create_graph=True)
    assert spread.array.flags.writeable


@pytest.mark.parametrize(
    ("data", "dtype", "message"),
    [
        ([[1.0], [2.0, 3.0]], None, "the nested lists are ragged"),
        ([float("nan")], int, r"Tensor: \[nan\] cannot be int64 numbers"),
        (["a"], np.float32, r"Tensor: \['a'\] cannot be float32 numbers"),
    ],
)
def test_data_that_cannot_be_numbers_says_why(data, dtype, message):
    with pytest.raises(ValueError, match=message):
        Tensor(data, dtype=dtype)


def test_longdouble_is_no_dtype_of_a_tensor():
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("longdouble is float64 on this platform")
    with pytest.raises(TypeError, match="of up to 64 bits"):
        Tensor(np.ones(2, np.longdouble))


@pytest.mark.parametrize("setting", ["always", "default", "error"])
def test_H15_no_warning_leaks_into_a_user_s_test_suite(tmp_path: Path, setting):
    (tmp_path / "conftest.py").write_text("raise AssertionError('a folder above, which all runs share, was read')\n")
    suite = tmp_path / "user"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "test_user.py").write_text(
        "import warnings\nimport numpy as np\nimport tinygrad_cnn as tg\nfrom tinygrad_cnn.nn import functional as F\n"
        "def test_log():\n"
        f"    warnings.simplefilter({setting!r})\n"
        "    assert tg.log(tg.Tensor([0.0])).item() == float('-inf')\n"
        "    assert (tg.Tensor([1.0]) / 0.0).item() == float('inf')\n"
        "    F.pad(tg.Tensor(np.ones((2, 2), np.float16)), (1, 1), value=1e300)\n"
    )
    # the ini file makes `suite` the root: without it pytest lists every folder from / down, while others change them
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    environment["PYTHONPATH"] = str(Path(tg.__file__).parent.parent)
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=suite, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout, run.stdout
    assert "warning" not in run.stdout.lower(), run.stdout


@pytest.mark.parametrize("private", [True, False])
def test_the_error_state_is_as_before_after_an_op(private, monkeypatch):
    from tinygrad_cnn import floating, primitive

    if not private:  # where NumPy's private names are gone
        monkeypatch.setattr(primitive, "errors", floating._Public)
    with np.errstate(all="raise"):
        before = np.geterr()
        assert tg.log(Tensor([0.0])).item() == -np.inf
        assert tg.conv2d(
            Tensor(np.full((1, 1, 2, 2), 1e38)).float(), Tensor(np.full((1, 1, 1, 1), 1e38)).float()
        ).isfinite
        with pytest.raises(ValueError, match="do not broadcast"):
            Tensor([1.0, 2.0]) + Tensor([1.0, 2.0, 3.0])
        assert np.geterr() == before


# Functions of NumPy that meet a Tensor


NUMPY_SPELLINGS = [
    lambda x: np.squeeze(x[None], axis=0),
    lambda x: np.expand_dims(x, axis=0),
    lambda x: np.expand_dims(x, axis=(0, -1)),
    pytest.param(
        lambda x: np.clip(x, min=1, max=4),
        marks=pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="NumPy 2.0 lacks the keywords"),
    ),
    lambda x: np.clip(x, a_min=1, a_max=None),
    lambda x: np.concatenate([x, x], axis=None),
    lambda x: np.concatenate([x, x], axis=1),
    lambda x: np.stack([x, x], axis=-1),
    lambda x: np.flip(x),
    lambda x: np.flip(x, axis=1),
    lambda x: np.transpose(x, axes=(1, 0)),
    lambda x: np.reshape(x, (3, 2)),
    lambda x: np.max(x, axis=1, keepdims=True),
]


@pytest.mark.parametrize("f", NUMPY_SPELLINGS)
def test_numpys_keywords_mean_what_they_mean_in_numpy(f):
    array = np.arange(6.0).reshape(2, 3)
    x = Tensor(array, requires_grad=True)
    y = f(x)
    np.testing.assert_array_equal(y.array, f(array), strict=True)
    assert y.requires_grad


def test_numpys_size_and_shape_of_a_tensor():
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    assert [np.size(x), np.size(x, 0), np.size(x, axis=-1), np.ndim(x), np.shape(x)] == [6, 2, 3, 2, (2, 3)]


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (
            lambda x: np.sum(x, dtype=float),
            r"np\.sum of Tensors takes \(x, axis=None, keepdims=False\).*'dtype'.*numpy",
        ),
        (lambda x: np.reshape(x, (3, 2), order="F"), r"np\.reshape of Tensors takes \(x, shape\).*'order'"),
        (lambda x: np.concatenate([x], dtype=float), r"np\.concatenate of Tensors takes \(xs, axis=0\)"),
        (lambda x: np.where(x > 1), r"np\.where of Tensors takes \(condition, x, y\)"),
        (lambda x: np.median(x), r"np\.median has no op here"),
    ],
)
def test_what_numpys_functions_cannot_do_with_a_tensor_is_said_in_numpys_names(f, message):
    with pytest.raises(TypeError, match=message):
        f(Tensor(np.zeros((2, 3)), requires_grad=True))


def test_numpys_squeeze_refuses_a_longer_axis():
    with pytest.raises(tg.ShapeError, match=r"np.squeeze: axis 1 of shape \(1, 3\) is longer than 1"):
        np.squeeze(Tensor(np.zeros((1, 3)), requires_grad=True), axis=(0, 1))


def test_where_names_the_shapes_that_do_not_broadcast_and_draws_them():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with pytest.raises(tg.ShapeError, match=r"where: shapes \(4,\) and \(2, 3\) and \(\) do not broadcast") as caught:
        tg.where(np.ones(4, bool), x * 2.0, 0.0)
    assert [card.title for card in caught.value.graph().drawing.cards if card.problem] == ["where"]
