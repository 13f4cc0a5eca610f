"""What `export` takes, and what it says of anything else."""

import sys

import numpy as np
import pytest
from exported_models import onnx, read

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.onnx.exporting import model as exporting

X = np.ones((2, 3), np.float32)


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"^export: onnx is not installed; pip install 'tinygrad_cnn\[onnx\]'$"):
        tg.onnx.export(nn.ReLU(), X)


@pytest.mark.parametrize("opset", [16, 22, 17.0, None, True])
def test_another_opset_is_refused(opset):
    with pytest.raises(
        ValueError, match=rf"^export: opset_version={opset!r}; it can be 17 to 21, and older runtimes read"
    ):
        tg.onnx.export(nn.ReLU(), X, opset_version=opset)


@pytest.mark.parametrize("opset", range(17, 22))
def test_each_opset_is_written(opset):
    proto = read(tg.onnx.export(lambda x: (x.mean(1), x.sum(0), x.amax((0, 1))), X, opset_version=opset))
    assert proto.opset_import[0].version == opset


def test_the_model_must_be_a_module_or_a_function():
    with pytest.raises(
        TypeError, match=r"^export: the model is a Tensor; a Module or a function of Tensors is needed$"
    ):
        tg.onnx.export(tg.ones(2), X)


def test_the_arguments_must_be_arrays():
    with pytest.raises(TypeError, match=r"^export: args\[1\] is a float; a Tensor or an ndarray is needed$"):
        tg.onnx.export(lambda x, y: x * y, (X, 2.0))
    with pytest.raises(TypeError, match=r"^export: args is empty; an example of each input is needed$"):
        tg.onnx.export(lambda: None, ())


def test_an_empty_batch_shows_nothing():
    with pytest.raises(
        ValueError, match=r"^export: inputs of shapes \(0, 3\), \(\) have no batch; give an example of at"
    ):
        tg.onnx.export(lambda x, y: x * y, (np.ones((0, 3)), np.ones(())))
    with pytest.raises(ValueError, match=r"^export: inputs of shapes \(\) have no batch"):
        tg.onnx.export(lambda x: x * 2.0, np.ones(()))
    assert tg.onnx.export(lambda x: x * 2.0, np.ones(()), dynamic_batch=False)


def test_names_must_be_as_many_as_there_are_and_different():
    with pytest.raises(
        ValueError, match=r"^export: input_names has 2 names \['a', 'b'\]; 1 different ones are needed$"
    ):
        tg.onnx.export(nn.ReLU(), X, input_names=["a", "b"])
    with pytest.raises(
        ValueError, match=r"^export: output_names has 2 names \['a', 'a'\]; 2 different ones are needed$"
    ):
        tg.onnx.export(lambda x: (x, -x), X, output_names=["a", "a"])
    with pytest.raises(ValueError, match=r"^export: 'a' names an input and an output; give one of them another name$"):
        tg.onnx.export(nn.ReLU(), X, input_names=["a"], output_names=["a"])
    with pytest.raises(TypeError, match=r"^export: input_names is 'a'; a list of texts is needed$"):
        tg.onnx.export(nn.ReLU(), X, input_names="a")
    with pytest.raises(TypeError, match=r"^export: input_names is 5; a list of texts is needed$"):
        tg.onnx.export(nn.ReLU(), X, input_names=5)


def test_inputs_without_a_name_of_their_own_get_a_free_one():
    def taken(input_1, *others):
        return input_1 - others[0] * others[1]

    proto = read(tg.onnx.export(taken, (X, X, X)))
    assert [value.name for value in proto.graph.input] == ["input_1", "input_2", "input_3"]


def test_metadata_are_texts():
    with pytest.raises(TypeError, match=r"^export: metadata is {'epochs': 3}; a dict from texts to texts is needed$"):
        tg.onnx.export(nn.ReLU(), X, metadata={"epochs": 3})
    with pytest.raises(TypeError, match=r"^export: metadata is 'text'; a dict"):
        tg.onnx.export(nn.ReLU(), X, metadata="text")


