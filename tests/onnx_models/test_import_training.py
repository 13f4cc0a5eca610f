"""What an imported network trains, and that its gradients are those of the same network built here."""

import copy
import sys

import numpy as np
import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")

from import_models import convnet, floats, loaded, model, value
from onnx import TensorProto, helper

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.onnx import OnnxError, OnnxModule, OnnxUnsupported, load_onnx
from tinygrad_cnn.onnx.operators.registry import OPERATORS, operator

node = helper.make_node


class Built(nn.Module):
    """The net of import_models.convnet, layer by layer."""

    def __init__(self, arrays):
        super().__init__()
        p = {name: tg.tensor(array) for name, array in arrays.items()}
        self.features = nn.Sequential(
            nn.Conv2d(2, 3, (3, 2), stride=(1, 2)), nn.BatchNorm2d(3, eps=1e-3, momentum=0.25)
        )
        self.up = nn.ConvTranspose2d(3, 2, (2, 3), stride=(2, 1), bias=False)
        self.norm = nn.InstanceNorm2d(2, affine=True)
        self.head = nn.Conv2d(2, 5, 1)
        self.load_state_dict({**self.state_dict(), **p})

    def forward(self, x, labels):
        y = F.relu(self.features(F.pad(x, (0, 2, 1, 1))))
        y = F.max_pool2d(F.pad(y, (0, 1, 1, 0), value=-np.inf), 2, (2, 1))
        y = F.leaky_relu(self.norm(self.up(y)), 0.25)
        y = F.avg_pool2d(y, 2, ceil_mode=True)
        logits = self.head(F.adaptive_avg_pool2d(y, 1))
        return logits, F.cross_entropy(logits, labels)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def pair(rng):
    proto, arrays = convnet(rng)
    return load_onnx(proto.SerializeToString()), Built(arrays).eval()


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_the_same_net_built_here(rng, training):
    theirs, ours = (net.train(training) for net in pair(rng))
    x, labels = floats(rng, 4, 2, 6, 7), rng.integers(0, 5, (4, 1, 1))
    cotangent = tg.tensor(floats(rng, 4, 5, 1, 1))
    grads = []
    for net in (theirs, ours):
        image = tg.tensor(x, requires_grad=True)
        logits, loss = net(image, tg.tensor(labels))
        ((logits * cotangent).sum() + loss).backward()
        grads.append({"x": image.grad, **{name: p.grad for name, p in net.named_parameters()}})
        grads[-1]["loss"] = loss
    assert set(grads[0]) == set(grads[1])
    for name, grad in grads[0].items():
        np.testing.assert_allclose(grad.array, grads[1][name].array, 1e-4, 1e-5, err_msg=name)
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(buffer.array, ours.get_buffer(name).array, 1e-6, err_msg=name)


def test_a_loaded_net_is_in_eval_mode_and_moves_no_statistics(rng):
    net, _ = pair(rng)
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    assert not net.training
    net(floats(rng, 2, 2, 6, 7), np.zeros((2, 1, 1), np.int64))
    assert all(np.array_equal(before[name], value.numpy()) for name, value in net.state_dict().items())


def test_fine_tuning_lowers_the_loss_and_moves_all_of_the_state(rng):
    net, _ = pair(rng)
    net.train()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    x, labels = floats(rng, 8, 2, 6, 7), rng.integers(0, 5, (8, 1, 1))
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = net(x, labels)[1]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    still = {name for name, value in net.state_dict().items() if np.array_equal(before[name], value.numpy())}
    assert still <= {"features.0.bias"}  # which batch normalization takes out again


def test_the_state_has_the_names_of_the_file_and_goes_into_a_net_of_the_same_names(rng, tmp_path):
    proto, arrays = convnet(rng)
    net = load_onnx(proto.SerializeToString())
    state = net.state_dict()
    assert set(state) == set(arrays)
    assert all(np.array_equal(state[name].numpy(), array) for name, array in arrays.items())
    assert {name for name, _ in net.named_buffers()} == {"features.1.running_mean", "features.1.running_var"}
    tg.save(state, tmp_path / "net.safetensors")
    other = Built({name: np.zeros_like(array) for name, array in arrays.items()})
    other.load_state_dict({**other.state_dict(), **tg.load(tmp_path / "net.safetensors")})
    x, labels = floats(rng, 3, 2, 6, 7), np.zeros((3, 1, 1), np.int64)
    np.testing.assert_allclose(net(x, labels)[0].array, other.eval()(tg.tensor(x), tg.tensor(labels))[0].array, 1e-5)


