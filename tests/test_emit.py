"""Scripts of plain NumPy: the loss and every gradient of a recorded computation, without the package."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.digits_net
from tinygrad_cnn import nn, testing
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.emit.script import INLINE
from tinygrad_cnn.emit.templates import templates
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing.samples import Draw, sample

FEW = settings(max_examples=max(8, settings().max_examples // 10))


def run(script, tmp_path):
    """The script's names, from a process of its own in which the package cannot be imported."""
    script.save(tmp_path / "step.py")
    program = """
        import importlib.abc, runpy, sys, numpy as np

        class Refuse(importlib.abc.MetaPathFinder):
            def find_spec(self, name, *_):
                assert not name.startswith("tinygrad_cnn")

        sys.meta_path.insert(0, Refuse())
        names = runpy.run_path("step.py")
        np.savez("result.npz", loss=names["loss"], **{f"g {k}": v for k, v in names["gradients"].items()})
    """
    subprocess.run([sys.executable, "-I", "-c", textwrap.dedent(program)], cwd=tmp_path, check=True)
    with np.load(tmp_path / "result.npz") as result:
        return result["loss"], {k.removeprefix("g "): result[k] for k in result.files if k != "loss"}


def run_here(script):
    """The same in this process, with the arrays handed over."""
    names = {"__name__": "script", "__file__": "script.py"}
    text = str(script)
    if script.arrays:
        text = text.replace('np.load(Path(__file__).with_suffix(".npz"))', "DATA")
        names["DATA"] = script.arrays
    with np.errstate(all="ignore"):
        exec(compile(text, "script.py", "exec"), names)
    return names["loss"], names["gradients"]


def agree(script, loss, wanted, tolerance, result=None):
    value, gradients = result or run_here(script)
    np.testing.assert_allclose(value, loss.numpy(), rtol=tolerance, atol=tolerance)
    assert set(gradients) == {name for name, t in wanted.items() if t.grad is not None}
    for name, t in wanted.items():
        if t.grad is not None:
            g = t.grad.numpy()
            assert gradients[name].shape == g.shape, name
            assert gradients[name].dtype == g.dtype, name
            scale = max(1.0, float(np.abs(g).max(initial=0)))
            np.testing.assert_allclose(gradients[name], g, rtol=tolerance, atol=tolerance * scale, err_msg=name)


# Each op


def leaves_for(op, draw):
    arrays, params = sample(op, draw)
    return [None if a is None else tg.Tensor(np.asarray(a), requires_grad=True) for a in arrays], params


@pytest.mark.parametrize("name", sorted(templates))
@FEW
@given(data=st.data())
def test_a_template_gives_the_result_and_the_gradients_of_its_op(name, data):
    op = registry[name]
    draw = Draw.of(data)
    leaves, params = leaves_for(op, draw)
    out = op.apply(*leaves, **params)
    if out.node is None:
        return
    cotangent = np.random.default_rng(draw.size(0, 99)).uniform(-1, 1, out.shape)
    loss = (out * tg.Tensor(cotangent)).sum()
    wanted = {f"input {i}": x for i, x in enumerate(leaves) if x is not None}
    script = tg.to_numpy(loss, inputs={**wanted, "cotangent": cotangent})
    loss.backward()
    agree(script, loss, wanted, 1e-11)


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("f", "values"),
    [
        (lambda x: x.amax(1), [[1.0, NAN, 2.0], [3.0, 3.0, 1.0], [NAN, 0.0, NAN]]),
        (lambda x: tg.amin(x, 1, ties="last"), [[1.0, NAN, 2.0], [1.0, 3.0, 1.0], [NAN, 0.0, NAN]]),
        (lambda x: x.logsumexp(1), [[-INF, -INF], [0.0, INF], [NAN, 1.0], [-INF, 2.0]]),
        (lambda x: x[:0].logsumexp(0), [[1.0, 2.0]]),
        (lambda x: F.max_pool2d(x[None, None], 2), [[1.0, NAN], [2.0, 3.0]]),
        (lambda x: F.softmax(x, 1), [[-INF, 1.0, 2.0]]),
        *(
            (lambda x, p=p: x.norm(p, 1), [[0.0, -2.0, 3.0], [0.0, 1.0, -INF], [1e-30, 1e20, 0.0], [0.0, 0.0, 0.0]])
            for p in (0.5, 1, 1.5, 2, 3)
        ),
    ],
)
def test_a_script_gives_the_same_numbers_where_some_are_not_finite(f, values):
    x = tg.tensor(values, requires_grad=True)
    out = f(x)
    loss = (out * tg.arange(1.0, out.numel() + 1).reshape(out.shape)).sum()
    script = tg.to_numpy(loss, inputs={"x": x})
    loss.backward()
    value, gradients = run_here(script)
    np.testing.assert_allclose(value, loss.numpy(), rtol=1e-6)
    np.testing.assert_allclose(gradients["x"], x.grad.numpy(), rtol=1e-6)


