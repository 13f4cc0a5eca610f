"""Every op of the package as ONNX, on the inputs that its own sample draws: the same numbers, or a reason."""

import numpy as np
import pytest
from exported_models import agree, close, ops_of, read, run
from hypothesis import settings

import tinygrad_cnn as tg
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.onnx.exporting.table import refused, translations
from tinygrad_cnn.ops.standardize import standardize
from tinygrad_cnn.testing.cases import Case
from tinygrad_cnn.testing.samples import Draw

REFUSED = {  # gradients of others: nothing but a backward calls them
    "batch_norm_input_grad",
    "batch_norm_weight_grad",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "cross_entropy_gradient",
    "gelu_gradient",
    "hardswish_gradient",
    "resampled_adjoint",
    "silu_gradient",
    "standardize_input_grad",
    "sum_pool2d_input_grad",
}
OURS = sorted(name for name, op in registry.items() if op.forward.__module__.startswith("tinygrad_cnn."))
SEEDS = range(max(3, settings().max_examples // 25))


def drawn(name, seed, dtype):
    """(the op as a function of its arrays, the arrays) of one sample."""
    case = Case(registry[name], Draw.seeded(seed))

    def cast(value):
        return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value

    params = {key: cast(value) for key, value in case.params.items()}
    return lambda *xs: case.call(xs, params), tuple(map(cast, case.present()))


def test_every_op_is_either_written_or_refused_for_a_reason():
    assert set(refused) == REFUSED
    assert set(translations) & set(OURS) == set(OURS) - REFUSED


@pytest.mark.parametrize("name", sorted(set(OURS) - REFUSED))
def test_onnxruntime_computes_what_the_op_does(name):
    for seed in SEEDS:
        dtype = (np.float32, np.float64, np.float32)[seed % 3]
        f, xs = drawn(name, seed, dtype)
        content = tg.onnx.export(f, xs, dynamic_batch=False, opset_version=(17, 18, 21)[seed % 3])
        (got,) = run(content, *xs)
        close(got, f(*map(tg.tensor, xs)).numpy())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_gradient_is_refused_by_name_with_what_to_do(name):
    f, xs = drawn(name, 0, np.float32)
    with pytest.raises(OnnxError, match=rf"^export: {name}: it computes a gradient, .*; export the forward alone"):
        tg.onnx.export(f, xs, dynamic_batch=False)


def test_half_precision_is_written_too():
    for name in ("celu", "isinf", "isfinite", "scatter_added", "gelu_erf", "conv2d", "log_softmax"):
        f, xs = drawn(name, 1, np.float16)
        (got,) = run(tg.onnx.export(f, xs, dynamic_batch=False), *xs)
        close(got, f(*map(tg.tensor, xs)).numpy(), 5e-3)


def images(*shape, dtype=np.float32):
    return lambda n: np.random.default_rng(n).normal(size=(n, *shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        ({"size": (6, 12), "mode": "nearest"}, ["Resize"] * 2),
        ({"size": (4, 5), "mode": "nearest"}, ["Gather"] * 2),
        ({"size": (7, 2), "mode": "bilinear"}, ["Resize"] * 2),
        ({"size": (7, 2), "mode": "bilinear", "align_corners": True}, ["Resize"] * 2),
        ({"size": (5, 9), "mode": "bicubic"}, ["Resize"] * 2),
        ({"size": (5, 9), "mode": "bicubic", "align_corners": True}, ["Resize"] * 2),
        ({"size": (2, 7), "mode": "nearest-exact"}, ["Gather"] * 2),
        ({"scale_factor": 2.0, "mode": "nearest"}, ["Resize"] * 2),
    ],
)
def test_images_are_resized_as_here(options, nodes, dtype):
    content = agree(lambda x: F.interpolate(x, **options), images(2, 3, 4, dtype=dtype))
    assert [kind for kind in ops_of(content) if kind not in ("Cast", "Shape", "Concat")] == nodes


@pytest.mark.parametrize(
    ("f", "nodes"),
    [
        (lambda x: F.adaptive_avg_pool2d(x, 1), ["GlobalAveragePool"]),
        (lambda x: F.adaptive_max_pool2d(x, 1), ["GlobalMaxPool"]),
        (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), ["AveragePool"]),
        (lambda x: F.avg_pool2d(x, 3, padding=1), ["AveragePool"]),
        (lambda x: F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False), ["AveragePool", "Mul"]),
        (lambda x: F.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True), ["AveragePool", "Mul"]),
        (lambda x: F.max_pool2d(x, 3, 2, padding=1, ceil_mode=True), ["MaxPool"]),
        (lambda x: F.max_pool2d(x, (2, 3), 2, padding=((1, 0), (0, 1))), ["MaxPool"]),
        (lambda x: F.max_pool2d(x, 2, 1, padding=1, dilation=3), ["MaxPool"]),
        (lambda x: F.lp_pool2d(x, 4, 2), None),
        (lambda x: F.local_response_norm(x, 3), None),
        (lambda x: F.group_norm(x, 2), None),
        (lambda x: F.instance_norm(x), None),
        (lambda x: F.layer_norm(x, (6, 8), tg.full((6, 8), 0.5)), ["LayerNormalization"]),
        (lambda x: F.pixel_shuffle(x, 2), ["Reshape", "Transpose", "Reshape"]),
        (lambda x: F.pad(x, (2, 1, 0, 1), mode="reflect"), None),
        (lambda x: F.pad(x, (2, 1, 0, 1), mode="circular"), None),
        (lambda x: F.pad(x, (2, 1, 0, 1), mode="replicate"), None),
        (lambda x: F.unfold(x, (2, 3), padding=1), None),
        (lambda x: F.fold(F.unfold(x, 3, stride=2), (6, 8), 3, stride=2), None),
        (lambda x: F.softmax(x, 1), ["Softmax"]),
        (lambda x: F.normalize(x), None),
        (lambda x: tg.einsum("bchw,bkhw->bck", x, x), ["Einsum"]),
        (lambda x: F.glu(x, 1), None),
        (lambda x: F.prelu(x, tg.tensor([0.1, 0.2, 0.3, 0.4])), None),
        (lambda x: x.cumsum(2), ["CumSum"]),
        (lambda x: (x % 0.3, x // 0.3), None),
    ],
)
def test_functions_are_written_with_few_nodes(f, nodes):
    content = agree(f, images(4, 6, 8))
    if nodes:
        assert ops_of(content) == nodes


def test_a_weight_that_differs_between_rows_is_left_to_its_formula():
    """Runtimes of 2024 take no other weights of LayerNormalization than those of its axes."""
    w = tg.tensor(np.arange(6.0, dtype=np.float32).reshape(3, 2))
    content = agree(lambda x: standardize(x, w, axis=-1), images(3, 2))
    assert "LayerNormalization" not in ops_of(content)


def test_a_convolution_keeps_padding_groups_and_dilation():
    w = tg.tensor(np.random.default_rng(0).normal(size=(6, 2, 3, 2)).astype(np.float32))
    b = tg.arange(6).float()
    for options in (
        {"padding": ((1, 2), (0, 3)), "groups": 2},
        {"padding": "same", "stride": 2, "groups": 2},
        {"padding": "same_lower", "groups": 2, "flip": True},
        {"padding": "full", "dilation": (1, 3), "groups": 2},
    ):
        content = agree(lambda x, options=options: F.conv2d(x, w, b, **options), images(4, 7, 8))
        assert ops_of(content)[-1] == "Conv"


def test_a_transposed_convolution_keeps_every_output_padding():
    w = tg.tensor(np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32))
    b = tg.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    for options in (
        {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)},
        {"stride": 1, "dilation": 3, "padding": 1, "output_padding": 2},  # beyond what onnxruntime takes
    ):
        agree(lambda x, options=options: F.conv_transpose2d(x, w, b, groups=2, **options), images(4, 5, 6))


