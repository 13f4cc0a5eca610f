"""Arguments that a call refuses, in its own words: those that no other test meets on its way.

`python -m tests.error_branches` lists the `raise` statements that are not executed by a test.
"""

import re
import sys

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import digits_net
from tinygrad_cnn.distributed import group
from tinygrad_cnn.dtypes import common_dtype
from tinygrad_cnn.explanation.calls import Call, UnknownValue
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.ops import conv, elementwise
from tinygrad_cnn.testing.samples import declaration
from tinygrad_cnn.traces import Trace


def normal(*shape):
    return tg.Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32), requires_grad=True)


def loss():
    return (normal(2, 3) * 2).sum()


REFUSED = {
    "graph title": (lambda: loss().graph(title=3), TypeError, "graph: title is 3; a text or None is needed"),
    "graph legend": (lambda: loss().graph(legend=1), TypeError, "graph: legend is 1; True or False is needed"),
    "graph model": (lambda: loss().graph(model=3), TypeError, "graph: model is 3; a Module is needed, or None"),
    "graph label": (
        lambda: loss().graph(label="x"), TypeError,
        "graph: label is 'x'; a function from Card to Card is needed, or None",
    ),
    "graph hops": (lambda: loss().graph(hops=-1), ValueError, "graph: hops=-1; it can be an int from 0 on"),
    "epochs": (
        lambda: digits_net.train(epochs=0, out=None), ValueError, "train: epochs=0; at least one is needed"
    ),
    "dtypes": (lambda: common_dtype([]), TypeError, "common_dtype needs at least one operand"),
    "data": (
        lambda: setattr(normal(2), "data", np.ones(2)), TypeError,
        "data: float64 data for a float32 Tensor that requires grad; cast it first",
    ),
    "fill_": (
        lambda: tg.zeros(2).fill_(np.ones(2, np.float32)), ValueError,
        "fill_: the value has shape (2,); one number is needed (copy_ takes arrays)",
    ),
    "clamp_": (
        lambda: tg.zeros(2).clamp_(), ValueError, "clamp_: neither min nor max was given; give at least one"
    ),
    "add_": (
        lambda: tg.zeros(2).add_("1"), TypeError,
        "add_: the value is a str; a Tensor, an ndarray or a number is needed",
    ),
    "mul_": (lambda: tg.zeros(2).mul_(2, alpha=3), TypeError, "mul_ has no alpha; add_ and sub_ have one"),
    "pow": (
        lambda: tg.Tensor(np.array([2, 3])).__ipow__(np.array([-1, 1])), ValueError,
        "Integers to negative integer powers are not allowed.",
    ),
    "conv2d_weight_grad": (
        lambda: conv.conv2d_weight_grad(normal(2, 3, 5, 6), normal(2, 4, 9, 9), size=(3, 2)), tg.ShapeError,
        "conv2d_weight_grad: a gradient of shape (2, 4, 9, 9) for an output of shape (2, 4, 3, 5)",
    ),
    "conv_transpose2d of bool": (
        lambda: F.conv_transpose2d(tg.ones(1, 2, 3, 4).bool(), tg.ones(2, 3, 2, 2).bool()), TypeError,
        "conv_transpose2d: the image is bool; convert it first, as with .float()",
    ),
    "conv_transpose2d, bias": (
        lambda: F.conv_transpose2d(normal(1, 2, 3, 4), normal(2, 3, 2, 2), normal(2)), tg.ShapeError,
        "conv_transpose2d: the bias has shape (2,); it needs one value for each of 3 filters",
    ),
    "where": (
        lambda: tg.where(np.ones(2), normal(2), normal(2)), TypeError,
        "where: the condition is float64; it must be bool, as in x > 0",
    ),
    "sub": (
        lambda: elementwise.sub.op.forward(np.array([None]), np.array([None])), TypeError,
        "unsupported operand type(s) for -: 'NoneType' and 'NoneType'",
    ),
    "neg": (
        lambda: elementwise.neg.op.forward(np.array([None])), TypeError, "bad operand type for unary -: 'NoneType'"
    ),
    "flatten": (
        lambda: normal(2, 3, 4).flatten(2, 1), ValueError,
        "flatten: start_dim 2 comes after end_dim 1 in shape (2, 3, 4)",
    ),
    "expand, too few": (
        lambda: normal(2, 3).expand(3), tg.ShapeError,
        "expand: sizes (3,) for shape (2, 3); there must be one for every axis, -1 only for those",
    ),
    "expand": (
        lambda: normal(2, 3).expand(4, 3), tg.ShapeError,
        "expand: shape (2, 3) does not stretch to (4, 3); only axes of length 1 do",
    ),
    "avg_pool2d": (
        lambda: F.avg_pool2d(normal(1, 1, 4, 4), 2, divisor_override=0), ValueError,
        "avg_pool2d: divisor_override=0; it must be a non-zero integer",
    ),
    "index": (
        lambda: [1, 2][tg.Tensor(np.array([0, 1]))], TypeError,
        "index: a int64 Tensor of shape (2,) cannot be an index; one integer can",
    ),
    "asarray": (
        lambda: tg.zeros(2).__array__(np.float64, copy=False), ValueError,
        "np.asarray: float32 values as float64 need a copy",
    ),
    "ufunc": (
        lambda: np.arctan2(normal(2), normal(2)), TypeError,
        "np.arctan2 has no op here, so a gradient would be lost; use .numpy() for the values",
    ),
    "ufunc with options": (
        lambda: np.exp(normal(2), where=np.array([True, False])), TypeError,
        "np.exp with where has no op here, so a gradient would be lost; use .numpy() for the values",
    ),
    "declaration": (
        lambda: declaration(len), TypeError, "an op is needed, as made by @op; this is a builtin_function_or_method"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        call()


def test_options_of_a_picture_of_an_error_are_checked_as_those_of_a_picture():
    with pytest.raises(tg.ShapeError) as caught:
        F.conv2d(normal(1, 3, 5, 5), normal(2, 4, 3, 3))
    with pytest.raises(TypeError, match=r"^graph: 'colour' is no option; it can be model, inputs, view, "):
        caught.value.graph(colour="red")


def test_what_a_backward_has_freed_cannot_be_explained():
    y = F.max_pool2d(normal(1, 1, 4, 6), 2)
    call = Call(y.node, {})
    assert call.kept("winners") is not None
    y.sum().backward()
    with pytest.raises(
        UnknownValue,
        match=r"^explain: max_pool2d: its winners were freed by a backward; pass retain_graph=True to it$",
    ):
        call.kept("winners")


def test_processes_that_do_not_see_each_other_are_told_why(monkeypatch):
    class Alone:
        class COMM_WORLD:
            Get_rank, Get_size = staticmethod(lambda: 0), staticmethod(lambda: 1)

        Get_library_version = staticmethod(lambda: "MPICH Version: 9\nmore")

    monkeypatch.setattr(group, "_mpi", lambda: Alone)
    with pytest.raises(
        RuntimeError,
        match=r"^init: mpiexec started 3 processes, but the MPI of mpi4py \(MPICH Version: 9\) sees one; the two",
    ):
        group._joined(3)


def test_a_trace_of_pytorch_needs_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"^from_torch: PyTorch is not installed; pip install torch$"):
        Trace.from_torch(object(), np.ones(2))
