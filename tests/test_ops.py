"""What every op in the registry must satisfy, on generated inputs. A new op is covered by its declaration alone."""

import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinks import KINKS, SECOND_KINKS, Kink, SecondKink, gradients_at, second_gradients_at

import tinygrad_cnn.basics
import tinygrad_cnn.ops
from tinygrad_cnn.declaration import Op, registry
from tinygrad_cnn.graph import Tensor, wrap
from tinygrad_cnn.ops.elementwise import maximum, mul
from tinygrad_cnn.primitive import op
from tinygrad_cnn.testing import Draw, GradientError, check_op, unprovable
from tinygrad_cnn.testing.cases import Case

for module in pkgutil.walk_packages(tinygrad_cnn.ops.__path__, "tinygrad_cnn.ops."):
    importlib.import_module(module.name)


def ours() -> list[Op]:
    """Every op of the package; not what other tests register."""
    return [op for op in registry.values() if op.forward.__module__.startswith("tinygrad_cnn.")]


OPS = ours()
FEW = settings(max_examples=max(10, settings().max_examples // 4))  # one example is some forty evaluations

# Linear in each input, without roundings on small integers: the adjoint identity holds to the last bit.
MULTILINEAR = [
    "add",
    "sub",
    "mul",
    "neg",
    "matmul",
    "linear",
    "sum",
    "sum_to",
    "broadcast_to",
    "cast",
    "reshape",
    "permute",
    "pad",
    "flipped",
    "concatenate",
    "stacked",
    "clone",
    "getitem",
    "add_at",
    "take_along_axis",
    "add_along_axis",
    "mask",
    "select",
    "gather_planes",
    "scatter_planes",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "conv_transpose2d",
    "sum_pool2d",
    "sum_pool2d_input_grad",
    "cumsum",
    "rolled",
    "gather",
    "scatter_added",
    "scattered",
    "contraction",
    "unfold",
    "fold",
]


@pytest.mark.parametrize("declared", OPS, ids=lambda op: op.name)
@given(data=st.data())
@FEW
def test_every_op_keeps_the_rules_of_all_ops(declared, data):
    check_op(declared, data)


@pytest.mark.parametrize("name", MULTILINEAR)
@given(data=st.data())
@FEW
def test_adjoints_of_linear_ops_are_exact_on_integers(name, data):
    case = Case(registry[name], Draw.of(data))
    rng = case.rng()
    case.arrays = [None if a is None else rng.integers(-4, 5, a.shape).astype(np.float64) for a in case.arrays]
    xs = case.present()
    out, gradients = case.vjp(xs, np.zeros(case.cotangent().shape))
    c = rng.integers(-3, 4, out.shape).astype(np.float64)
    _, gradients = case.vjp(xs, c)
    places = [i for i, a in enumerate(case.arrays) if a is not None]
    apart = name in (
        "add",
        "sub",
        "concatenate",
        "stacked",
        "select",
        "scatter_added",
        "scattered",
    )  # linear in all inputs together, not in each
    for i, gradient in zip(case.free, gradients, strict=True):
        without = [np.zeros_like(x) if k == i else x for k, x in zip(places, xs, strict=True)]
        share = out - case.call(without)
        if apart or share.size:
            assert (c * share).sum() == (gradient * case.arrays[i]).sum()


def test_no_op_is_registered_without_rules_and_the_sample_it_needs():
    assert [reason for op in ours() if (reason := unprovable(op))] == []


def test_the_gate_closes_for_an_op_without_rules_and_for_one_without_a_sample():
    try:

        @op
        def halfway(x, /):
            return x / 2.0

        assert unprovable(halfway).startswith("halfway has no gradient rules; declare them with halfway.vjp(")
        with pytest.raises(TypeError, match="halfway has no gradient rules"):
            check_op(halfway, Draw.seeded(0))
        halfway.vjp(x=lambda g: g / 2.0)
        assert unprovable(halfway) is None

        @op
        def shifted(x, /, by):
            return x + by

        shifted.vjp(x=lambda g: g)
        assert unprovable(shifted).startswith("shifted has no sample; declare one with @shifted.sample")
        with pytest.raises(TypeError, match="shifted has no sample"):
            check_op(shifted, Draw.seeded(0))
    finally:
        registry.pop("halfway", None)
        registry.pop("shifted", None)


@pytest.mark.parametrize("kink", KINKS, ids=str)
def test_gradients_at_kinks(kink: Kink):
    for got, wanted in zip(gradients_at(kink), kink.gradients, strict=True):
        if wanted is not None:
            assert np.array_equal(got, wanted, equal_nan=True), (got, wanted)


@pytest.mark.parametrize("kink", SECOND_KINKS, ids=str)
def test_second_gradients_at_kinks(kink: SecondKink):
    for got, wanted in zip(second_gradients_at(kink), kink.gradients, strict=True):
        if wanted is not None:
            np.testing.assert_allclose(got, wanted, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_H22_gradients_have_the_leafs_shape_and_dtype_under_broadcasting(dtype):
    for shapes in [((3, 1), (2, 1, 4)), ((), (2, 3)), ((1,), (2,)), ((3, 1), (3, 2))]:
        x, y = (Tensor(np.ones(shape, dtype), requires_grad=True) for shape in shapes)
        out = mul(x, y)
        out.backward(wrap(np.ones(out.shape, dtype)))
        for leaf in (x, y):
            assert (leaf.grad.shape, leaf.grad.dtype) == (leaf.shape, np.dtype(dtype))


def test_a_tie_of_maximum_against_a_number_splits_evenly():
    x = Tensor(np.array([1.0, 2.0, 3.0], np.float32), requires_grad=True)
    maximum(x, 2.0).backward(wrap(np.array([8, 8, 8], np.float32)))
    assert x.grad.numpy().tolist() == [0, 4, 8]


class TestCheckOpNotices:
    """Each property fails for an op that breaks it, and the message names the op and the fact."""

    @pytest.fixture
    def broken(self):
        before = set(registry)
        yield
        for name in set(registry) - before:
            del registry[name]

    def fails(self, declared, fact):
        def check():
            for seed in range(20):
                check_op(declared, Draw.seeded(seed))

        with pytest.raises(GradientError, match=fact) as caught:
            check()
        assert "scaled(" in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])

    def test_a_rule_that_gives_something_else_on_tensors(self, broken):
        @op
        def scaled(x, /):
            return x * 2.0

        scaled.vjp(x=lambda g: g * (2.0000002 if isinstance(g, Tensor) else 2.0))
        self.fails(scaled, "the gradient with create_graph=True differs:\n")

    def test_a_wrong_factor(self, broken):
        @op
        def scaled(x, /):
            return x * 3.0

        scaled.vjp(x=lambda g: g * 3.0001)
        self.fails(scaled, "inputs.0. .*wrong")

    def test_a_gradient_without_graph(self, broken):
        @op
        def scaled(x, /):
            return x * x

        scaled.vjp(x=lambda g, x: wrap(g.array * x.array * 2.0) if isinstance(g, Tensor) else g * x * 2.0)
        self.fails(scaled, "gradgradcheck")

    def test_an_input_that_is_written_to(self, broken):
        @op
        def scaled(x, /):
            x[...] = x * 1.0 + 1.0
            return x - 1.0

        scaled.vjp(x=lambda g: g * 1.0)
        with pytest.raises((GradientError, ValueError)):
            check_op(scaled, Draw.seeded(1))

    def test_a_cotangent_that_is_written_to(self, broken):
        @op
        def scaled(x, /):
            return x * 2.0

        def rule(g):
            if isinstance(g, Tensor):
                return g * 2.0
            g *= 2.0
            return g

        scaled.vjp(x=rule)
        self.fails(scaled, r"the cotangent was changed\n")

    def test_a_rule_that_adds_a_constant(self, broken):
        @op
        def scaled(x, /):
            return x * 0.0

        scaled.vjp(x=lambda g: g * 0.0 + 1e-14)
        self.fails(scaled, "the gradient for 0.0 c is not 0.0 times")

    def test_a_dtype_that_drifts(self, broken):
        @op
        def scaled(x, /):
            return x * np.ones(x.shape)

        scaled.vjp(x=lambda g: g * 1.0)
        self.fails(scaled, "the output is float64 for float16 inputs")

    def test_a_half_precision_path_that_loses_digits(self, broken):
        @op
        def scaled(x, /):
            return np.round(x) if x.dtype == np.float16 else x * 1.0

        scaled.vjp(x=lambda g: g * 1.0)
        self.fails(scaled, "the output in float16 is far from float64")

    def test_a_layout_that_matters(self, broken):
        @op
        def scaled(x, /):
            return np.frombuffer(x.tobytes("A"), x.dtype).reshape(x.shape) * 1.0

        scaled.vjp(x=lambda g: g * 1.0)
        self.fails(scaled, "Fortran inputs")
