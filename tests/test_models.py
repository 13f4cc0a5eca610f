"""The networks of nn.models: shapes, sizes, names, and that they learn."""

import copy

import numpy as np
import pytest

from tinygrad_cnn import Tensor, no_grad, summary
from tinygrad_cnn.nn import BatchNorm2d, Conv2d, Linear, models
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import (
    VGG,
    BasicBlock,
    LeNet5,
    MobileNetSmall,
    ResNet20,
    SeparableBlock,
    UNetSmall,
    vgg11,
)
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.shapes import ShapeError


def rng(seed=0):
    return np.random.default_rng(seed)


def images(n, c=3, seed=0):
    return Tensor(rng(seed).normal(size=(n, c, 32, 32)).astype(np.float32))


def size(model):
    return sum(p.array.size for p in model.parameters())


def state(model):
    return {name: value.array.tobytes() for name, value in model.state_dict().items()}


MODELS = {
    "lenet5": (lambda g: LeNet5(generator=g), 1),
    "vgg11": (lambda g: vgg11(width=4, dropout=0.0, generator=g), 3),
    "vgg11_bn": (lambda g: vgg11(width=4, dropout=0.0, batch_norm=True, generator=g), 3),
    "resnet20_A": (lambda g: ResNet20(generator=g), 3),
    "resnet20_B": (lambda g: ResNet20(shortcut="B", generator=g), 3),
    "mobilenet": (lambda g: MobileNetSmall(width=4, generator=g), 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_images_becomes_logits_and_every_parameter_gets_a_gradient(name):
    make, channels = MODELS[name]
    model = make(rng())
    logits = model(images(3, channels))
    assert logits.shape == (3, 10)
    F.cross_entropy(logits, np.array([0, 5, 9])).backward()
    for path, p in model.named_parameters():
        assert p.grad is not None, path
        assert np.isfinite(p.grad.array).all(), path
        assert p.grad.array.any(), path


@pytest.mark.parametrize("name", MODELS)
def test_H153_a_seed_decides_the_initial_weights(name):
    make, _ = MODELS[name]
    assert state(make(rng(1))) == state(make(rng(1)))
    assert state(make(rng(1))) != state(make(rng(2)))


WIDE = {"vgg11_wide": (lambda g: vgg11(generator=g), 3)}


@pytest.mark.parametrize("name", [*MODELS, *WIDE])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_loss_is_that_of_a_guess(name, seed):
    make, channels = {**MODELS, **WIDE}[name]
    with no_grad():
        loss = F.cross_entropy(make(rng(seed))(images(20, channels, seed)), np.arange(20) % 10)
    assert abs(float(loss.array) - np.log(10)) < 0.5


@pytest.mark.parametrize(
    ("name", "lr", "steps"),
    [("lenet5", 0.1, 16), ("vgg11", 0.05, 24), ("vgg11_bn", 0.05, 8), ("resnet20_A", 0.05, 5), ("mobilenet", 0.05, 8)],
)
def test_a_few_steps_on_four_images_lower_the_loss(name, lr, steps):
    make, channels = MODELS[name]
    model, x, labels = make(rng(3)), images(4, channels), np.arange(4)
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.array))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", MODELS)
def test_in_eval_an_image_does_not_see_the_others_of_its_batch(name):
    make, channels = MODELS[name]
    model = make(rng()).eval()
    x = images(3, channels)
    with no_grad():
        assert np.allclose(model(x).array[1], model(x[1:2]).array[0], atol=1e-4)


def test_H151_a_copied_model_gives_the_same_logits():
    model = ResNet20(generator=rng())
    other = copy.deepcopy(model)
    with no_grad():
        assert np.array_equal(model(images(2)).array, other(images(2)).array)


def test_lenet5_has_the_papers_layers():
    model = LeNet5()
    assert size(model) == 61_706
    assert list(dict(model.named_children())) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert LeNet5(7, 3)(images(2)).shape == (2, 7)
    with pytest.raises(ShapeError):
        model(Tensor(np.zeros((1, 1, 28, 28), np.float32)))