def test_a_path_a_file_object_of_bytes_and_a_copy_give_the_same_net(rng, tmp_path):
    proto, _ = convnet(rng)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    nets = [
        load_onnx(tmp_path / "net.onnx"),
        tg.load_onnx(str(tmp_path / "net.onnx")),
        load_onnx(bytearray(proto.SerializeToString())),
    ]
    nets.append(copy.deepcopy(nets[0]))
    x, labels = floats(rng, 3, 2, 6, 7), np.zeros((3, 1, 1), np.int64)
    outs = [net(x, labels)[0].array for net in nets]
    assert all(np.array_equal(out, outs[0]) for out in outs)
    assert all(isinstance(net, OnnxModule) for net in nets)
    assert "'x', 'labels' -> 'logits', 'loss', 11 nodes" in repr(nets[0])


def test_names_that_no_attribute_can_have_are_changed_and_stay_apart(rng):
    names = [
        "a.b",
        "a",
        "a.b.c",
        "forward",
        "__class__",
        "training",
        "x/../y",
        "ü",
        "ä",
        "",
        "..",
        "_buffers.q",
        "z" * 10**6,
        "d." * 40,
    ]
    names = [name for name in names if name]
    arrays = {name: floats(rng, 3) + i for i, name in enumerate(names)}
    nodes = [node("BatchNormalization", [f"v{i}", name, name, "m", "s"], [f"v{i + 1}"]) for i, name in enumerate(names)]
    net = loaded(
        nodes, {"v0": [2, 3]}, [f"v{len(names)}"], {**arrays, "m": floats(rng, 3), "s": np.ones(3, np.float32)}
    )
    assert type(net) is OnnxModule
    assert len(list(net.parameters())) == len(names)
    held = [p.numpy() for p in net.parameters()]
    assert all(any(np.array_equal(array, other) for other in held) for array in arrays.values())
    assert max(map(len, net.state_dict())) < 250
    assert {"a.b", "a_1", "forward_1", "x____y"} <= set(net.state_dict())
    net.load_state_dict(net.state_dict())
    assert net(floats(rng, 2, 3)).shape == (2, 3)


def test_integers_single_numbers_and_what_no_gradient_enters_are_constants(rng):
    nodes = [
        node("Dropout", ["x", "ratio"], ["a"]),
        node("Gemm", ["a", "w", "c"], ["b"]),
        node("NegativeLogLikelihoodLoss", ["b", "labels", "class_weight"], ["y"]),
    ]
    arrays = {
        "ratio": np.array(0.5, np.float32),
        "w": floats(rng, 3, 4),
        "c": np.array(0.5, np.float32),
        "labels": np.array([1, 3]),
        "class_weight": np.ones(4, np.float32),
        "nowhere": floats(rng, 2),
    }
    net = loaded(nodes, {"x": [2, 3]}, ["y"], arrays)
    assert list(net.state_dict()) == ["w"]
    net(floats(rng, 2, 3)).backward()
    assert net.w.grad.shape == (3, 4)


def test_an_array_that_two_layers_share_in_the_file_is_not_shared_as_statistics(rng):
    """A mean of zeros that is the bias, too, and the mean of another layer."""
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    nodes = [
        node("BatchNormalization", ["x", "w", "zeros", "zeros", "ones"], ["a"]),
        node("BatchNormalization", ["a", "ones", "b", "zeros", "ones"], ["c"]),
        node("BatchNormalization", ["c", "ones", "b", "zeros", "ones"], ["y"]),
    ]
    arrays = {"w": 2 * ones, "b": floats(rng, 3), "zeros": zeros, "ones": ones, "zeros_1": ones}
    net = loaded(nodes, {"x": ["n", 3]}, ["y"], arrays).train()
    net(floats(rng, 5, 3) + 4)
    assert np.array_equal(net.zeros.numpy(), zeros)
    assert np.array_equal(net.ones.numpy(), ones)
    buffers = dict(net.named_buffers())
    assert list(buffers) == ["zeros_2", "ones_1", "zeros_3", "ones_2"]  # one pair for the layer that is used twice
    assert not np.array_equal(net.zeros_2.numpy(), net.zeros_3.numpy())