def test_the_model_must_give_tensors():
    with pytest.raises(
        OnnxError, match=r"^export: the model gives a float as output; a Tensor, or a tuple, list or dict"
    ):
        tg.onnx.export(lambda x: x.sum().item(), X)
    with pytest.raises(OnnxError, match=r"^export: the model gives a int as output_1; a Tensor"):
        tg.onnx.export(lambda x: (x, 1), X)
    with pytest.raises(OnnxError, match=r"^export: the model gives no Tensor; at least one is needed$"):
        tg.onnx.export(lambda x: (), X)
    for wrong in ({1: 2.0, "1": 3.0}, {"": 2.0}):
        with pytest.raises(
            OnnxError, match=r"^export: the model gives a dict with the keys \[.*\]; texts that are different and not"
        ):
            tg.onnx.export(lambda x, wrong=wrong: {key: x * factor for key, factor in wrong.items()}, X)


def test_a_model_beyond_one_file_is_refused(monkeypatch):
    monkeypatch.setattr(exporting, "LARGEST", 100)
    with pytest.raises(
        OnnxError, match=r"^export: the constants take 240 bytes; an ONNX file of one part holds up to 100$"
    ):
        tg.onnx.export(nn.Linear(3, 15), X)


def test_what_the_checker_refuses_is_said(made):
    op = made(_wrong, x=lambda g: g)
    tg.onnx.translation(op)(lambda call: call.node("Relu", call.x, call.x))
    with pytest.raises(
        OnnxError, match=r"^export: onnx.checker refuses the model .*Relu(.|\n)*write it with check=False"
    ):
        tg.onnx.export(op, X)
    assert onnx.load_model_from_string(tg.onnx.export(op, X, check=False)).graph.node[0].op_type == "Relu"


def _wrong(x, /):
    """x"""
    return x * 1


def test_a_translation_is_of_an_op():
    with pytest.raises(TypeError, match=r"^translation: 3 is no op; pass the function that @op made$"):
        tg.onnx.translation(3)


def test_errors_name_the_module():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.ReLU(), Turned())

        def forward(self, x):
            return self.body(x)

    class Turned(nn.Module):
        def forward(self, x):
            return x[x > 0.5]

    with pytest.raises(OnnxError, match=r"^export: getitem in 'body\.1': a mask that the inputs change"):
        tg.onnx.export(Net(), X)


def test_what_arrays_and_integers_of_an_index_cannot_say_is_refused():
    from tinygrad_cnn.ops.index import add_at, getitem

    with pytest.raises(
        OnnxError, match=r"^export: getitem: an index with arrays beside integers or None; .*x\[:, rows\]"
    ):
        tg.onnx.export(lambda x: getitem(x, (None, np.array([0, 1]))), X, dynamic_batch=False)
    with pytest.raises(OnnxError, match=r"^export: add_at: an index that the inputs change; scatter_add takes one$"):
        tg.onnx.export(lambda g, i: add_at(g, i, (4,)), (np.ones(2), np.array([1, 3])), dynamic_batch=False)


def test_what_onnx_lacks_of_an_op_is_refused():
    from tinygrad_cnn.ops.index import add_along_axis

    with pytest.raises(
        OnnxError,
        match=r"^export: add_along_axis: indices \('2', '1'\) that stretch; expand them to the values' shape$",
    ):
        tg.onnx.export(
            lambda g: add_along_axis(g, np.zeros((2, 1), np.int64), shape=(4, 3), axis=0), X, dynamic_batch=False
        )
    letters = "abcdefghijklmnopqrstuvwxyzA"
    many = [np.ones((1,) * 14, np.float32), np.ones((1,) * 13, np.float32)]
    with pytest.raises(OnnxError, match=r"names 27 axes; at most 26 have letters, so write it as several products$"):
        tg.onnx.export(lambda x, y: tg.einsum(f"{letters[:14]},{letters[14:]}->a", x, y), many, dynamic_batch=False)
    with pytest.raises(OnnxError, match=r"^export: round: decimals=-1 of integers; ONNX rounds floats alone"):
        tg.onnx.export(lambda x: x.round(decimals=-1), np.arange(6).reshape(2, 3))
    with pytest.raises(
        OnnxError, match=r"^export: max_pool2d: of int64; ONNX's MaxPool takes floats, so convert first"
    ):
        tg.onnx.export(lambda x: tg.nn.functional.max_pool2d(x, 2), np.arange(16).reshape(1, 1, 4, 4))
