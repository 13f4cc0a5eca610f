"""What follows the batch in an exported model, and what cannot."""

import numpy as np
import pytest
from exported_models import agree, close, ops_of, run

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.onnx import OnnxError

KEPT = {
    "a flattened image": lambda x: x.flatten(1),
    "everything in one row": lambda x: x.reshape(-1),
    "rows of two images": lambda x: x.reshape(-1, 2),
    "channels joined to the batch": lambda x: x.reshape(x.shape[0] * x.shape[1], x.shape[2]),
    "a new axis of the batch's length": lambda x: x[0].expand(x.shape[0], 4, 6),
    "the batch twice": lambda x: x[:, None].expand(x.shape[0], x.shape[0], 4, 6),
    "the batch in the middle": lambda x: x.permute(1, 0, 2).reshape(2, 2, x.shape[0], 6),
    "zeros beside the images": lambda x: tg.cat([x, tg.zeros(x.shape[0], 1, 6)], 1),
    "a mean over the batch": lambda x: (x - x.mean(0, keepdim=True)) / (x.std(0, keepdim=True) + 1.0),
    "a variance over all": lambda x: x.var(),
    "a quotient by the batch": lambda x: x.sum(0) / x.shape[0],
    "a sum and the batch": lambda x: x.sum((1, 2)) + 2 * x.shape[0],
    "all but the last": lambda x: x[: x.shape[0] - 1],
    "the last, by its number": lambda x: x[x.shape[0] - 1],
    "the batch turned over": lambda x: x.flip(0),
    "the batch moved on": lambda x: x.roll(1, 0),
    "the batch moved back and the rows on": lambda x: x.roll((-1, 2), (0, 1)),
    "the batch repeated": lambda x: x.repeat(2, 1, 3),
    "products of all pairs": lambda x: x.flatten(1) @ x.flatten(1).T,
    "the batch's own numbers": lambda x: x[:, 0, 0] * np.arange(x.shape[0]),
    "stacked batches": lambda x: tg.stack([x, x], 1).reshape(2 * x.shape[0], 4, 6),
    "the largest of the batch": lambda x: x.amax(0),
    "the order in the batch": lambda x: x.sort(0),
    "nothing of each image": lambda x: x[:, :0].flatten(1),
    "the numbers of the input itself": lambda x: x * x.numpy(),
    "patches": lambda x: F.unfold(x[:, None], 2).reshape(x.shape[0], 4, -1),
    "groups of channels": lambda x: F.group_norm(x, 2),
    "enlarged images": lambda x: F.interpolate(x[:, None], scale_factor=(1.5, 2.0), mode="bilinear"),
    "the widest mask": lambda x: tg.where(x > 0, x, tg.zeros(x.shape[0], 4, 6)),
}


@pytest.mark.parametrize("what", KEPT)
def test_it_is_right_for_other_batches(what):
    agree(KEPT[what], (4, 6), traced=3, batches=(2, 3, 7))


def test_an_example_of_one_image_is_enough():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).eval()
    agree(model, (1, 4, 4), traced=1, batches=(1, 6))


def test_a_fixed_batch_is_fixed():
    content = tg.onnx.export(lambda x: x * (1 / x.shape[0]), tg.ones(4, 2), dynamic_batch=False)
    assert ops_of(content) == ["Mul"]
    (got,) = run(content, np.full((4, 2), 2.0, np.float32))
    close(got, np.full((4, 2), 0.5, np.float32))
    with pytest.raises(Exception, match=r"Got: 3 Expected: 4"):
        run(content, np.ones((3, 2), np.float32))


def test_an_input_without_the_batch_keeps_its_length():
    agree(lambda x, w: x @ w, (4,), lambda n: np.arange(8.0, dtype=np.float32).reshape(4, 2))


def export(f, **options):
    return tg.onnx.export(f, (np.arange(12, dtype=np.float32) ** 2 / 8 - 3.0).reshape(3, 4), **options)


