"""Traces: every value and gradient of a run by name, kept in files, and the first difference between two."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn, testing
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.traces import Step, Trace


def net(seed=0, dtype="float64"):
    g = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, generator=g), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 3 * 2, 4, generator=g)
    ).to(dtype)


X = np.random.default_rng(1).standard_normal((2, 2, 5, 4))
LABELS = np.array([1, 3])


def cross_entropy(out):
    return F.cross_entropy(out, LABELS)


def traced(model=None, x=X, loss=cross_entropy):
    return tg.record(model or net(), x, loss=loss)


def one(array, name="w", kind="value"):
    return Trace([Step(kind, name, "", "op", np.asarray(array))], [])


# What is recorded


def test_every_op_is_a_step_under_its_path_and_gradients_follow_in_the_order_of_the_backward():
    trace = traced()
    assert [(s.kind, s.name) for s in trace.steps] == [
        ("value", "0.conv2d"),
        ("value", "1.relu"),
        ("value", "2.reshape"),
        ("value", "3.linear"),
        ("gradient", "3.linear"),
        ("parameter gradient", "3.weight"),
        ("parameter gradient", "3.bias"),
        ("gradient", "2.reshape"),
        ("gradient", "1.relu"),
        ("gradient", "0.conv2d"),
        ("parameter gradient", "0.weight"),
        ("parameter gradient", "0.bias"),
    ]
    assert [s.name for s in trace.modules if s.kind == "value"] == ["0", "1", "2", "3", ""]
    assert len(trace) == 12


def test_the_arrays_are_those_of_the_run():
    model = net()
    trace = traced(model)
    assert all(p.grad is None for p in model.parameters())
    out = model(tg.Tensor(X))
    cross_entropy(out).backward()
    assert np.array_equal(trace["3.linear"], out.numpy())
    assert np.array_equal(trace[""], out.numpy())
    found = {s.name: s.array for s in trace.steps if s.kind == "parameter gradient"}
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(found[name], p.grad.numpy())
    with pytest.raises(KeyError, match=r"Trace: no value is named 'x'; there are 0.conv2d, 1.relu, .* and 6 more"):
        trace["x"]


def test_a_module_that_is_called_twice_has_two_numbered_outputs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x):
            return self.act(self.act(x) * 2.0)

    trace = tg.record(Twice(), np.ones(2))
    assert [s.name for s in trace.steps] == ["act.tanh", "mul", "act.tanh#2"]
    assert [s.name for s in trace.modules] == ["act", "act#2", ""]
    assert np.array_equal(trace["act#2"], trace[""])


def test_what_is_recorded_stays_when_memory_is_changed_later():
    kept = []

    def model(x):
        kept.append(x * 2.0)
        return kept[0]

    trace = tg.record(model, np.ones(2))
    with tg.no_grad():
        kept[0] += 5.0
    assert trace["mul"].tolist() == [2.0, 2.0]


def test_a_function_without_parameters_and_gradients_can_be_recorded():
    trace = tg.record(lambda x: x.exp().sum(), tg.Tensor(np.ones(2), requires_grad=True), loss=lambda out: out)
    assert [(s.kind, s.name) for s in trace.steps] == [
        ("value", "exp"),
        ("value", "sum"),
        ("gradient", "sum"),
        ("gradient", "exp"),
    ]
    with pytest.raises(TypeError, match="record: loss must give a Tensor with a graph"):
        tg.record(lambda x: x, np.ones(2), loss=lambda out: out)


# Files


def test_a_saved_trace_is_read_back_bit_by_bit(tmp_path):
    trace = traced()
    trace.save(tmp_path / "run.json")
    again = Trace.load(tmp_path / "run.json")
    for a, b in zip([*trace.steps, *trace.modules], [*again.steps, *again.modules], strict=True):
        assert (a.kind, a.name, a.path, a.op, a.digest) == (b.kind, b.name, b.path, b.op, b.digest)
    assert not trace.diff(again, rtol=0)
    entry = json.loads((tmp_path / "run.json").read_text())["steps"][0]
    assert (entry["name"], entry["shape"], entry["dtype"]) == ("0.conv2d", [2, 3, 3, 2], "float64")
    assert entry["mean"] == pytest.approx(trace["0.conv2d"].mean())
    assert entry["norm"] == pytest.approx(np.linalg.norm(trace["0.conv2d"].ravel()))


def test_nan_and_infinity_are_kept_and_counted_out_of_the_statistics(tmp_path):
    one([np.nan, np.inf, 2.0]).save(tmp_path / "a.json")
    entry = json.loads((tmp_path / "a.json").read_text())["steps"][0]
    assert (entry["mean"], entry["low"], entry["norm"]) == (2.0, 2.0, None)
    np.testing.assert_array_equal(Trace.load(tmp_path / "a.json")["w"], [np.nan, np.inf, 2.0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda steps: 3, "'int' object is not iterable"),
        (lambda steps: [3], "'int' object is not subscriptable"),
        (lambda steps: [{k: v for k, v in steps[0].items() if k != "digest"}], "'digest'"),
        (lambda steps: [steps[0] | {"list": "layers"}], "a list 'layers'"),
    ],
)
def test_a_trace_whose_steps_are_something_else_is_refused(tmp_path, change, said):
    one([1.0]).save(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content | {"steps": change(content["steps"])}))
    with pytest.raises(ValueError, match=re.escape(f"load: a.json is no Trace ({said}); write one with Trace.save")):
        Trace.load(tmp_path / "a.json")


@pytest.mark.parametrize("part", [0, 0.5, 0.9])
def test_damaged_arrays_are_refused(tmp_path, part):
    one([1.0, 2.0]).save(tmp_path / "a.json")
    arrays = tmp_path / "a.npz"
    whole = arrays.read_bytes()
    np.save(tmp_path / "single.npy", np.ones(2))
    for content in (whole[: int(part * len(whole))], b"text", (tmp_path / "single.npy").read_bytes()):
        arrays.write_bytes(content)
        with pytest.raises(ValueError, match=r"load: a.npz is no file of arrays, or damaged; record and save again"):
            Trace.load(tmp_path / "a.json")


def test_files_that_are_no_trace_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"save: the file is 'a.npz'; a name that ends in .json"):
        one([1.0]).save(tmp_path / "a.npz")
    (tmp_path / "b.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"load: b.json is no Trace .*; write one with Trace.save"):
        Trace.load(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"version": 2, "steps": []}')
    with pytest.raises(ValueError, match=r"load: c.json has version 2; this package reads 1"):
        Trace.load(tmp_path / "c.json")
    one([1.0]).save(tmp_path / "d.json")
    one([2.0]).save(tmp_path / "e.json")
    (tmp_path / "e.npz").replace(tmp_path / "d.npz")
    with pytest.raises(ValueError, match=r"load: the arrays beside d.json lack 'w'; they are of another save"):
        Trace.load(tmp_path / "d.json")
    one([1.0]).save(tmp_path / "f.json")
    np.savez(tmp_path / "f.npz", **{one([1.0]).steps[0].digest: np.array([3.0])})
    with pytest.raises(ValueError, match="load: the array of 'w' is not the one that was saved; record it again"):
        Trace.load(tmp_path / "f.json")


# The first difference


def test_two_runs_are_the_same_and_two_seeds_differ_from_the_first_op_on():
    assert str(traced().diff(traced(), rtol=0)) == "no difference in 12 steps"
    found = traced().diff(traced(net(seed=7)))
    assert (found.first.name, found.first.kind, found.compared) == ("0.conv2d", "value", 0)
    assert bool(found)


def test_precisions_agree_within_the_tolerance_of_the_coarser_one():
    single = traced(net(dtype="float32"), X.astype(np.float32))
    found = traced().diff(single)
    assert not found, str(found)
    assert traced().diff(single, rtol=1e-12).first.dtypes == ("float64", "float32")


def test_the_first_wrong_gradient_is_named_with_what_it_looks_like():
    model = net()
    right = traced(model)
    wrong = traced(model, loss=lambda out: cross_entropy(out) * 0.5)
    found = wrong.diff(right)
    assert (found.first.kind, found.first.name, found.compared) == ("gradient", "3.linear", 4)
    assert found.first.looks_like == "the second times 1/2"
    start = "first difference, after 4 equal steps: the gradient of 3.linear (linear), shape (2, 4): relative error 0.5"
    assert str(found).startswith(f"{start}, at [")
    assert str(found).endswith("; the first looks like the second times 1/2")


@given(st.integers(0, 2**16), st.sampled_from([(3, 4), (2, 3, 5), (2, 3, 2, 4)]))
def test_each_mistake_is_recognised(seed, shape):
    b = np.random.default_rng(seed).uniform(0.5, 1.5, shape)
    axes = (1, 0, *range(2, len(shape)))
    cases = {
        "the second with the other sign": -b,
        "the second times 1/2": b / 2,
        "the second times -3": b * -3,
        f"the second transposed: axes {axes}": b.transpose(axes),
        "the second turned by 180 degrees in its last two axes": b[..., ::-1, ::-1],
        "zeros: nothing arrived": b * 0,
        "the second plus 2": b + 2,
        "the second in another shape": b.reshape(-1),
    }
    for wanted, a in cases.items():
        assert one(a).diff(one(b)).first.looks_like == wanted
    few = b.copy()
    few.flat[5] += 1
    found = one(few).diff(one(b)).first
    assert found.looks_like == f"the second but for 1 of {b.size} elements"
    assert found.index == tuple(int(i) for i in np.unravel_index(5, shape))
    assert found.values == (few.flat[5], b.flat[5])
    assert found.error == pytest.approx(1 / few.max())
    assert one(np.random.default_rng(seed + 1).uniform(0.5, 1.5, shape)).diff(one(b)).first.looks_like == ""


def test_nan_on_one_side_is_a_difference_and_on_both_is_none():
    assert one([1.0, np.nan]).diff(one([1.0, 2.0])).first.error == np.inf
    assert one([1.0, np.inf]).diff(one([1.0, -np.inf])).first.index == (1,)
    assert not one([1.0, np.nan, np.inf]).diff(one([1.0, np.nan, np.inf]), rtol=0)
    assert not one(np.zeros((0, 3))).diff(one(np.zeros((0, 3))))


def test_what_is_rounding_beside_other_gradients_is_no_difference_unless_bits_are_asked_for():
    steps = [
        [Step("gradient", "x", "", "op", np.ones(2)), Step("gradient", "y", "", "op", np.full(2, n))]
        for n in (1e-17, 0.0)
    ]
    a, b = (Trace(part, []) for part in steps)
    assert not a.diff(b)
    assert a.diff(b, rtol=0).first.name == "y"
    assert one([1e-17, 0.0]).diff(one([0.0, 0.0])).first.error == 1.0


def test_other_shapes_are_named():
    text = str(one(np.ones((2, 3))).diff(one(np.ones((2, 4)))))
    assert text == "first difference, after 0 equal steps: w (op), shapes (2, 3) and (2, 4)".replace("(op),", "(op):")


def test_names_of_one_side_are_counted_and_not_compared():
    a, b = one([1.0], "x"), one([1.0], "x")
    a.steps.append(Step("gradient", "y", "", "op", np.ones(1)))
    found = a.diff(b)
    assert (found.only_here, found.only_there, found.compared) == (("gradient y",), (), 1)
    assert str(found) == "no difference in 1 steps; 1 only in the first, as gradient y"
    with pytest.raises(
        ValueError, match="diff: the two have no step in common; the first has x, gradient y, the second z"
    ):
        a.diff(one([1.0], "z"))


@given(testing.graphs())
def test_a_program_is_the_same_as_itself(graph):
    leaves = [tg.Tensor(x, requires_grad=True) for x in graph.inputs]
    first, second = (tg.record(lambda *xs: graph(*xs).sum(), *leaves) for _ in range(2))
    assert not first.diff(second, rtol=0)
    assert all(s.array.shape == t.array.shape for s, t in zip(first.steps, second.steps, strict=True))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_float64_cannot_tell_apart_differ(dtype):
    a, b = (np.array([[3, n]], dtype) for n in (2**60, 2**60 + 1))
    found = one(a).diff(one(b)).first
    assert (found.index, found.error, found.looks_like) == ((0, 1), 1 / 2**60, "")
    assert found.values == (2**60, 2**60 + 1)
    assert str(found).endswith(f"at [0, 1] {2**60} and {2**60 + 1}")
    assert not one(a).diff(one(a.copy()))
    assert one(np.array(2**63 - 1)).diff(one(np.array(2**63 - 2))).first.index == ()
    assert not one(a).diff(one(b.astype(float)))  # which is 2**60
    assert one(b).diff(one(b.astype(float))).first.error == 1 / 2**60
    assert one(np.array([2**60, 5])).diff(one(np.array([2**60, 7]))).first.index == (1,)


def test_zeros_of_other_signs_differ_where_no_tolerance_is_given():
    a, b = np.array([[1.0, 0.0, -0.0]]), np.array([[1.0, 0.0, 0.0]])
    found = one(a).diff(one(b), rtol=0).first
    assert (found.index, found.error, found.looks_like) == ((0, 2), 0.0, "")
    assert str(found).endswith("relative error 0, at [0, 2] -0 and 0")
    assert not one(a).diff(one(b))
    assert not one(a).diff(one(a.copy()), rtol=0)
    assert not one(a.astype(np.float32)).diff(one(a), rtol=0)
    assert not one(a).diff(one(np.array([[1, 0, 0]])))  # integers have one zero
    negative, positive = (tg.record(lambda i: i * 0.0, np.array([x])) for x in (-1.0, 1.0))
    assert negative.diff(positive, rtol=0).first.name == "mul"
    assert not negative.diff(positive)