@FEW
@given(testing.graphs())
def test_random_programs_give_the_same_gradients(graph):
    leaves = [tg.Tensor(x, requires_grad=True) for x in graph.inputs]
    loss = graph(*leaves).sum()
    if loss.node is None:
        return
    wanted = {f"v{i}": x for i, x in enumerate(leaves)}
    script = tg.to_numpy(loss, inputs=wanted)
    loss.backward()
    agree(script, loss, wanted, 1e-11)


# Networks


class Residual(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=2, generator=generator)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x):
        return F.relu(x + F.gelu(self.norm(self.conv(x))))


def small_net(generator):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding="same", bias=False, generator=generator),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.2),
        Residual(generator),
        nn.AvgPool2d(2),
        nn.ConvTranspose2d(4, 3, 3, stride=2, generator=generator),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.Flatten(),
        nn.Dropout(0.3, generator=generator),
        nn.Linear(18, 5, generator=generator),
    )


def networks():
    yield "digits", tg.digits_net.DigitsNet, (5, 1, 8, 8)
    yield "small", small_net, (4, 2, 9, 7)
    yield "LeNet5", lambda g: nn.models.LeNet5(generator=g), (2, 1, 32, 32)
    yield (
        "VGG",
        lambda g: nn.models.VGG(
            channels=[4, "M", 8, "M", 8, "M", 8, "M", 8, "M"], hidden=16, batch_norm=True, generator=g
        ),
        (3, 3, 32, 32),
    )
    yield "ResNet20", lambda g: nn.models.ResNet20(generator=g), (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("make", "shape", "dtype"),
    [(*n[1:], "float64") for n in networks()] + [(*next(networks())[1:], "float32")],
    ids=[n[0] for n in networks()] + ["digits in float32"],
)
def test_the_script_of_a_network_gives_its_loss_and_every_gradient(make, shape, dtype, tmp_path):
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
    generator = np.random.default_rng(0)
    model = make(generator).to(dtype)
    x = tg.Tensor(generator.standard_normal(shape).astype(dtype), requires_grad=True)
    labels = generator.integers(0, 5, shape[0])
    loss = F.cross_entropy(model(x), labels, label_smoothing=0.1)
    script = tg.to_numpy(loss, model, inputs={"images": x, "labels": labels})
    loss.backward()
    wanted = {**dict(model.named_parameters()), "images": x}
    agree(script, loss, wanted, tolerance, run(script, tmp_path))


def test_the_digits_network_is_the_same_in_evaluation(tmp_path):
    model = tg.digits_net.DigitsNet(np.random.default_rng(1)).to("float64")
    x = tg.Tensor(np.random.default_rng(2).standard_normal((3, 1, 8, 8)))
    model(x)
    model.eval()
    loss = F.cross_entropy(model(x), np.array([1, 9, 0]))
    script = tg.to_numpy(loss, model, inputs={"images": x})
    loss.backward()
    agree(script, loss, dict(model.named_parameters()), 1e-12)
    assert "bn1_batch_norm_eval" in script