def test_statistics_that_are_given_are_never_moved(rng):
    net = loaded(
        [node("BatchNormalization", ["x", "w", "b", "m", "v"], ["y"])],
        {"x": ["n", 3], "m": [3], "v": [3]},
        ["y"],
        {"w": floats(rng, 3), "b": floats(rng, 3)},
    ).train()
    x, m, v = (tg.tensor(a) for a in (floats(rng, 4, 3), floats(rng, 3), np.abs(floats(rng, 3)) + 1))
    kept = m.numpy().copy(), v.numpy().copy()
    y = net(x, m, v)
    assert np.array_equal(m.numpy(), kept[0])
    assert np.array_equal(v.numpy(), kept[1])
    expected = (x.numpy() - kept[0]) / np.sqrt(kept[1] + 1e-5) * net.w.numpy() + net.b.numpy()
    np.testing.assert_allclose(y.array, expected, 1e-5, 1e-6)
    m.requires_grad_()
    net(x, m, v).sum().backward()
    np.testing.assert_allclose(m.grad.array, -4 * net.w.numpy() / np.sqrt(kept[1] + 1e-5), 1e-5)


def test_a_file_written_for_training_follows_the_mode_of_the_module(rng):
    """Its batch normalization and its dropout say that they train, as PyTorch writes it."""
    arrays = {"w": floats(rng, 3), "b": floats(rng, 3), "m": floats(rng, 3), "v": np.abs(floats(rng, 3)) + 1}
    batch_norm = node("BatchNormalization", ["x", *arrays], ["a", "mean", "var"], training_mode=1, momentum=0.75)
    drop = node("Dropout", ["a", "p", "trains"], ["y"], seed=1)
    fixed = {"p": np.array(0.5, np.float32), "trains": np.array(True)}
    net = loaded([batch_norm, drop], {"x": ["n", 3]}, ["y", "mean", "var"], {**arrays, **fixed})
    x = floats(rng, 5, 3)
    y, mean, var = net(x)
    expected = (x - arrays["m"]) / np.sqrt(arrays["v"] + 1e-5) * arrays["w"] + arrays["b"]
    np.testing.assert_allclose(y.array, expected, 1e-4, 1e-5)
    assert np.array_equal(mean.array, arrays["m"])
    assert np.array_equal(var.array, arrays["v"])
    y, mean, var = net.train()(x)
    assert 0 < (y.array == 0).sum() < y.array.size
    np.testing.assert_allclose(mean.array, 0.75 * arrays["m"] + 0.25 * x.mean(0), 1e-5)
    np.testing.assert_allclose(var.array, 0.75 * arrays["v"] + 0.25 * x.var(0), 1e-5)
    np.testing.assert_allclose(net.v.numpy(), 0.75 * arrays["v"] + 0.25 * x.var(0, ddof=1), 1e-5)
    np.testing.assert_allclose(net.m.numpy(), 0.75 * arrays["m"] + 0.25 * x.mean(0), 1e-5)


def test_a_training_mode_that_is_given_is_obeyed(rng):
    drop = node("Dropout", ["x", "p", "trains"], ["y"], seed=1)
    inputs = {"x": [40], "trains": value("trains", [], TensorProto.BOOL)}
    net = loaded([drop], inputs, ["y"], {"p": np.array(0.5, np.float32)})
    x = np.ones(40, np.float32)
    for training in (False, True):
        net.train(training)
        assert np.array_equal(net(x, np.array(False)).array, x)
        assert set(net(x, np.array(True)).array) == {0.0, 2.0}
        assert np.array_equal(net(x, np.array(True)).array, net(x, np.array(True)).array)  # from the node's seed


def test_training_mode_with_given_statistics_gives_onnxs(rng):
    arrays = {"w": floats(rng, 3), "b": floats(rng, 3)}
    batch_norm = node(
        "BatchNormalization", ["x", "w", "b", "m", "v"], ["y", "mean", "var"], training_mode=1, momentum=0.75
    )
    net = loaded([batch_norm], {"x": ["n", 3], "m": [3], "v": [3]}, ["y", "mean", "var"], arrays)
    x, m, v = floats(rng, 5, 3), floats(rng, 3), np.abs(floats(rng, 3))
    for training in (False, True):
        given = tg.tensor(m), tg.tensor(v)
        y, mean, var = net.train(training)(x, *given)
        expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * arrays["w"] + arrays["b"]
        np.testing.assert_allclose(y.array, expected, 1e-4, 1e-5)
        np.testing.assert_allclose(mean.array, 0.75 * m + 0.25 * x.mean(0), 1e-5)
        np.testing.assert_allclose(var.array, 0.75 * v + 0.25 * x.var(0), 1e-5)
        assert np.array_equal(given[0].array, m)
        assert np.array_equal(given[1].array, v)