def test_vgg11_has_torchvisions_keys():
    convs = [0, 3, 6, 8, 11, 13, 16, 18]
    keys = [f"features.{i}" for i in convs] + [f"classifier.{i}" for i in (0, 3, 6)]
    assert list(vgg11().state_dict()) == [f"{key}.{part}" for key in keys for part in ("weight", "bias")]


def test_vgg11_with_batch_norm_has_torchvisions_keys():
    norms = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    keys = []
    for i in (0, 4, 8, 11, 15, 18, 22, 25):
        keys += [f"features.{i}.{part}" for part in norms[:2]] + [f"features.{i + 1}.{part}" for part in norms]
    keys += [f"classifier.{i}.{part}" for i in (0, 3, 6) for part in norms[:2]]
    assert list(vgg11(batch_norm=True).state_dict()) == keys


def test_the_convolutions_of_a_vgg_start_by_fan_out_and_its_linear_layers_as_linear_does():
    for layer in vgg11(width=64, generator=rng()).modules():
        if isinstance(layer, Conv2d):
            assert layer.weight.array.std() == pytest.approx(np.sqrt(2 / (9 * layer.out_channels)), rel=0.05)
            assert not layer.bias.array.any()
        elif isinstance(layer, Linear):
            for p in layer.parameters():
                assert np.abs(p.array).max() <= 1 / np.sqrt(layer.in_features)
            assert layer.weight.array.std() == pytest.approx(1 / np.sqrt(3 * layer.in_features), rel=0.05)


def test_vgg11_has_configuration_as_proportions():
    channels = [m.out_channels for m in vgg11(width=64).features if isinstance(m, Conv2d)]
    assert channels == [64, 128, 256, 256, 512, 512, 512, 512]
    assert sum(p.array.size for p in vgg11(width=64).features.parameters()) == 9_220_480
    assert VGG([4, "M"], num_classes=2, in_channels=1, hidden=8).features[0].in_channels == 1
    with pytest.raises(ValueError, match="'P' in channels"):
        VGG([4, "P"])


def test_resnet20_has_the_papers_size_and_torchvisions_keys():
    assert size(ResNet20()) == 269_722
    assert size(ResNet20(shortcut="B")) == 272_474
    bn = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    keys = ["conv1.weight", *(f"bn1.{part}" for part in bn)]
    for layer in (1, 2, 3):
        for block in (0, 1, 2):
            path = f"layer{layer}.{block}"
            for i in (1, 2):
                keys += [f"{path}.conv{i}.weight", *(f"{path}.bn{i}.{part}" for part in bn)]
            if layer > 1 and block == 0:
                keys += [f"{path}.downsample.0.weight", *(f"{path}.downsample.1.{part}" for part in bn)]
    keys += ["fc.weight", "fc.bias"]
    assert list(ResNet20(shortcut="B").state_dict()) == keys
    assert list(ResNet20().state_dict()) == [key for key in keys if "downsample" not in key]
    with pytest.raises(ValueError, match="shortcut='C'"):
        ResNet20(shortcut="C")


def test_shortcut_a_takes_every_second_pixel_and_adds_channels_of_zeros():
    block = BasicBlock(2, 5, stride=2)
    x = Tensor(rng().normal(size=(2, 2, 5, 4)).astype(np.float32))
    expected = np.zeros((2, 5, 3, 2), np.float32)
    expected[:, :2] = x.array[:, :, ::2, ::2]
    assert np.array_equal(block.shortcut(x).array, expected)
    same = BasicBlock(2, 2)
    assert same.shortcut(x) is x


def test_a_block_whose_second_norm_is_zero_is_relu_of_its_shortcut():
    for shortcut in "AB":
        block = BasicBlock(2, 4, stride=2, shortcut=shortcut, generator=rng())
        with no_grad():
            block.bn2.weight.zero_()
        x = Tensor(rng().normal(size=(3, 2, 6, 6)).astype(np.float32))
        assert np.array_equal(block(x).array, np.maximum(block.shortcut(x).array, 0))