# What a script looks like


def small_script():
    w = tg.Tensor(np.array([[2.0, -1.0]]), requires_grad=True)
    x = tg.Tensor(np.array([[3.0], [5.0]]))
    return tg.to_numpy((w @ x).relu().sum(), inputs={"w": w, "x": x})


def test_small_arrays_stand_in_the_script_and_large_ones_beside_it(tmp_path):
    script = small_script()
    assert "w = np.array([[2.0, -1.0]], np.float64)" in script
    assert not script.arrays
    script.save(tmp_path / "small.py")
    assert [file.name for file in tmp_path.iterdir()] == ["small.py"]
    x = tg.Tensor(np.arange(INLINE + 1.0), requires_grad=True)
    script = tg.to_numpy(x.sum(), inputs={"x": x})
    script.save(tmp_path / "large.py")
    with np.load(tmp_path / "large.npz") as arrays:
        assert np.array_equal(arrays["x"], x.numpy())


def test_values_that_have_no_literal_go_into_the_file():
    x = tg.Tensor(np.array([1.0, np.inf, np.nan]), requires_grad=True)
    assert list(tg.to_numpy(x.sum(), inputs={"x": x}).arrays) == ["x"]


def test_each_gradient_stands_below_its_formula():
    lines = small_script().splitlines()
    at = lines.index("# matmul: ∂x = ∂out @ yᵀ")
    assert lines[at + 1] == "d_w = sum_to(d_matmul_1 @ x.swapaxes(-2, -1), (1, 2))"
    assert "relu_1 = np.maximum(matmul_1, 0)  # 1 x 1" in lines


def test_a_function_is_written_once_and_only_if_it_is_called():
    x = tg.Tensor(np.random.default_rng(0).standard_normal((1, 1, 4, 4)), requires_grad=True)
    w = tg.Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    script = tg.to_numpy(F.conv2d(F.conv2d(x, w), w).sum(), inputs={"x": x, "w": w})
    assert script.count("def conv2d(x, w, out, stride, padding, dilation, groups):") == 1
    assert script.count("def cell(") == 1
    assert "def softmax(" not in script


def test_names_that_python_or_the_script_use_are_made_others():
    x = tg.Tensor(np.ones(2), requires_grad=True)
    y = tg.Tensor(np.full(2, 3.0), requires_grad=True)
    z = tg.Tensor(np.full(2, 4.0), requires_grad=True)
    loss = (x * y * z).sum()
    script = tg.to_numpy(loss, inputs={"lambda": x, "np": y, "1 d": z})
    loss.backward()
    agree(script, loss, {"lambda": x, "np": y, "1 d": z}, 0)


def test_leaves_that_nobody_names_are_numbered():
    x, y = (tg.Tensor(np.full(2, n), requires_grad=True) for n in (2.0, 3.0))
    script = tg.to_numpy((x * y).sum())
    assert list(run_here(script)[1]) == ["leaf_1", "leaf_2"]


def test_a_shared_parameter_is_one_variable_whose_gradients_add_up():
    w = tg.Tensor(np.array([2.0, 3.0]), requires_grad=True)
    loss = (w * w + w).sum()
    script = tg.to_numpy(loss, inputs={"w": w})
    loss.backward()
    agree(script, loss, {"w": w}, 0)
    assert w.grad.numpy().tolist() == [5.0, 7.0]


def test_a_loss_that_is_a_leaf_has_gradient_one():
    x = tg.Tensor(np.array(3.0), requires_grad=True)
    loss, gradients = run_here(tg.to_numpy(x * 1.0, inputs={"x": x}))
    assert (float(loss), float(gradients["x"])) == (3.0, 1.0)