def test_dropout_drops_only_in_a_module_that_trains_anew_each_time(rng):
    net = loaded(
        [node("Dropout", ["x", "p"], ["y", "kept"], seed=3)],
        {"x": [40, 50]},
        ["y", "kept"],
        {"p": np.array(0.25, np.float32)},
    )
    x = floats(rng, 40, 50)
    y, kept = net(x)
    assert np.array_equal(y.array, x)
    assert kept.array.all()
    net.train()
    tg.manual_seed(4)
    (y, kept), (_, again) = net(x), net(x)
    assert 0.7 < kept.array.mean() < 0.8
    np.testing.assert_allclose(y.array, np.where(kept.array, x / 0.75, 0), 1e-6)
    assert not np.array_equal(kept.array, again.array)


def test_a_file_for_one_image_takes_batches_and_no_other_change(rng):
    net = loaded([node("Relu", ["x"], ["y"])], {"x": [1, 2, 3]}, ["y"])
    assert net(floats(rng, 5, 2, 3)).shape == (5, 2, 3)
    assert net([[[1.0, -2.0, 3.0]] * 2]).shape == (1, 2, 3)
    with pytest.raises(
        ValueError, match=r"input 'x' has shape \(1, 2, 4\); the network needs \(1, 2, 3\), where the first"
    ):
        net(floats(rng, 1, 2, 4))
    with pytest.raises(ValueError, match=r"input 'x' has shape \(2, 3\)"):
        net(floats(rng, 2, 3))
    with pytest.raises(TypeError, match=r"input 'x' is float64; the network needs float32"):
        net(np.ones((1, 2, 3)))
    with pytest.raises(TypeError, match=r"2 inputs were given; the network has 1: 'x'"):
        net(floats(rng, 1, 2, 3), floats(rng, 1, 2, 3))


def test_an_initializer_that_is_listed_as_an_input_need_not_be_given(rng):
    """As files before IR version 4 have it."""
    inputs = {"x": [2, 3], "w": [3, 4]}
    net = loaded([node("MatMul", ["x", "w"], ["y"])], inputs, ["y"], {"w": floats(rng, 3, 4)}, ir=3)
    assert net.input_names == ("x",)
    assert net(floats(rng, 2, 3)).shape == (2, 4)
    with pytest.raises(
        OnnxError, match=r"the input 'w' is float32 of shape \(3, 4\), its initializer is float32 of shape"
    ):
        loaded([node("MatMul", ["x", "w"], ["y"])], inputs, ["y"], {"w": floats(rng, 4, 3)})


def test_an_output_may_be_an_input_or_an_initializer(rng):
    net = loaded([node("Relu", ["x"], ["y"])], {"x": [2]}, ["x", "y", "w"], {"w": floats(rng, 3)})
    assert [out.shape for out in net(floats(rng, 2))] == [(2,), (2,), (3,)]


def test_results_that_nothing_reads_later_are_freed(rng):
    import tracemalloc

    many = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(40)]
    net = loaded(many, {"v0": [250_000]}, ["v40"])
    x = floats(rng, 250_000)
    with tg.no_grad():
        net(x)
        tracemalloc.start()
        net(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5 * x.nbytes


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"onnx is not installed; pip install 'tinygrad_cnn\[onnx\]'"):
        load_onnx(b"\x08\x08")
    monkeypatch.delitem(sys.modules, "tinygrad_cnn.onnx.backend", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad_cnn\[onnx\]'"):
        import tinygrad_cnn.onnx.backend  # noqa: F401


def test_arguments_that_cannot_be_are_refused():
    with pytest.raises(TypeError, match="load_onnx: a int was given; a path or the bytes of a file is needed"):
        load_onnx(3)
    for limit in (0, True, 1.5):
        with pytest.raises(ValueError, match=r"load_onnx: max_bytes is .*; a number of bytes of at least 1 is needed"):
            load_onnx(b"", max_bytes=limit)
    with pytest.raises(OSError, match="No such file"):
        load_onnx("/nowhere/net.onnx")


def test_a_folder_is_named_in_the_error(tmp_path):
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}"):
        load_onnx(tmp_path)


