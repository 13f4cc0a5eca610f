"""summary: the counts by hand, receptive fields by a probe, and that nothing changes."""

import copy
import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn, no_grad, op
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.diagram.kept import kept_memory
from tinygrad_cnn.diagram.skeleton import Skeleton
from tinygrad_cnn.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ModuleList,
    Parameter,
    ReLU,
    Sequential,
    models,
    summary,
)
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.ledger import Ledger


def rng(seed=0):
    return np.random.default_rng(seed)


def rows(found):
    return {(row.path, row.kind): row for row in found.rows}


class Net(Module):
    """A forward written as a function."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args, **kwargs):
        return self.function(self, *args, **kwargs)


# Counts by hand


def test_lenet5_by_hand():
    found = summary(models.LeNet5(), (1, 1, 32, 32))
    assert [(row.path, row.kind, row.outputs, row.params, row.macs) for row in found.rows] == [
        ("", "LeNet5", ((1, 10),), 0, 0),
        ("conv1", "Conv2d", ((1, 6, 28, 28),), 6 * 25 + 6, 6 * 28 * 28 * 25),
        ("relu", "op", ((1, 6, 28, 28),), 0, 0),
        ("max_pool2d", "op", ((1, 6, 14, 14),), 0, 0),
        ("conv2", "Conv2d", ((1, 16, 10, 10),), 16 * 150 + 16, 16 * 100 * 150),
        ("relu", "op", ((1, 16, 10, 10),), 0, 0),
        ("max_pool2d", "op", ((1, 16, 5, 5),), 0, 0),
        ("reshape", "op", ((1, 400),), 0, 0),
        ("fc1", "Linear", ((1, 120),), 400 * 120 + 120, 400 * 120),
        ("relu", "op", ((1, 120),), 0, 0),
        ("fc2", "Linear", ((1, 84),), 120 * 84 + 84, 120 * 84),
        ("relu", "op", ((1, 84),), 0, 0),
        ("fc3", "Linear", ((1, 10),), 850, 840),
    ]
    assert (found.params, found.trainable, found.macs) == (61_706, 61_706, 416_520)
    assert [row.field for row in found.rows][:8] == [(n, n) for n in (32, 5, 5, 6, 14, 14, 16, 16)]
    assert [row.jump for row in found.rows][:9] == [(j, j) for j in (None, 1, 1, 2, 2, 2, 4, 4, None)]
    assert found.rows[1].dense == 1024 * 6 * 28 * 28
    assert found.rows[8].dense == 48_000
    conv1 = rows(found)["conv1", "Conv2d"]
    assert conv1.activation_bytes == 4 * 6 * 28 * 28
    relu, fc2 = found.rows[9:11]
    assert (relu.kept_bytes, fc2.kept_bytes) == (4 * 120, 0)  # the same memory: counted where it is kept first
    assert conv1.flops == 2 * conv1.macs + 6 * 28 * 28  # the bias


def test_resnet20_by_hand():
    found = summary(models.ResNet20(), (2, 3, 32, 32), depth=1)
    macs = {"conv1": 32 * 32 * 16 * 27, "layer1": 6 * 32 * 32 * 16 * 144, "fc": 640}
    macs["layer2"] = 16 * 16 * 32 * (144 + 5 * 288)
    macs["layer3"] = 8 * 8 * 64 * (288 + 5 * 576)
    assert {row.path: row.macs for row in found.rows if row.macs} == {name: 2 * n for name, n in macs.items()}
    assert (found.params, found.macs) == (269_722, 2 * 40_551_040)
    fields = {row.path: (row.field, row.jump) for row in found.rows}
    assert fields["layer1"] == ((15, 15), (1, 1))
    assert fields["layer2"] == ((37, 37), (2, 2))
    assert fields["layer3"] == ((81, 81), (4, 4))
    assert fields["fc"] == ((32, 32), (None, None))


def test_a_depthwise_net_by_hand():
    found = summary(models.MobileNetSmall(width=8), (1, 3, 16, 12))
    deep, point = (rows(found)[f"blocks.1.{name}", "Conv2d"] for name in ("depthwise", "pointwise"))
    assert (deep.params, deep.macs, deep.outputs) == (16 * 9, 8 * 6 * 16 * 9, ((1, 16, 8, 6),))
    assert (point.params, point.macs) == (16 * 32, 8 * 6 * 16 * 32)
    assert deep.dense == 16 * 16 * 12 * 16 * 8 * 6
    assert deep.level == point.level == 3


def test_a_unet_by_hand():
    found = summary(models.UNetSmall(width=4), (1, 1, 16, 24))
    table = rows(found)
    grow = table["grow1", "ConvTranspose2d"]
    assert (grow.params, grow.macs, grow.outputs) == (8 * 4 * 4 + 4, 8 * 12 * 8 * 4 * 4, ((1, 4, 16, 24),))
    assert table["concatenate", "op"].outputs == ((1, 8, 16, 24),)
    assert table["up1.conv1", "Conv2d"].macs == 16 * 24 * 4 * 8 * 9
    assert table["middle", "DoubleConv"].jump == (4, 4)
    assert table["head", "Conv2d"].field == (44, 44)


def test_macs_are_the_steps_of_the_textbooks_loops():
    layer = Conv2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), groups=2)
    out = layer(Tensor(np.zeros((2, 4, 7, 5), np.float32))).shape
    steps = 0
    for _ in np.ndindex(*out):
        for _channel in range(4 // 2):
            for _p in range(3):
                for _q in range(2):
                    steps += 1
    assert summary(layer, (2, 4, 7, 5)).macs == steps


def test_matrix_products_count_too():
    net = Net(lambda self, x: (x @ self.w) @ x.transpose(-1, -2), w=Parameter(np.zeros((3, 5), np.float32)))
    net.w = Parameter(np.zeros((3, 3), np.float32))
    assert summary(net, (4, 2, 3)).macs == 4 * 2 * 3 * 3 + 4 * 2 * 3 * 2


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (models.LeNet5(), (3, 1, 32, 32)),
        (models.vgg11(width=2, batch_norm=True), (2, 3, 32, 32)),
        (models.UNetSmall(width=2), (2, 1, 8, 12)),
        (models.MobileNetSmall(width=2), (2, 3, 9, 8)),
    ],
)
def test_kept_bytes_are_those_of_the_graph(model, shape):
    x = Tensor(rng().normal(size=shape).astype(np.float32))
    skeleton = Skeleton(model(x).node)
    memory = kept_memory(skeleton)
    assert summary(model, x).kept_bytes == memory.total - x.array.nbytes  # the first convolution keeps the input
    by_op = [
        sum(kept.bytes for kept in memory.kept[node] if kept.first is None and not kept.is_leaf)
        for node in skeleton.ops
    ]
    ledger = Ledger(model, [x], {})
    ours = [ledger.kept[id(call.node)] for call in ledger.root.ops() if id(call.node) in ledger.kept]
    assert ours == [by_op[0] - x.array.nbytes, *by_op[1:]]


def test_what_is_kept_does_not_depend_on_the_order_of_ops_and_a_view_keeps_it_all():
    def net(add):
        return Net(lambda self, x: add(x * self.w * 2.0), w=Parameter(np.ones((1, 1000), np.float32)))

    part, whole = (lambda y: (y[:, :1] * y[:, :1]).sum()), (lambda y: (y * y).sum())
    for add in (lambda y: part(y) + whole(y), lambda y: whole(y) + part(y), part, whole):
        assert summary(net(add), (4, 1000)).kept_bytes == 4 * 1000 * 4


def test_a_branch_that_is_thrown_away_keeps_nothing():
    net = Net(lambda self, x: (self.b(x), self.a(x).exp())[0], a=Linear(3, 2), b=Linear(3, 2))
    found = rows(summary(net, (4, 3)))
    assert found["exp", "op"].activation_bytes == 4 * 4 * 2
    assert found["exp", "op"].kept_bytes == 0


@pytest.mark.parametrize("depth", [0, 1, 2, 3, None])
def test_every_depth_has_the_same_sums(depth):
    model = models.ResNet20(shortcut="B")
    whole, found = summary(model, (1, 3, 8, 8)), summary(model, (1, 3, 8, 8), depth=depth)
    for name in ("params", "trainable", "macs", "flops", "activation_bytes", "kept_bytes"):
        assert getattr(found, name) == getattr(whole, name)
        assert getattr(found, name) == sum(getattr(row, name) for row in found.rows)
    assert max(row.level for row in found.rows) == (3 if depth is None else min(depth, 3)) + (depth is None)
    assert (len(found.rows) == 1) == (depth == 0)


# Shared, repeated and unused parts


def test_a_module_that_is_called_twice_has_two_rows_and_counts_its_parameters_once():
    net = Net(lambda self, x: self.a(self.a(x).relu()), a=Linear(3, 3))
    found = summary(net, (2, 3))
    first, second = (row for row in found.rows if row.path == "a")
    assert (first.params, first.shared, second.params, second.shared) == (12, 0, 0, 12)
    assert first.macs == second.macs == 18
    assert found.params == 12
    assert "(12)" in str(found)
    assert "(n): parameters counted in a row above" in str(found)


def test_shared_parameters_count_once():
    a, b = Linear(3, 3), Linear(3, 3, bias=False)
    b.weight = a.weight
    found = summary(Sequential(a, b), (2, 3))
    assert [(row.params, row.shared) for row in found.rows] == [(0, 0), (12, 0), (0, 9)]


def test_frozen_parameters_are_not_trainable():
    model = Sequential(Linear(3, 2), Linear(2, 1))
    model[0].requires_grad_(False)
    found = summary(model, (2, 3))
    assert (found.params, found.trainable) == (11, 3)
    assert "of them trainable: 3 (27.3%)" in str(found)


def test_a_module_that_is_never_called_counts_and_says_so():
    net = Net(
        lambda self, x: F.linear(self.a(x), self.b.weight), a=Linear(3, 2), b=Linear(2, 2, bias=False), c=Linear(5, 7)
    )
    found = summary(net, (4, 3))
    assert found.params == sum(p.array.size for p in net.parameters())
    assert [(row.path, row.params) for row in found.rows[-2:]] == [("b", 4), ("c", 42)]
    assert str(found).count("not called") == 2


def test_several_inputs_outputs_and_keywords():
    def forward(self, x, y, scale=1.0):
        return {"sum": x + y * scale, "parts": (self.a(x), [y, 3])}

    x = Tensor(rng().normal(size=(2, 3)).astype(np.float32))
    found = summary(Net(forward, a=Linear(3, 5)), [x, (2, 3)], kwargs={"scale": 2.0})
    assert found.rows[0].outputs == ((2, 3), (2, 5), (2, 3))
    assert found.inputs == ((2, 3), (2, 3))
    assert rows(found)["a", "Linear"].outputs == ((2, 5),)


def test_views_make_nothing_and_hooks_count_where_they_run():
    model = Sequential(Linear(3, 4), Net(lambda self, x: self.act(x.reshape(-1, 2)), act=ReLU()))
    found = rows(summary(model, (5, 3)))
    assert found["1.reshape", "op"].activation_bytes == 0
    assert found["0", "Linear"].activation_bytes == 4 * 20
    model[0].register_forward_pre_hook(lambda m, args: args[0] * 2)
    model[0].register_forward_hook(lambda m, args, out: out * 2)
    assert rows(summary(model, (5, 3)))["0", "Linear"].activation_bytes == 4 * (20 + 15 + 20)


def test_a_module_list_and_a_loop_show_the_path():
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    found = summary(Net(forward, blocks=ModuleList([Linear(3, 3), Sequential(ReLU(), Linear(3, 2))])), (1, 3))
    assert [row.path for row in found.rows] == ["", "blocks.0", "blocks.1", "blocks.1.0", "blocks.1.1"]
    assert [row.level for row in found.rows] == [0, 1, 1, 2, 2]


def test_a_model_without_parameters_or_image():
    found = summary(ReLU(), (4, 3))
    assert (found.params, found.macs) == (0, 0)
    assert found.rows[0].field is None
    assert [row.kind for row in found.rows] == ["ReLU", "op"]
    assert "(none)" in str(found)


# The table


def test_the_table_of_a_small_net():
    model = Sequential(Conv2d(1, 2, (3, 1), stride=(2, 1)), ReLU(), Flatten(), Linear(24, 5))
    assert str(summary(model, (1, 1, 9, 3))).split("\n")[0].split() == [
        "layer",
        "output",
        "params",
        "MACs",
        "made",
        "kept",
        "field",
        "dense",
    ]
    lines = [line.split() for line in str(summary(model, (1, 1, 9, 3))).split("\n")]
    assert lines[3] == ["0", "(Conv2d)", "1x2x4x3", "8", "72", "96", "B", "-", "3x1", "/2x1", "648"]
    assert lines[6][:6] == ["3", "(Linear)", "1x5", "125", "120", "20"]
    assert lines[8] == ["parameters:", "133,", "of", "them", "trainable:", "133", "(100.0%)"]


def test_long_names_are_cut_in_the_table_alone():
    name = "a_very_long_name_that_nobody_would_like_to_read_twice_in_a_table"
    found = summary(Net(lambda self, x: getattr(self, name)(x), **{name: Linear(3, 2)}), (1, 3))
    assert found.rows[1].path == name
    assert name not in str(found)
    assert max(map(len, str(found).split("\n"))) <= 120
    assert "…" in str(found)


def test_as_dict_is_plain_json():
    found = summary(models.UNetSmall(width=2), (1, 1, 8, 8))
    data = json.loads(found.json())
    assert data == found.as_dict()
    assert data["rows"][1]["path"] == "down1"
    assert data["rows"][1]["field"] == [5, 5]
    assert data["params"] == found.params
    assert repr(found) == str(found)


# Nothing changes


def test_nothing_of_the_model_or_the_random_state_changes():
    model = Sequential(Conv2d(1, 2, 3), BatchNorm2d(2), Dropout(0.5), Flatten(), Linear(None, 2))
    model[2].eval()
    x = Tensor(rng().normal(size=(2, 1, 5, 4)).astype(np.float32), requires_grad=True)
    tg.manual_seed(3)
    before = copy.deepcopy(model)
    watched = model[0](x).sum()
    watched.backward(retain_graph=True)
    grads = [x.grad.array.copy(), model[0].weight.grad.array.copy()]
    draws = copy.deepcopy(tg.default_generator()).random(3)
    with no_grad():
        assert summary(model, x).kept_bytes > 0
    assert np.array_equal(tg.default_generator().random(3), draws)
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert model[4].in_features is None
    assert not model[1].running_mean.array.any()
    assert model[1].num_batches_tracked.array == 0
    assert np.array_equal(x.grad.array, grads[0])
    assert np.array_equal(model[0].weight.grad.array, grads[1])
    assert all(module._hooks is None for module in model.modules())
    watched.backward()  # nothing that it keeps has changed


def test_the_stream_of_a_thread_that_has_not_drawn_yet_stays_untouched():
    tg.manual_seed(5)
    drawn = []

    def run(first):
        if first:
            summary(Dropout(), (2, 3))
        drawn.append(tg.default_generator().random())

    for first in (True, False):
        tg.manual_seed(5)
        thread = threading.Thread(target=run, args=(first,))
        thread.start()
        thread.join()
    assert drawn[0] == drawn[1]


# Errors


def test_summary_refuses_what_it_cannot_run():
    model = Linear(3, 2)
    with pytest.raises(TypeError, match="summary: the model is a function; a Module is needed"):
        summary(lambda x: x, (1, 3))
    with pytest.raises(ValueError, match="summary: depth=-1; an integer >= 0 or None is needed"):
        summary(model, (1, 3), depth=-1)
    for wrong in ("text", 3, None, (1, (2, 3)), (-1, 3)):
        with pytest.raises(TypeError, match=r"summary: the input is .*; a shape such as \(1, 3, 32, 32\)"):
            summary(model, wrong)
    with pytest.raises(tg.ShapeError, match="linear") as caught:
        summary(Sequential(model), (1, 4))
    assert "in 0 (Linear)" in caught.value.__notes__
    model.last = model(Tensor([[1.0, 2.0, 3.0]]))
    with pytest.raises(RuntimeError, match="hangs in a graph") as caught:
        summary(model, (1, 3))
    assert "in summary, which runs a copy of the model" in caught.value.__notes__


# Receptive fields


def seen(model, shape, axis):
    """(first, last) pixel along an axis that each position of the output sees: a nan there makes it nan."""
    n = shape[axis]
    x = np.ones((n, *shape[1:]))
    for i in range(n):
        x[(i, slice(None), i) if axis == 2 else (i, slice(None), slice(None), i)] = np.nan
    with no_grad():
        y = np.isnan(model.eval().double()(Tensor(x)).array)
    hit = y.any(axis=(1, 5 - axis))  # (pixel, position)
    return [(int(np.flatnonzero(c)[0]), int(np.flatnonzero(c)[-1])) if c.any() else None for c in hit.T]


def said(model, shape, axis):
    """The same as the summary follows it, borders aside; and the Sight."""
    x = Tensor(np.ones(shape))
    sight = Ledger(model.eval().double(), [x], {}).root.sights[axis - 2]
    return [sight.at(i) for i in range(model(x).shape[axis])], sight


def agree(model, shape):
    """At every position no more is seen than is said, and just as much where no border is near."""
    for axis in (2, 3):
        n, expected, (found, sight) = shape[axis], seen(model, shape, axis), said(model, shape, axis)
        assert len(found) == len(expected)
        sizes = []
        for place, (probed, span) in enumerate(zip(expected, found, strict=True)):
            if probed is not None:
                assert span[0] <= probed[0]
                assert probed[1] <= span[1]
            if span is None or (
                abs(2 * place + 1 - len(found)) < len(found) / 4 and n / 4 < span[0] <= span[1] < 3 * n / 4
            ):
                assert probed == span
                sizes += [] if span is None else [span[1] - span[0] + 1]
        if len(sizes) >= len(sight.spans):
            assert max(sizes) == sight.size


class Resize(Module):
    def __init__(self, mode, **options):
        super().__init__()
        self.mode, self.options = mode, options

    def forward(self, x):
        return F.interpolate(x, mode=self.mode, **self.options)


def layers(draw):
    kind = draw(st.sampled_from(["conv", "conv", "pool", "mean", "grow", "nearest", "bicubic", "skip", "cut"]))
    k, s = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    if kind == "conv":
        d = draw(st.integers(1, 2))
        return Conv2d(1, 1, (k, 3), (s, 1), ((k - 1) * d // 2, 1), (d, 1))
    if kind in ("pool", "mean"):
        return (MaxPool2d if kind == "pool" else AvgPool2d)((k, 2), (s, 2), (k // 2, 0))
    if kind == "grow":
        return ConvTranspose2d(1, 1, (max(k, s), 2), (s, 2), ((max(k, s) - s) // 2, 0))
    if kind == "skip":
        inner = Sequential(Conv2d(1, 1, 3, padding=1), Conv2d(1, 1, (1, 5), padding=(0, 2)))
        return Net(lambda self, x: tg.cat([self.inner(x) + x, x], 1)[:, :1], inner=inner)
    if kind == "cut":
        return Net(lambda self, x: F.pad(x, (1, 2, 2, 0))[:, :, ::2, 1:].flip(2))
    return Resize(kind, scale_factor=2)


@settings(max_examples=max(15, settings().max_examples // 4))
@given(st.data())
def test_the_receptive_field_is_what_a_probe_finds_at_every_position(data):
    depth = data.draw(st.integers(1, 3))
    model = Sequential(*[layers(data.draw) for _ in range(depth)])
    shape = (1, 1, data.draw(st.integers(36, 41)), data.draw(st.integers(36, 41)))
    agree(model, shape)


@pytest.mark.parametrize(
    ("model", "shape", "size"),
    [
        (models.UNetSmall(width=1), (1, 1, 64, 52), 44),
        (Sequential(*list(models.ResNet20(shortcut="A").children())[:-1]), (1, 3, 40, 36), 81),
        (
            Sequential(Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), Conv2d(1, 1, 3, dilation=3)),
            (1, 1, 14, 12),
            9,
        ),
    ],
)
def test_the_receptive_field_of_known_networks(model, shape, size):
    x = Tensor(np.ones(shape, np.float32))
    assert summary(model, x).rows[0].field == (size, size)
    if size == 44:
        agree(model, shape)
        assert max(last - first + 1 for first, last in seen(model, shape, 2)) == size


INDEXED = {
    "a 2-d array": lambda x: x[:, np.array([[1, 0]])][:, 0],
    "a mask of two axes": lambda x: x[:, :, None][:, np.array([[True], [False], [True]])],
    "True": lambda x: x[:, True, 0],
    "True and an array": lambda x: x[True, :, [0, 2, 1]].permute(1, 0, 2, 3),
    "True, an integer and an array": lambda x: x[None, True, :, 1, [0, 1, 0, 1]][0].permute(1, 0, 2)[:, :, None, :],
    "arrays apart": lambda x: x[:, :, :, None][:, [0, 1], :, [0, 0]].permute(1, 0, 2, 3),
    "a mask of the axis itself": lambda x: x[:, :, np.arange(x.shape[2]) % 3 > 0],
    "arrays of two axes": lambda x: x[:, [0, 1], [5, 6]][:, :, None].expand(-1, -1, 3, -1),
}


@pytest.mark.parametrize("name", INDEXED)
def test_the_receptive_field_behind_an_index_array_is_what_a_probe_finds(name):
    model = Net(lambda self, x: INDEXED[name](self.conv(x)), conv=Conv2d(1, 3, (3, 5), padding=(1, 2)))
    agree(model, (1, 1, 18, 21))


def reached(model, shape, axis):
    """(first, last) pixel along an axis to which the gradient of each output row or column flows."""
    for p in model.double().parameters():
        p.data = np.abs(p.array)
    x = Tensor(np.ones(shape), requires_grad=True)
    y = model(x)
    found = []
    for place in range(y.shape[axis]):
        (g,) = tg.grad(y.sum(dim=5 - axis).sum(dim=1)[0, place], [x], retain_graph=True)
        rows = np.flatnonzero(g.array.any(axis=(0, 1, 5 - axis)))
        found.append((int(rows[0]), int(rows[-1])))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2},
        {"size": (18, 15)},
        {"size": (21, 23), "align_corners": True},
        {"scale_factor": (0.75, 1.7), "align_corners": True},  # the corners, not the scale, say where pixels lie
    ],
)
def test_linear_resampling_sees_the_two_pixels_around(options):
    model, shape = Sequential(Conv2d(1, 1, 3), Resize("bilinear", **options), Conv2d(1, 1, 2)), (1, 1, 13, 14)
    for axis in (2, 3):
        found, n = said(model, shape, axis)[0], shape[axis]
        assert [(max(first, 0), min(last, n - 1)) for first, last in found] == reached(model, shape, axis)


def test_a_single_pixel_between_corners_is_the_first_one():
    model = Resize("bilinear", size=(1, 4), align_corners=True)
    assert said(model, (1, 1, 9, 7), 2)[0] == reached(model, (1, 1, 9, 7), 2) == [(0, 0)]


def test_the_gradient_of_a_pixel_reaches_what_a_unet_of_means_sees(monkeypatch):
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)  # a maximum passes its gradient to one pixel alone
    model, shape = models.UNetSmall(width=1).eval(), (1, 1, 64, 60)
    places = reached(model, shape, 3)
    assert places[30] == said(model, shape, 3)[0][30]
    assert max(last - first + 1 for first, last in places[24:36]) == 44


def test_a_value_that_mixes_everything_sees_the_image_that_it_reaches():
    for head in (Flatten(), Net(lambda self, x: x.mean(dim=(2, 3))), Net(lambda self, x: F.avg_pool2d(x, 4).squeeze())):
        model = Sequential(Conv2d(1, 2, 3, stride=2), head, Linear(32 if isinstance(head, Flatten) else 2, 3))
        row = summary(model, (1, 1, 10, 10)).rows[-1]
        assert row.field == (9, 9)  # the last row and column are read by no window
        assert row.jump == (None, None)


def test_a_gate_by_the_mean_sees_everything_and_a_skip_the_larger_of_both():
    gate = Net(lambda self, x: self.conv(x) * x.mean(dim=(2, 3), keepdim=True), conv=Conv2d(1, 1, 3, padding=1))
    assert summary(gate, (1, 1, 12, 11)).rows[0].field == (12, 11)
    skip = Net(lambda self, x: self.conv(x) + x, conv=Conv2d(1, 1, 5, padding=2))
    assert summary(skip, (1, 1, 12, 11)).rows[0].field == (5, 5)


def test_a_slice_that_is_broadcast_and_images_side_by_side_are_seen_as_a_whole():
    row = Net(lambda self, x: self.conv(x) * x[:, :, :1], conv=Conv2d(1, 1, 3, padding=1))
    assert summary(row, (1, 1, 12, 11)).rows[0].field == (12, 3)
    beside = Net(lambda self, x: tg.cat([self.conv(x), x], 2), conv=Conv2d(1, 1, 3, padding=1))
    assert summary(beside, (1, 1, 12, 11)).rows[0].field == (12, 3)


def resized(k):
    return Net(lambda self, x: F.interpolate(F.avg_pool2d(x, k), scale_factor=k, mode="nearest"))


@pytest.mark.parametrize(
    "model",
    [
        Net(lambda self, x: tg.cat([self.a(x), self.b(x)], 1), a=resized(2), b=resized(3)),
        Net(lambda self, x: self.conv(x.mean(dim=1).unsqueeze(1)), conv=Conv2d(1, 1, 3)),
        Net(lambda self, x: self.conv(tg.stack([x[:, 0], x[:, 0]], 1)), conv=Conv2d(2, 1, (3, 1))),
        Net(lambda self, x: self.conv(x.unsqueeze(2).flatten(1, 2)), conv=Conv2d(1, 1, (1, 3))),
        Net(lambda self, x: self.conv(x.permute(3, 1, 2, 0).permute(3, 1, 2, 0)), conv=Conv2d(1, 1, (1, 3))),
        Net(lambda self, x: self.conv(x)[:, :, 3:], conv=Conv2d(1, 1, 3, padding=2, padding_mode="reflect")),
        Net(lambda self, x: self.conv(x), conv=Conv2d(1, 1, 3, padding=1, padding_mode="circular")),
    ],
)
def test_fields_survive_other_arrangements(model):
    sizes = []
    for axis in (2, 3):
        expected, (found, sight) = seen(model, (1, 1, 48, 42), axis), said(model, (1, 1, 48, 42), axis)
        assert found[8:-8] == expected[8:-8]
        sizes.append(sight.size)
    assert max(sizes) in (3, 4, 5)


def test_permuted_reshaped_and_unbatched_images_keep_their_field():
    net = Net(lambda self, x: self.conv(x.permute(0, 3, 1, 2))[0], conv=Conv2d(3, 2, (3, 1), stride=(2, 1)))
    assert summary(net, (1, 9, 3, 3)).rows[-1].field is not None
    conv = summary(Conv2d(2, 1, (3, 1), stride=2), (2, 9, 7)).rows[0]
    assert (conv.field, conv.jump) == ((3, 1), (2, 2))


def conv(c, o, *, k=3):
    return Conv2d(c, o, k, padding=k // 2)


ARRANGED = {
    "adaptive means": Sequential(conv(1, 2), nn.AdaptiveAvgPool2d((24, 9)), conv(2, 1)),
    "adaptive maxima": Sequential(conv(1, 2), nn.AdaptiveMaxPool2d((20, 31)), conv(2, 1)),
    "more bins than pixels": Sequential(conv(1, 2), nn.AdaptiveAvgPool2d((60, 50))),
    "unshared": Sequential(conv(1, 2), nn.LocalConv2d(2, 1, (48, 42), (3, 2), stride=(2, 1), padding=1), conv(1, 1)),
    "columns": Net(lambda self, x: F.unfold(self.conv(x), 3, padding=1).view(-1, 9, 48, 42), conv=conv(1, 1)),
    "shuffled": Sequential(conv(1, 4), nn.PixelShuffle(2), conv(1, 1)),
    "neighbouring channels": Sequential(conv(1, 3), nn.LocalResponseNorm(3), conv(3, 1)),
    "flat and back": Net(lambda self, x: self.conv((x.flatten(2) + 1).view(-1, 1, 48, 42)), conv=conv(1, 1)),
    "einsum": Net(
        lambda self, x: self.conv(tg.einsum("nchw,cd->ndwh", x, tg.ones(1, 2, dtype=x.dtype))).mT,
        conv=Conv2d(2, 1, (5, 1), padding=(2, 0)),
    ),
    "a matrix of channels": Net(
        lambda self, x: self.conv((x.permute(0, 2, 3, 1) @ tg.ones(1, 2, dtype=x.dtype)).permute(0, 3, 1, 2)),
        conv=conv(2, 1),
    ),
    "the largest channel": Net(lambda self, x: self.conv(x).max(1, keepdim=True)[0], conv=conv(1, 3)),
}


@pytest.mark.parametrize("name", ARRANGED)
def test_the_field_of_rearranging_layers_is_what_a_probe_finds(name):
    for axis in (2, 3):
        expected, (found, _) = seen(ARRANGED[name], (1, 1, 48, 42), axis), said(ARRANGED[name], (1, 1, 48, 42), axis)
        inside = slice(len(found) // 4, -(len(found) // 4))
        assert found[inside]
        assert found[inside] == expected[inside]


def test_what_is_unshuffled_sees_a_block_for_each_value():
    net = Sequential(conv(1, 1), nn.PixelUnshuffle(2), conv(4, 1))
    assert (summary(net, (1, 1, 24, 20)).rows[0].field, summary(net, (1, 1, 24, 20)).rows[0].jump) == ((8, 8), (2, 2))


@pytest.mark.parametrize(
    "norm",
    [nn.LayerNorm(9), nn.LayerNorm((2, 8, 9)), nn.RMSNorm(9), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2, affine=True)],
    ids=repr,
)
def test_the_statistics_of_a_norm_are_not_in_the_field(norm):
    row = summary(Sequential(conv(1, 2), norm, conv(2, 1)), (3, 1, 8, 9)).rows[0]
    assert (row.field, row.jump) == ((5, 5), (1, 1))


def test_where_indices_choose_every_place_may_be_the_one():
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    net = Net(lambda self, x: self.unpool(*self.pool(x)), pool=pool, unpool=unpool)
    assert summary(net, (1, 1, 8, 6)).rows[0].field == (8, 6)
    assert summary(Net(lambda self, x: x.sort(2)[0]), (1, 1, 8, 6)).rows[0].field == (8, 1)
    assert summary(Net(lambda self, x: x.flatten(2)[:, :, 7]), (1, 1, 8, 6)).rows[0].field == (1, 6)
    assert summary(Net(lambda self, x: F.fold(F.unfold(x, 2), (8, 6), 2)), (1, 1, 8, 6)).rows[0].field == (8, 6)
    turned = Net(lambda self, x: self.conv(x).flatten(2).flip(2).unflatten(2, (8, 6)), conv=conv(1, 1))
    assert summary(turned, (1, 1, 8, 6)).rows[0].field == (3, 6)
    line = Net(lambda self, x: F.interpolate(x.flatten(2), scale_factor=2))
    assert summary(line, (1, 2, 8, 6)).rows[0].field == (1, 6)


def test_lines_are_images_of_height_1():
    net = Sequential(
        nn.Conv1d(4, 6, 5, stride=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.ConvTranspose1d(6, 3, 2, 2)
    )
    rows = summary(net, (2, 4, 23)).rows
    assert [row.field for row in rows[1:]] == [(1, 5), (1, 5), (1, 5), (1, 7), (1, 7)]
    assert [row.jump for row in rows[1:]] == [(None, 2), (None, 2), (None, 2), (None, 4), (None, 2)]
    assert rows[1].macs == 2 * 10 * 6 * 4 * 5
    assert rows[1].dense == 4 * 23 * 6 * 10
    assert rows[5].macs == 2 * 5 * 6 * 3 * 2
    head = Sequential(nn.AvgPool1d(3), nn.AdaptiveAvgPool1d(1), Flatten(), Linear(4, 2))
    assert [row.field for row in summary(head, (2, 4, 23)).rows[1:]] == [(1, 3), (1, 21), (1, 21), (1, 21)]
    assert summary(Sequential(nn.ReLU(), conv(4, 2)), (4, 9, 8)).rows[0].field == (3, 3)  # one image (c h w)


def test_products_of_einsum_and_of_unshared_kernels_count():
    x, y = np.ones((2, 3, 4), np.float32), np.ones((4, 5), np.float32)
    assert summary(Net(lambda self, x, y: tg.einsum("bij,jk->bik", x, y)), [x, y]).macs == 2 * 3 * 4 * 5
    assert summary(Net(lambda self, x, y: tg.einsum("bij,jk->bijk", x, y)), [x, y]).macs == 0  # nothing is summed
    three = Net(lambda self, x, y: tg.einsum("bij,jk,kj->b", x, y, y.mT))
    assert summary(three, [x, y]).macs == 2 * (2 * 3 * 4 * 5)
    assert summary(nn.LocalConv2d(3, 2, 7, (2, 3)), (4, 3, 7, 7)).macs == 4 * 2 * 6 * 5 * 3 * 2 * 3


@pytest.mark.parametrize("broadcast", [False, True])
def test_the_field_behind_an_op_that_nobody_knows_is_unknown(broadcast):
    @op(broadcast=broadcast)
    def somewhere(x, /):
        """x, in an op of a user."""
        return x.copy()

    try:
        somewhere.vjp(x=lambda g: g)
        found = summary(Net(lambda self, x: self.conv(somewhere(x)), conv=Conv2d(1, 1, 3)), (1, 1, 8, 8))
    finally:
        del registry["somewhere"]
    assert [row.field for row in found.rows] == [None, None, None]
    assert found.flops is None
    assert "floating-point operations: unknown" in str(found)


class Doubled(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2.0

    @staticmethod
    def backward(ctx, g):
        return g * 2.0


class Halves(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x[:, :1] * 2.0, x[:, 1:] * 3.0

    @staticmethod
    def backward(ctx, g, h):
        return tg.cat([g * 2.0, h * 3.0], 1)


class Highest(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.argmax(1)


class Around(Module):
    """A Function before or behind the first layer, which decides whether its input requires grad."""

    def __init__(self, function, first):
        super().__init__()
        self.function, self.first, self.c, self.d = function, first, Conv2d(1, 1, 1), Conv2d(1, 1, 3)

    def forward(self, x):
        return self.d(self.function(x if self.first else self.c(x)))


def test_a_function_counts_where_its_input_needs_no_gradient_too():
    first, behind = (tg.summary(Around(Doubled.apply, first), (1, 1, 8, 8)) for first in (True, False))
    assert "Doubled" in [row.path for row in first.rows]
    assert first.flops is None
    assert behind.flops is None
    assert first.activation_bytes == behind.activation_bytes - 256  # c does not run
    assert first.activation_bytes >= first.kept_bytes


def test_each_output_of_a_function_is_seen_to_be_made_whether_or_not_gradients_flow():
    def cut(x):
        left, right = Halves.apply(x.reshape(1, 2, -1))
        return left.reshape(1, 1, 4, 8) + right.reshape(1, 1, 4, 8)

    first, behind = (tg.summary(Around(cut, first), (1, 1, 8, 8)) for first in (True, False))
    ops = [[(row.path, row.outputs) for row in s.rows if row.kind == "op"] for s in (first, behind)]
    assert ops[0] == ops[1]
    assert ("Halves", ((64,),)) in ops[0]
    assert ops[0].index(("Halves", ((64,),))) < [path for path, _ in ops[0]].index("getitem")


def test_a_function_without_float_outputs_counts():
    class Chosen(Module):
        def forward(self, x):
            return Highest.apply(x)

    found = tg.summary(Chosen(), (2, 3))
    assert [(row.path, row.outputs) for row in found.rows[1:]] == [("Highest", ((2,),))]
    assert found.flops is None
    assert found.activation_bytes == 16