def test_float32_stays_float32_beside_constants_of_another_dtype():
    x = tg.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    loss = (x * tg.Tensor(np.array(0.1)) + 2).sum()
    script = tg.to_numpy(loss, inputs={"x": x})
    loss.backward()
    agree(script, loss, {"x": x}, 1e-6)


# What is asked for and is not there


def test_a_function_gives_values_that_the_graph_does_not_keep():
    x = tg.Tensor(np.ones(3), requires_grad=True)
    shift = tg.Tensor(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match=r"constant of shape \(3,\) that add takes as 'y' is not kept by the graph"):
        tg.to_numpy((x + shift).sum(), inputs={"x": x})
    with pytest.raises(RuntimeError, match=r"leaf of shape \(3,\) that add takes as 'x' is not kept by the graph"):
        tg.to_numpy((x + shift).sum(), inputs={"shift": shift})
    loss, gradients = run_here(tg.to_numpy(lambda: (x + shift).sum()))
    assert float(loss) == 9.0
    assert gradients["leaf_1"].tolist() == [1.0, 1.0, 1.0]


def test_a_value_changed_since_the_forward_is_refused():
    x = tg.Tensor(np.ones(3), requires_grad=True)
    loss = (x * 2.0).sum()
    with tg.no_grad():
        x += 1.0
    with pytest.raises(RuntimeError, match=r"to_numpy: x was changed in place by .* since the forward pass"):
        tg.to_numpy(loss, inputs={"x": x})


def test_a_script_can_be_written_after_backward_where_everything_is_named():
    x = tg.Tensor(np.array([1.0, -2.0]), requires_grad=True)
    loss = (x.relu() * 3.0).sum()
    loss.backward()
    agree(tg.to_numpy(loss, inputs={"x": x}), loss, {"x": x}, 0)


def test_what_is_no_recorded_loss_is_refused():
    x = tg.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match="to_numpy: the loss is a float; a Tensor or a function"):
        tg.to_numpy(1.0)
    with pytest.raises(TypeError, match="to_numpy: the function gave a NoneType; it must give a Tensor"):
        tg.to_numpy(lambda: None)
    with pytest.raises(RuntimeError, match="to_numpy: this Tensor has no graph"):
        tg.to_numpy(x.detach().sum())
    with pytest.raises(ValueError, match=r"the result has shape \(3,\), .* or reduce the result to a loss"):
        tg.to_numpy(x * 2.0)
    with pytest.raises(ValueError, match=r"save: the script's file is 'a.txt'; a name that ends in .py"):
        small_script().save("a.txt")


@tg.op
def emitted_cube(x, /):
    """x ** 3"""
    return x**3


emitted_cube.vjp(x=lambda g, x: g * x * x * 3.0)


def test_an_op_without_a_template_is_named_and_can_be_given_one():
    x = tg.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    loss = emitted_cube(x).sum()
    with pytest.raises(TypeError, match=r"the op emitted_cube has no template; give it one with emit.template\("):
        tg.to_numpy(loss, inputs={"x": x})
    with pytest.raises(TypeError, match=r"template: gradients of \['y'\] for emitted_cube, .* are \['x'\]"):
        tg.emit.template(emitted_cube, "{x} ** 3", y="{g}")
    with pytest.raises(TypeError, match=r"template: .* is no op"):
        tg.emit.template(len, "{x}", x="{g}")
    try:
        tg.emit.template(emitted_cube, "{x} ** 3", x="{g} * 3 * {nothing}")
        with pytest.raises(KeyError, match="template of emitted_cube has a field 'nothing'; it can have x, out, g"):
            tg.to_numpy(loss, inputs={"x": x})
        tg.emit.template(emitted_cube, "{x} ** 3", x="{g} * 3 * {x} ** 2")
        script = tg.to_numpy(loss, inputs={"x": x})
    finally:
        templates.pop("emitted_cube", None)
    loss.backward()
    agree(script, loss, {"x": x}, 1e-15)


