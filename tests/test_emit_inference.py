"""Scripts of a prediction: a function of the inputs, forward only, that serves any batch or says which it serves."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emit import leaves_for, networks, small_net

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.emit.templates import templates
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing.samples import Draw

FEW = settings(max_examples=max(6, settings().max_examples // 15))


def rng(seed=0):
    return np.random.default_rng(seed)


def predict_of(script):
    """The function of a script whose arrays are handed over."""
    names = {"__name__": "script", "__file__": "script.py", "DATA": script.arrays}
    exec(compile(script.replace('np.load(Path(__file__).with_suffix(".npz"))', "DATA"), "script.py", "exec"), names)
    return names["predict"]


@pytest.mark.parametrize(("name", "make", "shape"), list(networks()), ids=[n[0] for n in networks()])
def test_the_prediction_of_a_network_is_the_same_for_any_number_of_images(name, make, shape):
    model = make(rng()).to("float64")
    images = rng(1).standard_normal((7, *shape[1:]))
    model(tg.Tensor(images))  # running statistics that are not 0 and 1
    model.eval()
    x = tg.Tensor(images[:2])
    predict = predict_of(tg.to_numpy(model(x), model, {"images": x}))
    for n in (7, 1, 2):
        with tg.no_grad():
            wanted = model(tg.Tensor(images[:n])).numpy()
        np.testing.assert_allclose(predict(images[:n]), wanted, rtol=1e-11, atol=1e-12)
    assert predict(images[:0]).shape == (0, *wanted.shape[1:])
    with pytest.raises(ValueError, match=rf"predict: images has shape \(2, {shape[1]}, 5, 5\); \(n {shape[1]} "):
        predict(np.zeros((2, shape[1], 5, 5)))


@pytest.mark.parametrize("name", sorted(templates))
@FEW
@given(data=st.data())
def test_where_a_script_serves_any_batch_each_row_of_an_op_follows_from_its_row(name, data):
    draw = Draw.of(data)
    leaves, params = leaves_for(registry[name], draw)
    x = leaves[0]
    others = {f"input {i}": leaf.numpy() for i, leaf in enumerate(leaves) if i and leaf is not None}
    leaves[1:] = [None if leaf is None else tg.Tensor(leaf.numpy()) for leaf in leaves[1:]]
    parts = [part for v in params.values() for part in (v if isinstance(v, (tuple, list)) else (v,))]
    arrays = {f"p {i}": np.asarray(v) for i, v in enumerate(parts) if isinstance(v, (np.ndarray, tg.Tensor))}
    out = registry[name].apply(*leaves, **params)
    if out.node is None or out.numel() == 1:
        return
    script = tg.to_numpy(lambda: registry[name].apply(*leaves, **params), None, {**others, **arrays, "x": x})
    predict = predict_of(script)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(predict(x.numpy()), out.numpy(), rtol=1e-11, atol=1e-11)
        rows = [*range(len(out))][::-1][:2] + [0] * 3 if out.ndim else []
        if '"""(n' in script:
            np.testing.assert_allclose(predict(x.numpy()[rows]), out.numpy()[rows], rtol=1e-11, atol=1e-11)
        else:
            with pytest.raises(ValueError, match=r"predict: x has shape .* is needed"):
                predict(np.zeros((*x.shape, 1)))


MASK = rng(2).random((4, 2, 3, 5)) > 0.5
BY_ROW = [
    lambda x: tg.where(MASK[:1], x, x * 2.0),
    lambda x: x.reshape(4, -1),
    lambda x: x.permute(0, 3, 1, 2),
    lambda x: F.pad(x, (1, 2)),
    lambda x: x[:, 1:, ..., 0],
    lambda x: x[:, None],
    lambda x: x * x.mean((1, 2, 3), keepdim=True),
    lambda x: tg.cat([x, x.relu()], 1),
    lambda x: tg.stack([x, -x], 2),
    lambda x: x @ x.transpose(2, 3),
    lambda x: x.reshape(4, -1) @ tg.ones(30, 7, dtype="float64"),
    lambda x: F.softmax(x, -1).cumsum(2).flip(1),
    lambda x: F.unfold(x, 2),
    lambda x: F.layer_norm(x, (5,)),
]
ACROSS = [
    lambda x: x.permute(1, 0, 2, 3),
    lambda x: x.reshape(8, -1),
    lambda x: x - x.mean(0),
    lambda x: x.flip(0),
    lambda x: x.cumsum(0),
    lambda x: F.softmax(x, 0),
    lambda x: x[0:4],
    lambda x: x[[3, 1, 1]],
    lambda x: tg.cat([x, x], 0),
    lambda x: tg.stack([x, x], 0),
    lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0)),
    lambda x: F.batch_norm(x, None, None, training=True),
    lambda x: x.reshape(4, -1) @ x.reshape(4, -1).T,
    lambda x: x.var(0),
    lambda x: x.expand(4, 2, 3, 5) * x[0],
    lambda x: tg.where(MASK, x, x * 2.0),
    lambda x: x[:, :0].reshape(4, 0),
]


