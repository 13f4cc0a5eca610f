"""A ShapeError that leaves a model tells the shapes so far and the edits; `solve_conv` finds windows for sizes."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import ShapeError, Tensor, nn
from tinygrad_cnn.checkup import Window
from tinygrad_cnn.geometry import conv2d_geometry
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn import module as modules


def zeros(*shape):
    return Tensor(np.zeros(shape, "float32"))


def refused(net, *shape):
    with pytest.raises(ShapeError) as caught:
        net(zeros(*shape))
    return caught.value


def net(features=400, channels=1):
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(features, 10),
    )  # fmt: skip


@pytest.mark.parametrize("mode", [tg.enable_grad, tg.no_grad])
def test_the_shapes_of_all_layers_before_are_a_table(mode):
    with mode():
        error = refused(net(), 8, 1, 36, 36)
    assert error.__notes__[-2:] == [
        "shapes so far:\n"
        "    the model  input      (8, 1, 36, 36)\n"
        "    0          Conv2d     (8, 6, 32, 32)\n"
        "    1          ReLU       (8, 6, 32, 32)\n"
        "    2          MaxPool2d  (8, 6, 16, 16)\n"
        "    3          Conv2d     (8, 16, 12, 12)\n"
        "    4          MaxPool2d  (8, 16, 6, 6)\n"
        "    5          Flatten    (8, 576)\n"
        "    6          Linear     (8, 576) refused\n"
        "to fix it:\n"
        "    1. 6 (Linear): in_features should be 576 = 16*6*6, not 400\n"
        "    2. or keep 400 = 16*5*5 with a padding, stride or kernel before that makes images of 5x5 instead of 6x6",
        "in 6 (Linear)",
    ]
    assert error.layers[-1] == ("5", "Flatten", (8, 576))
    assert error.layers[0] == ("", "input", (8, 1, 36, 36))
    assert error.edits[0].startswith("6 (Linear): in_features should be 576")


@given(st.integers(1, 3), st.integers(2, 9), st.integers(1, 4), st.integers(1, 4))
def test_the_first_edit_makes_a_linear_layer_fit(n, c, h, w):
    wanted = c * h * w + 1
    error = refused(nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(wanted, 2)), n, c, h, w)
    assert error.edits[0] == f"2 (Linear): in_features should be {c * h * w} = {c}*{h}*{w}, not {wanted}"
    nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 2))(zeros(n, c, h, w))


def edits(*layers, shape):
    return list(refused(nn.Sequential(nn.Identity(), *layers), *shape).edits)


def test_the_edits_are_ranked():
    assert edits(nn.Linear(600, 3), shape=(2, 6, 10, 10)) == [
        "flatten the image before: x.flatten(1) is (2, 600)",
    ]
    assert edits(nn.Linear(500, 3), shape=(2, 6, 10, 10)) == [
        "1 (Linear): in_features should be 600 = 6*10*10, not 500, behind x.flatten(1)"
    ]
    assert edits(nn.Linear(7, 3), shape=(2, 6)) == ["1 (Linear): in_features should be 6, not 7"]
    assert edits(nn.Conv2d(3, 4, 3), shape=(2, 9, 8, 3)) == [
        "the input looks like channels last (NHWC): x.permute(0, 3, 1, 2)",
        "1 (Conv2d): in_channels should be 9, not 3",
    ]
    assert edits(nn.Conv1d(3, 4, 3), shape=(2, 9, 3))[0].endswith("x.permute(0, 2, 1)")
    assert edits(nn.Conv2d(3, 4, 3), shape=(2, 9, 8, 8)) == ["1 (Conv2d): in_channels should be 9, not 3"]
    assert edits(nn.BatchNorm2d(5), shape=(2, 6, 4, 4)) == ["1 (BatchNorm2d): num_features should be 6, not 5"]
    assert edits(nn.Conv2d(6, 4, 5), shape=(2, 6, 4, 4)) == []  # the message has them
    assert edits(nn.LayerNorm(5), shape=(2, 6)) == []


def test_pools_that_are_no_modules_are_guessed_from_the_numbers():
    error = refused(nn.models.LeNet5(), 8, 1, 36, 36)
    assert [layer[0] for layer in error.layers] == ["", "conv1", "conv2"]
    assert list(error.edits) == ["fc1 (Linear): in_features should be 576 = 16*6*6, not 400"]


def test_what_is_no_shape_error_and_a_layer_alone_are_told_nothing_new():
    error = refused(nn.Linear(2, 3), 1, 3)
    assert error.__notes__[-1] == "in Linear"
    assert (error.layers, error.edits) == ((), ())
    with pytest.raises(TypeError) as caught:
        nn.Sequential(nn.Linear(2, 3))(3)
    assert "shapes so far" not in "".join(caught.value.__notes__)
    assert not hasattr(caught.value, "layers")


def test_a_layer_within_a_layer_is_told_by_its_path_once():
    outer = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2)))
    error = refused(outer, 2, 4)
    (table,) = [note for note in error.__notes__ if note.startswith("shapes so far")]
    assert "    1.0        Linear  (2, 3)\n    1.1        Linear  (2, 3) refused\n" in table
    assert error.edits == ["1.1 (Linear): in_features should be 3, not 5"]


def test_an_input_that_is_no_tensor_first_has_no_shape_in_the_table():
    class Second(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, name, x):
            return self.fc(x=x)

    with pytest.raises(ShapeError) as caught:
        Second()("a name", zeros(2, 5))
    assert "    fc  Linear  its input refused" in "".join(caught.value.__notes__)
    assert caught.value.layers == []


def test_a_forward_leaves_nothing_behind_and_forgets_after_an_error():
    model = net()
    with pytest.raises(ShapeError):
        model(zeros(2, 1, 36, 36))
    assert modules._passed.get() is None
    assert [shape for _, _, shape in refused(model, 2, 1, 40, 40).layers][:2] == [(2, 1, 40, 40), (2, 6, 36, 36)]
    x = zeros(2, 1, 32, 32)
    alive = weakref.ref(model(x))
    gc.collect()
    assert alive() is None
    assert modules._passed.get() is None


def test_of_very_many_layers_the_latest_are_told():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.step, self.end = nn.Identity(), nn.Linear(3, 2)

        def forward(self, x):
            for _ in range(400):
                x = self.step(x)
            return self.end(x)

    error = refused(Loop(), 1, 2)
    assert len(error.layers) == 256
    assert error.layers[0] == ("step", "Identity", (1, 2))


LOSSES = {
    "mse_loss": F.mse_loss,
    "l1_loss": F.l1_loss,
    "smooth_l1_loss": F.smooth_l1_loss,
    "huber_loss": F.huber_loss,
    "half_squared_error": tg.half_squared_error,
    "binary_cross_entropy": F.binary_cross_entropy,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
    "kl_div": F.kl_div,
    "hinge_embedding_loss": F.hinge_embedding_loss,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (3,)), ((4, 3), (4, 1)), ((2,), ())])
def test_no_loss_broadcasts(name, shapes):
    outputs, targets = (np.ones(shape, "float32") for shape in shapes)
    with pytest.raises(ShapeError):
        LOSSES[name](Tensor(outputs), Tensor(targets))
    LOSSES[name](Tensor(outputs), Tensor(outputs))


def test_every_loss_of_two_equal_shapes_is_in_the_table():
    named = {name for name in (*F.__all__, *tg.__all__) if "loss" in name or "entropy" in name or name == "kl_div"}
    assert named - set(LOSSES) == {"cross_entropy", "nll_loss"}


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (3,), ()])
def test_labels_do_not_broadcast(loss, shape):
    with pytest.raises((ShapeError, TypeError)):
        loss(zeros(4, 3), np.zeros(shape, int))


# --- solve_conv ---


@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 5), st.integers(1, 3))
def test_every_window_gives_the_size_and_none_is_missing(size, out, max_kernel, max_dilation):
    found = tg.solve_conv(size, out, max_kernel=max_kernel, max_dilation=max_dilation)
    expected = set()
    for d in range(1, max_dilation + 1):
        for k in range(1 if d == 1 else 2, max_kernel + 1):
            reach = d * (k - 1) + 1
            for s in range(1, reach + 1):
                for p in range(reach):
                    try:
                        geometry = conv2d_geometry((1, 1, size, size), (1, 1, k, k), s, p, d)
                    except ShapeError:
                        continue
                    if geometry.out[0] == out:
                        expected.add((k, s, p, d))
    assert {tuple(w[:4]) for w in found} == expected
    assert len(found) == len(expected)
    strict = tg.solve_conv(size, out, max_kernel=max_kernel, max_dilation=max_dilation, strict=True)
    assert strict == [w for w in found if not w.unread]
    for k, s, p, d, unread in found:
        read = {s * o + d * j - p for o in range(out) for j in range(k)}
        assert unread == max(size - 1 - max(read), 0)
        if not unread:
            conv2d_geometry((1, 1, size, size), (1, 1, k, k), s, p, d, strict=True)


def test_the_simplest_window_is_first():
    assert tg.solve_conv(32, 28)[0] == Window(5, 1, 0, 1, 0)
    assert tg.solve_conv(32, 32)[0] == Window(1, 1, 0, 1, 0)
    assert tg.solve_conv(28, 14)[0] == Window(2, 2, 0, 1, 0)
    assert tg.solve_conv(5, 7)[0] == Window(3, 1, 2, 1, 0)
    unread = [window.unread > 0 for window in tg.solve_conv(7, 3)]
    assert unread == sorted(unread)
    assert True in unread


def test_the_limits_hold_and_no_solution_is_an_empty_list():
    assert tg.solve_conv(100, 3) == []
    assert {w.stride for w in tg.solve_conv(28, 14, max_stride=1)} <= {1}
    assert {w.padding for w in tg.solve_conv(28, 14, max_padding=0)} == {0}
    for name, value in [("size", 0), ("out", 0)]:
        with pytest.raises(ShapeError, match=f"solve_conv: {name} is 0, needs at least 1"):
            tg.solve_conv(**{"size": 4, "out": 2, name: value})
    for name in ("max_kernel", "max_stride", "max_dilation"):
        with pytest.raises(ShapeError, match=f"solve_conv: {name} is 0, needs at least 1"):
            tg.solve_conv(4, 2, **{name: 0})
    with pytest.raises(ShapeError, match="solve_conv: max_padding is -1, needs at least 0"):
        tg.solve_conv(4, 2, max_padding=-1)
    with pytest.raises(TypeError, match=r"solve_conv: size is 4\.0 \(float\), needs an int"):
        tg.solve_conv(4.0, 2)