def test_a_parameter_without_a_literal_is_named():
    x = tg.Tensor(np.array([1.0, 2.0]), requires_grad=True)

    @tg.op
    def emitted_with(x, /, how):
        """x"""
        return x * 1

    emitted_with.vjp(x=lambda g: g)
    try:
        tg.emit.template(emitted_with, "{x} * {how}", x="{g}")
        with pytest.raises(TypeError, match="the parameter 'how' of emitted_with is a object, which has no literal"):
            tg.to_numpy(emitted_with(x, how=object()).sum(), inputs={"x": x})
    finally:
        templates.pop("emitted_with", None)
        registry.pop("emitted_with", None)


def test_a_long_chain_does_not_recurse():
    x = tg.Tensor(np.array([1.0]), requires_grad=True)
    y = x
    for _ in range(3000):
        y = y + 1.0
    assert tg.to_numpy(y.sum(), inputs={"x": x}).count("\nadd_3000 = ") == 1


# Hooks


def hooked_loss():
    """x -> h -> loss."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    h = x * 3.0
    return x, h, (h * h).sum()


def test_a_hook_on_the_way_of_a_gradient_is_refused_until_it_is_removed():
    for which, text in enumerate(
        [
            r"'x' \(a leaf of shape \(2,\)\) has a hook, .*<lambda>, which may change its gradient.*the remove\(\) of",
            r"'h' \(the result of mul of shape \(2,\)\) has a hook",
            r"to_numpy: the result of sum of shape \(\) has a hook",
        ]
    ):
        x, h, loss = tensors = hooked_loss()
        handle = tensors[which].register_hook(lambda g: g * 10.0)
        with pytest.raises(RuntimeError, match=text):
            tg.to_numpy(loss, None, {"x": x, "h": h})
        handle.remove()
        names = {}
        exec(tg.to_numpy(loss, None, {"x": x, "h": h}), names)
        loss.backward()
        np.testing.assert_array_equal(names["gradients"]["x"], x.grad.numpy())


def test_a_hook_beside_the_way_of_the_gradients_is_none_of_the_scripts_business():
    x, h, loss = hooked_loss()
    (h + x).register_hook(lambda g: g * 10.0)
    assert "gradients" in tg.to_numpy(loss, None, {"x": x})


def test_a_hook_on_a_parameter_is_named_by_its_path():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    model[2].weight.register_hook(lambda g: None)
    with pytest.raises(RuntimeError, match=r"to_numpy: '2.weight' \(a leaf of shape \(2, 4\)\) has a hook"):
        tg.to_numpy(lambda: model(tg.ones(2, 3)).sum(), model)


@pytest.mark.parametrize("which", ["register_full_backward_hook", "register_full_backward_pre_hook"])
@pytest.mark.parametrize("path", ["", "1"])
def test_the_backward_hook_of_a_module_is_refused_until_it_is_removed(which, path):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = tg.Tensor(np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32), requires_grad=True)
    handle = getattr(model.get_submodule(path), which)(lambda module, *grads: tuple(g * 2 for g in grads[0]))
    named = "the module '1'" if path else "the model"
    with pytest.raises(RuntimeError, match=rf"{named} has a backward hook, .*; remove\(\) the hook and compute"):
        tg.to_numpy(lambda: model(x).sum(), model)
    handle.remove()
    assert "gradients" in tg.to_numpy(lambda: model(x).sum(), model)


def test_a_prediction_may_have_hooks():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = tg.Tensor(np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32), requires_grad=True)
    x.register_hook(lambda g: g * 2.0)
    model[1].register_full_backward_hook(lambda module, g, out: (g[0] * 2.0,))
    names = {}
    script = tg.to_numpy(model(x), model, {"x": x})
    exec(script.replace('np.load(Path(__file__).with_suffix(".npz"))', "DATA"), names | {"DATA": script.arrays}, names)
    assert "predict" in names