def recorded(f):
    x = tg.Tensor(rng().standard_normal((4, 2, 3, 5)), requires_grad=True)
    ones = np.ones((30, 7))
    index = np.array([3, 1, 1])
    return x, f(x), tg.to_numpy(lambda: f(x), None, {"x": x, "ones": ones, "index": index, "a": MASK, "b": MASK[:1]})


@pytest.mark.parametrize("f", BY_ROW)
def test_what_looks_at_rows_alone_serves_any_batch(f):
    x, out, script = recorded(f)
    assert '"""(n 2 3 5) -> (n ' in script
    np.testing.assert_allclose(predict_of(script)(x.numpy()[[2, 0]]), out.numpy()[[2, 0]], rtol=1e-12)


@pytest.mark.parametrize("f", ACROSS)
def test_what_looks_beyond_a_row_serves_the_recorded_batch_only(f):
    x, out, script = recorded(f)
    assert '"""(4 2 3 5) -> (' in script
    predict = predict_of(script)
    np.testing.assert_allclose(predict(x.numpy()), out.numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"predict: x has shape \(3, 2, 3, 5\); \(4 2 3 5\) is needed"):
        predict(x.numpy()[:3])


def test_True_apart_from_an_integer_moves_the_rows():
    x = tg.Tensor(rng().standard_normal((1, 2, 3, 5)), requires_grad=True)
    script = tg.to_numpy(lambda: tg.getitem(x, (slice(None), True, slice(None), 0)), None, {"x": x})
    with pytest.raises(ValueError, match=r"predict: x has shape .* is needed"):
        predict_of(script)(np.zeros((2, 2, 3, 5)))


def test_two_inputs_are_two_arguments_of_as_many_rows():
    a, b = tg.Tensor(rng().standard_normal((4, 3))), tg.Tensor(rng(1).standard_normal((4, 3)))
    layer = nn.Linear(3, 2, generator=rng()).to("float64")
    script = tg.to_numpy(lambda: layer(a) * layer(b), layer, {"left": a, "right": b})
    predict = predict_of(script)
    assert '"""(n 3), (n 3) -> (n 2)"""' in script
    wanted = (layer(a) * layer(b)).detach().numpy()
    np.testing.assert_allclose(predict(a.numpy()[1:], b.numpy()[1:]), wanted[1:], rtol=1e-12)
    with pytest.raises(ValueError, match=r"predict: \(4, 1\) rows; all must have as many"):
        predict(a.numpy(), b.numpy()[:1])


def test_a_vector_and_a_product_of_two_inputs_are_no_rows():
    layer = nn.Linear(4, 4, generator=rng()).to("float64")
    a, b = (tg.Tensor(rng(i).standard_normal((4, 4)), requires_grad=True) for i in range(2))
    for script in (tg.to_numpy(layer(a[0]), layer, {"x": a}), tg.to_numpy(a @ b, None, {"a": a, "b": b})):
        assert '"""(4 4)' in script
    x = tg.Tensor(rng().standard_normal(4))
    assert '"""(4) -> (4)"""' in tg.to_numpy(layer(x), layer, {"x": x})


