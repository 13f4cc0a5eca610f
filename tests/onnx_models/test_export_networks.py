"""The reference networks as ONNX files: the same numbers for any batch, the names of modules and parameters."""

import doctest
import sys

import numpy as np
import pytest
from exported_models import agree, close, onnx, ops_of, read, run

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn import models

NETWORKS = {
    "LeNet5": (models.LeNet5, (1, 32, 32)),
    "VGG11": (lambda generator: models.vgg11(width=4, generator=generator), (3, 32, 32)),
    "ResNet20": (models.ResNet20, (3, 16, 16)),
    "MobileNetSmall": (models.MobileNetSmall, (3, 16, 16)),
    "UNetSmall": (models.UNetSmall, (1, 16, 24)),
}


def trained(name):
    """A network whose running statistics have moved, in training mode, and an example."""
    make, shape = NETWORKS[name]
    rng = np.random.default_rng(0)
    model = make(generator=rng)
    with tg.no_grad():
        model(tg.tensor(rng.normal(size=(4, *shape)).astype(np.float32)))
    return model, rng.normal(size=(2, *shape)).astype(np.float32)


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("name", NETWORKS)
def test_H185_a_network_gives_the_same_numbers_for_any_batch(name, opset):
    model, x = trained(name)
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    content = tg.onnx.export(model, x, opset_version=opset)
    assert model.training
    assert all(np.array_equal(before[key], value.numpy()) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    proto = read(content)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]
    assert proto.ir_version == {17: 8, 21: 10}[opset]
    model.eval()
    for n in (1, 2, 5):
        x = np.random.default_rng(n).normal(size=(n, *x.shape[1:])).astype(np.float32)
        (got,) = run(content, x)
        close(got, model(tg.tensor(x)).numpy())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_have_their_names_in_the_state_dict(name):
    model, x = trained(name)
    kept = {i.name: onnx.numpy_helper.to_array(i) for i in read(tg.onnx.export(model, x)).graph.initializer}
    state = {key: value.numpy() for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert set(state) <= set(kept)
    assert all(np.array_equal(kept[key], state[key]) for key in state)
    assert all(key.startswith("constant") for key in set(kept) - set(state))


class Two(nn.Module):
    """Two results of two images, with a tied weight and a dropout."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.inner = nn.Sequential(nn.Dropout(0.5), nn.Tanh())

    def forward(self, image, mask):
        x = self.inner(self.second(self.first(image)))
        return {"scores": x * mask, "same": image, "twice": x * mask, "fixed": self.first.bias}


def test_nodes_are_named_after_modules():
    nodes = read(tg.onnx.export(Two(), (tg.ones(2, 3), tg.ones(2, 3)))).graph.node
    assert [node.name for node in nodes] == [
        "first/Gemm",
        "second/Gemm",
        "inner.1/Tanh",
        "Mul",
        "Mul_2",
        "Identity",
        "Identity_2",
    ]
    assert [node.input[1] for node in nodes[:2]] == ["first.weight"] * 2


def test_inputs_and_outputs_are_named():
    model, args = Two(), (tg.ones(2, 3), tg.ones(2, 3))
    graph = read(tg.onnx.export(model, args)).graph
    assert [x.name for x in graph.input] == ["image", "mask"]
    assert [x.name for x in graph.output] == ["scores", "same", "twice", "fixed"]
    graph = read(
        tg.onnx.export(model, args, input_names=["a", "b"], output_names=["c", "d", "e", "first.weight"])
    ).graph
    assert [x.name for x in (*graph.input, *graph.output)] == ["a", "b", "c", "d", "e", "first.weight"]
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    wanted = model.eval()(tg.tensor(x), tg.tensor(x))
    for got, want in zip(run(tg.onnx.export(model, args), x, x), wanted.values(), strict=True):
        close(got, want.numpy())
    assert [x.name for x in read(tg.onnx.export(lambda *xs: (xs[0], -xs[1]), args)).graph.input] == [
        "input_0",
        "input_1",
    ]
    assert [x.name for x in read(tg.onnx.export(lambda *xs: (xs[0], -xs[1]), args)).graph.output] == [
        "output_0",
        "output_1",
    ]


def test_only_the_first_axis_follows_the_batch():
    def lengths(**options):
        content = tg.onnx.export(lambda x, y: (x + y, x.reshape(-1)), (tg.ones(2, 3), tg.ones(3)), **options)
        graph = read(content).graph
        return [
            [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] for x in (*graph.input, *graph.output)
        ]

    assert lengths() == [["batch", 3], [3], ["batch", 3], ["3*batch"]]
    assert lengths(dynamic_batch=False) == [[2, 3], [3], [2, 3], [6]]


def test_texts_are_kept_in_the_file():
    texts = {"classes": "zero,one", "trained on": "π"}
    proto = read(tg.onnx.export(nn.ReLU(), tg.ones(1, 2), metadata=texts))
    assert {entry.key: entry.value for entry in proto.metadata_props} == texts
    assert (proto.producer_name, proto.graph.name) == ("tinygrad_cnn", "ReLU")


def test_the_same_model_gives_the_same_bytes():
    model, x = trained("ResNet20")
    assert tg.onnx.export(model, x) == tg.onnx.export(model, x[::-1])


def test_the_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    content = tg.onnx.export(nn.Linear(3, 2), tg.ones(1, 3), path)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    with pytest.raises(tg.onnx.OnnxError):
        tg.onnx.export(lambda x: x * float(x.numpy().sum()), tg.arange(3).float(), path)
    assert path.read_bytes() == content


def test_a_model_is_exported_under_no_grad_and_with_frozen_parameters():
    model, x = trained("LeNet5")
    content = tg.onnx.export(model, x)
    model.requires_grad_(False)
    with tg.no_grad():
        assert tg.onnx.export(model, x) == content


def test_an_addition_in_place_of_a_result_is_an_addition():
    class Residual(nn.Module):
        def forward(self, x):
            h = x * 2.0
            h += x
            return h

    for model in (Residual(), Residual().forward):
        content = tg.onnx.export(model, tg.ones(2, 3))
        assert ops_of(content) == ["Mul", "Add"]
        (got,) = run(content, np.full((1, 3), 5.0, np.float32))
        close(got, np.full((1, 3), 15.0, np.float32))


def test_a_relu_in_place_is_a_relu():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True), nn.Linear(2, 2)).eval()
    content = agree(model, (3,))
    assert ops_of(content) == ["Gemm", "Relu", "Gemm"]


def test_a_network_in_training_is_a_function():
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    x = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    (got,) = run(tg.onnx.export(lambda x: norm(x), x), x)
    close(got, norm(tg.tensor(x)).numpy())


def test_an_op_of_the_users_own_is_written_once_it_has_a_translation(made):
    def cubed(x, /):
        """x ** 3"""
        return x**3

    op = made(cubed, x=lambda g, x: g * x * x * 3.0)
    with pytest.raises(
        tg.onnx.OnnxError, match=r"export: cubed: it has no translation into ONNX; give it one with onnx\.translation"
    ):
        tg.onnx.export(op, tg.ones(2, 3))
    tg.onnx.translation(op)(lambda call: call.x**3.0)
    x = np.array([[2.0, -3.0]], np.float32)
    (got,) = run(tg.onnx.export(op, x), x)
    close(got, x**3)


def test_a_translation_may_give_back_the_input(made):
    def same(x, /):
        """x"""
        return x * 1

    op = made(same, x=lambda g: g)
    tg.onnx.translation(op)(lambda call: call.x)
    content = tg.onnx.export(lambda x: (op(x), op(x * 2.0), op(op(x))), tg.ones(2, 3))
    assert ops_of(content) == ["Identity", "Mul", "Identity", "Identity", "Identity"]
    for got, factor in zip(run(content, np.ones((1, 3), np.float32)), (1, 2, 1), strict=True):
        close(got, np.full((1, 3), factor, np.float32))


@pytest.mark.usefixtures("made")  # which forgets the op of the example
@pytest.mark.parametrize("module", ["model", "table"])
def test_the_examples_of_the_docstrings_run(module):
    tried = doctest.testmod(sys.modules[f"tinygrad_cnn.onnx.exporting.{module}"])
    assert tried.attempted >= 5
    assert tried.failed == 0


def test_dropout_is_gone_and_running_statistics_are_used():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.9), nn.Dropout2d(0.9))
    model(tg.tensor(np.random.default_rng(0).normal(3, 2, (4, 2, 3, 3)).astype(np.float32)))
    content = tg.onnx.export(model, tg.ones(2, 2, 3, 3))
    assert ops_of(content) == ["BatchNormalization"]
    (got,) = run(content, np.ones((1, 2, 3, 3), np.float32))
    wanted = F.batch_norm(tg.ones(1, 2, 3, 3), model[0].running_mean, model[0].running_var)
    close(got, wanted.numpy())