def test_convolutions_of_one_axis_are_written():
    w = tg.tensor(np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32))
    agree(lambda x: F.conv1d(x, w, stride=2, padding=1, groups=2), images(4, 9))


def test_sorting_is_topk():
    for f in (
        lambda x: x.topk(2, 1),
        lambda x: x.topk(3, 1, largest=False),
        lambda x: x.sort(1, descending=True),
        lambda x: x.sort(2),
    ):
        assert "TopK" in ops_of(agree(f, images(5, 3)))


def test_the_largest_comes_with_its_place():
    agree(lambda x: x.max(1), images(5, 3))
    agree(lambda x: (x.argmax(), x.argmin(2, keepdim=True), (x > 1).any(1), (x > -2).all()), images(5, 3))


def labels(n):
    return np.random.default_rng(n).integers(0, 4, n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "none"},
        {"reduction": "sum", "ignore_index": 2},
        {"weight": np.array([0.5, 1.0, 2.0, 4.0])},
        {"label_smoothing": 0.2, "ignore_index": 1, "weight": np.array([0.5, 1.0, 2.0, 4.0])},
    ],
)
def test_labels_can_be_an_input_of_the_loss(options, dtype):
    content = agree(lambda x, y: F.cross_entropy(x, y, **options), images(4, dtype=dtype), labels, batches=(4, 7))
    assert [x.name for x in read(content).graph.input] == ["x", "y"]
    assert ("SoftmaxCrossEntropyLoss" in ops_of(content)) == ("label_smoothing" not in options)