def test_the_saved_script_runs_alone_on_arrays_that_the_command_line_names(tmp_path):
    model = small_net(rng()).eval()
    x = tg.Tensor(rng(1).standard_normal((4, 2, 9, 7)).astype(np.float32))
    tg.to_numpy(model(x), model, {"x": x}).save(tmp_path / "net.py")
    np.save(tmp_path / "images.npy", x.numpy()[:1].astype(np.float64))
    command = [sys.executable, "-I", "net.py", "images.npy"]
    text = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    found = np.array(text.replace("[", " ").replace("]", " ").split(), float)
    np.testing.assert_allclose(found, model(x).detach().numpy()[0], rtol=1e-4, atol=1e-5)


def test_inputs_are_converted_to_the_recorded_dtype():
    layer = nn.Linear(3, 2, generator=rng())
    x = tg.ones(2, 3)
    predict = predict_of(tg.to_numpy(layer(x), layer, {"x": x}))
    assert predict(np.ones((1, 3), np.float64)).dtype == np.float32
    assert predict([[1, 1, 1]]).tolist() == layer(x).detach().numpy()[:1].tolist()


def test_a_frozen_model_is_known_by_its_names():
    model = nn.Sequential(nn.Linear(3, 4, generator=rng()), nn.ReLU(), nn.Linear(4, 2, generator=rng()))
    model[0].requires_grad_(False)
    x = tg.Tensor(rng().standard_normal((5, 3)).astype(np.float32), requires_grad=True)
    script = tg.to_numpy(lambda: model(x), model, {"x": x})
    assert "x @ layer_0_weight.T + layer_0_bias" in script
    np.testing.assert_allclose(predict_of(script)(x.numpy()), model(x).detach().numpy(), rtol=1e-6)


def test_names_of_the_script_itself_are_made_others():
    a, b = tg.Tensor(np.arange(30.0).reshape(10, 3)), tg.Tensor(np.ones((10, 3)), requires_grad=True)
    predict = predict_of(tg.to_numpy(lambda: a * b, None, {"data": a, "predict": b}))
    assert predict(a.numpy(), 2 * b.numpy()).tolist() == (2 * a.numpy()).tolist()


# What is asked for and is not there


def test_a_result_of_none_of_the_inputs_is_refused():
    x, other = tg.ones(3, requires_grad=True), tg.ones(2)
    with pytest.raises(ValueError, match=r"depends on none of the Tensors in inputs=\['other'\]; name them, as in"):
        tg.to_numpy(x * 2.0, None, {"other": other})


def test_an_array_that_may_come_from_the_inputs_is_refused_unless_it_is_named():
    x = tg.Tensor(rng().standard_normal((4, 3)), requires_grad=True)
    shift = tg.Tensor(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(TypeError, match=r"mul takes as 'y' an array of shape \(4, 3\) that is no parameter or buffer"):
        tg.to_numpy(lambda: x * (x.detach() > 0).to("float64"), None, {"x": x})
    with pytest.raises(TypeError, match=r"add takes as 'y' an array of shape \(3,\) .* name it, as a NumPy array, in"):
        tg.to_numpy(lambda: x + shift, None, {"x": x})
    with pytest.raises(TypeError, match=r"select takes as 'condition' an array of shape \(4, 3\)"):
        tg.to_numpy(lambda: tg.where(x.detach() > 0, x, x * 2.0), None, {"x": x})
    with pytest.raises(TypeError, match=r"mul takes as 'y' an array of shape \(4, 3\)"):  # the same numbers as x
        tg.to_numpy(lambda: x * tg.Tensor(x.numpy()), None, {"x": x})
    predict = predict_of(tg.to_numpy(lambda: x + shift, None, {"x": x, "shift": shift.numpy()}))
    assert predict(np.zeros((2, 3))).tolist() == [[1.0, 2.0, 3.0]] * 2
    model = nn.Module()
    model.register_buffer("shift", shift)
    predict = predict_of(tg.to_numpy(lambda: x + shift, model, {"x": x}))
    assert predict(np.zeros((1, 3))).tolist() == [[1.0, 2.0, 3.0]]
