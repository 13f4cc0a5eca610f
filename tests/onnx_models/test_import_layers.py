"""Layers beyond onnx's own node tests: older forms, rare arguments and errors, and the gradients of all of them."""

import numpy as np
import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

import onnxruntime
from import_models import floats, model, one, value
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError, OnnxUnsupported, load_onnx
from tinygrad_cnn.testing import gradcheck

onnxruntime.set_default_logger_severity(4)


def ours(proto, arrays):
    out = load_onnx(proto.SerializeToString())(*[array for array in arrays if array is not None])
    return [y.array for y in (out if isinstance(out, tuple) else (out,))]


def theirs(proto, arrays, reference=False):
    named = {f"x{i}": array for i, array in enumerate(arrays) if array is not None}
    if reference:
        return ReferenceEvaluator(proto).run(None, named)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, named)


def f(*shape, seed=0):
    return floats(np.random.default_rng((seed, *shape)), *shape)


def positive(*shape):
    return np.abs(f(*shape)) + np.float32(0.5)


LABELS = np.array([[0, 3, 1], [2, 2, 0]])

# (operator, inputs, opset, number of outputs, attributes)
SAME_AS_ORT = [
    ("Softmax", [f(2, 3, 4, 2)], 11, 1, {"axis": 2}),
    ("Softmax", [f(2, 3, 4)], 11, 1, {}),
    ("Softmax", [f(2, 3, 4)], 11, 1, {"axis": -1}),
    ("Softmax", [f(2, 3)], 11, 1, {"axis": 0}),
    ("LogSoftmax", [f(2, 3, 4)], 9, 1, {"axis": 1}),
    ("Hardmax", [f(2, 3, 4)], 11, 1, {"axis": 1}),
    ("LRN", [f(2, 6, 3, 2)], 13, 1, {"size": 5, "alpha": 0.3, "beta": 0.6, "bias": 1.5}),
    ("GroupNormalization", [f(2, 6, 3), f(6), f(6, seed=1)], 21, 1, {"num_groups": 3}),
    ("InstanceNormalization", [f(2, 3, 4), f(3), f(3, seed=1)], 13, 1, {"epsilon": 0.1}),
    ("BatchNormalization", [f(4, 3), f(3), f(3, seed=1), f(3, seed=2), positive(3)], 9, 1, {}),
    ("BatchNormalization", [f(2, 3, 4), f(3), f(3, seed=1), f(3, seed=2), positive(3)], 15, 1, {"epsilon": 0.3}),
    ("LayerNormalization", [f(2, 3, 4), f(3, 4), f(3, 4, seed=1)], 17, 3, {"axis": 1}),
    ("LayerNormalization", [f(2, 3, 4), f(4)], 17, 1, {"epsilon": 0.2}),
    ("LpNormalization", [f(2, 3, 4)], 13, 1, {"axis": 1, "p": 1}),
    ("Gemm", [f(3, 2), f(3, 4), f(1, 4)], 13, 1, {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", [f(2, 3), f(4, 3), f(4)], 13, 1, {"transB": 1}),
    ("Gemm", [f(2, 3), f(4, 3), f(2, 1)], 9, 1, {"transB": 1}),
    ("Gemm", [f(2, 3), f(4, 3)], 11, 1, {"transB": 1, "alpha": -1.5}),
    ("MatMul", [f(2, 1, 3, 4), f(5, 4, 2)], 13, 1, {}),
    ("MatMul", [f(3), f(3)], 13, 1, {}),
    ("PRelu", [f(2, 3, 4), f(3, 1)], 16, 1, {}),
    ("Selu", [f(2, 3)], 13, 1, {"alpha": 1.5, "gamma": 0.8}),
    ("HardSigmoid", [f(2, 30)], 13, 1, {"alpha": 0.6, "beta": 0.3}),
    ("ThresholdedRelu", [f(2, 30)], 13, 1, {"alpha": 0.4}),
    ("Softplus", [f(2, 30) * 30], 13, 1, {}),
    ("Celu", [f(2, 3)], 12, 1, {"alpha": 0.7}),
    ("NegativeLogLikelihoodLoss", [f(2, 4, 3), LABELS, positive(4)], 13, 1, {"ignore_index": 2, "reduction": "sum"}),
    ("SoftmaxCrossEntropyLoss", [f(2, 4, 3), LABELS.astype(np.int32)], 13, 2, {"reduction": "none"}),
    ("SoftmaxCrossEntropyLoss", [f(2, 4, 3), LABELS, positive(4)], 13, 1, {"ignore_index": 2}),
    ("Dropout", [f(2, 3)], 7, 1, {"ratio": 0.3}),
    ("MaxPool", [(f(1, 2, 5, 4) * 40).astype(np.int8)], 12, 1, {"kernel_shape": [3, 2], "pads": [1, 1, 2, 0]}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "arrays", "opset", "outputs", "attributes"), SAME_AS_ORT)
def test_a_layer_computes_what_onnxruntime_does(op_type, arrays, opset, outputs, attributes):
    proto = one(op_type, arrays, opset, outputs, **attributes)
    for mine, other in zip(ours(proto, arrays), theirs(proto, arrays), strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("op_type", "arrays", "opset", "attributes"),
    [
        ("GroupNormalization", [f(2, 6, 3), f(2), f(2, seed=1)], 18, {"num_groups": 2, "epsilon": 0.1}),
        ("Swish", [f(2, 30)], 24, {"alpha": 0.7}),
        ("RMSNormalization", [f(2, 3, 4), f(4)], 23, {"epsilon": 0.2}),
        ("MeanVarianceNormalization", [f(2, 3, 4)], 13, {"axes": [0, 2]}),
        ("ConvTranspose", [f(1, 2, 3, 2), f(2, 1, 2, 3)], 11, {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
        ("ConvTranspose", [f(1, 2, 3, 2), f(2, 1, 2, 3)], 11, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ("LpPool", [f(1, 2, 5, 4)], 18, {"kernel_shape": [2, 3], "dilations": [2, 1], "p": 3}),
    ],
)
def test_a_layer_computes_what_the_reference_of_onnx_does(op_type, arrays, opset, attributes):
    proto = one(op_type, arrays, opset, **attributes)
    (mine,), (other,) = ours(proto, arrays), theirs(proto, arrays, reference=True)
    assert mine.shape == other.shape
    np.testing.assert_allclose(mine, other, 1e-4, 1e-5)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_lrn_of_an_even_size_sees_one_channel_more_after_than_before(size):
    x = f(2, 6, 3)
    (mine,) = ours(one("LRN", [x], size=size, alpha=0.5, beta=0.6, bias=1.5), [x])
    sums = np.zeros_like(x)
    for c in range(6):
        sums[:, c] = (x[:, max(c - (size - 1) // 2, 0) : c + size // 2 + 1] ** 2).sum(1)
    np.testing.assert_allclose(mine, x / (1.5 + 0.5 / size * sums) ** 0.6, 1e-5, 1e-6)


@pytest.mark.parametrize("extra", [0, 1, 5])
@pytest.mark.parametrize("pads", [(0, 0), (2, 1), (-1, -2), (3, -1)])
def test_pads_of_a_transposed_convolution_cut_off_or_add_zeros_and_output_padding_too(extra, pads):
    x, w, b = f(2, 3, 4), f(3, 2, 3), f(2)
    how = {"strides": [2], "pads": list(pads), "output_padding": [extra]}
    (mine,) = ours(one("ConvTranspose", [x, w, b], 11, **how), [x, w, b])
    whole = tg.conv_transpose1d(tg.tensor(x), tg.tensor(w), None, 2).array
    room = np.pad(whole, ((0, 0), (0, 0), (8, 8 + extra)))
    expected = room[:, :, 8 + pads[0] : room.shape[2] - 8 - pads[1]] + b[:, None]
    np.testing.assert_allclose(mine, expected, 1e-5, 1e-6)


def test_negative_pads_of_a_convolution_cut_off():
    x, w, b = f(2, 3, 7, 6), f(2, 3, 2, 3), f(2)
    (mine,) = ours(one("Conv", [x, w, b], pads=[-1, 2, 1, -2]), [x, w, b])
    cut = np.pad(x[:, :, 1:, :-2], ((0, 0), (0, 0), (0, 1), (2, 0)))
    np.testing.assert_allclose(mine, tg.conv2d(cut, w, b), 1e-5, 1e-6)


# Gradients


W = {"kernel_shape": [2, 3]}
GRADIENTS = [
    ("Conv", [f(2, 2, 4, 5), f(3, 2, 2, 3), f(3)], 17, {"pads": [-1, 1, 2, 0], "dilations": [1, 2]}),
    ("Conv", [f(2, 4, 5), f(2, 2, 3)], 17, {"group": 2, "auto_pad": "SAME_LOWER", "strides": [2]}),
    ("ConvTranspose", [f(2, 2, 3, 2), f(2, 3, 2, 3), f(3)], 17, {"output_shape": [8, 3], "strides": [2, 2]}),
    ("ConvTranspose", [f(2, 2, 3), f(2, 3, 2), f(3)], 17, {"strides": [2], "output_padding": [1], "pads": [1, 0]}),
    ("Gemm", [f(3, 2), f(4, 3), f(2, 1)], 17, {"transA": 1, "transB": 1, "alpha": 0.5, "beta": -2.0}),
    ("Gemm", [f(2, 3), f(4, 3), f(4)], 17, {"transB": 1}),
    ("MatMul", [f(2, 1, 3, 4), f(5, 4, 2)], 17, {}),
    ("MaxPool", [f(2, 2, 5, 4)], 17, {**W, "pads": [1, 2, 0, 1], "strides": [2, 1], "ceil_mode": 1}),
    ("MaxPool", [f(2, 2, 6, 7)], 17, {**W, "dilations": [2, 2]}),
    ("AveragePool", [f(2, 2, 5, 4)], 19, {**W, "pads": [1, 2, 0, 1], "count_include_pad": 1, "ceil_mode": 1}),
    ("AveragePool", [f(2, 2, 6, 7)], 19, {**W, "dilations": [2, 3], "strides": [1, 2]}),
    ("AveragePool", [f(2, 2, 5, 4)], 19, {**W, "auto_pad": "SAME_UPPER", "strides": [2, 1]}),
    ("LpPool", [f(2, 2, 5, 4)], 18, {**W, "p": 1}),
    ("LpPool", [f(2, 2, 5, 4)], 18, {**W, "p": 2, "pads": [1, 2, 0, 1]}),
    ("LpPool", [f(2, 2, 5, 4)], 18, {**W, "p": 3, "ceil_mode": 1, "strides": [2, 2]}),
    ("GlobalLpPool", [f(2, 2, 3)], 17, {"p": 3}),
    ("GlobalMaxPool", [f(2, 2, 3)], 17, {}),
    ("LayerNormalization", [f(2, 3, 4), f(3, 4), f(4)], 17, {"axis": 1, "epsilon": 0.1}),
    ("RMSNormalization", [f(2, 3, 4), f(4)], 23, {"epsilon": 0.1}),
    ("InstanceNormalization", [f(2, 3, 4), f(3), f(3, seed=1)], 17, {"epsilon": 0.1}),
    ("GroupNormalization", [f(2, 6, 3), f(2), f(2, seed=1)], 18, {"num_groups": 2, "epsilon": 0.1}),
    ("GroupNormalization", [f(2, 6, 3), f(6), f(6, seed=1)], 21, {"num_groups": 3, "epsilon": 0.1}),
    ("LRN", [f(2, 6, 3)], 17, {"size": 4, "alpha": 0.5}),
    ("MeanVarianceNormalization", [f(2, 3, 4)], 17, {"axes": [0, 2]}),
    ("LpNormalization", [f(2, 3, 4)], 17, {"axis": 1, "p": 1}),
    ("LpNormalization", [f(2, 3, 4)], 17, {"axis": 0}),
    ("PRelu", [f(2, 3, 4), f(3, 1)], 17, {}),
    ("Swish", [f(2, 3)], 24, {"alpha": 0.7}),
    ("Selu", [f(2, 3)], 17, {"alpha": 1.5, "gamma": 0.8}),
    ("HardSigmoid", [f(2, 9)], 17, {"alpha": 0.6, "beta": 0.3}),
    ("ThresholdedRelu", [f(2, 9)], 17, {"alpha": 0.4}),
    ("Gelu", [f(2, 9)], 20, {"approximate": "tanh"}),
    ("Softmax", [f(2, 3, 4)], 11, {"axis": 1}),
    ("LogSoftmax", [f(2, 3, 4)], 17, {"axis": 1}),
]


@pytest.mark.parametrize(("op_type", "arrays", "opset", "attributes"), GRADIENTS)
def test_the_gradient_of_a_layer_is_right(op_type, arrays, opset, attributes):
    arrays = [array.astype(np.float64) for array in arrays]
    net = load_onnx(one(op_type, arrays, opset, **attributes).SerializeToString())
    gradcheck(lambda *xs: net(*xs), arrays)


@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_of_batch_normalization_is_right(training):
    arrays = [array.astype(np.float64) for array in (f(3, 2, 2), f(2), f(2, seed=1))]
    statistics = {"m": f(2).astype(np.float64), "v": positive(2).astype(np.float64)}
    names = ["x", "w", "b", "m", "v"]
    nodes = [helper.make_node("BatchNormalization", names, ["y"], epsilon=0.1)]
    inputs = {name: value(name, None, TensorProto.DOUBLE) for name in names[:3]}
    net = load_onnx(model(nodes, inputs, ["y"], statistics).SerializeToString()).train(training)
    gradcheck(lambda *xs: net(*xs), arrays)


def test_all_three_outputs_of_layer_normalization_have_gradients():
    arrays = [f(2, 3, 4).astype(np.float64), f(3, 4).astype(np.float64)]
    net = load_onnx(one("LayerNormalization", arrays, 17, 3, axis=1, epsilon=0.1).SerializeToString())
    for i in range(3):
        gradcheck(lambda x, w, i=i: net(x, w)[i] * w.sum(), arrays)


@pytest.mark.parametrize(
    ("op_type", "opset", "attributes"),
    [
        ("LpPool", 18, {"kernel_shape": [2]}),
        ("GlobalLpPool", 17, {}),
        ("LpNormalization", 17, {"axis": 2}),
        ("MeanVarianceNormalization", 17, {"axes": [2]}),
    ],
)
def test_where_a_length_is_zero_the_result_and_the_slope_are_zero(op_type, opset, attributes):
    x = np.zeros((1, 2, 4), np.float32)
    net = load_onnx(one(op_type, [x], opset, **attributes).SerializeToString())
    image = tg.tensor(x, requires_grad=True)
    y = net(image)
    assert not y.array.any()
    y.sum().backward()
    assert np.isfinite(image.grad.array).all()


# Errors


@pytest.mark.parametrize(
    ("op_type", "arrays", "opset", "attributes", "match"),
    [
        ("Conv", [f(2, 3), f(2, 3)], 17, {},
         r"the input has shape \(2, 3\); \(n, c, length\) or \(n, c, h, w\) is needed"),
        ("Conv", [f(1, 1, 3, 3), f(1, 1, 2)], 17, {},
         r"the weight has shape \(1, 1, 2\) for an input of \(1, 1, 3, 3\)"),
        ("Conv", [f(1, 1, 3), f(1, 1, 2)], 17, {"kernel_shape": [3]}, r"kernel_shape is \[3\] .* it must be \[2\]"),
        ("Conv", [f(1, 1, 3), f(1, 1, 2)], 17, {"strides": [1, 1]}, r"strides has 2 numbers, needs 1"),
        ("Conv", [f(1, 1, 3), f(1, 1, 2)], 17, {"strides": [0]}, r"strides is \[0\]; 1 to \d+ are possible"),
        ("Conv", [f(1, 1, 3), f(1, 1, 2)], 17, {"dilations": [2**50]}, r"dilations is \[\d+\]; 1 to \d+ are possible"),
        ("Conv", [f(1, 1, 3), f(1, 1, 2)], 17, {"pads": [1]}, r"pads has 1 numbers, needs 2"),
        ("Conv", [f(1, 1, 3), f(1, 1, 2)], 17, {"auto_pad": "FULL"}, r"auto_pad is 'FULL'; it can be NOTSET, VALID"),
        ("Conv", [f(1, 1, 3), f(1, 1, 2)], 17, {"group": 0}, r"group is 0; at least 1 is needed"),
        ("Conv", [f(1, 1, 3), f(1, 1, 5)], 17, {},
         r"no window of 5 fits into the 3 cells of an axis with pads 0 and 0"),
        ("Conv", [f(1, 1, 3), f(1, 2, 2)], 17, {}, r"x has 1 channels, w wants 2"),
        ("ConvTranspose", [f(1, 1, 3), f(1, 1, 2)], 17, {"output_padding": [-1]},
         r"output_padding is \[-1\]; 1 numbers"),
        ("ConvTranspose", [f(1, 1, 3), f(1, 1, 2)], 17, {"output_shape": [0]}, r"output_shape is \[0\]; 1 numbers of"),
        ("ConvTranspose", [f(1, 1, 3), f(1, 1, 2)], 17, {"pads": [2, 2]}, r"nothing is left of the output of \(1, 4\)"),
        ("MaxPool", [f(1, 1, 3)], 17, {"kernel_shape": [2], "pads": [2, 0]},
         r"pads are .* for windows that reach over"),
        ("AveragePool", [f(1, 1, 3)], 17, {"kernel_shape": [2], "pads": [-1, 0]}, r"pads are .* 0 or more and less is"),
        ("LpPool", [f(1, 1, 3)], 17, {"kernel_shape": [2], "p": 0}, r"p is 0; at least 1 is needed"),
        ("GlobalMaxPool", [f(2, 3)], 17, {}, r"the input has shape \(2, 3\); \(n, c, \.\.\.\) with at least 3 axes"),
        ("Gemm", [f(2, 3, 1), f(3, 4)], 17, {}, r"the factors have shapes \(2, 3, 1\) and \(3, 4\); two axes each"),
        ("Gemm", [f(2, 3), f(3, 4), f(3)], 17, {}, r"C has shape \(3,\), which does not broadcast to \(2, 4\)"),
        ("GroupNormalization", [f(1, 6, 2), f(4), f(4)], 18, {"num_groups": 4}, r"num_groups is 4, which does not div"),
        ("GroupNormalization", [f(1, 6, 2), f(6), f(6)], 18, {"num_groups": 2},
         r"shape \(6,\); \(2,\) is needed in opset 18"),
        ("GroupNormalization", [f(1, 6), f(2), f(2)], 18, {"num_groups": 2}, r"\(n, c, \.\.\.\) with at least 3 axes"),
        ("InstanceNormalization", [f(1, 6), f(6), f(6)], 17, {}, r"\(n, c, \.\.\.\) with at least 3 axes is needed"),
        ("InstanceNormalization", [f(1, 6, 2), f(2), f(6)], 17, {},
         r"shape \(2,\); \(6,\), one number for each channel"),
        ("LayerNormalization", [f(2, 3), f(4)], 17, {},
         r"a parameter has shape \(4,\), which does not broadcast to the"),
        ("LRN", [f(2, 3)], 17, {"size": 3},
         r"size is 3 for an input of shape \(2, 3\); at least 1 and \(n, c, \.\.\.\)"),
        ("LpNormalization", [f(2, 3)], 17, {"p": 3}, r"p is 3; 1 and 2 are possible"),
        ("Softmax", [f(2, 3)], 11, {"axis": 3}, r"axis is 3 for an input of shape \(2, 3\); -2 to 2 are possible"),
        ("PRelu", [f(2, 3), f(2)], 17, {}, r"slope has shape \(2,\), which does not broadcast to the input's \(2, 3\)"),
        ("Dropout", [f(2, 3), np.array(1.5, np.float32)], 17, {}, r"the ratio is 1\.5; a probability must lie between"),
        ("NegativeLogLikelihoodLoss", [f(2, 4, 3), LABELS + 2], 17, {}, r"but the 4 classes of the input"),
        ("SoftmaxCrossEntropyLoss", [f(2, 4, 3), np.full((2, 3), -100)], 17, {}, r"target\[0, 0\] is -100"),
        ("SoftmaxCrossEntropyLoss", [f(2, 4, 3), LABELS], 17, {"reduction": "most"},
         r"reduction is 'most'; it must be"),
    ],
)  # fmt: skip
def test_what_a_layer_cannot_compute_is_said(op_type, arrays, opset, attributes, match):
    with pytest.raises(OnnxError, match=f"^{op_type} 'number 0': .*{match}"):
        ours(one(op_type, arrays, opset, **attributes), arrays)


STATISTICS = [f(2, 3), f(3), f(3), f(3), positive(3)]


@pytest.mark.parametrize(
    ("op_type", "arrays", "opset", "outputs", "attributes", "match"),
    [
        ("MaxPool", [f(1, 1, 2, 2, 2)], 17, 1, {"kernel_shape": [1, 1, 1]}, r"one or two axes are supported, not 3"),
        ("BatchNormalization", STATISTICS, 7, 1, {"spatial": 0}, r"spatial=0, .* those of each channel are supported"),
        ("BatchNormalization", STATISTICS, 9, 3, {}, r"3 outputs without training_mode=1; Y alone is supported"),
        ("LayerNormalization", [f(2, 3), f(3)], 17, 1, {"stash_type": 11}, r"stash_type=11; 1, float32, is supported"),
        ("GroupNormalization", [f(1, 2, 2), f(2), f(2)], 21, 1, {"num_groups": 1, "stash_type": 0}, r"stash_type=0; 1"),
    ],
)
def test_what_onnx_allows_and_the_engine_does_not_compute_is_unsupported(
    op_type, arrays, opset, outputs, attributes, match
):
    with pytest.raises(OnnxUnsupported, match=f"^{op_type} 'number 0': .*{match}"):
        ours(one(op_type, arrays, opset, outputs, **attributes), arrays)


def test_a_label_of_minus_one_hundred_is_ignored_only_if_the_file_says_so():
    arrays = [f(2, 4, 3), np.array([[0, -100, 1], [2, 2, 0]])]
    (loss,) = ours(one("SoftmaxCrossEntropyLoss", arrays, ignore_index=-100), arrays)
    assert np.isfinite(loss)


def test_dropout_of_an_old_opset_gives_its_mask_in_the_dtype_of_the_input():
    arrays = [f(2, 3)]
    _, mask = ours(one("Dropout", arrays, 7, 2), arrays)
    assert mask.dtype == np.float32
    assert (mask == 1).all()


def test_half_precision_is_computed_in_single_precision():
    x = (f(2, 3, 6) * 8).astype(np.float16)
    for op_type, arrays, opset, attributes in [
        ("AveragePool", [x], 19, {"kernel_shape": [3], "dilations": [2]}),
        ("LRN", [x], 17, {"size": 3}),
        ("LayerNormalization", [x, np.ones(6, np.float16)], 17, {}),
        ("BatchNormalization", [x, *[np.ones(3, np.float32)] * 4], 15, {}),
    ]:
        (half,) = ours(one(op_type, arrays, opset, **attributes), arrays)
        wide = [array.astype(np.float32) for array in arrays]
        (single,) = ours(one(op_type, wide, opset, **attributes), wide)
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, single, 2e-3, 1e-3)