def test_a_number_that_is_no_line_of_the_batch_is_refused_with_what_it_was():
    with pytest.raises(
        OnnxError, match=r"^export: mul: its input 'y' is 0\.33\d* and 0\.25 and 0\.2 for batches of 3, 4, 5;"
    ):
        export(lambda x: x * (1 / x.shape[0]))
    with pytest.raises(OnnxError, match=r"getitem: its parameter 'index' is 1 and 2 for batches of 3, 4, 5; leave out"):
        export(lambda x: x[: x.shape[0] // 2])
    with pytest.raises(
        OnnxError,
        match=r"^export: mul: its input 'x' has the shapes \(9,\) and \(16,\) and \(25,\) .* k\*batch \+ c, are",
    ):
        export(lambda x: tg.zeros(x.shape[0] ** 2) * x.sum())


def test_a_parameter_that_follows_the_inputs_is_refused():
    with pytest.raises(OnnxError, match=r"mul: its input 'y' is .* and .*; leave out what ops do not record \(\.numpy"):
        export(lambda x: x * x.sum().item())
    with pytest.raises(
        OnnxError, match=r"^export: add: it reads an array \(4\) that differs between runs and that no op"
    ):
        export(lambda x: x + x.numpy().sum(0))
    with pytest.raises(
        OnnxError, match=r"^export: mul: its input 'y' is 1 and \d+ and \d+ in runs with other inputs; leave out"
    ):
        tg.onnx.export(lambda x: x * int(x.numpy()[0, 1]), np.arange(12).reshape(3, 4), dynamic_batch=False)
    with pytest.raises(OnnxError, match=r"in runs with other inputs; leave out"):
        export(lambda x: x * x.sum().item(), dynamic_batch=False)


def test_a_number_that_is_the_batch_by_chance_is_refused():
    seen = []

    def chance(x):
        seen.append(x.shape[0])
        return x * float(99 if seen.count(3) > 1 and x.shape[0] == 3 else x.shape[0])

    with pytest.raises(
        OnnxError, match=r"^export: mul: its input 'y' is 3\.0 and 99\.0 and 4\.0 and 5\.0 for batches of 3"
    ):
        export(chance)


def test_an_example_of_zeros_shows_as_much_as_any():
    with pytest.raises(OnnxError, match=r"^export: mul: its input 'y' is 0\.0 and "):
        tg.onnx.export(lambda x: x * x.sum().item(), tg.zeros(3, 4))
    with pytest.raises(OnnxError, match=r"^export: add: it reads an array \(4\) that differs"):
        tg.onnx.export(lambda x: x + x.numpy().max(0), tg.zeros(3, 4), dynamic_batch=False)


@pytest.mark.parametrize("dynamic_batch", [True, False])
@pytest.mark.parametrize("example", [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([[0.25, 0.75]])])
def test_the_largest_and_the_smallest_number_are_no_constants(example, dynamic_batch):
    for f in (
        lambda x: x / x.max().item(),
        lambda x: x - float(x.numpy().min()),
        lambda x: (x - x.min().item()) / (x.max().item() - x.min().item()),
    ):
        with pytest.raises(OnnxError, match=r"^export: (div|sub): its input 'y' is \S+ and .*; leave out what ops do"):
            tg.onnx.export(f, example, dynamic_batch=dynamic_batch)


def test_the_number_of_classes_is_no_constant_if_it_is_that_of_the_labels():
    labels = np.array([0, 3, 2, 1, 3])  # the largest and the smallest are left out of some runs
    with pytest.raises(OnnxError, match=r"^export: output 0 has the shapes \(5, 4\) and \(5, 3\) in runs"):
        tg.onnx.export(lambda y: F.one_hot(y, int(y.numpy().max()) + 1), labels, dynamic_batch=False)


def test_a_mask_of_zeros_and_ones_stays_one_in_all_runs():
    def checked(x):
        assert set(x.numpy().ravel()) <= {0.0, 1.0}
        return x * 2

    tg.onnx.export(checked, np.float32([[0, 1, 1], [1, 0, 0]]))


def test_random_numbers_are_refused():
    model = nn.Sequential(nn.ReLU(), nn.Dropout(0.5))
    with pytest.raises(OnnxError, match=r"^export: drop in '1': it reads an array \(batch, 4\) that differs"):
        export(lambda x: model(x))


def test_a_branch_on_the_inputs_is_refused_with_both_ways():
    with pytest.raises(
        OnnxError,
        match=r"^export: the model takes different ways for batches of 3, 4, 5: \w+ where there was \w+; ONNX is told",
    ):
        export(lambda x: (x * 2.0 if x.sum().item() < 50 else x.exp()) + 1.0)
    with pytest.raises(OnnxError, match=r"3, 4, 5: exp where there was the end; ONNX is told one way"):
        export(lambda x: (x * 2.0).exp() if x.sum().item() < 50 else x * 2.0)


def test_another_number_of_results_is_refused():
    with pytest.raises(OnnxError, match=r"^export: the model gives 3 and 4 and 5 results in runs with other inputs"):
        export(lambda x: x.unbind(0))


def test_a_mask_that_the_inputs_change_is_refused():
    with pytest.raises(
        OnnxError, match=r"getitem, of which the result has the shapes .* for batches of 3, 4, 5; lengths"
    ):
        export(lambda x: x[x > 0])
    with pytest.raises(
        OnnxError, match=r"^export: getitem: a mask that the inputs change makes .* where\(mask, x, 0\)"
    ):
        export(lambda x: x[x > -100])


def test_an_axis_of_a_window_that_follows_the_batch_is_refused():
    w = tg.ones(1, 1, 2, 2)
    with pytest.raises(
        OnnxError,
        match=r"^export: conv2d: the image \(c h w\) follows the batch \(1 x batch x 4\), fixed numbers are needed",
    ):
        export(lambda x: F.conv2d(x[None, None], w))
    with pytest.raises(OnnxError, match=r"^export: cumprod: the axis that is run along follows the batch"):
        export(lambda x: x.cumprod(0))


def test_an_error_with_another_batch_says_which():
    def strict(x):
        if x.shape[0] != 3:
            raise ValueError("three images are needed")
        return x * 2.0

    with pytest.raises(ValueError, match=r"three images") as caught:
        export(strict)
    (note,) = (note for note in caught.value.__notes__ if "export" in note)
    assert "not with its numbers in another order and a batch of 4" in note
    assert note.endswith("; a model of one batch alone is exported with dynamic_batch=False")
    assert ops_of(export(strict, dynamic_batch=False)) == ["Mul"]


def test_a_change_in_place_of_what_an_op_read_is_refused():
    def changing(x):
        h = x.detach() * 1.0
        y = h * 2.0
        h += 1.0
        return y + h

    with pytest.raises(
        OnnxError, match=r"^export: add reads an array of shape \(3, 4\) that x \+= \.\.\. has changed in place"
    ):
        export(changing)


def test_a_result_that_no_op_made_is_refused():
    with pytest.raises(
        OnnxError, match=r"^export: the output 'output' differs between runs with other inputs, and no rec"
    ):
        export(lambda x: x.argsort(1))


class Counting(nn.Module):
    """Counts its runs, in training or not."""

    def __init__(self):
        super().__init__()
        self.register_buffer("runs", tg.tensor(0))
        self.register_buffer("last", tg.zeros(2))

    def forward(self, x):
        self.runs = self.runs + 1
        self.last.data = x.detach()[0, :2]
        return F.dropout(x, 0.5, training=self.training)


def test_the_buffers_of_the_model_are_left_as_they_were():
    norm, counting = nn.BatchNorm2d(2), Counting()
    net = nn.Sequential(nn.Conv2d(1, 2, 3), norm, nn.Flatten(), nn.Linear(72, 3))
    x, y = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32), np.array([0, 1, 2, 0])
    own = [*norm.buffers()]
    tg.onnx.export(lambda x, y: F.cross_entropy(net(x), y), (x, y))
    assert [a is b for a, b in zip(norm.buffers(), own, strict=True)] == [True] * 3
    assert [b.tolist() for b in own] == [[0, 0], [1, 1], 0]
    runs = counting.runs
    tg.onnx.export(counting.eval(), x[:, 0, 0])
    counting.train()
    with pytest.raises(OnnxError, match=r"^export: drop: it reads an array"):
        tg.onnx.export(lambda x: counting(x), x[:, 0, 0])
    assert counting.runs is runs
    assert runs.item() == 0
    assert counting.last.tolist() == [0, 0]
