"""Networks that were written as ONNX and read again: the same outputs, gradients and steps of training."""

import numpy as np
import pytest
from exported_models import onnx  # noqa: F401 (skips where the extra is missing)
from test_export_networks import NETWORKS, trained

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


def gradients(model, x, c):
    """The output, and the gradients of <c, output> by the input and by each parameter."""
    x = tg.Tensor(x, requires_grad=True)
    names, parameters = zip(*model.named_parameters(), strict=True)
    y = model(x)
    found = tg.grad(y, [x, *parameters], c)
    return y.numpy(), {name: g.numpy() for name, g in zip(("x", *names), found, strict=True)}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, g in ours.items():
        bound = 1e-5 * max(1.0, float(np.abs(g).max()))
        np.testing.assert_allclose(theirs[name], g, rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_with_equal_outputs_and_gradients(name, training):
    model, x = trained(name)
    x = np.random.default_rng(1).normal(size=(3, *x.shape[1:])).astype(np.float32)
    back = tg.load_onnx(tg.onnx.export(model, x[:2]))
    assert [key for key, _ in back.named_parameters()] == [key for key, _ in model.named_parameters()]
    model.train(training)
    for module in model.modules():
        if isinstance(module, tg.nn.Dropout):
            module.eval()  # a file for inference has none
    back.train(training)
    with tg.no_grad():
        shape = model(tg.Tensor(x)).shape
        back(tg.Tensor(x))  # running statistics take the same steps
    c = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    tg.manual_seed(3)
    y, ours = gradients(model, x, c)
    tg.manual_seed(3)
    again, theirs = gradients(back, x, c)
    same({"y": y}, {"y": again})
    same(ours, theirs)
    same({k: v.numpy() for k, v in model.named_buffers() if v.dtype.kind == "f"},
         {k: v.numpy() for k, v in back.named_buffers() if v.dtype.kind == "f"})  # fmt: skip


def test_a_network_that_came_back_is_fine_tuned_as_the_first_one():
    model, x = trained("ResNet20")
    back = tg.load_onnx(tg.onnx.export(model, x))
    labels = np.array([3, 7])
    losses = []
    for net in (model, back):
        net.train()
        optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        losses.append([])
        for _ in range(3):
            optimizer.zero_grad()
            loss = tg.nn.functional.cross_entropy(net(tg.Tensor(x)), labels)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    assert losses[0][2] < losses[0][0]


ADDED = {  # layers that are written with numbers of their own, which nothing trains
    "adaptive pool": nn.AdaptiveAvgPool2d((3, 2)),
    "padded pool": nn.AvgPool2d((3, 2), stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    "norm without scale": nn.BatchNorm2d(4, affine=False),
    "resized": nn.Upsample(size=(5, 11), mode="bilinear"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ADDED)
def test_numbers_that_the_export_adds_are_no_parameters(name, dtype):
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 3)), ADDED[name], nn.Conv2d(4, 2, 1, bias=False)).to(dtype)
    x = np.random.default_rng(4).normal(size=(2, 3, 8, 11)).astype(dtype)
    back = tg.load_onnx(tg.onnx.export(model, x))
    assert [key for key, _ in back.named_parameters()] == ["0.weight", "0.bias", "2.weight"]
    model.train()
    back.train()
    c = np.random.default_rng(5).normal(size=model(tg.Tensor(x)).shape).astype(dtype)
    (y, ours), (again, theirs) = gradients(model, x, c), gradients(back, x, c)
    same({"y": y}, {"y": again})
    same(ours, theirs)


def test_weights_that_a_function_holds_stay_parameters_beside_equal_numbers_that_the_export_adds():
    pool = nn.AdaptiveAvgPool2d((1, 2))
    added = tg.load_onnx(tg.onnx.export(pool, np.ones((2, 1, 2, 3), np.float32)))
    assert not list(added.parameters())
    w = tg.Tensor(np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]], np.float32).T.copy())  # the pool's own matrix of columns
    x = np.random.default_rng(6).normal(size=(2, 1, 2, 3)).astype(np.float32)
    back = tg.load_onnx(tg.onnx.export(lambda x: pool(x) + x @ w, x))
    (found,) = back.parameters()
    assert np.array_equal(found.numpy(), w.numpy())