def test_labels_of_pixels_can_be_an_input_of_the_loss():
    def pixels(n):
        return np.random.default_rng(n).integers(0, 3, (n, 4, 5))

    agree(lambda x, y: F.cross_entropy(x, y), images(3, 4, 5), pixels)
    agree(lambda x, y: F.nll_loss(F.log_softmax(x, 1), y, reduction="none"), images(3, 4, 5), pixels)


def test_what_has_no_probability_counts_nothing_whatever_its_logit():
    def logits(n):
        return np.where(np.arange(4 * n).reshape(n, 4) % 4 == 2, -np.inf, 0.5).astype(np.float32)

    def probabilities(n):
        return np.tile(np.array([0.25, 0.5, 0.0, 0.25], np.float32), (n, 1))

    agree(lambda x, y: F.cross_entropy(x, y), logits, probabilities)


def test_indices_can_be_an_input():
    table = tg.tensor(np.arange(12.0, dtype=np.float32).reshape(4, 3))
    agree(lambda y: table[y], labels)
    agree(lambda x, y: x.gather(1, y.reshape(-1, 1)), images(4), labels)
    agree(lambda x, y: x[np.arange(x.shape[0]), y], images(4), labels)
    agree(lambda x, y: tg.where(y.reshape(-1, 1) > 1, x, -x), images(4), labels)


def test_indices_select_as_here():
    agree(lambda x: x[:, 1:, None, ::-2], images(4, 5))
    agree(lambda x: (x[-1], x[..., 0], x[:, 2, -1]), images(4, 5))
    agree(lambda x: (x[:, [2, 0, 2]], x[:, [[0, -1], [1, 1]]]), images(4, 5))
    agree(lambda x: x[:, [1, -1, 0], [4, 0, 2]], images(4, 5))
    agree(lambda x: x[:, [1, 0], :, [1, -2]], images(4, 5, 3))
    agree(lambda x: x[:, np.array([True, False, True, True])], images(4, 5))
    agree(
        lambda x: x.index_add(1, np.array([0, 0, 2]), x[:, :3]),
        images(4, 5),
        traced=3,
        dynamic_batch=False,
        batches=(3,),
    )


@pytest.mark.parametrize("index", [True, (slice(None), np.array(True)), (np.True_, slice(None), [0, 1])])
def test_True_and_False_in_an_index_are_refused_with_what_to_write(index):
    with pytest.raises(OnnxError, match=r"^export: getitem: True or False in an index; write None for a new axis of "):
        tg.onnx.export(lambda x: x[index], np.ones((4, 3), np.float32))


def test_integers_and_booleans_go_in_and_come_out():
    def bytes_of(n):
        return np.random.default_rng(n).integers(0, 256, (n, 3, 4)).astype(np.uint8)

    agree(lambda x: (x.float() / 255, x.sum(1), x > 100, x.relu() if x.dtype != np.uint8 else x), bytes_of)
    agree(lambda x: (x // 2, x % 3, x.cumsum(1), x.relu(), x + 0.5), lambda n: np.arange(-n, n).reshape(n, 2))
    agree(lambda x: (~x, x & x, tg.where(x, x, x), x.sum(1)), lambda n: np.arange(n * 3).reshape(n, 3) % 2 == 0)


def test_bits_of_integers_need_opset_18():
    def whole(n):
        return np.arange(n * 3).reshape(n, 3)

    agree(lambda x: (x & 6) | ~x, whole, opset_version=18)
    with pytest.raises(
        OnnxError, match=r"^export: bitwise_and: of the bits of integers in opset 17; .*opset_version=18"
    ):
        tg.onnx.export(lambda x: x & 6, whole(2))


def test_float64_stays_float64_but_for_what_onnxruntime_computes_in_single():
    content = tg.onnx.export(lambda x: F.avg_pool2d(x, 2) * 3.0, np.ones((1, 1, 4, 4)))
    assert ops_of(content) == ["Cast", "AveragePool", "Cast", "Mul"]
    kinds = {x.type.tensor_type.elem_type for x in (*read(content).graph.input, *read(content).graph.output)}
    assert kinds == {11}  # DOUBLE
    x = np.random.default_rng(0).normal(size=(2, 3))
    (got,) = run(tg.onnx.export(lambda x: x.sin().sum(1), x), x)
    close(got, np.sin(x).sum(1), 1e-15)