def test_the_backend_takes_inputs_by_name_and_knows_one_device(rng):
    from tinygrad_cnn.onnx import backend

    proto = model([node("Relu", ["x"], ["y"])], {"x": value("x", [2], TensorProto.FLOAT)}, ["y"])
    prepared = backend.prepare(proto)
    x = np.array([-1.0, 2.0], np.float32)
    for inputs in ([x], {"x": x}, x):
        (y,) = prepared.run(inputs)
        assert np.array_equal(y, [0.0, 2.0])
    assert np.array_equal(backend.run_model(proto, [x])[0], [0.0, 2.0])
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    with pytest.raises(ValueError, match=r"^prepare: the device is 'CUDA'; the engine runs files of ONNX on 'CPU'$"):
        backend.run_model(proto, [x], "CUDA")
    for wrong in ({"z": x}, {"x": x, "z": x}):
        with pytest.raises(ValueError, match=r"^run: inputs named \[.*'z'\] were given; the network has \['x'\]"):
            prepared.run(wrong)


def test_the_backend_says_what_is_not_supported_in_the_words_of_its_tests(rng):
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

    from tinygrad_cnn.onnx import backend

    unknown = {"x": value("x", None, TensorProto.FLOAT)}
    with pytest.raises(BackendIsNotSupposedToImplementIt, match="the operator Det is not supported"):
        backend.prepare(model([node("Det", ["x"], ["y"])], unknown, ["y"]))
    pool = backend.prepare(model([node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1, 1])], unknown, ["y"]))
    with pytest.raises(BackendIsNotSupposedToImplementIt, match="windows along one or two axes are supported, not 3"):
        pool.run(rng.normal(size=(1, 2, 3, 4, 5)).astype(np.float32))


def test_an_operator_that_gives_fewer_outputs_than_a_file_asks_for_is_not_supported(monkeypatch, rng):
    monkeypatch.setitem(OPERATORS, "Dropout", lambda node, x, *_: x)
    net = load_onnx(
        model(
            [node("Dropout", ["x"], ["y", "mask"])], {"x": value("x", [2], TensorProto.FLOAT)}, ["y", "mask"]
        ).SerializeToString()
    )
    with pytest.raises(OnnxUnsupported, match=r"^Dropout 'number 0': 2 outputs are asked for, 1 are supported"):
        net(rng.normal(size=2).astype(np.float32))


def test_an_operator_is_entered_once():
    with pytest.raises(ValueError, match=r"^the operator Relu is entered twice$"):
        operator("Relu")(lambda node, x: x)


def test_pads_cut_off_no_more_than_there_is(rng):
    weight = rng.normal(size=(1, 1, 1, 1)).astype(np.float32)
    x = rng.normal(size=(1, 1, 2, 3)).astype(np.float32)
    for pads, wanted in (([0, -3, 0, 4], (2, 4)), ([0, -4, 0, 9], None)):
        proto = model([node("Conv", ["x", "w"], ["y"], pads=pads)], {"x": x.shape}, ["y"], {"w": weight})
        net = load_onnx(proto.SerializeToString())
        if wanted:
            y = net(x)
            assert y.shape == (1, 1, *wanted)
            assert not y.numpy().any()
        else:
            with pytest.raises(
                OnnxError, match=r"pads of \(\(0, 0\), \(-4, 9\)\) cut off more than the \(2, 3\) cells"
            ):
                net(x)


def test_labels_of_a_loss_are_integers(rng):
    inputs = {"x": value("x", [2, 3], TensorProto.FLOAT), "labels": value("labels", None, TensorProto.FLOAT)}
    proto = model([node("SoftmaxCrossEntropyLoss", ["x", "labels"], ["y"])], inputs, ["y"])
    with pytest.raises(OnnxError, match=r": the labels are float32; integers are needed"):
        load_onnx(proto.SerializeToString())(rng.normal(size=(2, 3)).astype(np.float32), np.ones(2, np.float32))


def test_the_backend_runs_a_node_alone(rng):
    from tinygrad_cnn.onnx import backend

    x, y = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(3,)).astype(np.float32)
    (out,) = backend.run_node(node("Sub", ["x", "y"], ["z"]), [x, y])
    assert np.array_equal(out, x - y)
    (out,) = backend.run_node(node("Clip", ["x", "", "high"], ["z"]), [x, np.float32(0.25)])
    assert np.array_equal(out, np.minimum(x, np.float32(0.25)))
    (out,) = backend.run_node(node("Mul", ["x", "x"], ["z"]), [x, x])
    assert np.array_equal(out, x * x)
    first, second = backend.run_node(node("Split", ["x"], ["a", "b"], axis=1, split=[1, 2]), x, opset_version=11)
    assert np.array_equal(first, x[:, :1])
    assert np.array_equal(second, x[:, 1:])
    with pytest.raises(ValueError, match=r"^run_node: 1 inputs were given; Sub reads 2: \['x', 'y'\]$"):
        backend.run_node(node("Sub", ["x", "y"], ["z"]), x)