@pytest.mark.parametrize("model", [vgg11(width=16, generator=rng()), ResNet20(generator=rng())])
def test_convolutions_start_with_the_deviation_of_he_et_al(model):
    for layer in model.modules():
        if isinstance(layer, Conv2d):
            std = np.sqrt(2 / (layer.out_channels * 9))
            assert abs(layer.weight.array.std() / std - 1) < 5 / np.sqrt(layer.weight.array.size)
            assert layer.bias is None or not layer.bias.array.any()
        if isinstance(layer, BatchNorm2d):
            assert layer.weight.array.all()


def test_a_separable_block_is_a_convolution_per_channel_and_one_per_pixel():
    block = SeparableBlock(3, 5, 2, generator=rng()).eval()
    with no_grad():
        block.bn2.bias.fill_(0.5)
    x = rng(1).normal(size=(2, 3, 7, 6)).astype(np.float32)
    padded, w = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), block.depthwise.weight.array
    deep = np.zeros((2, 3, 4, 3))
    for i in range(4):
        for j in range(3):
            deep[:, :, i, j] = (padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * w[:, 0]).sum((2, 3))
    deep = np.clip(deep / np.sqrt(1 + 1e-5), 0, 6)
    mixed = np.einsum("nchw,oc->nohw", deep, block.pointwise.weight.array[:, :, 0, 0]) / np.sqrt(1 + 1e-5) + 0.5
    assert np.allclose(block(Tensor(x)).array, np.clip(mixed, 0, 6), atol=1e-5)


def test_mobilenet_has_the_size_that_its_docstring_says():
    assert size(MobileNetSmall()) == 37_162
    assert MobileNetSmall(7, 2, width=4)(Tensor(np.zeros((2, 2, 13, 9), np.float32))).shape == (2, 7)


def test_unet_gives_logits_for_every_pixel_and_joins_what_was_there_before_the_poolings():
    model = UNetSmall(3, 2, width=4, generator=rng())
    x = Tensor(rng().normal(size=(2, 2, 12, 20)).astype(np.float32))
    assert model(x).shape == (2, 3, 12, 20)
    assert [c.weight.shape[1] for c in (model.up2.conv1, model.up1.conv1)] == [16, 8]
    other = Tensor(x.array + 1)
    with no_grad():
        model.eval().grow1.weight.zero_()
        assert not np.allclose(model(x).array, model(other).array)  # what is at full size goes straight over
        model.grow1.weight.fill_(0.1)
        model.grow2.weight.zero_()
        model.up1.conv1.weight[:, 4:] = 0.0
        assert not np.allclose(model(x).array, model(other).array)  # and so does what is at half of it
        model.up2.conv1.weight[:, 8:] = 0.0
        assert np.allclose(model(x).array, model(other).array)
    with pytest.raises(ShapeError, match=r"UNetSmall: x has shape \(1, 2, 12, 6\); height and width must be multiples"):
        model(Tensor(np.zeros((1, 2, 12, 6), np.float32)))


def test_unet_learns_where_the_bright_places_are():
    model, x = UNetSmall(width=4, generator=rng(3)), rng(4).normal(size=(3, 1, 12, 16)).astype(np.float32)
    padded = np.pad(x[:, 0], ((0, 0), (1, 1), (1, 1)))
    labels = sum(padded[:, i : i + 12, j : j + 16] for i in range(3) for j in range(3)) > 0
    optimizer, losses = SGD(model.parameters(), lr=0.1, momentum=0.9), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(Tensor(x)), labels.astype(np.int64))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.array))
    assert losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize(
    ("model", "shape"),
    [(MobileNetSmall(width=4, generator=rng()), (1, 3, 8, 8)), (UNetSmall(width=4, generator=rng()), (1, 1, 8, 12))],
)
def test_the_networks_are_drawn_and_summarised(model, shape):
    y = model(Tensor(rng().normal(size=shape).astype(np.float32)))
    picture = y.graph(model, view="arch").svg()
    assert picture.startswith("<svg")
    assert "Conv2d" in picture
    found = summary(model, shape)
    assert found.params == size(model)
    assert found.rows[0].outputs == (y.shape,)


def test_the_networks_are_in_their_module():
    ours = (LeNet5, VGG, ResNet20, MobileNetSmall, UNetSmall)
    assert tuple(getattr(models, kind.__name__) for kind in ours) == ours
    assert isinstance(LeNet5().fc3, Linear)
