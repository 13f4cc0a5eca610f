"""Every op and layer gives PyTorch's values, gradients and second gradients, on generated problems in float64."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

import torch_problems as problems  # noqa: E402
from torch_problems import OURS, THEIRS, agree, agree_on_running_statistics, compare, grid, modules_agree, seeds, values  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402

inf, nan = math.inf, math.nan


pytestmark = pytest.mark.usefixtures("one_torch_thread")


# Elementwise


@pytest.mark.parametrize(
    "name", ["neg", "exp", "sin", "cos", "tanh", "sigmoid", "relu", "abs", "square", "sign", "clone"]
)
@given(x=problems.arrays(min_side=0))
def test_unary(name: str, x: Any) -> None:
    agree(lambda m, x: getattr(x, name)(), x)


@pytest.mark.parametrize("name", ["log", "sqrt"])
@given(x=problems.arrays(min_side=0, low=0.25))
def test_unary_of_positive_values(name: str, x: Any) -> None:
    agree(lambda m, x: getattr(x, name)(), x)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "maximum", "minimum"])
@given(xs=problems.broadcastable())
def test_binary_with_broadcasting(name: str, xs: Any) -> None:
    agree(lambda m, x, y: getattr(x, name)(y), *xs)


@given(xs=problems.broadcastable(low=0.25))
def test_quotients_and_powers_with_broadcasting(xs: Any) -> None:
    agree(lambda m, x, y: x / y, *xs)
    agree(lambda m, x, y: x**y, *xs)
    agree(lambda m, x, y: 2.0 / x - (3 - y) * 0.5, *xs)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -1, -1.5])
@given(x=problems.arrays(low=0.25))
def test_powers_with_a_number(exponent: float, x: Any) -> None:
    agree(lambda m, x: x**exponent, x)
    agree(lambda m, x: 1.5**x + exponent**0 * x, x)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
@given(x=problems.arrays())
def test_integer_powers_of_any_base(exponent: int, x: Any) -> None:
    agree(lambda m, x: x**exponent, x)


@given(xs=problems.broadcastable())
def test_the_same_operand_twice_and_a_shared_subexpression(xs: Any) -> None:
    agree(lambda m, x, y: x * x - x * y + (x - x) * (y * x).exp(), *xs)


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
@given(xs=problems.broadcastable())
def test_comparisons(name: str, xs: Any) -> None:
    agree(lambda m, x, y: getattr(x, name)(y), *xs, order=0)


@given(xs=problems.broadcastable(3))
def test_where(xs: Any) -> None:
    agree(lambda m, c, x, y: m.where(c, x, y), xs[0] > 0, *xs[1:])
    agree(lambda m, c, x, y: m.where(x > c, x * y, y), *xs)


@given(
    x=problems.arrays(min_side=0),
    bounds=st.sampled_from([(-0.5, 1.0), (None, 0.25), (-1.0, None), (1.0, -1.0), (0, 1)]),
)
def test_clamp_also_at_its_bounds(x: Any, bounds: Any) -> None:
    agree(lambda m, x: x.clamp(*bounds), x)
    agree(lambda m, x: m.clip(x, min=bounds[0], max=bounds[1]), x, order=1)


# Reductions


@pytest.mark.parametrize("name", ["sum", "mean"])
@given(problem=problems.reductions(min_side=0))
def test_sum_and_mean(name: str, problem: Any) -> None:
    x, dim, keepdim = problem
    agree(lambda m, x: getattr(x, name)(dim=dim, keepdim=keepdim), x)
    agree(lambda m, x: getattr(x, name)(), x)


@pytest.mark.parametrize("name", ["amax", "amin", "logsumexp"])
@given(problem=problems.reductions())
def test_amax_amin_and_logsumexp(name: str, problem: Any) -> None:
    x, dim, keepdim = problem
    dim = tuple(range(x.ndim)) if dim is None else dim
    agree(lambda m, x: getattr(x, name)(dim, keepdim), x)


@given(problem=problems.reductions(), correction=st.sampled_from([0, 1, 1, 0.5]))
def test_variance(problem: Any, correction: float) -> None:
    x, dim, keepdim = problem
    reduced = x.size / x.sum(axis=dim).size
    if reduced > 1:
        agree(lambda m, x: x.var(dim=dim, correction=correction, keepdim=keepdim), x)
        agree(lambda m, x: x.var(dim, keepdim=keepdim), x, order=1)


@given(problem=problems.reductions())
def test_argmax_and_argmin(problem: Any) -> None:
    x, dim, keepdim = problem
    dim = dim[0] if isinstance(dim, tuple) else dim
    for name in ("argmax", "argmin"):
        agree(lambda m, x, name=name: getattr(x, name)(dim, keepdim=keepdim and dim is not None), x, order=0)


# Layout and indexing


@given(x=problems.arrays(min_dims=1, min_side=0), seed=seeds)
def test_permute_transpose_and_flip(x: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dims = tuple(int(d) - x.ndim * int(rng.integers(2)) for d in rng.permutation(x.ndim))
    agree(lambda m, x: x.permute(dims), x, float32=False)
    agree(lambda m, x: x.transpose(dims[0], dims[-1]), x, float32=False)
    agree(lambda m, x: x.flip(dims[: 1 + seed % x.ndim]) * x, x, float32=False)


@given(x=problems.arrays(min_dims=1, max_dims=3), seed=seeds)
def test_reshape_flatten_squeeze_and_unsqueeze(x: Any, seed: int) -> None:
    dim = seed % x.ndim
    agree(lambda m, x: (x * x).reshape(-1, x.shape[-1]), x, float32=False)
    agree(lambda m, x: (x * x).view((x.shape[0], 1, -1)), x, float32=False)
    agree(lambda m, x: (x * x).flatten(dim), x, float32=False)
    agree(lambda m, x: (x * x).flatten(0, dim), x, float32=False)
    agree(lambda m, x: (x * x).squeeze(), x, float32=False)
    agree(lambda m, x: (x * x).squeeze(dim - x.ndim), x, float32=False)
    agree(lambda m, x: (x * x).unsqueeze(dim).unsqueeze(-1 - dim), x, float32=False)


@given(x=problems.arrays(min_dims=1, max_dims=3), seed=seeds)
def test_expand(x: Any, seed: int) -> None:
    x = x[..., :1]
    stretched = (2, *(-1 if (seed >> i) % 2 else n for i, n in enumerate(x.shape[:-1])), 3)
    agree(lambda m, x: (x * x).expand(*stretched), x, float32=False)
    agree(lambda m, x: x.expand(stretched) * 2.0, x, float32=False)


@given(x=problems.arrays(min_dims=1, max_dims=3), data=st.data())
def test_constant_pad_lists_the_last_axis_first(x: Any, data: Any) -> None:
    axes = data.draw(st.integers(1, x.ndim))
    widths = [data.draw(st.integers(-1 if n > 2 else 0, 3)) for n in x.shape[::-1][:axes] for _ in "lr"]
    agree(lambda m, x: m.F.pad(x * x, widths, value=-1.5), x, float32=False)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@given(x=problems.arrays(min_dims=4, max_dims=4), data=st.data())
def test_pad_modes(mode: str, x: Any, data: Any) -> None:
    most = {"reflect": lambda n: n - 1, "circular": lambda n: n, "replicate": lambda n: 3}[mode]
    widths = [data.draw(st.integers(0, most(n))) for n in x.shape[:1:-1] for _ in "lr"]
    agree(lambda m, x: m.F.pad(x * x, widths, mode=mode), x, float32=False)


@given(x=problems.arrays(min_dims=1, max_dims=3), data=st.data())
def test_cat_and_stack_with_parts_of_any_length_and_one_part_twice(x: Any, data: Any) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = data.draw(st.integers(0, 3))
    part = grid(7, *(n if i == dim % x.ndim else side for i, side in enumerate(x.shape)))
    agree(lambda m, x, y: m.cat([x * x, y, x], dim), x, part, float32=False)
    at = data.draw(st.integers(-x.ndim - 1, x.ndim))
    agree(lambda m, x: m.stack([x, x * x], dim=at), x, float32=False)


@given(problem=problems.basic_indices())
def test_basic_indexing(problem: Any) -> None:
    x, index = problem
    agree(lambda m, x: x[index] * 2.0, x, float32=False)
    agree(lambda m, x: (x * x)[index], x, float32=False)


@given(problem=problems.advanced_indices())
def test_indexing_with_repeated_integers(problem: Any) -> None:
    x, index = problem
    agree(
        lambda m, x: (x * x)[tuple(m.constant(i) if isinstance(i, np.ndarray) else i for i in index)], x, float32=False
    )


@given(x=problems.arrays(min_dims=1, max_dims=3), seed=seeds)
def test_indexing_with_booleans(x: Any, seed: int) -> None:
    kept = np.random.default_rng(seed).random(x.shape[: 1 + seed % x.ndim]) < 0.5
    agree(lambda m, x: (x * x)[m.constant(kept)], x, float32=False)
    agree(lambda m, x: (x * x)[x > 0], x, float32=False)


# Products, convolutions, pools


@given(
    shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=4, max_dims=2),
    seed=seeds,
)
def test_matmul_of_every_rank(shapes: Any, seed: int) -> None:
    x, y = (grid(seed + i, *shape) for i, shape in enumerate(shapes.input_shapes))
    agree(lambda m, x, y: x @ y, x, y)


@given(
    lead=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    n=st.tuples(problems.sides, problems.sides),
    seed=seeds,
)
def test_linear(lead: Any, n: Any, seed: int) -> None:
    x, w, b = grid(seed, *lead, n[0]), grid(seed + 1, n[1], n[0]), grid(seed + 2, n[1])
    agree(lambda m, x, w, b: m.F.linear(x, w, b), x, w, b)
    agree(lambda m, x, w: m.F.linear(x, w), x, w)


@given(problem=problems.convolutions())
def test_conv2d(problem: Any) -> None:
    x, w, b, params = problem
    agree(lambda m, *inputs: m.F.conv2d(*inputs, **params), x, w, *([] if b is None else [b]))


@given(problem=problems.convolutions())
def test_conv2d_of_one_unbatched_image_is_unbatched(problem: Any) -> None:
    x, w, _, params = problem
    agree(lambda m, x, w: m.F.conv2d(x, w, None, *params.values()), x[0], w, order=1)


@given(problem=problems.convolutions(), padding=st.sampled_from(["same", "same_lower", "full", ((2, 0), (1, 3))]))
def test_every_further_padding_is_an_explicit_one(problem: Any, padding: Any) -> None:
    x, w, _, params = problem
    kernel, dilation, stride = w.shape[2:], params["dilation"], params["stride"]
    spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if padding == "full":
        widths = [(s, s) for s in spans]
    elif isinstance(padding, tuple):
        widths = list(padding)
    else:
        totals = [max((-(-n // s) - 1) * s + e + 1 - n, 0) for n, s, e in zip(x.shape[2:], stride, spans, strict=True)]
        widths = [(t // 2, t - t // 2) if padding == "same" else (t - t // 2, t // 2) for t in totals]
    flat = [*widths[1], *widths[0]]
    if any(n + sum(pair) <= span for n, pair, span in zip(x.shape[2:], widths, spans, strict=True)):
        return

    def conv(m: Any, x: Any, w: Any) -> Any:
        if m is THEIRS:
            return m.F.conv2d(m.F.pad(x, flat), w, **params | {"padding": 0})
        return m.F.conv2d(x, w, **params | {"padding": padding})

    agree(conv, x, w, order=1)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@given(problem=problems.convolutions(), padding=st.sampled_from(["same", "valid"]))
def test_H69_string_padding_at_stride_1(problem: Any, padding: str) -> None:
    x, w, _, params = problem
    params |= {"padding": padding, "stride": 1}
    if padding == "same" or all(
        n > d * (k - 1) for n, d, k in zip(x.shape[2:], params["dilation"], w.shape[2:], strict=True)
    ):
        agree(lambda m, x, w: m.F.conv2d(x, w, **params), x, w, order=1)


@given(problem=problems.transposed_convolutions())
def test_conv_transpose2d(problem: Any) -> None:
    x, w, b, params = problem
    agree(lambda m, *inputs: m.F.conv_transpose2d(*inputs, **params), x, w, *([] if b is None else [b]))


@given(problem=problems.poolings(dilated=True))
def test_max_pool2d_ties_included(problem: Any) -> None:
    x, params = problem
    agree(lambda m, x: m.F.max_pool2d(x, **params), x)
    agree(lambda m, x: m.F.max_pool2d(x, **params), x[0], order=1)


@given(problem=problems.poolings(dilated=False))
def test_avg_pool2d(problem: Any) -> None:
    x, params = problem
    agree(lambda m, x: m.F.avg_pool2d(x, **params), x)


@given(problem=problems.poolings(dilated=True))
def test_sum_pool2d_is_a_convolution_with_ones(problem: Any) -> None:
    x, params = problem
    params = params | {"ceil_mode": False}
    c = x.shape[1]

    def pool(m: Any, x: Any) -> Any:
        if m is OURS:
            return m.F.sum_pool2d(x, **params)
        stride = params["stride"] or params["kernel_size"]
        ones = m.constant(np.ones((c, 1, *params["kernel_size"]), values(x).dtype))
        return m.F.conv2d(x, ones, None, stride, params["padding"], params["dilation"], c)

    agree(pool, x)


# Softmax and losses


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@given(problem=problems.reductions(), huge=st.sampled_from([1.0, 1.0, 300.0]))
def test_softmax(name: str, problem: Any, huge: float) -> None:
    x, dim, _ = problem
    dim = dim if isinstance(dim, int) else -1
    agree(lambda m, x: getattr(m.F, name)(x * huge, dim=dim), x, float32=huge == 1.0)
    agree(lambda m, x: getattr(x, name)(dim), x, order=1)


@given(problem=problems.classifications(), smoothing=st.sampled_from([0.0, 0.0, 0.25, 1.0]))
def test_cross_entropy_with_labels(problem: Any, smoothing: float) -> None:
    x, labels, weight, params = problem

    def loss(m: Any, x: Any, labels: Any) -> Any:
        w = None if weight is None else m.constant(weight.astype(values(x).dtype))
        return m.F.cross_entropy(x, labels, w, label_smoothing=smoothing, **params)

    agree(loss, x, labels)


@given(problem=problems.classifications(), smoothing=st.sampled_from([0.0, 0.0, 0.25, 1.0]))
def test_cross_entropy_with_probabilities_and_gradients_into_them(problem: Any, smoothing: float) -> None:
    x, _, weight, params = problem
    target = np.abs(x[..., ::-1]) + 0.125

    def loss(m: Any, x: Any, target: Any) -> Any:
        w = None if weight is None else m.constant(weight.astype(values(x).dtype))
        return m.F.cross_entropy(x, target, w, label_smoothing=smoothing, reduction=params["reduction"])

    agree(loss, x, target)


@given(problem=problems.classifications())
def test_nll_loss(problem: Any) -> None:
    x, labels, weight, params = problem

    def loss(m: Any, x: Any, labels: Any) -> Any:
        w = None if weight is None else m.constant(weight.astype(values(x).dtype))
        return m.F.nll_loss(x * x, labels, w, **params)

    agree(loss, x, labels)


@given(x=problems.arrays(min_side=0), reduction=st.sampled_from(["mean", "sum", "none"]))
def test_mse_loss_with_gradients_into_both(x: Any, reduction: str) -> None:
    agree(lambda m, x, y: m.F.mse_loss(x, y, reduction=reduction), x, x[..., ::-1] * 0.5 + 1 if x.ndim else x + 1)


# Normalisation and dropout


@st.composite
def _normalisations(draw: Any) -> Any:
    """(x (n c ...), weight, bias, running mean, running variance), with two values per channel or more."""
    shape = draw(st.sampled_from([(2, 3), (5, 1), (2, 3, 2), (1, 2, 4), (2, 3, 1, 2), (1, 1, 3, 2), (3, 2, 2, 3)]))
    seed = draw(seeds)
    rows = [grid(seed + i, shape[1], low=low) for i, low in enumerate([0.25, -3.0, -3.0, 0.25])]
    return grid(seed, *shape), *rows


@given(problem=_normalisations(), momentum=st.sampled_from([0.1, 0.7, 1.0]), affine=st.booleans())
def test_batch_norm_in_training_moves_the_running_statistics_too(problem: Any, momentum: float, affine: bool) -> None:
    x, w, b, mean, var = problem
    agree_on_running_statistics(
        lambda m, x, *rest: m.F.batch_norm(x, *rest, training=True, momentum=momentum, eps=0.01),
        x,
        mean,
        var,
        *([w, b] if affine else []),
    )
    agree(
        lambda m, x, w: m.F.batch_norm(x, None, None, w, training=True),
        x * 4,
        w,
        order=1,
        tolerance=1e-8,
        float32=False,
    )


@given(problem=_normalisations(), affine=st.booleans())
def test_batch_norm_in_evaluation(problem: Any, affine: bool) -> None:
    x, w, b, mean, var = problem

    def norm(m: Any, x: Any, *weights: Any) -> Any:
        stats = (m.constant(s.astype(values(x).dtype)) for s in (mean, var))
        return m.F.batch_norm(x, *stats, *weights)

    agree(norm, x, *([w, b] if affine else []))


@given(x=problems.arrays(), p=st.sampled_from([0.0, 0.25, 0.75, 1.0]), seed=seeds)
def test_dropout_with_its_mask_frozen_is_a_product(x: Any, p: float, seed: int) -> None:
    kept = values(OURS.F.dropout(OURS.constant(np.ones(x.shape)), p, generator=np.random.default_rng(seed))) != 0

    def drop(m: Any, x: Any) -> Any:
        if m is OURS:
            return m.F.dropout(x * x, p, generator=np.random.default_rng(seed))
        return x * x * m.constant(kept) * (1 / (1 - p) if p < 1 else 0.0)

    agree(drop, x)
    agree(lambda m, x: m.F.dropout(x * x, p, training=False), x, order=1)


# Layers, networks, initial values, optimizers

LAYERS = {
    "Linear": lambda nn: nn.Linear(5, 3),
    "Linear without bias": lambda nn: nn.Linear(5, 3, bias=False),
    "Conv2d": lambda nn: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
    "Conv2d depthwise": lambda nn: nn.Conv2d(4, 8, 3, padding="same", groups=4, bias=False),
    "Conv2d reflect": lambda nn: nn.Conv2d(4, 3, (3, 4), padding=(1, 2), padding_mode="reflect"),
    "Conv2d replicate": lambda nn: nn.Conv2d(4, 3, (3, 2), padding=(3, 1), padding_mode="replicate"),
    "Conv2d circular": lambda nn: nn.Conv2d(4, 3, 3, stride=2, padding=(2, 1), padding_mode="circular"),
    "ConvTranspose2d": lambda nn: nn.ConvTranspose2d(
        4, 6, (3, 2), stride=(3, 1), padding=1, output_padding=(1, 0), groups=2
    ),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(4, momentum=0.3),
    "BatchNorm2d cumulative": lambda nn: nn.BatchNorm2d(4, momentum=None),
    "BatchNorm2d without statistics": lambda nn: nn.BatchNorm2d(4, affine=False, track_running_stats=False),
    "BatchNorm2d in evaluation": lambda nn: nn.Sequential(nn.BatchNorm2d(4)).eval(),
    "MaxPool2d": lambda nn: nn.MaxPool2d((3, 2), stride=2, padding=1, ceil_mode=True),
    "AvgPool2d": lambda nn: nn.AvgPool2d((2, 3), padding=(0, 1), count_include_pad=False),
    "activations": lambda nn: nn.Sequential(nn.Tanh(), nn.Sigmoid(), nn.Identity(), nn.ReLU(), nn.Softmax(1)),
    "ReLU in place": lambda nn: nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.LogSoftmax(dim=-1)),
    "Dropout in evaluation": lambda nn: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(120, 2)).eval(),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_with_pytorchs_state_dict(name: str) -> None:
    modules_agree(lambda m: LAYERS[name](m.nn), grid(3, 2, 4, 6, 5), tolerance=1e-9)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_of_batch_norm_over_three_batches(momentum: Any) -> None:
    ours, theirs = modules_agree(lambda m: m.nn.BatchNorm2d(4, momentum=momentum), grid(1, 2, 4, 3, 2), order=1)
    for seed in (2, 3):
        for m, module in ((OURS, ours), (THEIRS, theirs)):
            module(m.constant(grid(seed, 3, 4, 1, 2)))
    for m, module in ((OURS, ours.eval()), (THEIRS, theirs.eval())):
        module(m.constant(grid(5, 3, 4, 1, 2)))
    compare(*[[values(t) for t in module.state_dict().values()] for module in (ours, theirs)], 1e-12)
    assert values(ours.num_batches_tracked) == 3


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
@pytest.mark.parametrize("options", [{}, {"reduction": "sum"}, {"ignore_index": 2}])
def test_loss_layers(name: str, options: Any) -> None:
    labels = np.array([1, 2, 0, 2])
    agree(lambda m, x, labels: getattr(m.nn, name)(**options)(x, labels), grid(1, 4, 3), labels)
    agree(lambda m, x, y: m.nn.MSELoss(reduction=options.get("reduction", "mean"))(x, y), grid(1, 4, 3), grid(2, 4, 3))


class TorchLeNet5(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Any) -> Any:
        f = torch.nn.functional
        for conv in (self.conv1, self.conv2):
            x = f.max_pool2d(f.relu(conv(x)), 2)
        return self.fc3(f.relu(self.fc2(f.relu(self.fc1(x.flatten(1))))))


class TorchVGG(torch.nn.Module):
    def __init__(self, channels: Any, hidden: int, batch_norm: bool) -> None:
        super().__init__()
        nn = torch.nn
        layers: list[Any] = []
        c = 3
        for n in channels:
            if n == "M":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(c, n, 3, padding=1), *([nn.BatchNorm2d(n)] if batch_norm else []), nn.ReLU()]
            c = n
        self.features = nn.Sequential(*layers)
        hidden_layers = [
            nn.Linear(c, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
        ]
        self.classifier = nn.Sequential(*hidden_layers, nn.Linear(hidden, 10))

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.features(x), 1))


class TorchBlock(torch.nn.Module):
    def __init__(self, c: int, n: int, stride: int, shortcut: str) -> None:
        super().__init__()
        nn = torch.nn
        self.stride, self.added = stride, n - c
        self.conv1, self.bn1 = nn.Conv2d(c, n, 3, stride, 1, bias=False), nn.BatchNorm2d(n)
        self.conv2, self.bn2 = nn.Conv2d(n, n, 3, 1, 1, bias=False), nn.BatchNorm2d(n)
        self.downsample = None
        if shortcut == "B" and (stride > 1 or c != n):
            self.downsample = nn.Sequential(nn.Conv2d(c, n, 1, stride, bias=False), nn.BatchNorm2d(n))

    def forward(self, x: Any) -> Any:
        f = torch.nn.functional
        y = self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            return f.relu(y + self.downsample(x))
        return f.relu(y + f.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added)))


class TorchResNet20(torch.nn.Module):
    def __init__(self, shortcut: str) -> None:
        super().__init__()
        nn = torch.nn
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(TorchBlock(c, n, s, shortcut), TorchBlock(n, n, 1, shortcut), TorchBlock(n, n, 1, shortcut))
            for c, n, s in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        )
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        x = torch.nn.functional.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


VGG_CHANNELS = [4, "M", 6, "M", 8, 8, "M", 8, 10, "M", 10, 12, "M"]
NETWORKS = {
    "LeNet5": (1, lambda m: m.nn.models.LeNet5() if m is OURS else TorchLeNet5()),
    "VGG": (3, lambda m: _vgg(m, batch_norm=False)),
    "VGG with batch norm": (3, lambda m: _vgg(m, batch_norm=True)),
    "ResNet20": (3, lambda m: m.nn.models.ResNet20() if m is OURS else TorchResNet20("A")),
    "ResNet20 shortcut B": (3, lambda m: m.nn.models.ResNet20(shortcut="B") if m is OURS else TorchResNet20("B")),
}


def _vgg(m: Any, batch_norm: bool) -> Any:
    make = m.nn.models.VGG if m is OURS else TorchVGG
    model = make(VGG_CHANNELS, hidden=14, batch_norm=batch_norm)
    model.classifier.eval()  # no dropout
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_with_pytorchs_state_dict(name: str) -> None:
    channels, make = NETWORKS[name]
    modules_agree(make, grid(1, 2, channels, 32, 32), order=1, tolerance=1e-8)
    modules_agree(lambda m: make(m).eval(), grid(1, 2, channels, 32, 32), order=1, tolerance=1e-8)


@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains(nonlinearity: str) -> None:
    gain = tg.nn.init.calculate_gain
    assert gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity), rel=1e-15)
    assert gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


INITS = {
    "xavier_uniform_": {"gain": 1.5},
    "xavier_normal_": {"gain": 0.5},
    "kaiming_uniform_": {"a": math.sqrt(5)},
    "kaiming_normal_": {"mode": "fan_out", "nonlinearity": "relu"},
}


@pytest.mark.parametrize("name", INITS)
@pytest.mark.parametrize("shape", [(200, 300), (40, 30, 5, 9)])
def test_initial_values_have_pytorchs_spread(name: str, shape: Any) -> None:
    _same_spread(*(getattr(m.nn.init, name)(m.constant(np.zeros(shape)), **INITS[name]) for m in (OURS, THEIRS)))


@pytest.mark.parametrize("make", [lambda nn: nn.Linear(7, 40000), lambda nn: nn.Conv2d(6, 40000, (2, 3), groups=2)])
def test_layers_start_with_pytorchs_spread(make: Any) -> None:
    for ours, theirs in zip(make(tg.nn).parameters(), make(torch.nn).parameters(), strict=True):
        _same_spread(ours, theirs)


def _same_spread(ours: Any, theirs: Any) -> None:
    mine, reference = values(ours), values(theirs)
    assert mine.std() == pytest.approx(reference.std(), rel=0.02)
    assert abs(mine.mean()) < 0.02 * mine.std() + 1e-3
    uniform = reference.max() < 2 * reference.std()
    assert mine.max() == pytest.approx(reference.max(), rel=1e-3 if uniform else 0.3)


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.3, "amsgrad": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_twenty_steps_of_an_optimizer(name: str, options: Any) -> None:
    tracks = []
    for m in (OURS, THEIRS):
        w, b, unused = m.leaf(grid(1, 4, 3)), m.leaf(grid(2, 3)), m.leaf(grid(3, 2))
        groups = [{"params": [w, unused]}, {"params": [b], "lr": 0.02}]
        optimizer = getattr(m.optim, name)(groups, **options)
        track = []
        for step in range(20):
            x, y = m.constant(grid(step, 5, 4)), m.constant(grid(step + 1, 5, 3))
            optimizer.zero_grad()
            (((x @ w + b).tanh() - y) ** 2).mean().backward()
            optimizer.step()
            track += [values(w), values(b), values(unused)]
        tracks.append(track)
    compare(*tracks, 1e-12)
