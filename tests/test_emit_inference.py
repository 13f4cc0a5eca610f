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
    lambda x: x.reshape(len(x), -1),
    lambda x: x.permute(0, 3, 1, 2),
    lambda x: F.pad(x, (1, 2)),
    lambda x: x[:, 1:, ..., 0],
    lambda x: x[:, None],
    lambda x: x * x.mean((1, 2, 3), keepdim=True),
    lambda x: tg.cat([x, x.relu()], 1),
    lambda x: tg.stack([x, -x], 2),
    lambda x: x @ x.transpose(2, 3),
    lambda x: x.reshape(len(x), -1) @ tg.ones(30, 7, dtype="float64"),
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


def averaged(x):
    return x.sum(1) / x.shape[0]


OF_THE_ROWS = [
    averaged,
    lambda x: x * x.shape[0],
    lambda x: x * (1 / x.shape[0]),
    lambda x: x + np.float64(x.shape[0] ** 0.5),
    lambda x: F.leaky_relu(x, 1 / x.shape[0]),
    lambda x: x.clip(0.0, x.shape[0]),
    lambda x: x * 2.0 if len(x) == 4 else x * 2.0 * 1.0,
    lambda x: x.relu() if len(x) == 4 else x.sigmoid(),
    lambda x: x * 2.0 - x if len(x) == 4 else x - x * 2.0,
    lambda x: x * float(x.mean()),
    lambda x: x * 2.0 if len(x) == 4 else x.numpy(),
    lambda x: x * 2.0 if len(x) == 4 else x.detach() * 2.0,
    lambda x: x * 2.0 if len(x) == 4 else x[:4] * 2.0,
    lambda x: (x.reshape(4, -1) * 2.0).reshape(x.shape),
    lambda x: x[:, :1] * 2.0 if len(x) == 4 else x[:, 1:] * 2.0,
    lambda x: (x * 2.0) if len(x) == 4 else 2.0 * x,
    lambda x: x + np.ones(5) if len(x) == 4 else x + np.zeros(5),
    lambda x: x.relu().reshape(len(x), *((2, 3, 5) if len(x) == 4 else (3, 2, 5))),
]


@pytest.mark.parametrize("f", OF_THE_ROWS)
def test_a_function_that_computes_something_else_of_more_rows_serves_the_recorded_batch_only(f):
    x = tg.Tensor(rng().standard_normal((4, 2, 3, 5)), requires_grad=True)
    script = tg.to_numpy(lambda: f(x), None, {"x": x, "ones": np.ones(5)})
    assert '"""(4 2 3 5) -> (' in script
    assert "# For 4 rows alone: with more of them the function computes something else.\n" in script
    predict = predict_of(script)
    np.testing.assert_allclose(predict(x.numpy()), f(x).detach().numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"predict: x has shape \(9, 2, 3, 5\); \(4 2 3 5\) is needed"):
        predict(np.ones((9, 2, 3, 5)))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    "f",
    [
        lambda x, w, shift: (x @ w) * 0.5 + 4.0,
        lambda x, w, shift: (x @ w + shift).reshape(len(x), 2) ** 2,
        lambda x, w, shift: (x * (w / 4.0).sum() * np.nan)[:, 1:],
        lambda x, w, shift: F.leaky_relu(1.0 - x @ w, 0.25),
    ],
)
def test_a_function_that_computes_the_same_of_more_rows_serves_any_batch_and_its_inputs_stay(f, grad):
    x = tg.Tensor(rng().standard_normal((4, 3)), requires_grad=grad)
    model, shift = nn.Module(), np.array([1.0, 2.0])
    w = model.w = nn.Parameter(rng(1).standard_normal((3, 2)))
    array, node = x.array, x.node
    script = tg.to_numpy(lambda: f(x, w, shift), model, {"x": x, "also": x, "shift": shift})
    assert "(n 3)" in script
    assert x.array is array
    assert x.node is node
    more = tg.Tensor(rng(2).standard_normal((11, 3)))
    np.testing.assert_allclose(predict_of(script)(more.numpy()), f(more, w, shift).detach().numpy(), rtol=1e-12)


def test_inputs_that_change_places_with_more_rows_serve_the_recorded_batch_only():
    x = tg.Tensor(rng().standard_normal((4, 3)), requires_grad=True)
    y, z = (tg.Tensor(rng(seed).standard_normal((4, 3))) for seed in (1, 2))
    inputs = {"x": x, "y": y, "z": z}
    assert "-> (4 3)" in tg.to_numpy(lambda: x * y + z if len(x) == 4 else x * z + y, None, inputs)
    assert "-> (n 3)" in tg.to_numpy(lambda: x * y + z, None, inputs)


def test_what_was_recorded_before_the_function_is_the_same_of_more_rows():
    x = tg.Tensor(rng().standard_normal((4, 3)), requires_grad=True)
    model = nn.Linear(3, 2, generator=rng()).to("float64")
    half = model.weight * 0.5
    script = tg.to_numpy(lambda: x @ half.T, model, {"x": x})
    np.testing.assert_allclose(predict_of(script)(x.numpy()[1:]), (x @ half.T).detach().numpy()[1:], rtol=1e-12)
    doubled = x * 2.0
    assert '"""(4 3) -> (4 3)' in tg.to_numpy(lambda: doubled.relu(), None, {"x": x})


def test_inputs_hold_their_own_rows_again_after_a_function_that_raises_with_others():
    x, y = tg.Tensor(rng().standard_normal((4, 3)), requires_grad=True), tg.Tensor(rng().standard_normal((4, 3)))
    before = [(t.array, t.node) for t in (x, y)]
    script = tg.to_numpy(lambda: x.reshape(4, 3) * y, None, {"x": x, "y": y})
    assert '"""(4 3), (4 3) -> (4 3)"""' in script
    assert all((t.array is array) and (t.node is node) for t, (array, node) in zip((x, y), before, strict=True))
    outlined = y.outline
    tg.to_numpy(lambda: x * y, None, {"x": x, "y": y})
    assert y.outline is outlined


def test_the_second_call_of_a_function_draws_no_random_numbers():
    x = tg.Tensor(rng().standard_normal((4, 3)), requires_grad=True)

    def drawn(times):
        tg.manual_seed(3)
        for _ in range(times):
            tg.rand(2)
        return tg.rand(1).item()

    tg.manual_seed(3)
    tg.to_numpy(lambda: (x * 2.0, tg.rand(2))[0], None, {"x": x})
    assert tg.rand(1).item() == drawn(1)


@pytest.mark.parametrize("f", [averaged, lambda x: x * 2.0, lambda x: 1 - x, lambda x: x * np.int64(3)])
def test_a_recorded_number_may_be_of_the_rows_so_that_only_a_function_serves_any_batch(f):
    x = tg.Tensor(rng().standard_normal((4, 2)), requires_grad=True)
    script = tg.to_numpy(f(x), None, {"x": x})
    assert '"""(4 2) -> (' in script
    assert "# For 4 rows alone: a number below may have been made of how many there are; to_numpy(lambda: " in script
    np.testing.assert_allclose(predict_of(script)(x.numpy()), f(x).detach().numpy(), rtol=1e-12)
    assert ('"""(n 2)' in tg.to_numpy(lambda: f(x), None, {"x": x})) == (f is not averaged)


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
